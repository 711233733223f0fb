//! Runs something again whenever a component or a scenario has changed, until it is interrupted.

use super::{PluginError, print_line};
use notify::{EventKind, RecursiveMode, Watcher};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// A build writes more than once.
const QUIET: Duration = Duration::from_millis(200);

/// Runs once at the start. What fails is told and waits for the next change; ends when the program is interrupted.
pub async fn watch(dirs: &[PathBuf], mut run: impl AsyncFnMut() -> Result<(), PluginError>) -> Result<(), PluginError> {
    let (changed, mut changes) = mpsc::channel(1);
    let noticed = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| matters(&event)) {
            // One that waits already stands for all.
            let _ = changed.try_send(());
        }
    };
    let failed = |error: notify::Error| PluginError::Failed(format!("waypost plugin test: cannot watch: {error}"));
    let mut watcher = notify::recommended_watcher(noticed).map_err(failed)?;
    for dir in dirs {
        watcher.watch(dir, RecursiveMode::NonRecursive).map_err(failed)?;
    }
    loop {
        if let Err(error) = run().await {
            print_line(&error.to_string());
        }
        print_line("waiting for changes; Ctrl-C ends");
        if changes.recv().await.is_none() {
            return Ok(());
        }
        while tokio::time::timeout(QUIET, changes.recv()).await.is_ok_and(|change| change.is_some()) {}
        print_line("");
    }
}

fn matters(event: &notify::Event) -> bool {
    let of_ours = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default();
        ["wasm", "toml", "eml"].iter().any(|known| Path::new(known).as_os_str() == ending)
    };
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(of_ours)
}
