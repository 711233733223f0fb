//! Where calls go on that run long: threads that compute only while nothing else wants their processor.
//!
//! So a guest that computes for ever takes no time from sessions, deliveries and short calls of others.

use crate::{course::Course, settings::HostError};
use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinHandle};

/// Some until it is dropped.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn new(threads: usize) -> Result<Self, HostError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("plugin-long")
            .on_thread_start(step_back)
            .enable_all()
            .build()
            .map_err(HostError::Background)?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `call` here until its course is long, and from then on over there, where it computes only while it
    /// has one of `turns`. Dropped, it ends the call.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        mut call: Pin<Box<dyn Future<Output = T> + Send>>,
        course: &Course,
        turns: &Arc<Semaphore>,
    ) -> T {
        let ended = poll_fn(|context| {
            if course.is_long() {
                return Poll::Ready(None);
            }
            match call.as_mut().poll(context) {
                Poll::Ready(value) => Poll::Ready(Some(value)),
                Poll::Pending if course.is_long() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        });
        match (ended.await, &self.0) {
            (Some(value), _) => value,
            (None, None) => call.await,
            (None, Some(runtime)) => {
                match (&mut AbortOnDrop(runtime.spawn(in_turns(call, course.clone(), Arc::clone(turns)))).0).await {
                    Ok(value) => value,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    // Cancelled: only by the end of the runtime, and that outlives every call.
                    Err(_) => std::future::pending().await,
                }
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // It may be dropped where nobody is allowed to wait.
            runtime.shutdown_background();
        }
    }
}

/// Those of one domain compute one after the other, and together no more than those of another domain.
///
/// Who gives way keeps its turn until everybody else in the line has had theirs; who waits for something has none.
async fn in_turns<T>(mut call: Pin<Box<dyn Future<Output = T> + Send>>, course: Course, turns: Arc<Semaphore>) -> T {
    loop {
        // Nobody closes them.
        let turn = turns.acquire().await.ok();
        let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        if let Poll::Ready(value) = polled {
            return value;
        }
        let _kept = turn.filter(|_| course.gave_way());
        let mut woken = false;
        poll_fn(|_| if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The calling thread's: on Linux a policy belongs to a thread.
fn step_back() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        tracing::warn!(?error, "plugins that run long compete with the rest of the gateway");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    fn name() -> Option<String> {
        thread::current().name().map(str::to_owned)
    }

    fn turns(number: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(number))
    }

    #[tokio::test]
    async fn a_domain_with_many_long_calls_has_no_more_of_the_time_than_one_with_a_single_one() {
        let background = Arc::new(Background::new(1).unwrap());
        let (many, one) = (turns(1), turns(1));
        let spin = |course: &Course| {
            let course = course.clone();
            Box::pin(async move {
                for _ in 0..100 {
                    let started = std::time::Instant::now();
                    while started.elapsed() < std::time::Duration::from_micros(200) {}
                    course.give_way();
                    tokio::task::yield_now().await;
                }
            })
        };
        let long = || {
            let course = Course::default();
            course.set_long();
            course
        };
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (background, many, course) = (Arc::clone(&background), Arc::clone(&many), long());
            let call = spin(&course);
            crowd.spawn(async move { background.run(call, &course, &many).await });
        }
        tokio::task::yield_now().await;
        let course = long();
        background.run(spin(&course), &course, &one).await;
        let mut ended = 0;
        while crowd.try_join_next().is_some() {
            ended += 1;
        }
        assert_eq!(ended, 0, "of the crowd were done first");
    }

    #[tokio::test]
    async fn a_call_stays_where_it_began_until_it_is_long() {
        let (background, course) = (Background::new(1).unwrap(), Course::default());
        let short = Box::pin(async {
            tokio::task::yield_now().await;
            name()
        });
        assert_eq!(background.run(short, &course, &turns(1)).await, name());

        let turned_long = course.clone();
        let long = Box::pin(async move {
            let before = name();
            turned_long.set_long();
            tokio::task::yield_now().await;
            (before, name())
        });
        let (before, after) = background.run(long, &course, &turns(1)).await;
        assert_eq!((before, after.as_deref()), (name(), Some("plugin-long")));
    }

    #[tokio::test]
    async fn nobody_computes_for_a_caller_that_is_gone() {
        struct Told(Arc<AtomicBool>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let (background, course, ended) = (Background::new(1).unwrap(), Course::default(), Arc::default());
        course.set_long();
        let told = Told(Arc::clone(&ended));
        let endless = Box::pin(async move {
            let _told = told;
            loop {
                tokio::task::yield_now().await;
            }
        });
        let limit = std::time::Duration::from_millis(20);
        let ran: Result<(), _> = tokio::time::timeout(limit, background.run(endless, &course, &turns(1))).await;
        assert!(ran.is_err());
        while !ended.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn its_threads_compute_only_while_nobody_else_wants_to() {
        let course = Course::default();
        course.set_long();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let background = Background::new(1).unwrap();
        let policy = Box::pin(async { thread_priority::thread_schedule_policy() });
        let policy = runtime.block_on(background.run(policy, &course, &turns(1))).unwrap();
        assert_eq!(policy, ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
    }
}
