//! Where the data of large mails waits for its end: files without a name, so that nothing is left of them
//! whatever ends us.
//!
//! Promises nothing: what is here has not been answered for.

use super::data::Data;
use crate::{disk::Disk, memory::Budget};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::warn;

pub struct Incoming {
    dir: PathBuf,
    /// Of one mail in memory, in bytes; the rest goes to a file.
    pub(super) threshold: u64,
    pub(super) budget: Arc<Budget>,
    pub(super) disk: Arc<Disk>,
}

/// As `tempfile` names what cannot be made without a name on this file system; it loses its name at once.
const PREFIX: &str = ".tmp";

impl Incoming {
    /// Removes what an end in the wrong moment has left.
    pub fn open(data_dir: &Path, threshold: u64, budget: Arc<Budget>, disk: Arc<Disk>) -> io::Result<Arc<Self>> {
        let dir = data_dir.join("incoming");
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PREFIX)
                && let Err(error) = fs::remove_file(entry.path())
            {
                warn!(file = %entry.path().display(), %error, "a left file cannot be removed");
            }
        }
        Ok(Arc::new(Self { dir, threshold, budget, disk }))
    }

    /// For a mail that begins.
    pub fn begin(self: &Arc<Self>) -> Data {
        Data::new(self.clone())
    }

    pub(super) fn file(&self) -> io::Result<File> {
        tempfile::tempfile_in(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_has_left_is_removed_at_the_start_and_foreign_files_are_not() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("incoming");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(".tmpAbCdEf"), "half a mail").unwrap();
        fs::write(dir.join("notes"), "mine").unwrap();
        let disk = Disk::new(home.path().to_owned(), crate::disk::Watermarks::default());
        Incoming::open(home.path(), 1, Budget::new(1 << 20), disk).unwrap();
        let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes"]);
    }
}
