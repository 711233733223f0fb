//! Finds out when a next hop takes mail again: one prober for each lane that is closed, with a growing wait.
//!
//! A next hop that cannot be reached is connected to; one that refuses gets one mail at a time.

use super::{deliver::Deliverer, lane::Lane};
use queue::Round;
use std::{sync::Arc, time::Duration};
use tracing::info;

pub const FIRST: Duration = Duration::from_millis(500);
const FIRST_TRIAL: Duration = Duration::from_secs(5);
const LAST_TRIAL: Duration = Duration::from_secs(60);

/// Tries to connect until the next hop lets us in, then wakes all that waits for it.
pub async fn until_back(lane: Arc<Lane>, first: Duration, deliverer: Arc<Deliverer>) {
    let mut wait = first;
    loop {
        tokio::select! {
            () = tokio::time::sleep(jittered(wait)) => {}
            () = lane.hurried() => {}
            () = deliverer.shutdown.cancelled() => return,
        }
        match deliverer.introduce(&lane.key).await {
            Ok(connection) => {
                connection.quit().await;
                deliverer.came_back(&lane).await;
                return;
            }
            Err(_) if deliverer.is_forgotten(&lane.key) => {
                lane.came_back(deliverer.clock.now());
                info!(next_hop = %lane.key.hop, "no domain names it any more, and nothing waits for it: no longer tried");
                return;
            }
            Err(failure) => {
                let other = lane.still_away(failure);
                let Some(away) = lane.away() else { return };
                if other {
                    deliverer.tell_away(&lane.key, &away);
                }
                wait = next(wait, deliverer.clock.now().since(away.since));
            }
        }
    }
}

/// Sends one mail at a time until one is taken, nobody waits, or the time is over for which refusals are doubted.
pub async fn until_taken(lane: Arc<Lane>, closing: u64, doubted: Duration, deliverer: Arc<Deliverer>) {
    let (mut wait, mut round) = (FIRST_TRIAL, Round::default());
    let end = deliverer.clock.now().plus(doubted);
    loop {
        tokio::select! {
            () = tokio::time::sleep(jittered(wait)) => {}
            () = lane.hurried() => {}
            () = deliverer.shutdown.cancelled() => return,
        }
        let now = deliverer.clock.now();
        if !lane.try_one(closing) {
            return;
        }
        if now >= end {
            lane.believe(closing);
            deliverer.wake(&lane.key);
            return;
        }
        let served = |domain: &mail::Domain| deliverer.is_served_by(&lane.key, domain);
        let woken = deliverer.queue.wake_one(&lane.key.hop, &mut round, now, served);
        if !woken && lane.reopen(closing) {
            return;
        }
        wait = (wait * 2).min(LAST_TRIAL);
    }
}

fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// Doubles, up to a tenth of the time away, but not under 5 s and not over 30 s: a short outage
/// ends within seconds, a long one costs little.
fn next(wait: Duration, away: Duration) -> Duration {
    (wait * 2).min((away / 10).clamp(Duration::from_secs(5), Duration::from_secs(30)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_never_more_than_half_a_minute_apart() {
        assert_eq!(next(FIRST, Duration::from_secs(1)), Duration::from_secs(1));
        assert_eq!(next(Duration::from_secs(4), Duration::from_secs(10)), Duration::from_secs(5));
        assert_eq!(next(Duration::from_secs(20), Duration::from_secs(86400)), Duration::from_secs(30));
    }
}
