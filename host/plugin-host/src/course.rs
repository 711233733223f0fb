//! How a call goes: its time on a processor, and whether it has turned out to be long.

use rustix::time::{ClockId, clock_gettime};
use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Of one slot; begun anew for each call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    long: AtomicBool,
    /// It has given way, though it has more to compute.
    yielded: AtomicBool,
    /// In nanoseconds, of the polls that have ended.
    spent: AtomicU64,
    /// The thread's time when the running poll began, in nanoseconds.
    poll_began: AtomicU64,
}

impl Course {
    pub(crate) fn begin(&self, long: bool) {
        self.0.long.store(long, Ordering::Relaxed);
        self.0.spent.store(0, Ordering::Relaxed);
    }

    /// The call gives way at once, and is long.
    pub(crate) fn give_way(&self) {
        self.set_long();
        self.0.yielded.store(true, Ordering::Relaxed);
    }

    /// Whether it stopped to give way, and not to wait for something.
    pub(crate) fn gave_way(&self) -> bool {
        self.0.yielded.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn is_long(&self) -> bool {
        self.0.long.load(Ordering::Relaxed)
    }

    pub(crate) fn set_long(&self) {
        self.0.long.store(true, Ordering::Relaxed);
    }

    /// Up to the last time that it waited.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.spent.load(Ordering::Relaxed))
    }

    /// Asked by the call itself.
    pub(crate) fn spent_so_far(&self) -> Duration {
        self.spent() + Duration::from_nanos(thread_time().saturating_sub(self.0.poll_began.load(Ordering::Relaxed)))
    }

    /// Counts the processor time of `call`: that of its thread, while it is polled. Waiting costs nothing.
    pub(crate) async fn of<F: Future>(&self, call: F) -> F::Output {
        let mut call = pin!(call);
        poll_fn(|context| {
            let began = thread_time();
            self.0.poll_began.store(began, Ordering::Relaxed);
            let polled = call.as_mut().poll(context);
            self.0.spent.fetch_add(thread_time().saturating_sub(began), Ordering::Relaxed);
            polled
        })
        .await
    }
}

/// In nanoseconds.
fn thread_time() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec);
    u64::try_from(nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn computing_is_counted_and_waiting_is_not() {
        let course = Course::default();
        course.of(tokio::time::sleep(Duration::from_secs(60))).await;
        assert!(course.spent() < Duration::from_millis(10), "{:?}", course.spent());

        course.begin(false);
        let started = Instant::now();
        let busy = async {
            while std::hint::black_box(started.elapsed()) < Duration::from_millis(20) {}
            course.spent_so_far()
        };
        let so_far = course.of(busy).await;
        assert!(so_far > Duration::ZERO && so_far <= course.spent(), "{so_far:?} of {:?}", course.spent());
        assert!(course.spent() <= started.elapsed(), "{:?}", course.spent());
    }
}
