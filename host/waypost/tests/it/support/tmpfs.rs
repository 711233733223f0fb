//! A small disk of a test's own, in memory, that can be filled by space or by inodes. Needs root.

use super::tools::{checked, tool};
use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

/// Unmounted with the value.
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// `options` as of mount(8): `size=48m`, `nr_inodes=200`.
    pub fn mount(path: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&path).expect("made");
        let mut mount = tool("mount");
        mount.args(["-t", "tmpfs", "-o", options, "waypost-test"]).arg(&path);
        checked("mount (as root)", mount.output().expect("mount runs"));
        Self { path }
    }

    /// Takes all the space.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler(0)).expect("made");
        let piece = vec![0; 64 << 10];
        for step in [piece.len(), 4096, 1] {
            while filler.write_all(&piece[..step]).is_ok() {}
        }
    }

    /// As `fill`, once more.
    pub fn fill_more(&self) {
        let mut filler = File::options().append(true).open(self.filler(0)).expect("filled");
        while filler.write_all(&[0; 1]).is_ok() {}
    }

    /// Takes all but so many inodes.
    pub fn fill_inodes(&self, left: usize) {
        let made = (1..).take_while(|n| File::create(self.filler(*n)).is_ok()).count();
        (1..=left.min(made)).for_each(|n| fs::remove_file(self.filler(n)).expect("removed"));
    }

    /// What `fill` leaves when so many bytes of it are given back.
    pub fn give_back(&self, bytes: u64) {
        let filler = File::options().write(true).open(self.filler(0)).expect("filled");
        let len = filler.metadata().expect("known").len();
        filler.set_len(len.saturating_sub(bytes)).expect("cut");
    }

    /// As before it was filled.
    pub fn empty(&self) {
        for entry in fs::read_dir(&self.path).expect("mounted").flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
    }

    fn filler(&self, number: usize) -> PathBuf {
        self.path.join(format!("filler-{number}"))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Whoever still has files open there keeps them; nobody else sees the disk any more.
        let _ = tool("umount").arg("--lazy").arg(&self.path).status();
    }
}
