//! Moves a damaged database out of the way, and puts what could be salvaged of it in its place. Nothing is deleted.
//!
//! Each step may be the last before a crash: the next start begins again, or goes on where the database has already gone.

use super::salvage::{Salvaged, salvage};
use super::segment;
use crate::fail_point::{self, FailPoint};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::{fs, iter};

const DATABASE: &str = "queue.sqlite";
/// Whatever of these stands beside a database belongs to it, and must never meet another one.
const BESIDE: [&str; 2] = ["queue.sqlite-wal", "queue.sqlite-shm"];
const SALVAGED: &str = "queue.sqlite.salvaged";
const SEGMENTS: &str = "segments";

#[derive(Debug, thiserror::Error)]
pub(super) enum SetAsideError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// Where the damaged database is now. The segments of its time are there too, by a second name.
pub(super) fn set_aside(dir: &Path) -> Result<(PathBuf, Salvaged), SetAsideError> {
    let new = dir.join(SALVAGED);
    remove(&new)?;
    remove(&dir.join(format!("{SALVAGED}-journal")))?;
    let salvaged = salvage(&dir.join(DATABASE), &new)?;
    fail_point::reached(FailPoint::Salvaged);
    let aside = place(dir)?;
    keep_segments(dir, &aside)?;
    segment::sync_dir(dir)?;
    fail_point::reached(FailPoint::SettingAside);
    exchange(dir, &aside)?;
    Ok((aside, salvaged))
}

/// A log that was damaged is read up to there, then lost: a copy is kept of it and of all that belongs to it.
pub(super) fn keep_copy(dir: &Path) -> io::Result<PathBuf> {
    let aside = place(dir)?;
    keep_segments(dir, &aside)?;
    for name in iter::once(DATABASE).chain(BESIDE) {
        match fs::copy(dir.join(name), aside.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// What a crash in the middle of `set_aside` has left.
pub(super) fn finish(dir: &Path) -> io::Result<()> {
    if !fs::exists(dir.join(DATABASE))? && fs::exists(dir.join(SALVAGED))? {
        let last = numbered(dir).take_while(|aside| aside.exists()).last();
        exchange(dir, &last.ok_or(ErrorKind::NotFound)?)?;
    }
    Ok(())
}

/// In this order: a log that had lost its database would be forgotten, and the next database would take it for its own.
fn exchange(dir: &Path, aside: &Path) -> io::Result<()> {
    move_there(dir, aside, DATABASE)?;
    segment::sync_dir(dir)?;
    fail_point::reached(FailPoint::SetAsideHalf);
    BESIDE.iter().try_for_each(|name| move_there(dir, aside, name))?;
    segment::sync_dir(dir)?;
    fail_point::reached(FailPoint::SetAside);
    fs::rename(dir.join(SALVAGED), dir.join(DATABASE))?;
    segment::sync_dir(dir)
}

fn numbered(dir: &Path) -> impl Iterator<Item = PathBuf> {
    (1_u32..).map(move |n| dir.join(format!("set-aside-{n}")))
}

/// One that a crash has left without its database is taken again.
fn place(dir: &Path) -> io::Result<PathBuf> {
    let aside = numbered(dir).find(|aside| !aside.join(DATABASE).exists());
    let aside = aside.ok_or_else(|| io::Error::other("too much was set aside"))?;
    fs::create_dir_all(aside.join(SEGMENTS))?;
    Ok(aside)
}

/// A second name takes no room, and outlives the first.
fn keep_segments(dir: &Path, aside: &Path) -> io::Result<()> {
    let (from, to) = (dir.join(SEGMENTS), aside.join(SEGMENTS));
    let segments = match segment::list(&from) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed?,
    };
    for (number, _) in segments {
        let (from, to) = (segment::path(&from, number), segment::path(&to, number));
        remove(&to)?;
        // Some file systems know one name only.
        fs::hard_link(&from, &to).or_else(|_| fs::copy(&from, &to).map(|_| ()))?;
    }
    segment::sync_dir(&to)?;
    segment::sync_dir(aside)
}

fn move_there(dir: &Path, aside: &Path, name: &str) -> io::Result<()> {
    match fs::rename(dir.join(name), aside.join(name)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
