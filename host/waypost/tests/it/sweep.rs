//! A part of the sweep of faults over system calls; `host/waypost/benches/sweep` is the whole of it.

use super::support::{
    gateway::{binary, root},
    tools::{checked, tool},
};

/// The process is killed, or gets an error, at some call of each sort on the spool: its first, its last and one between.
#[test]
fn a_kill_or_an_error_at_any_call_on_the_spool_loses_cuts_and_alters_nothing() {
    let results = tempfile::tempdir().expect("a temporary directory");
    let sweep = tool("python3")
        .arg(root().join("host/waypost/benches/sweep"))
        .args([
            "waypost",
            "--points",
            "1",
            "--mails",
            "24",
            "--calls",
            "write",
            "pwrite64",
            "fsync",
            "fdatasync",
            "unlink",
        ])
        .arg("--binary")
        .arg(binary())
        .arg("--results")
        .arg(results.path())
        .output();
    println!("{}", checked("the sweep", sweep.expect("python3 starts")));
}
