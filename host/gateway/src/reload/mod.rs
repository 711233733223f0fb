//! Takes what the files say into force while mail goes on: check, swap, drain.
//!
//! Each domain by itself: what cannot be loaded leaves what it replaces in service. A session keeps what it
//! started with until its transaction ends, a delivery until its attempt ends.

mod inputs;
mod refresh;
mod status;
mod watch;

#[cfg(test)]
mod tests;

pub use inputs::{Files, Inputs};
pub use status::{Fault, Status};

use crate::{
    clock::Clock,
    config::{self, Config, ConfigError, Fixed, Place, Reading, TlsFiles},
    domains::{Domains, dedup},
    plugins::Plugins,
    tls::ServerTls,
};
use inputs::Stamp;
use mail::Domain;
use refresh::Memory;
use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tracing::{error, info, warn};

pub struct Reloader {
    domains: Arc<Domains>,
    plugins: Arc<dyn Plugins>,
    tls: Arc<ServerTls>,
    clock: Clock,
    /// As at the start.
    fixed: Fixed,
    /// Called with what is in force now.
    changed: Box<dyn Fn(&Config) + Send + Sync>,
    /// Locked while the files are looked at: one look at a time.
    state: tokio::sync::Mutex<State>,
    status: Mutex<Status>,
}

pub struct ReloaderParts {
    pub config: Config,
    pub domains: Arc<Domains>,
    pub plugins: Arc<dyn Plugins>,
    pub tls: Arc<ServerTls>,
    pub clock: Clock,
    pub changed: Box<dyn Fn(&Config) + Send + Sync>,
}

struct State {
    /// In force.
    config: Config,
    memory: Memory,
    tls: TlsSeen,
    /// So that each is logged once.
    told: HashSet<Fault>,
}

#[derive(Clone, Default, PartialEq)]
struct TlsSeen {
    files: Option<TlsFiles>,
    content: [Option<[u8; 32]>; 2],
    error: Option<String>,
}

/// What the files say now, read in one go.
struct Look {
    reading: Reading,
    gateway_errors: Vec<ConfigError>,
    needs_restart: Vec<String>,
    memory: Memory,
    connect: Inputs,
    domains: BTreeMap<Domain, Inputs>,
    tls: TlsSeen,
}

impl Reloader {
    pub fn new(parts: ReloaderParts) -> Arc<Self> {
        let ReloaderParts { config, domains, plugins, tls, clock, changed } = parts;
        let mut memory = Memory::default();
        let seen = tls_seen(&config, &mut memory.files);
        let status = Status {
            changed_at: clock.now().to_rfc3339(),
            domains: config.domains.len(),
            watching: true,
            ..Status::default()
        };
        let fixed = config.fixed();
        let state = tokio::sync::Mutex::new(State { config, memory, tls: seen, told: HashSet::new() });
        Arc::new(Self { domains, plugins, tls, clock, fixed, changed, state, status: Mutex::new(status) })
    }

    /// What the gateway was started with.
    pub fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at all files; when it returns, what could be taken is in force.
    pub async fn reload(&self) -> Status {
        self.look(true).await
    }

    /// `asked` by a person, who is told even if nothing has changed.
    async fn look(&self, asked: bool) -> Status {
        let mut state = self.state.lock().await;
        let memory = std::mem::take(&mut state.memory);
        let (config, fixed, plugins) = (state.config.clone(), self.fixed.clone(), self.plugins.clone());
        let looked = tokio::task::spawn_blocking(move || look(&config, &fixed, plugins.as_ref(), memory)).await;
        let Ok(mut look) = looked else {
            error!("not reloaded: looking at the files was interrupted");
            return self.status();
        };
        let mut errors = std::mem::take(&mut look.gateway_errors);
        errors.append(&mut look.reading.broken.clone());
        let mut changed = self.take_tls(&mut state.tls, look.tls, &look.reading.config, &mut errors);
        let (config, source) = (&look.reading.config, self.plugins.as_ref());
        changed |= refresh::connect(&self.domains, source, config, look.connect, &mut look.memory, &mut errors).await;
        let done = refresh::domains(&self.domains, source, &look.reading, &look.domains, &mut look.memory).await;
        errors.extend(done.errors);
        dedup(&mut errors);
        changed |= done.changed > 0;
        changed |= config.journal != state.config.journal || !config.limits_as(&state.config);
        if changed {
            (self.changed)(config);
        }
        (state.memory, state.config) = (look.memory, look.reading.config);
        let tally = Tally { asked, changed, domains: done.changed, chains: done.chains_loaded };
        self.tell(&mut state.told, &errors, look.needs_restart, &tally)
    }

    fn take_tls(&self, seen: &mut TlsSeen, now: TlsSeen, config: &Config, errors: &mut Vec<ConfigError>) -> bool {
        let same = seen.files == now.files && seen.content == now.content;
        let mut changed = false;
        if !same {
            let error = self.tls.load(config.tls.as_ref(), &config.hostname, &config.data_dir).err();
            changed = error.is_none();
            *seen = TlsSeen { error: error.map(|error| error.to_string()), ..now };
        }
        errors.extend(seen.error.iter().map(|text| Place::of_file(&config.file).error(format!("[tls]: {text}"), None)));
        changed
    }

    fn tell(&self, told: &mut HashSet<Fault>, errors: &[ConfigError], restart: Vec<String>, tally: &Tally) -> Status {
        let faults: Vec<Fault> = errors.iter().map(Fault::from).collect();
        for (error, _) in errors.iter().zip(&faults).filter(|(_, fault)| tally.asked || !told.contains(*fault)) {
            error!(%error, "not reloaded: what was there before goes on serving");
        }
        *told = faults.iter().cloned().collect();
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if !restart.is_empty() && (tally.asked || status.needs_restart != restart) {
            warn!(keys = restart.join(", "), "changed in waypost.toml, and taken at the next restart only");
        }
        let domains = self.domains.all().len();
        if tally.changed || (tally.asked && faults.is_empty()) {
            info!(domains, changed = tally.domains, chains = tally.chains, "reloaded");
        }
        if tally.changed {
            status.generation += 1;
            status.changed_at = self.clock.now().to_rfc3339();
        }
        (status.domains, status.not_in_force, status.needs_restart) = (domains, faults, restart);
        status.clone()
    }

    fn set_watching(&self, watching: bool) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).watching = watching;
    }
}

struct Tally {
    asked: bool,
    changed: bool,
    domains: usize,
    chains: usize,
}

/// Blocks on the disk. A gateway's file with a mistake leaves the old one in force, and the domains' are read all the same.
fn look(old: &Config, fixed: &Fixed, plugins: &dyn Plugins, mut memory: Memory) -> Look {
    let mut gateway_errors = Vec::new();
    let mut needs_restart = Vec::new();
    let mut reading = match Config::read(&old.file) {
        Ok(mut reading) => {
            needs_restart = config::needs_restart(&reading.config.fixed(), fixed);
            // Domains of another directory are the next start's.
            let moved = reading.config.domain_dir != old.domain_dir;
            reading.config.keep_fixed(old);
            if moved { reading.config.read_domains() } else { reading }
        }
        Err(errors) => {
            gateway_errors.extend(errors.into_list().into_iter().filter(|error| error.file == old.file));
            old.read_domains()
        }
    };
    if let Err(errors) = plugins.configure(&reading.config) {
        gateway_errors.extend(errors);
        reading.config.plugins = old.plugins.clone();
    }
    memory.files.begin();
    let config = &reading.config;
    let connect = memory.files.of_gateway(config);
    let domains =
        config.domains.iter().map(|(name, domain)| (name.clone(), memory.files.of_domain(config, domain))).collect();
    let tls = tls_seen(config, &mut memory.files);
    Look { gateway_errors, needs_restart, memory, connect, domains, tls, reading }
}

fn tls_seen(config: &Config, files: &mut Files) -> TlsSeen {
    let paths = config.tls.as_ref().map(|tls| [&tls.certificate, &tls.key]);
    let content = paths.map_or([None, None], |paths| paths.map(|path| files.hash(path)));
    TlsSeen { files: config.tls.clone(), content, error: None }
}

/// Everything that may change, as it looks from outside.
fn fingerprint(config: &Config) -> Vec<(PathBuf, Option<Stamp>)> {
    let mut paths = vec![config.file.clone()];
    paths.extend(config.tls.iter().flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]));
    let list = |dir: &std::path::Path, ending: &str| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
    };
    paths.extend(list(&config.plugin_dir, "wasm"));
    for file in list(&config.domain_dir, "toml") {
        paths.extend(list(&file.with_extension("").join("plugins"), "wasm"));
        paths.push(file);
    }
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), Stamp::of(&path).ok())).collect()
}
