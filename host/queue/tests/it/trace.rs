//! What a real process did to its files, in order, as strace saw it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Debug)]
pub(super) enum Event {
    Create(PathBuf),
    Write {
        path: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        length: usize,
    },
    Mkdir(PathBuf),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
    /// Of a file or a directory: what came before `begun` is on the disk.
    Synced {
        path: PathBuf,
        begun: usize,
    },
    /// To standard output.
    Said(String),
}

const CALLS: &str = "trace=openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink,mkdir";

/// A command that will be traced into `log`.
pub(super) fn traced(program: &Path, log: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-xx", "-s", "1000000", "-e", CALLS, "-o"]).arg(log).arg(program);
    command
}

/// What was done below `dir`, and what was said.
pub(super) fn read(log: &str, dir: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    // Calls during which another thread was seen: what they began with, and when.
    let mut unfinished: HashMap<&str, (&str, usize)> = HashMap::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ').map(|(thread, call)| (thread, call.trim_start())) else {
            continue;
        };
        if let Some(begin) = call.strip_suffix(" <unfinished ...>") {
            // A write may have come this far from its beginning on.
            match event(begin, events.len()) {
                Some(Event::Synced { .. }) | None => drop(unfinished.insert(thread, (begin, events.len()))),
                Some(event) => events.push(event),
            }
        } else if call.starts_with("<... ") {
            let succeeded = call.ends_with(" = 0");
            events.extend(unfinished.remove(thread).filter(|_| succeeded).and_then(|(call, begun)| event(call, begun)));
        } else if !call.contains(" = -1 ") {
            events.extend(event(call, events.len()));
        }
    }
    events.retain(|event| match event {
        Event::Said(_) => true,
        Event::Create(path) | Event::Mkdir(path) | Event::Unlink(path) | Event::Rename(path, _) => {
            path.starts_with(dir)
        }
        Event::Write { path, .. } | Event::Truncate { path, .. } | Event::Synced { path, .. } => path.starts_with(dir),
    });
    events
}

fn event(call: &str, begun: usize) -> Option<Event> {
    let (name, arguments) = call.split_once('(')?;
    let mut quoted = arguments.split('"').skip(1).step_by(2).map(bytes);
    // Behind the last string.
    let numbers = || arguments.rsplit('"').next().unwrap_or(arguments).split([',', ')']).map(str::trim);
    Some(match name {
        "openat" if arguments.contains("O_CREAT") => Event::Create(path(quoted.next()?)),
        "write" if arguments.starts_with("1<") => Event::Said(String::from_utf8(quoted.next()?).ok()?),
        "pwrite64" => {
            Event::Write { path: opened(arguments)?, at: numbers().nth(2)?.parse().ok()?, bytes: quoted.next()? }
        }
        "ftruncate" => Event::Truncate { path: opened(arguments)?, length: numbers().nth(1)?.parse().ok()? },
        "mkdir" => Event::Mkdir(path(quoted.next()?)),
        "unlink" => Event::Unlink(path(quoted.next()?)),
        "rename" => Event::Rename(path(quoted.next()?), path(quoted.next()?)),
        "fsync" | "fdatasync" => Event::Synced { path: opened(arguments)?, begun },
        _ => return None,
    })
}

/// Of the descriptor that comes first; none where its name has gone.
fn opened(arguments: &str) -> Option<PathBuf> {
    let (name, rest) = arguments.split_once('<')?.1.split_once('>')?;
    (!rest.starts_with("(deleted)")).then(|| path(bytes(name)))
}

fn path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8(bytes).unwrap().into()
}

fn bytes(escaped: &str) -> Vec<u8> {
    escaped.split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
}
