//! One store with one instance: made, asked, measured, and thrown away when anything went wrong.

use crate::{
    bindings::exports::waypost::plugin::{on_message, on_offline, on_recipient, on_route, setup},
    bindings::waypost::plugin::types::Verdict,
    component::Loaded,
    settings::{Clock, TICK},
    state::{Hit, Lines, Meter, Profile, State, Subject},
    stdio::Printed,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline, component::ResourceTable};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder};

pub(crate) enum Question<'a> {
    Validate,
    Recipient(&'a str),
    Message,
    Route,
    Offline,
}

pub(crate) enum Answer {
    Validated(Result<(), String>),
    Verdict(Verdict),
    Routing(on_route::Routing),
    Action(on_offline::Action),
}

/// The exports that the gateway calls, type-checked.
pub(crate) struct Guest {
    pub(crate) setup: Option<setup::Guest>,
    pub(crate) on_recipient: Option<on_recipient::Guest>,
    pub(crate) on_message: Option<on_message::Guest>,
    pub(crate) on_route: Option<on_route::Guest>,
    pub(crate) on_offline: Option<on_offline::Guest>,
}

pub(crate) struct Slot {
    pub(crate) store: Store<State>,
    guest: Option<Guest>,
    pub(crate) uses: u32,
    pub(crate) idle_since: Instant,
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
    pub(crate) fn new(engine: &Engine, profile: &Arc<Profile>, live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        let live = Live(Arc::clone(live));
        let limits = &profile.limits;
        let lines = Arc::new(Lines::default());
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        let meter = Meter { memory_limit: limits.memory, table_limit: limits.table_elements, ..Meter::default() };
        let state = State {
            wasi: wasi(profile, &lines),
            profile: Arc::clone(profile),
            call: Default::default(),
            meter,
            lines,
            table,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(limits.host_call_bytes);
        store.set_max_component_handles(limits.handles);
        store.epoch_deadline_callback(next_epoch);
        Self { store, guest: None, uses: 0, idle_since: Instant::now(), _live: live }
    }

    pub(crate) fn begin(&mut self, subject: Subject) {
        let state = self.store.data_mut();
        state.begin(subject);
        state.meter.ticks = 0;
        state.meter.ticks_left = ticks(state.profile.limits.cpu);
        state.meter.hit = None;
        self.store.set_epoch_deadline(1);
    }

    /// Instantiates where needed. After an error, or when dropped half way, the slot is of no more use.
    pub(crate) async fn ask(&mut self, loaded: &Loaded, question: Question<'_>) -> wasmtime::Result<Answer> {
        let guest = match &self.guest {
            Some(guest) => guest,
            None => self.guest.insert(loaded.instantiate(&mut self.store).await?),
        };
        let answer = guest.ask(&mut self.store, question).await;
        self.store.data().meter.turn.end();
        answer
    }
}

impl Guest {
    async fn ask(&self, store: &mut Store<State>, question: Question<'_>) -> wasmtime::Result<Answer> {
        let missing = || wasmtime::format_err!("the plugin has no such hook");
        match question {
            Question::Validate => match &self.setup {
                Some(guest) => guest.call_validate(store).await.map(Answer::Validated),
                None => Ok(Answer::Validated(Ok(()))),
            },
            Question::Recipient(address) => {
                let guest = self.on_recipient.as_ref().ok_or_else(missing)?;
                guest.call_check_recipient(store, address).await.map(Answer::Verdict)
            }
            Question::Message => {
                let guest = self.on_message.as_ref().ok_or_else(missing)?;
                guest.call_check_message(store).await.map(Answer::Verdict)
            }
            Question::Route => {
                let guest = self.on_route.as_ref().ok_or_else(missing)?;
                guest.call_route(store).await.map(Answer::Routing)
            }
            Question::Offline => {
                let guest = self.on_offline.as_ref().ok_or_else(missing)?;
                guest.call_offline(store).await.map(Answer::Action)
            }
        }
    }
}

fn ticks(cpu: Duration) -> u32 {
    u32::try_from(cpu.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// At each epoch that ends in guest code: others get their turn, until the budget is spent.
fn next_epoch(mut store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    let meter = &mut store.data_mut().meter;
    meter.ticks += 1;
    match meter.ticks_left.checked_sub(1) {
        Some(left) => {
            meter.ticks_left = left;
            let (turn, turns) = (meter.turn.clone(), store.data().profile.turns.clone());
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(turn.next(turns))))
        }
        None => {
            meter.hit = Some(Hit::Cpu);
            Ok(UpdateDeadline::Interrupt)
        }
    }
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
