//! One store with one instance: made, asked, measured, and thrown away when anything went wrong.

use crate::{
    component::Loaded,
    course::Course,
    guest::{Answer, Guest, Question},
    host::Shared,
    http::HttpHooks,
    meter::{Hit, Meter},
    pace::LONG,
    settings::Clock,
    state::{Call, Lines, Profile, State},
    stdio::Printed,
    subject::Subject,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use wasmtime::{Store, StoreContextMut, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder};
use wasmtime_wasi_http::WasiHttpCtx;

pub(crate) struct Slot {
    pub(crate) store: Store<State>,
    guest: Option<Guest>,
    pub(crate) uses: u32,
    pub(crate) idle_since: Instant,
    meters_fuel: bool,
    _live: Live,
}

/// Counts the stores of a host.
#[derive(Debug)]
struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    /// Cheap: the instance itself is made by the first question, under the call's limits.
    pub(crate) fn new(shared: &Shared, profile: &Arc<Profile>) -> Self {
        shared.live.fetch_add(1, Ordering::Relaxed);
        let live = Live(Arc::clone(&shared.live));
        let limits = &profile.limits;
        let lines = Arc::new(Lines::default());
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let state = State {
            wasi: wasi(profile, &lines),
            http: WasiHttpCtx::new(),
            http_hooks: HttpHooks::new(Arc::clone(&shared.http), &profile.grants, limits),
            profile: Arc::clone(profile),
            call: Call::default(),
            meter: Meter::new(limits, shared.budget.share()),
            lines,
            table,
        };
        let mut store = Store::new(&shared.engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(limits.host_call_bytes);
        store.set_max_component_handles(limits.handles);
        store.epoch_deadline_callback(next_epoch);
        Self { store, guest: None, uses: 0, idle_since: Instant::now(), meters_fuel: shared.meters_fuel, _live: live }
    }

    /// `time` is what the call has left of its own.
    pub(crate) fn begin(&mut self, subject: Subject, time: Duration) -> wasmtime::Result<()> {
        let state = self.store.data_mut();
        state.begin(subject);
        let limits = &state.profile.limits;
        state.meter.begin(limits.work);
        state.http_hooks.begin(time);
        self.store.set_epoch_deadline(1);
        if self.meters_fuel { self.store.set_fuel(u64::MAX) } else { Ok(()) }
    }

    /// Instantiates where needed. After an error, or when dropped half way, the slot is of no more use.
    pub(crate) async fn ask(&mut self, loaded: &Loaded, question: Question) -> wasmtime::Result<Answer> {
        let guest = match &self.guest {
            Some(guest) => guest,
            None => self.guest.insert(loaded.instantiate(&mut self.store).await?),
        };
        guest.ask(&mut self.store, question).await
    }

    pub(crate) fn course(&self) -> &Course {
        &self.store.data().meter.course
    }

    /// Instructions since the call began, where they are counted.
    pub(crate) fn fuel(&self) -> Option<u64> {
        if !self.meters_fuel {
            return None;
        }
        self.store.get_fuel().ok().map(|left| u64::MAX - left)
    }
}

/// At each epoch that ends in guest code: a call that has become long yields, until its budget is spent.
fn next_epoch(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let limit = store.data().profile.limits.cpu;
    let meter = &mut store.data_mut().meter;
    let spent = meter.course.spent_so_far();
    if spent >= limit || meter.hit == Some(Hit::Work) {
        // What it was refused before has not stopped it.
        if meter.hit != Some(Hit::Work) {
            meter.hit = Some(Hit::Cpu);
        }
        return Ok(UpdateDeadline::Interrupt);
    }
    if spent < LONG && !meter.course.is_long() {
        // A short call that was under way when the epoch ended.
        return Ok(UpdateDeadline::Continue(1));
    }
    meter.course.give_way();
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
}

/// Clocks, random numbers and bounded output; no files, no environment, no network.
fn wasi(profile: &Profile, lines: &Arc<Lines>) -> WasiCtx {
    let printed = Printed::new(Arc::clone(&profile.plugin), profile.domain.clone(), Arc::clone(lines));
    let mut builder = WasiCtxBuilder::new();
    builder
        .stdout(printed.clone())
        .stderr(printed)
        .wall_clock(WallClock(Arc::clone(&profile.clock)))
        .max_random_size(profile.limits.random_bytes)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false);
    builder.build()
}

struct WallClock(Clock);

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }
    fn now(&self) -> Duration {
        Duration::from_millis((self.0)().as_millis())
    }
}
