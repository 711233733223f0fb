//! A private Postfix: its own configuration, queue and log in a temporary directory; stopped when dropped.

use crate::support::{
    next_hop::free_address,
    tools::{checked, tool},
};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};
use tempfile::TempDir;

pub struct Postfix {
    dir: TempDir,
    pub smtp: SocketAddr,
}

/// Debian's services, unchrooted, without what needs the machine's own configuration.
const SERVICES: &str = "
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    /// `settings` are added to main.cf. Not started yet.
    pub fn new(hostname: &str, settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("postfix").tempdir().expect("a temporary directory");
        // Its daemons are another user.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
        let postfix = Self { dir, smtp: free_address() };
        for part in ["etc", "spool", "data"] {
            fs::create_dir(postfix.path(part)).expect("made");
        }
        let owned = tool("chown").arg("postfix").arg(postfix.path("data")).output().expect("chown runs");
        checked("chown postfix (the tests with Postfix need root)", owned);
        let base = postfix.dir.path().display();
        let main = format!(
            "compatibility_level = 3.6
queue_directory = {base}/spool
data_directory = {base}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
maillog_file_prefixes = {base}
maillog_file = {base}/log
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
biff = no
notify_classes =
{settings}
"
        );
        fs::write(postfix.path("etc/main.cf"), main).expect("written");
        let listener = format!("{} inet n - n - - smtpd\n", postfix.smtp);
        fs::write(postfix.path("etc/master.cf"), listener + SERVICES.trim_start()).expect("written");
        postfix
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// One of its commands, with this instance's configuration.
    pub fn command(&self, name: &str) -> Command {
        let mut command = tool(name);
        let config = if name == "sendmail" { "-C" } else { "-c" };
        command.arg(config).arg(self.path("etc")).stdin(Stdio::null());
        command
    }

    pub fn start(&self) {
        // Not into pipes: its daemons would keep them open.
        let status = self.command("postfix").arg("start").stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("postfix runs").success(), "Postfix does not start:\n{}", self.log());
    }

    pub fn stop(&self) {
        let _ = self.command("postfix").arg("stop").stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// Hands in a mail as a local program does.
    pub fn sendmail(&self, sender: &str, recipients: &[&str], content: &[u8]) {
        let mut child = self
            .command("sendmail")
            .args(["-i", "-B", "8BITMIME", "-f", sender, "--"])
            .args(recipients)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sendmail starts");
        child.stdin.take().expect("piped").write_all(content).expect("written");
        checked("sendmail", child.wait_with_output().expect("ends"));
    }

    pub fn log(&self) -> String {
        fs::read(self.path("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("── Postfix's log\n{}", self.log());
        }
    }
}
