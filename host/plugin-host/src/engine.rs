//! The one engine behind all plugins, and the thread that interrupts guest code in steps of [`TICK`].

use crate::settings::{HostError, Limits, PoolLimits, TICK};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use wasmtime::{Config, Engine, PoolingAllocationConfig};

/// Of one component: Rust makes 4 or so, Python a few dozen.
pub(crate) const CORE_INSTANCES: u32 = 64;
pub(crate) const TABLES: u32 = 32;
pub(crate) const MEMORIES: u32 = 4;

/// Beside the guest's stack, for the host functions that it calls.
const HOST_STACK: usize = 1 << 20;
/// Kept mapped when a slot is freed, so that the next instance doesn't fault it in again.
const KEEP_RESIDENT: usize = 256 << 10;
const SWEEP: Duration = Duration::from_secs(1);

pub(crate) fn new(pool: &PoolLimits, largest: &Limits, meter_fuel: bool) -> Result<Engine, HostError> {
    let mut slots = PoolingAllocationConfig::new();
    slots
        .total_component_instances(pool.instances)
        .total_core_instances(pool.instances.saturating_mul(16))
        .total_memories(pool.instances.saturating_mul(2))
        .total_tables(pool.instances.saturating_mul(4))
        .total_stacks(pool.instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_tables_per_component(TABLES)
        .max_memories_per_component(MEMORIES)
        .max_memory_size(usize::try_from(largest.memory).unwrap_or(usize::MAX))
        .table_elements(largest.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(16 << 10);
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(meter_fuel)
        .max_wasm_stack(pool.stack)
        .async_stack_size(pool.stack.saturating_add(HOST_STACK))
        .allocation_strategy(slots);
    Engine::new(&config).map_err(|error| HostError::Engine(format!("{error:#}")))
}

/// Owns its thread; dropped, it stops.
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// `sweep` is called about once a second.
    pub(crate) fn start(engine: &Engine, sweep: impl Fn() + Send + 'static) -> Result<Self, HostError> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, engine) = (Arc::clone(&stop), engine.weak());
        let run = move || {
            let mut swept = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(TICK);
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
                if swept.elapsed() >= SWEEP {
                    swept = Instant::now();
                    sweep();
                }
            }
        };
        let thread = thread::Builder::new().name("plugin-epochs".to_owned()).spawn(run).map_err(HostError::Ticker)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        // The sweep may have held the last reference; a thread cannot wait for itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("the thread that interrupts plugins panicked");
        }
    }
}
