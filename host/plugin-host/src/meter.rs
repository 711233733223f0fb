//! Counts what a guest uses, and remembers which limit stopped it.

use crate::{budget::Share, course::Course};
use wasmtime::ResourceLimiter;

#[derive(Debug)]
pub(crate) struct Meter {
    memory_limit: u64,
    table_limit: usize,
    /// Bytes of the host's work that the running call may still ask for.
    pub(crate) work_left: u64,
    /// Of all linear memories together, in bytes: they never shrink, so it is the most so far as well.
    pub(crate) memory: usize,
    /// Elements of all tables together.
    tables: usize,
    pub(crate) hit: Option<Hit>,
    pub(crate) course: Course,
    /// What its memory takes of the host's.
    share: Share,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Memory,
    /// The guest is within its own limit, but the memory for all guests is used up.
    HostMemory,
    Tables,
    Cpu,
    Work,
}

impl Meter {
    pub(crate) fn new(limits: &crate::Limits, share: Share) -> Self {
        Self {
            memory_limit: limits.memory,
            table_limit: limits.table_elements,
            work_left: 0,
            memory: 0,
            tables: 0,
            hit: None,
            course: Course::default(),
            share,
        }
    }

    /// For the next call.
    pub(crate) fn begin(&mut self, work: u64) {
        self.work_left = work;
        self.hit = None;
    }

    /// A guest may live with what it isn't given, but not make its failure forgotten.
    fn refuse(&mut self, hit: Hit) {
        if self.hit != Some(Hit::Work) {
            self.hit = Some(hit);
        }
    }

    /// False, and the call fails, where the host would work too much for it.
    pub(crate) fn charge(&mut self, bytes: usize) -> bool {
        match self.work_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.work_left = left;
                true
            }
            None => {
                self.work_left = 0;
                // The guest is interrupted at the next epoch; an answer that it gives before is not used.
                self.hit = Some(Hit::Work);
                false
            }
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let total = self.memory + more;
        if total as u64 > self.memory_limit {
            self.refuse(Hit::Memory);
            return Ok(false);
        }
        if !self.share.grow(more as u64) {
            self.refuse(Hit::HostMemory);
            return Ok(false);
        }
        self.memory = total;
        Ok(true)
    }
    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables + desired.saturating_sub(current);
        if total > self.table_limit {
            self.refuse(Hit::Tables);
            return Ok(false);
        }
        self.tables = total;
        Ok(true)
    }
    fn instances(&self) -> usize {
        crate::engine::CORE_INSTANCES as usize
    }
    fn tables(&self) -> usize {
        crate::engine::TABLES as usize
    }
    fn memories(&self) -> usize {
        crate::engine::MEMORIES as usize
    }
}
