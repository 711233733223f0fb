//! Installs the peers that the tests talk to. Only what is missing, and only with apt as root.

use crate::tools::{Failure, Project, find_program, run};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

/// A program, and the Debian packages that bring it.
struct Peer {
    program: &'static str,
    /// With these arguments it ends well only where all of it is there; without any it need not be tried.
    proof: &'static [&'static str],
    packages: &'static [&'static str],
}

const PEERS: &[Peer] = &[
    Peer { program: "swaks", proof: &[], packages: &["swaks"] },
    // swaks speaks TLS only with it.
    Peer { program: "perl", proof: &["-MNet::SSLeay", "-e", "1"], packages: &["libnet-ssleay-perl"] },
    Peer { program: "postfix", proof: &[], packages: &["postfix"] },
    // venv, node and npm are for the languages of plugins.
    Peer { program: "python3", proof: &["-c", "import ensurepip, venv"], packages: &["python3", "python3-venv"] },
    Peer { program: "node", proof: &[], packages: &["nodejs"] },
    Peer { program: "npm", proof: &[], packages: &["npm"] },
    // A zone signed with DNSSEC, and a server for it.
    Peer { program: "nsd", proof: &[], packages: &["nsd"] },
    Peer { program: "ldns-signzone", proof: &[], packages: &["ldnsutils"] },
    // Signatures that we did not make; ARC's need authres.
    Peer { program: "dkimsign", proof: &[], packages: &["python3-dkim", "python3-authres"] },
    Peer { program: "rspamd", proof: &[], packages: &["rspamd"] },
    Peer { program: "chromium", proof: &[], packages: &["chromium"] },
    // Hosts on addresses that change, and what they ask for.
    Peer { program: "ddclient", proof: &[], packages: &["ddclient"] },
    Peer { program: "inadyn", proof: &[], packages: &["inadyn"] },
    Peer { program: "fetchmail", proof: &[], packages: &["fetchmail"] },
    Peer { program: "haproxy", proof: &[], packages: &["haproxy"] },
    Peer { program: "curl", proof: &[], packages: &["curl"] },
    // Faults: of system calls, and of the clock.
    Peer { program: "strace", proof: &[], packages: &["strace"] },
    Peer { program: "faketime", proof: &[], packages: &["faketime"] },
    Peer { program: "nmap", proof: &[], packages: &["nmap"] },
];

/// Postfix asks what it shall be; tests bring their own configuration.
const ANSWERS: &str = "postfix postfix/main_mailer_type select No configuration\n";

pub(crate) fn install_missing(project: &Project) -> Result<(), Failure> {
    let missing = missing(is_whole);
    if missing.is_empty() {
        eprintln!("{} are there", PEERS.iter().map(|peer| peer.program).collect::<Vec<_>>().join(", "));
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if find_program("apt-get").is_none() {
        let what = format!("the tests need {}: install them as your system does", missing.join(", "));
        return Err(Failure::Other(format!("{what} (on Debian: {install})")));
    }
    if !is_root() {
        return Err(Failure::Other(format!("the tests need {}; run as root: {install}", missing.join(", "))));
    }
    answer_questions(project)?;
    run(&mut apt(project, &["update"]))?;
    run(apt(project, &["install", "-y", "--no-install-recommends"]).args(missing))
}

fn missing(is_there: impl Fn(&Peer) -> bool) -> Vec<&'static str> {
    PEERS.iter().filter(|peer| !is_there(peer)).flat_map(|peer| peer.packages).copied().collect()
}

fn is_whole(peer: &Peer) -> bool {
    let Some(program) = find_program(peer.program) else { return false };
    let tried = || Command::new(program).args(peer.proof).stdout(Stdio::null()).stderr(Stdio::null()).status();
    peer.proof.is_empty() || tried().is_ok_and(|status| status.success())
}

fn apt(project: &Project, args: &[&str]) -> Command {
    let mut command = project.command("apt-get", &["-q", "-o", "Acquire::Retries=3"]);
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn answer_questions(project: &Project) -> Result<(), Failure> {
    let failed = |error| Failure::Start { command: "debconf-set-selections".into(), error };
    let mut debconf = project.command("debconf-set-selections", &[]).stdin(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = debconf.stdin.take() {
        stdin.write_all(ANSWERS.as_bytes()).map_err(failed)?;
    }
    let status = debconf.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(Failure::Program { command: "debconf-set-selections".into(), status }) }
}

/// The owner of what this process is in /proc; false where there is no /proc.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(missing(|_| true), Vec::<&str>::new());
        assert_eq!(missing(|peer| peer.program != "python3"), ["python3", "python3-venv"]);
        assert_eq!(
            missing(|_| false),
            [
                "swaks",
                "libnet-ssleay-perl",
                "postfix",
                "python3",
                "python3-venv",
                "nodejs",
                "npm",
                "nsd",
                "ldnsutils",
                "python3-dkim",
                "python3-authres",
                "rspamd",
                "chromium",
                "ddclient",
                "inadyn",
                "fetchmail",
                "haproxy",
                "curl",
                "strace",
                "faketime",
                "nmap"
            ]
        );
    }
}
