//! No plugins at all: a chain that has no opinion, for every domain.

use crate::{Binding, BoxFuture, Chain, ChainSource, Domain, HookSet, LoadError};
use std::{path::Path, sync::Arc};

#[derive(Clone, Copy, Debug, Default)]
pub struct NoPlugins;

impl Chain for NoPlugins {
    fn hooks(&self) -> HookSet {
        HookSet::default()
    }
}

impl ChainSource for NoPlugins {
    fn load<'a>(
        &'a self,
        _: &'a Domain,
        _: Option<&'a Path>,
        _: &'a [Binding],
    ) -> BoxFuture<'a, Result<Arc<dyn Chain>, Vec<LoadError>>> {
        Box::pin(async { Ok(Arc::new(Self) as Arc<dyn Chain>) })
    }
}
