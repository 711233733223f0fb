//! Programs that we did not write. A missing one fails the test, and says how to get it.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

/// Debian keeps some in /usr/sbin, which is not on everybody's path.
pub fn tool(name: &str) -> Command {
    let path = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"]
        .iter()
        .map(|dir| format!("{dir}/{name}"))
        .find(|path| std::path::Path::new(path).exists());
    Command::new(path.unwrap_or_else(|| panic!("{name} is missing: run `cargo xtask setup` as root")))
}

/// Runs a Python script with arguments; panics with its output when it fails.
pub fn python(script: &str, args: &[&str]) -> String {
    let mut child = tool("python3")
        .arg("-")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    child.stdin.take().expect("piped").write_all(script.as_bytes()).expect("written");
    checked("python3", child.wait_with_output().expect("ends"))
}

pub fn checked(what: &str, output: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what} failed with {}:\n{out}\n{err}", output.status);
    out.into_owned()
}
