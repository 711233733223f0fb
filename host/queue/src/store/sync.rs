//! The thread that makes bodies durable while the writer's commit does the same for records.

use super::segment;
use crate::fail_point::{self, FailPoint};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::{fs, io, thread};

/// Syncs a file, and the directory where its name is new, beside the writer.
pub(super) struct Syncer {
    work: Option<mpsc::Sender<(Arc<fs::File>, Option<PathBuf>)>>,
    done: mpsc::Receiver<io::Result<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start() -> io::Result<Self> {
        let (work, requests) = mpsc::channel::<(Arc<fs::File>, Option<PathBuf>)>();
        let (answers, done) = mpsc::channel();
        let run = move || {
            for (file, dir) in requests {
                if answers.send(sync(&file, dir.as_deref())).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("queue-sync".into()).spawn(run)?;
        Ok(Self { work: Some(work), done, thread: Some(thread) })
    }

    pub(super) fn start_sync(&self, file: Arc<fs::File>, dir: Option<PathBuf>) -> io::Result<()> {
        let gone = || io::Error::other("the thread that syncs segments is gone");
        self.work.as_ref().ok_or_else(gone)?.send((file, dir)).map_err(|_| gone())
    }

    pub(super) fn wait(&self) -> io::Result<()> {
        self.done.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs segments is gone")))
    }
}

fn sync(file: &fs::File, dir: Option<&Path>) -> io::Result<()> {
    file.sync_data()?;
    fail_point::may_fail(FailPoint::SegmentSynced)?;
    if let Some(dir) = dir {
        segment::sync_dir(dir)?;
        fail_point::may_fail(FailPoint::NameSynced)?;
    }
    Ok(())
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.work.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
