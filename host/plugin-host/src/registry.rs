//! All bindings that are in use, for those who ask how they fare and for those who need their room.

use crate::bound::Bound;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

#[derive(Default)]
pub(crate) struct Registry(Mutex<Vec<Weak<Bound>>>);

impl Registry {
    pub(crate) fn bounds(&self) -> Vec<Arc<Bound>> {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|bound| bound.strong_count() > 0);
        list.iter().filter_map(Weak::upgrade).collect()
    }
    pub(crate) fn add(&self, bounds: &[Arc<Bound>]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bounds.iter().map(Arc::downgrade));
    }
    /// Drops instances that have been idle for longer.
    pub(crate) fn sweep(&self, idle: Duration) {
        self.bounds().iter().for_each(|bound| bound.sweep(idle));
    }
    pub(crate) fn evict_idle(&self) {
        self.sweep(Duration::ZERO);
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
