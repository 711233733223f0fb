//! Notices that files have changed, and waits until whoever writes them is done.
//!
//! The system tells of changes at once where it can; a look every few seconds finds what it did not tell.

use super::{Reloader, fingerprint, inputs::Stamp};
use crate::config::Config;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// After the last change nothing has happened for so long: the writer is done.
const QUIET: Duration = Duration::from_millis(200);
/// Somebody who writes all the time does not keep others' changes out.
const PATIENCE: Duration = Duration::from_millis(1000);
const POLL: Duration = Duration::from_secs(3);

/// A directory; never a file: editors put a new one in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    path: PathBuf,
    /// Another directory may come under the same name.
    inode: Option<u64>,
    /// What is below it counts too.
    deep: bool,
}

/// Directories with what is told about them.
struct Watched {
    watcher: RecommendedWatcher,
    places: BTreeSet<Place>,
    complete: bool,
}

impl Reloader {
    /// Until `shutdown`.
    pub async fn watch(self: Arc<Self>, shutdown: CancellationToken) {
        // One place is enough: what is told is only that there is something to look at.
        let (sender, mut told) = mpsc::channel(1);
        let mut watched = Watched::new(sender);
        self.follow(&mut watched).await;
        let mut seen = self.fingerprint().await;
        // What has changed since the start was told to nobody.
        self.look(false).await;
        loop {
            self.follow(&mut watched).await;
            let woken = tokio::select! {
                Some(()) = told.recv() => true,
                () = tokio::time::sleep(POLL) => false,
                () = shutdown.cancelled() => return,
            };
            if woken {
                settle(&mut told).await;
            }
            let mut now = self.fingerprint().await;
            while !woken && now != seen {
                // Whoever changed it may still be writing.
                tokio::time::sleep(QUIET).await;
                let later = self.fingerprint().await;
                if later == now {
                    break;
                }
                now = later;
            }
            // What is told is looked at even if it looks the same: stamps are coarser than writers are fast.
            if woken || now != seen || self.has_faults() {
                debug!(woken, "looking at the files");
                // Each domain is swapped whole, so that a look may end half way.
                tokio::select! {
                    _ = self.look(false) => {}
                    () = shutdown.cancelled() => return,
                }
            }
            seen = now;
        }
    }

    fn has_faults(&self) -> bool {
        !self.status().not_in_force.is_empty()
    }

    async fn fingerprint(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        let config = self.state.lock().await.config.clone();
        tokio::task::spawn_blocking(move || fingerprint(&config)).await.unwrap_or_default()
    }

    /// Directories come and go with what the files say.
    async fn follow(&self, watched: &mut Option<Watched>) {
        let places = places(&self.state.lock().await.config);
        let complete = watched.as_mut().is_some_and(|watched| watched.follow(places));
        self.set_watching(complete);
    }
}

/// Until nothing has happened for a while.
async fn settle(told: &mut mpsc::Receiver<()>) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let quiet = (Instant::now() + QUIET).min(patience);
        match timeout_at(quiet, told.recv()).await {
            Ok(Some(())) if Instant::now() < patience => {}
            Ok(None) => return sleep_until(quiet).await,
            _ => return,
        }
    }
}

impl Watched {
    /// None where the system has no way to tell, or no room for one more.
    fn new(sender: mpsc::Sender<()>) -> Option<Self> {
        let told = move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_of_interest(&event)) {
                let _ = sender.try_send(());
            }
        };
        match notify::recommended_watcher(told) {
            Ok(watcher) => Some(Self { watcher, places: BTreeSet::new(), complete: true }),
            Err(error) => {
                warn!(%error, "changes of files are not told by the system: they are looked for every few seconds");
                None
            }
        }
    }

    /// True when all of `places` are watched.
    fn follow(&mut self, places: BTreeSet<Place>) -> bool {
        if places == self.places && self.complete {
            return true;
        }
        for gone in self.places.difference(&places) {
            let _ = self.watcher.unwatch(&gone.path);
        }
        let mut complete = true;
        for Place { path, deep, .. } in &places {
            let mode = if *deep { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            if let Err(error) = self.watcher.watch(path, mode) {
                if self.complete {
                    warn!(path = %path.display(), %error, "cannot be watched: looked at every few seconds");
                }
                complete = false;
            }
        }
        (self.places, self.complete) = (places, complete);
        complete
    }
}

fn places(config: &Config) -> BTreeSet<Place> {
    let place = |path: &Path, deep: bool| {
        let inode = std::fs::metadata(path).ok().map(|found| found.ino());
        Place { path: path.to_owned(), inode, deep }
    };
    let beside = |file: &Path| match file.parent() {
        Some(parent) if parent != Path::new("") => place(parent, false),
        _ => place(Path::new("."), false),
    };
    let mut places = BTreeSet::from([beside(&config.file), place(&config.domain_dir, true)]);
    if let Some(tls) = &config.tls {
        places.extend([beside(&tls.certificate), beside(&tls.key)]);
    }
    if config.plugin_dir.is_dir() {
        places.insert(place(&config.plugin_dir, false));
    }
    places
}

/// Our own reading is told too, and so is the writing of logs and other files that happen to be near.
fn is_of_interest(event: &Event) -> bool {
    let (written, moved) = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) | EventKind::Modify(_) => (true, false),
        EventKind::Access(_) => (false, false),
        _ => (true, true),
    };
    let moved = moved || matches!(event.kind, EventKind::Modify(ModifyKind::Name(_)));
    let endings = ["toml", "wasm", "pem", "crt", "key"];
    // A name without an ending may be a directory that was moved into place, or a link to one.
    let is_ours = |path: &PathBuf| match path.extension() {
        Some(ending) => endings.iter().any(|known| ending == *known),
        None => moved,
    };
    written && (event.paths.is_empty() || event.need_rescan() || event.paths.iter().any(is_ours))
}
