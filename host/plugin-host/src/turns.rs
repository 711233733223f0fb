//! Who computes when many plugins do at once: calls that run long take turns on half of the cores,
//! so that short calls, and all else that the gateway does, always find a free one.
//!
//! A call is long once its first epoch has ended in guest code; most never get there.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A guest may keep its turn while it sleeps in a host call: nobody waits longer than this for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The turns that there are.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

/// One call's turn, if it has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turns {
    /// For a machine with so many cores.
    pub(crate) fn new(cores: usize) -> Self {
        Self(Arc::new(Semaphore::new((cores / 2).max(1))))
    }
}

impl Turn {
    pub(crate) fn end(&self) {
        self.set(None);
    }

    /// Goes to the end of the line and waits for its next turn.
    pub(crate) async fn next(self, turns: Turns) {
        self.end();
        // Whoever waits for a core goes first, also where nobody waits for a turn.
        tokio::task::yield_now().await;
        if let Ok(Ok(permit)) = tokio::time::timeout(PATIENCE, turns.0.acquire_owned()).await {
            self.set(Some(permit));
        }
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn long_calls_take_turns_and_none_waits_for_one_that_sleeps() {
        let turns = Turns::new(2);
        let (first, second) = (Turn::default(), Turn::default());
        first.clone().next(turns.clone()).await;
        let mut waits = Box::pin(second.clone().next(turns.clone()));
        assert!(tokio::time::timeout(PATIENCE / 2, &mut waits).await.is_err(), "there is one turn for two cores");
        first.end();
        waits.await;
        assert_eq!(turns.0.available_permits(), 0);

        // The second keeps its turn, as a guest does that sleeps.
        first.clone().next(turns.clone()).await;
        second.end();
        first.end();
        assert_eq!(turns.0.available_permits(), 1);
    }
}
