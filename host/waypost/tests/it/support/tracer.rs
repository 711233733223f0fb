//! strace on one thread of a gateway: makes calls of it fail, or last long.

use super::{gateway::Gateway, tools::tool, until};
use std::{
    fs,
    process::{Child, Command, Stdio},
};

/// Lets the thread go when dropped.
pub struct Tracer {
    strace: Child,
}

impl Tracer {
    /// `faults` are what strace's `inject=` takes, and count from now: `fsync:error=EIO:when=1`.
    pub fn attach(gateway: &Gateway<'_>, thread: &str, faults: &[&str]) -> Self {
        let id = until(&format!("a thread {thread}"), || thread_of(gateway.pid(), thread));
        let calls: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        let strace = tool("strace")
            .args(["-q", "-q", "-I", "1", "-o", "/dev/null", "-p", &id])
            .args(["-e", &format!("trace={}", calls.join(","))])
            .args(faults.iter().flat_map(|fault| ["-e".to_owned(), format!("inject={fault}")]))
            .stdin(Stdio::null())
            .spawn()
            .expect("strace starts");
        let mut tracer = Self { strace };
        let status = format!("/proc/{}/task/{id}/status", gateway.pid());
        until("strace to trace", || {
            // The fault may have ended the thread already.
            let has_ended =
                tracer.strace.try_wait().expect("asked").map(|status| assert!(status.success(), "strace failed"));
            let traced = fs::read_to_string(&status).unwrap_or_default();
            has_ended.or(traced.contains(&format!("TracerPid:\t{}\n", tracer.strace.id())).then_some(()))
        });
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Killed, it would leave the thread stopped.
        let _ = Command::new("kill").arg(self.strace.id().to_string()).stderr(Stdio::null()).status();
        let _ = self.strace.wait();
    }
}

fn thread_of(pid: u32, name: &str) -> Option<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the gateway runs");
    let is_it = |id: &String| {
        fs::read_to_string(format!("/proc/{pid}/task/{id}/comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    threads.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).find(is_it)
}
