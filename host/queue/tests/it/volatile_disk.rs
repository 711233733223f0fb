//! A disk whose power can be cut after any event: what was not synced may be there, may not, or may be there in part.
//!
//! Data is kept by file and by sector, names by directory; syncing a file says nothing of its name.

use super::trace::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const SECTOR: usize = 512;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsynced {
    Gone,
    There,
    /// Each sector and each name for itself.
    InPart(u64),
}

#[derive(Default)]
pub(super) struct VolatileDisk {
    files: Vec<File>,
    /// As the process sees them.
    live: BTreeMap<PathBuf, usize>,
    names: BTreeMap<PathBuf, usize>,
    dirs: BTreeSet<PathBuf>,
    /// Moment and change, in order.
    pending_names: Vec<(usize, Names)>,
}

#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    pending: Vec<(usize, Change)>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Clone)]
enum Names {
    Add(PathBuf, usize),
    AddDir(PathBuf),
    Remove(PathBuf),
    /// All of it or nothing.
    Rename(PathBuf, PathBuf, usize),
}

impl VolatileDisk {
    pub(super) fn apply(&mut self, now: usize, event: &Event) {
        match event {
            Event::Create(path) if !self.live.contains_key(path) => {
                self.files.push(File::default());
                let file = self.files.len() - 1;
                self.live.insert(path.clone(), file);
                self.pending_names.push((now, Names::Add(path.clone(), file)));
            }
            Event::Write { path, at, bytes } => self.change(now, path, Change::Write(*at, bytes.clone())),
            Event::Truncate { path, length } => self.change(now, path, Change::Truncate(*length)),
            Event::Mkdir(path) => self.pending_names.push((now, Names::AddDir(path.clone()))),
            Event::Unlink(path) => {
                self.live.remove(path);
                self.pending_names.push((now, Names::Remove(path.clone())));
            }
            Event::Rename(from, to) => {
                if let Some(file) = self.live.remove(from) {
                    self.live.insert(to.clone(), file);
                    self.pending_names.push((now, Names::Rename(from.clone(), to.clone(), file)));
                }
            }
            Event::Synced { path, begun } => self.sync(path, *begun),
            Event::Create(_) | Event::Said(_) => {}
        }
    }

    fn change(&mut self, now: usize, path: &Path, change: Change) {
        if let Some(file) = self.live.get(path) {
            self.files[*file].pending.push((now, change));
        }
    }

    fn sync(&mut self, path: &Path, begun: usize) {
        match self.live.get(path) {
            Some(file) => {
                let file = &mut self.files[*file];
                let (before, since) = std::mem::take(&mut file.pending).into_iter().partition(|(at, _)| *at < begun);
                file.pending = since;
                let before: Vec<(usize, Change)> = before;
                before.into_iter().for_each(|(_, change)| change.apply(&mut file.synced, |_| true));
            }
            None => {
                let here = |names: &Names| names.dirs().contains(&Some(path));
                let pending = std::mem::take(&mut self.pending_names);
                let (before, since) = pending.into_iter().partition(|(at, names)| *at < begun && here(names));
                self.pending_names = since;
                let before: Vec<(usize, Names)> = before;
                before.into_iter().for_each(|(_, names)| names.apply(&mut self.names, &mut self.dirs));
            }
        }
    }

    /// Lays out below `to` what is found of `root` when the power is back.
    pub(super) fn after_power_loss(&self, unsynced: Unsynced, root: &Path, to: &Path) {
        let mut random = fastrand::Rng::with_seed(if let Unsynced::InPart(seed) = unsynced { seed } else { 0 });
        let mut stays = || match unsynced {
            Unsynced::Gone => false,
            Unsynced::There => true,
            Unsynced::InPart(_) => random.bool(),
        };
        let (mut names, mut dirs) = (self.names.clone(), self.dirs.clone());
        for (_, change) in &self.pending_names {
            if stays() {
                change.clone().apply(&mut names, &mut dirs);
            }
        }
        for dir in &dirs {
            fs::create_dir_all(to.join(dir.strip_prefix(root).unwrap())).unwrap();
        }
        for (path, file) in names {
            let there = path.parent().is_some_and(|parent| parent == root || dirs.contains(parent));
            let File { mut synced, pending } = self.files[file].clone();
            pending.into_iter().for_each(|(_, change)| change.apply(&mut synced, |_| stays()));
            if there {
                fs::write(to.join(path.strip_prefix(root).unwrap()), synced).unwrap();
            }
        }
    }
}

impl Change {
    /// Only the sectors that `stays` lets through.
    fn apply(self, content: &mut Vec<u8>, mut stays: impl FnMut(usize) -> bool) {
        match self {
            Self::Truncate(length) => {
                if stays(0) {
                    content.resize(length, 0);
                }
            }
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                let mut from = at;
                while from < end {
                    let until = ((from / SECTOR + 1) * SECTOR).min(end);
                    if stays(from) {
                        content.resize(content.len().max(until), 0);
                        content[from..until].copy_from_slice(&bytes[from - at..until - at]);
                    }
                    from = until;
                }
            }
        }
    }
}

impl Names {
    fn dirs(&self) -> [Option<&Path>; 2] {
        match self {
            Self::Add(path, _) | Self::AddDir(path) | Self::Remove(path) => [path.parent(), None],
            Self::Rename(from, to, _) => [from.parent(), to.parent()],
        }
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>, dirs: &mut BTreeSet<PathBuf>) {
        match self {
            Self::Add(path, file) => drop(names.insert(path, file)),
            Self::AddDir(path) => drop(dirs.insert(path)),
            Self::Remove(path) => drop(names.remove(&path)),
            Self::Rename(from, to, file) => {
                names.remove(&from);
                names.insert(to, file);
            }
        }
    }
}
