//! The inputs that people wrote and the fuzzer found, and changed copies of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where each target has a directory.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Of one target, in order of name. Blocks; panics where there is none.
pub fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = directory().join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("it is read"))).collect()
}

/// The head of one input and the tail of another, then bytes flipped, left out or put in.
pub fn changed(inputs: &[(PathBuf, Vec<u8>)], random: &mut fastrand::Rng) -> Vec<u8> {
    const TELLING: [&[u8]; 8] = [b"\r\n", b"\r", b"\n", b"\0", b".", b"\r\n.\r\n", b"\xff", b" "];
    let (head, tail) = (&inputs[random.usize(..inputs.len())].1, &inputs[random.usize(..inputs.len())].1);
    let mut input = head[..random.usize(..=head.len())].to_vec();
    input.extend_from_slice(&tail[random.usize(..=tail.len())..]);
    for _ in 0..random.usize(..4) {
        let at = random.usize(..=input.len());
        match random.u8(..3) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 => drop(input.drain(at..input.len().min(at + random.usize(..5)))),
            _ => drop(input.splice(at..at, TELLING[random.usize(..TELLING.len())].iter().copied())),
        }
    }
    input
}
