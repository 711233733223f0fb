//! The journal as the gateway sees it: steps go in, and nobody waits.

use crate::{
    inbox::{Entry, Inbox},
    step::Step,
    writer::{Bounds, Writer},
};
use mail::{MailId, Timestamp};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
};

#[derive(Debug, thiserror::Error)]
#[error("cannot open the journal {path}: {reason}", path = .path.display())]
pub struct OpenError {
    path: PathBuf,
    reason: String,
}

/// Cheap to clone: all clones are one journal. One that is off takes nothing.
#[derive(Clone, Default)]
pub struct Journal(Option<Arc<Inner>>);

struct Inner {
    path: PathBuf,
    inbox: Arc<Inbox>,
    bounds: Arc<Mutex<Bounds>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    pub fn off() -> Self {
        Self(None)
    }

    /// Blocks.
    pub fn open(path: &Path, bounds: Bounds) -> Result<Self, OpenError> {
        let wrong = |reason: String| OpenError { path: path.to_owned(), reason };
        let (inbox, bounds) = (Arc::new(Inbox::default()), Arc::new(Mutex::new(bounds)));
        let writer = Writer::new(path.to_owned(), inbox.clone(), bounds.clone()).map_err(|e| wrong(e.to_string()))?;
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run());
        let thread = Mutex::new(Some(thread.map_err(|error| wrong(error.to_string()))?));
        Ok(Self(Some(Arc::new(Inner { path: path.to_owned(), inbox, bounds, thread }))))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Never waits; what there is no room for is counted.
    pub fn record(&self, id: MailId, at: Timestamp, step: Step) {
        if let Some(inner) = &self.0 {
            inner.inbox.push(Entry { id, at, step });
        }
    }

    pub fn set_bounds(&self, bounds: Bounds) {
        if let Some(inner) = &self.0 {
            *inner.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
        }
    }

    /// Steps that were lost.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.inbox.dropped.load(Ordering::Relaxed))
    }

    /// None when it is off.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|inner| inner.path.as_path())
    }

    /// Writes what waits, and ends. Blocks.
    pub fn close(&self) {
        let Some(inner) = &self.0 else { return };
        inner.inbox.close();
        let thread = inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
