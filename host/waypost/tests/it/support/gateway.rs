//! The real binary with a configuration of its own in a temporary directory.

use super::{admin::metrics, tools::checked, until, until_within};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// Files of a gateway, whether it runs or not.
pub struct Home {
    /// Removed with the value.
    _dir: TempDir,
    /// Where waypost.toml is.
    base: PathBuf,
}

/// A running gateway; killed when dropped.
pub struct Gateway<'a> {
    home: &'a Home,
    child: Child,
    pub smtp: SocketAddr,
}

/// Keys for tests whose one client makes as many errors as it likes, without waiting.
pub const PATIENT: &str = "limits.tarpit-delay = \"0 s\"\nlimits.per-address.errors-per-minute = 1_000_000\nlimits.per-network.errors-per-minute = 1_000_000\n";

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_waypost")
}

/// The lines of `[check-in]` that `waypost password` makes for example-org, with `more` options.
pub fn password_lines(password: &str, more: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(["password", "--user", "example-org"]).args(more).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    checked("waypost password", child.wait_with_output().unwrap())
}

/// A shipped plugin, or one of the tests' own, as built by `cargo xtask guests`.
pub fn plugin(name: &str) -> PathBuf {
    let places = [
        root().join(format!("target/waypost/plugins/{name}.wasm")),
        root().join(format!("target/wasm32-wasip2/plugin/{name}.wasm")),
    ];
    places
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name}.wasm is not built: run `cargo xtask guests` first"))
}

/// In bytes; a line of /proc/PID/status.
pub fn memory(gateway: &Gateway<'_>, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("the gateway runs");
    let value = status.lines().find_map(|l| l.strip_prefix(line)).expect("a line of that name");
    value.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().expect("a number") * 1024
}

impl Home {
    /// `gateway` is added to waypost.toml, behind the keys that every test needs.
    pub fn new(gateway: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let home = Self::of(dir, "");
        fs::create_dir_all(home.path("domains")).expect("made");
        fs::create_dir_all(home.path("plugins")).expect("made");
        home.write(
            "waypost.toml",
            &format!(
                "hostname = \"gw.test\"\nmax-connections-per-address = 1000\n{PATIENT}{gateway}\n[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n"
            ),
        );
        home
    }

    /// `base` is where in `dir` waypost.toml is, or will be.
    pub fn of(dir: TempDir, base: &str) -> Self {
        Self { base: dir.path().join(base), _dir: dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    pub fn domain(&self, name: &str, text: &str) -> &Self {
        self.write(&format!("domains/{name}.toml"), text);
        self
    }

    pub fn with_plugin(&self, name: &str) -> &Self {
        fs::copy(plugin(name), self.path(&format!("plugins/{name}.wasm"))).expect("copied");
        self
    }

    /// Another command with this configuration, to its end.
    pub fn command(&self, args: &[&str]) -> Output {
        Command::new(binary())
            .args(args)
            .arg("--config")
            .arg(self.path("waypost.toml"))
            .output()
            .expect("the binary runs")
    }

    /// The command's standard output; panics when it fails.
    pub fn output(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert!(output.status.success(), "waypost {args:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Trusts the certificate that the gateway has made for itself, and nothing else.
    pub fn trusting(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        let own = CertificateDer::from_pem_file(self.path("data/self-signed.crt")).expect("a certificate");
        roots.add(own).expect("one that can be trusted");
        Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn start(&self) -> Gateway<'_> {
        self.start_by(Command::new(binary()))
    }

    pub fn start_logging_to(&self, log: fs::File) -> Gateway<'_> {
        self.start_with(Command::new(binary()), log)
    }

    /// `command` runs the binary, or something that becomes it: `prlimit --nofile=64 waypost`.
    pub fn start_by(&self, command: Command) -> Gateway<'_> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log file");
        self.start_with(command, log)
    }

    /// None where it dies, as it has to, before it answers. Only builds with debug assertions have fail points.
    pub fn start_to_die(&self, fail_points: &str) -> Option<Gateway<'_>> {
        let started = self.start_with_faults(fail_points);
        if let Err(status) = &started {
            assert_eq!(
                status.signal(),
                Some(9),
                "the gateway ended with {status} before {fail_points}:\n{}",
                self.log()
            );
        }
        started.ok()
    }

    /// Or how it ended. `fail_points` may be empty.
    pub fn start_with_faults(&self, fail_points: &str) -> Result<Gateway<'_>, ExitStatus> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).expect("a log file");
        let mut command = Command::new(binary());
        if !fail_points.is_empty() {
            command.env("WAYPOST_FAIL_POINT", fail_points);
        }
        self.try_start(command, log)
    }

    fn start_with(&self, command: Command, log: fs::File) -> Gateway<'_> {
        let started = self.try_start(command, log);
        started.unwrap_or_else(|status| panic!("the gateway ended with {status}:\n{}", self.log()))
    }

    fn try_start(&self, mut command: Command, log: fs::File) -> Result<Gateway<'_>, ExitStatus> {
        let run_file = self.path("data/run.json");
        let mut child = command
            .args(["run", "--config"])
            .arg(self.path("waypost.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let smtp: Result<SocketAddr, ExitStatus> =
            until_within(Duration::from_secs(60), "the gateway's run file", &mut || {
                if let Ok(Some(status)) = child.try_wait() {
                    return Some(Err(status));
                }
                let run: serde_json::Value = serde_json::from_slice(&fs::read(&run_file).ok()?).ok()?;
                // The last one may still be there.
                if run["pid"] != child.id() {
                    return None;
                }
                run["listeners"][0].as_str()?.parse().ok().map(Ok)
            });
        Ok(Gateway { home: self, smtp: smtp?, child })
    }
}

impl Gateway<'_> {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGHUP, until the log has `line` so many times.
    pub fn reload(&self, line: &str, times: usize) {
        self.signal("HUP");
        until(&format!("{line:?} in the log"), || (self.home.log().matches(line).count() >= times).then_some(()));
    }

    /// What the line of `/metrics` that begins so says; empty without such a line.
    pub fn metric(&self, name: &str) -> String {
        let page = metrics(self.home);
        page.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned()
    }

    /// `STOP` and `CONT` too: while it is stopped, connections wait to be accepted.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// SIGTERM, and nothing more.
    pub fn terminate(&self) {
        assert!(Command::new("kill").arg(self.pid().to_string()).status().expect("kill runs").success());
    }

    /// SIGTERM; panics unless it ends with 0.
    pub fn stop(self) {
        self.terminate();
        self.wait();
    }

    /// Until it ends; panics unless it ends with 0.
    pub fn wait(mut self) {
        let status = self.child.wait().expect("ended");
        assert!(status.success(), "the gateway ended with {status}:\n{}", self.home.log());
    }

    /// Until it ends by itself, as a process does that must not go on.
    pub fn wait_for_abort(self) {
        self.wait_for_signal(6);
    }

    /// As by `kill -9`, though nobody outside has sent it.
    pub fn wait_for_kill(self) {
        self.wait_for_signal(9);
    }

    fn wait_for_signal(mut self, signal: i32) {
        let status = until("the gateway to end", || self.child.try_wait().expect("asked"));
        assert_eq!(status.signal(), Some(signal), "the gateway ended with {status}");
    }

    /// What `queue list --json` tells, with further arguments.
    pub fn queue(&self, args: &[&str]) -> serde_json::Value {
        let text = self.home.output(&[&["queue", "list", "--json"], args].concat());
        serde_json::from_str(&text).expect("JSON")
    }

    /// Entries of `queue list --json`, with further arguments.
    pub fn listed(&self, args: &[&str]) -> Vec<serde_json::Value> {
        self.queue(args)["recipients"].as_array().expect("a list").clone()
    }

    /// Waits until the queue lists this recipient in this state; its entry.
    pub fn wait_for(&self, recipient: &str, state: &str) -> serde_json::Value {
        until(&format!("{recipient} to be {state}"), || {
            self.listed(&["--recipient", recipient, "--state", state]).into_iter().next()
        })
    }

    /// Waits until nobody waits for delivery any more.
    pub fn wait_until_empty(&self) {
        until("the queue to be empty", || (self.waiting() == 0).then_some(()));
    }

    pub fn waiting(&self) -> u64 {
        self.queue(&[])["counts"]["recipients"].as_u64().expect("a number")
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── the gateway's log\n{}", self.home.log());
        }
    }
}
