//! Processor time of a future: that of its thread, while it is polled. Waiting costs nothing.

use rustix::time::{ClockId, clock_gettime};
use std::{future::poll_fn, pin::pin, time::Duration};

/// Adds to `spent`, also when it is dropped half way.
pub(crate) async fn measured<F: Future>(future: F, spent: &mut Duration) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let before = thread_time();
        let polled = future.as_mut().poll(context);
        *spent += thread_time().saturating_sub(before);
        polled
    })
    .await
}

fn thread_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn computing_is_counted_and_waiting_is_not() {
        let (mut waited, mut computed) = (Duration::ZERO, Duration::ZERO);
        measured(tokio::time::sleep(Duration::from_secs(60)), &mut waited).await;
        let started = Instant::now();
        let busy = async { while thread_time_since(started) < Duration::from_millis(20) {} };
        measured(busy, &mut computed).await;
        assert!(waited < Duration::from_millis(10), "{waited:?}");
        assert!(computed > Duration::ZERO && computed <= started.elapsed(), "{computed:?}");
    }

    fn thread_time_since(started: Instant) -> Duration {
        std::hint::black_box(started.elapsed())
    }
}
