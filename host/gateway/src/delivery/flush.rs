//! Starts a domain's mail now, because its host asks for it.
//!
//! Anybody may ask, so a domain is started at most once in a while: who asks sooner gets the next start, which is
//! made by itself. Mail that a person or a plugin keeps stays where it is.

use super::{deliver::Deliverer, lane::Lane};
use mail::Domain;
use queue::{Filter, State};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use tracing::info;

/// Between two starts of one domain.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two starts of what the next hop has put off.
const PUT_OFF: Duration = Duration::from_secs(60);
/// Mails that are counted; beyond, this many are told.
const COUNTED: usize = 1000;

/// When each domain was started last, and what waited then.
#[derive(Default)]
pub struct Starts(Mutex<HashMap<Domain, Start>>, Mutex<HashMap<Domain, Instant>>);

struct Start {
    at: Instant,
    waiting: usize,
    /// The next start is on its way.
    planned: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Now,
    /// Who asks makes the next start, after this time.
    Later(Duration, usize),
    Planned(usize),
}

impl Starts {
    fn turn(&self, domain: &Domain, now: Instant) -> Turn {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match starts.get_mut(domain) {
            Some(start) if start.planned => Turn::Planned(start.waiting),
            Some(start) if now < start.at + PAUSE => {
                start.planned = true;
                Turn::Later(start.at + PAUSE - now, start.waiting)
            }
            _ => {
                starts.retain(|_, start| start.planned || now < start.at + PAUSE);
                starts.insert(domain.clone(), Start { at: now, waiting: 0, planned: false });
                Turn::Now
            }
        }
    }

    /// Once in `PUT_OFF` for each domain.
    fn may_hurry(&self, domain: &Domain, now: Instant) -> bool {
        let mut hurried = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        hurried.retain(|_, at| now < *at + PUT_OFF);
        let may = !hurried.contains_key(domain);
        if may {
            hurried.insert(domain.clone(), now);
        }
        may
    }

    fn started(&self, domain: &Domain, now: Instant, waiting: usize) {
        let start = Start { at: now, waiting, planned: false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.clone(), start);
    }
}

impl Deliverer {
    /// Its mail is tried now, or in a moment. How many recipients wait, as far as they are counted.
    pub async fn start_domain(self: &Arc<Self>, domain: &Domain) -> usize {
        match self.starts.turn(domain, Instant::now()) {
            Turn::Now => self.start_now(domain).await,
            Turn::Planned(waiting) => waiting,
            Turn::Later(wait, waiting) => {
                let (this, domain) = (self.clone(), domain.clone());
                self.tasks.spawn(async move {
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {
                            this.start_now(&domain).await;
                        }
                        () = this.shutdown.cancelled() => {}
                    }
                });
                waiting
            }
        }
    }

    async fn start_now(&self, domain: &Domain) -> usize {
        let of = |state| Filter { domain: Some(domain.clone()), state, ..Filter::default() };
        let waiting = self.queue.list(&of(None), COUNTED).await.iter().map(|listed| listed.recipients.len()).sum();
        self.starts.started(domain, Instant::now(), waiting);
        self.try_lanes(domain);
        // What waits for a next hop goes out as soon as that answers: until then there is no attempt to make.
        // What was put off keeps its time unless some time has passed: a stranger must not hammer a next hop with it.
        let hurried = match self.starts.may_hurry(domain, Instant::now()) {
            true => self.queue.retry(&of(Some(State::Deferred))).await,
            false => 0,
        };
        info!(%domain, waiting, hurried, "started");
        waiting
    }

    /// Next hops of the domain that are away are tried without waiting for their time.
    pub fn try_lanes(&self, domain: &Domain) {
        self.lanes_of(domain).iter().for_each(|lane| lane.try_now());
    }

    fn lanes_of(&self, domain: &Domain) -> Vec<Arc<Lane>> {
        let Some(state) = self.domains.get(domain) else { return Vec::new() };
        let is_its = |lane: &&Arc<Lane>| {
            lane.key.domain.as_ref().is_none_or(|owner| owner == domain) && state.reachable(&lane.key.hop).is_some()
        };
        self.lanes().into_iter().filter(|lane| is_its(&lane)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_off_is_hurried_once_a_minute() {
        let (starts, domain, now) = (Starts::default(), "example.org".parse().unwrap(), Instant::now());
        assert!(starts.may_hurry(&domain, now) && !starts.may_hurry(&domain, now + PUT_OFF / 2));
        assert!(starts.may_hurry(&domain, now + PUT_OFF));
    }

    #[test]
    fn who_asks_often_gets_a_start_now_and_one_later_and_no_more() {
        let (starts, domain, now) = (Starts::default(), "example.org".parse().unwrap(), Instant::now());
        assert_eq!(starts.turn(&domain, now), Turn::Now);
        starts.started(&domain, now, 7);
        assert_eq!(starts.turn(&domain, now + PAUSE / 2), Turn::Later(PAUSE / 2, 7));
        for _ in 0..100 {
            assert_eq!(starts.turn(&domain, now + PAUSE / 2), Turn::Planned(7));
        }
        starts.started(&domain, now + PAUSE, 0);
        assert_eq!(starts.turn(&domain, now + PAUSE * 2), Turn::Now);
    }

    #[test]
    fn domains_that_were_asked_for_once_are_forgotten() {
        let (starts, now) = (Starts::default(), Instant::now());
        for i in 0..100 {
            starts.turn(&format!("d{i}.example").parse().unwrap(), now + PAUSE * i);
        }
        assert_eq!(starts.0.lock().unwrap().len(), 1);
    }
}
