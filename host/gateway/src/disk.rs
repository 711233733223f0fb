//! Whether the disk has room for more mail: free space and inodes of the data directory, looked at each second, and
//! between two looks reckoned from what is written.
//!
//! Stops new mail before a write fails. Never stops deliveries, which free what they have delivered.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What must stay free; 0 asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// In bytes.
    pub space: u64,
    pub inodes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// In bytes, for us.
    pub space: u64,
    /// None: this file system does not count them.
    pub inodes: Option<u64>,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Low {
    Space,
    Inodes,
}

impl Low {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Space => "space",
            Self::Inodes => "inodes",
        }
    }
}

#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    watermarks: Watermarks,
    seen: Mutex<Seen>,
    /// Bytes of mail that will be written once more, into the queue.
    waiting: AtomicU64,
}

/// The part of one mail that is on disk before its end; given back when dropped.
#[derive(Debug)]
pub struct Waiting {
    disk: Arc<Disk>,
    bytes: u64,
}

/// At the last look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// None: it could not be looked at, which stops nothing.
    pub free: Option<Free>,
    pub low: Option<Low>,
}

impl Disk {
    /// `path` must be there already.
    pub fn new(path: PathBuf, watermarks: Watermarks) -> Arc<Self> {
        let disk = Self { path, watermarks, seen: Mutex::default(), waiting: AtomicU64::default() };
        disk.look();
        Arc::new(disk)
    }

    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A mail of so many bytes, as its client announced, would leave enough. It is there twice for a moment: as it
    /// came in, and in the queue. So are those that are on their way in.
    pub fn has_room_for(&self, size: u64) -> bool {
        let Seen { free, low } = self.seen();
        let taken = self.watermarks.space.saturating_add(self.waiting.load(Ordering::Relaxed));
        let left = |free: Free| free.space.saturating_sub(taken);
        low.is_none() && free.is_none_or(|free| self.watermarks.space == 0 || left(free) >= size.saturating_mul(2))
    }

    /// For a mail that begins.
    pub fn waiting(self: &Arc<Self>) -> Waiting {
        Waiting { disk: self.clone(), bytes: 0 }
    }

    /// Until told to stop.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
            let this = self.clone();
            // A disk that hangs keeps this look from ending; mail is then stopped by its own writes.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    fn look(&self) {
        let free = free(&self.path);
        if let Err(error) = &free {
            warn!(path = %self.path.display(), %error, "free space is not known");
        }
        self.see(|_| free.ok());
    }

    fn see(&self, free: impl FnOnce(Option<Free>) -> Option<Free>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, free) = (*seen, free(seen.free));
        let low = free.and_then(|free| self.watermarks.low(free, before.low));
        *seen = Seen { free, low };
        drop(seen);
        match (before.low, low, free) {
            (None, Some(low), Some(free)) => {
                warn!(
                    of = low.as_str(),
                    free = free.space,
                    inodes = free.inodes,
                    "the disk is nearly full: no new mail"
                );
            }
            (Some(_), None, _) => info!("the disk has room again: mail is accepted"),
            _ => {}
        }
    }
}

impl Waiting {
    /// So many bytes of it have been written. Many write at once, and a second is long: the next look is not waited for.
    pub fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.disk.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.disk.see(|free| free.map(|free| Free { space: free.space.saturating_sub(bytes), ..free }));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.disk.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl Disk {
    /// As if it had been looked at.
    pub fn pretend(&self, space: u64) {
        self.see(|_| Some(Free { space, inodes: None }));
    }
}

impl Watermarks {
    /// An eighth more than the mark ends it, so that it does not come and go with each mail.
    fn low(self, free: Free, before: Option<Low>) -> Option<Low> {
        let enough = |mark: u64, of: Low| if before == Some(of) { mark.saturating_add(mark / 8) } else { mark };
        if free.space < enough(self.space, Low::Space) {
            return Some(Low::Space);
        }
        let inodes = free.inodes?;
        (inodes < enough(self.inodes, Low::Inodes)).then_some(Low::Inodes)
    }
}

fn free(path: &std::path::Path) -> io::Result<Free> {
    let stat = rustix::fs::statvfs(path)?;
    // Some file systems make inodes as they are needed, and say that they have none.
    let inodes = (stat.f_files > 0).then_some(stat.f_favail);
    Ok(Free { space: stat.f_bavail.saturating_mul(stat.f_frsize), inodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Watermarks = Watermarks { space: 800, inodes: 80 };

    fn low(space: u64, inodes: u64, before: Option<Low>) -> Option<Low> {
        MARKS.low(Free { space, inodes: Some(inodes) }, before)
    }

    #[test]
    fn new_mail_stops_below_the_mark_and_starts_well_above_it() {
        assert_eq!(low(800, 80, None), None);
        assert_eq!(low(799, 80, None), Some(Low::Space));
        assert_eq!(low(899, 80, Some(Low::Space)), Some(Low::Space));
        assert_eq!(low(900, 80, Some(Low::Space)), None);
        assert_eq!(low(800, 79, None), Some(Low::Inodes));
        assert_eq!(low(800, 89, Some(Low::Inodes)), Some(Low::Inodes));
        assert_eq!(low(800, 90, Some(Low::Inodes)), None);
        assert_eq!(MARKS.low(Free { space: 800, inodes: None }, None), None);
        assert_eq!(Watermarks::default().low(Free { space: 0, inodes: Some(0) }, None), None);
    }

    #[test]
    fn what_is_on_its_way_in_is_reckoned_before_the_next_look() {
        let disk = Disk::new(PathBuf::from("."), MARKS);
        disk.pretend(2000);
        let (mut one, mut other) = (disk.waiting(), disk.waiting());
        assert!(disk.has_room_for(600));
        one.add(200);
        assert!(disk.has_room_for(400) && !disk.has_room_for(401), "200 are written, and will be once more");
        other.add(1001);
        assert_eq!(disk.seen().low, Some(Low::Space), "no look was needed");
        drop((one, other));
        disk.pretend(2000);
        assert!(disk.seen().low.is_none() && disk.has_room_for(600), "and it is given back");
    }

    #[test]
    fn an_announced_size_must_fit_twice_above_the_mark() {
        let disk = Disk::new(PathBuf::from("."), Watermarks { space: 1, inodes: 0 });
        let free = disk.seen().free.unwrap();
        assert!(free.space > 0 && disk.has_room_for(0) && !disk.has_room_for(free.space / 2 + 1));
        let gone = Disk::new(PathBuf::from("/nowhere"), MARKS);
        assert!(gone.seen().free.is_none() && gone.has_room_for(1 << 40), "what is not known stops nothing");
    }
}
