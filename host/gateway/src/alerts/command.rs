//! Runs a program for an alert: no shell, an environment of three variables, the JSON on its standard input.
//! Whoever takes too long is killed, with its children.

use super::notice::{Notice, short};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

const TIME: Duration = Duration::from_secs(30);
/// For output that is still in the pipe when the program has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Of output that is kept.
const KEPT: usize = 1024;

/// What it said first; Ok where it ended with 0.
pub async fn run(words: &[String], notice: &Notice) -> Result<String, String> {
    run_for(words, notice, TIME).await
}

async fn run_for(words: &[String], notice: &Notice, time: Duration) -> Result<String, String> {
    let [program, arguments @ ..] = words else { return Err("no program is configured".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.env("WAYPOST_EVENT", &notice.event).env("WAYPOST_DOMAIN", notice.domain.as_str());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let mut group = Group(child.id());
    let said = Said::default();
    let ended = timeout(time, to_its_end(&mut child, &notice.body, &said)).await;
    let Ok(ended) = ended else {
        return Err(format!("did not end within {} s: killed", time.as_secs()));
    };
    group.0 = None;
    let status = ended.map_err(|error| error.to_string())?;
    let line = said.first_line();
    let told = match status.code() {
        Some(code) => format!("ended with {code}"),
        None => format!("{status}"),
    };
    let told = if line.is_empty() { told } else { format!("{told}: {line}") };
    if status.success() { Ok(told) } else { Err(told) }
}

/// Its process group, killed unless it has ended.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may be gone already.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// The beginnings of what came out.
#[derive(Default)]
struct Said {
    out: Mutex<Vec<u8>>,
    err: Mutex<Vec<u8>>,
}

impl Said {
    fn first_line(&self) -> String {
        let line = |kept: &Mutex<Vec<u8>>| {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let text = String::from_utf8_lossy(&kept).trim().to_owned();
            short(text.lines().next().unwrap_or_default())
        };
        let out = line(&self.out);
        if out.is_empty() { line(&self.err) } else { out }
    }
}

async fn to_its_end(child: &mut Child, body: &str, said: &Said) -> std::io::Result<ExitStatus> {
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program need not read it.
            let _ = stdin.write_all(body.as_bytes()).await;
        }
    };
    let talk = async { tokio::join!(write, drain(out, &said.out), drain(err, &said.err)) };
    tokio::pin!(talk);
    let mut silent = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = &mut talk, if !silent => silent = true,
        }
    };
    if !silent {
        // A child of its own may keep the pipes open for long.
        let _ = timeout(LAST_WORDS, talk).await;
    }
    status
}

/// Reads all, so that the program never waits; keeps the beginning.
async fn drain(from: Option<impl AsyncRead + Unpin>, kept: &Mutex<Vec<u8>>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(kept.len());
        kept.extend(buffer.iter().take(read.min(room)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AlertTarget;
    use mail::{MailId, Timestamp};
    use std::time::Instant;

    fn notice() -> Notice {
        Notice {
            id: MailId::from_u128(1),
            place: 0,
            target: AlertTarget::Command(vec![]),
            domain: "a.example".parse().unwrap(),
            event: "next-hop.offline".to_owned(),
            at: Timestamp::from_secs(1000),
            body: "{\"a\":1}".to_owned(),
        }
    }

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn it_reads_the_alert_and_has_no_environment_but_its_own() {
        let script =
            "read body; echo \"$body $(env | sort | cut -d= -f1 | tr '\\n' ' ')$WAYPOST_EVENT $WAYPOST_DOMAIN\"";
        let said = run(&shell(script), &notice()).await.unwrap();
        let body = "ended with 0: {\"a\":1}";
        assert!(said.starts_with(body) && said.ends_with("next-hop.offline a.example"), "{said}");
        assert!(said.contains("PATH") && !said.contains("CARGO") && !said.contains("HOME"), "{said}");
    }

    #[tokio::test]
    async fn an_exit_code_or_a_signal_is_no_acceptance() {
        assert_eq!(run(&shell("echo no >&2; exit 3"), &notice()).await, Err("ended with 3: no".to_owned()));
        assert!(run(&shell("kill -9 $$"), &notice()).await.unwrap_err().contains("signal"));
        assert!(run(&["/nowhere/at/all".to_owned()], &notice()).await.unwrap_err().contains("cannot start"));
    }

    #[tokio::test]
    async fn one_that_writes_without_end_of_line_and_reads_nothing_ends_all_the_same() {
        let said = run(&shell("head -c 1000000 /dev/zero | tr '\\0' x"), &notice()).await.unwrap();
        assert!(said.starts_with("ended with 0: xxx") && said.len() < 1000);
    }

    #[tokio::test]
    async fn one_that_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid_file.display());
        let said = run_for(&shell(&script), &notice(), Duration::from_secs(2)).await;
        assert_eq!(said, Err("did not end within 2 s: killed".to_owned()));
        let pid = std::fs::read_to_string(&pid_file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let deadline = Instant::now() + Duration::from_secs(20);
        // Gone, or a zombie that waits for whoever inherits it.
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_it_leaves_running_is_not_waited_for() {
        let began = Instant::now();
        let said = run(&shell("echo sent; sleep 25 & true"), &notice()).await;
        assert_eq!(said, Ok("ended with 0: sent".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}
