//! Who computes when many plugins do at once: calls that run long take turns on half of the cores,
//! so that short calls, and all else that the gateway does, always find a free one.
//!
//! A call is long once its first epoch has ended in guest code; most never get there.

use crate::settings::TICK;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Nobody waits longer than this for a turn.
const PATIENCE: Duration = Duration::from_millis(500);
/// A guest that computes asks anew at each epoch. One that sleeps in a host call does not, and loses its turn.
const LONGEST: Duration = Duration::from_millis(4 * TICK.as_millis() as u64);

/// The turns that there are.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

/// One call's turn, if it has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    permit: Option<OwnedSemaphorePermit>,
    /// Counts turns, so that only the one that was meant is ended.
    number: u64,
}

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
            let number = self.set(Some(permit));
            tokio::spawn(async move {
                tokio::time::sleep(LONGEST).await;
                self.end_if(number);
            });
        }
    }

    fn end_if(&self, number: u64) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.number == number {
            held.permit = None;
        }
    }

    fn set(&self, permit: Option<OwnedSemaphorePermit>) -> u64 {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.permit = permit;
        held.number += 1;
        held.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn long_calls_take_turns_and_one_that_sleeps_loses_its_turn() {
        let turns = Turns::new(2);
        let (first, second) = (Turn::default(), Turn::default());
        first.clone().next(turns.clone()).await;
        let mut waits = Box::pin(second.clone().next(turns.clone()));
        assert!(tokio::time::timeout(LONGEST / 2, &mut waits).await.is_err(), "there is one turn for two cores");

        // The first does not come back, as a guest does that sleeps: the second need not wait for it.
        tokio::time::timeout(LONGEST, waits).await.expect("the turn is free");
        assert_eq!(turns.0.available_permits(), 0);
        first.end();
        assert_eq!(turns.0.available_permits(), 0, "the turn is the second's");
        second.end();
        assert_eq!(turns.0.available_permits(), 1);
    }
}
