//! The time, handed in: tests set their own.

use mail::Timestamp;
use std::{sync::Arc, time::SystemTime};

#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub fn system() -> Self {
        Self(Arc::new(|| Timestamp::from_system(SystemTime::now())))
    }
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}
