//! Brings domains in line with their files, each by itself: one that cannot be loaded stays as it was.

use super::inputs::{Files, Inputs};
use crate::{
    config::{Config, ConfigError, DomainConfig, Reading},
    domains::{self, ConnectChain, DomainState, Domains, Table},
};
use mail::{ChainSource, Domain};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// What was not loadable is tried again after this time though its files are the same: the cause may have been elsewhere.
const AGAIN: Duration = Duration::from_secs(60);

/// Between two looks.
#[derive(Default)]
pub struct Memory {
    pub files: Files,
    failed: HashMap<Domain, Failed>,
    connect_failed: Option<Failed>,
}

struct Failed {
    config: Option<Arc<DomainConfig>>,
    inputs: Inputs,
    errors: Vec<ConfigError>,
    at: Instant,
}

/// What a look has come to.
#[derive(Default)]
pub struct Refreshed {
    pub errors: Vec<ConfigError>,
    /// Domains that were added, changed or removed.
    pub changed: usize,
    pub chains_loaded: usize,
}

impl Failed {
    fn is_the_same(&self, config: Option<&Arc<DomainConfig>>, inputs: &Inputs) -> bool {
        self.config.as_ref() == config && self.inputs == *inputs && self.at.elapsed() < AGAIN
    }
}

/// `reading` has the domains' files as they are now.
pub async fn domains(
    domains: &Domains,
    source: &dyn ChainSource,
    reading: &Reading,
    wanted: &BTreeMap<Domain, Inputs>,
    memory: &mut Memory,
) -> Refreshed {
    let (old, mut new, mut done) = (domains.all(), Table::new(), Refreshed::default());
    for (name, config) in &reading.config.domains {
        let inputs = wanted.get(name).cloned().unwrap_or_default();
        let before = old.get(name);
        if let Some(before) = before.filter(|before| before.config == *config && before.inputs == inputs) {
            memory.failed.remove(name);
            new.insert(name.clone(), before.clone());
            continue;
        }
        let known = memory.failed.get(name).filter(|failed| failed.is_the_same(Some(config), &inputs));
        let state = match known {
            Some(failed) => Err(failed.errors.clone()),
            None => state(&reading.config, config, inputs.clone(), before, source, &mut done.chains_loaded).await,
        };
        match state {
            Ok(state) => {
                memory.failed.remove(name);
                done.changed += 1;
                new.insert(name.clone(), Arc::new(state));
            }
            Err(errors) => {
                if known.is_none() {
                    let (config, errors, at) = (Some(config.clone()), errors.clone(), Instant::now());
                    memory.failed.insert(name.clone(), Failed { config, inputs, errors, at });
                }
                done.errors.extend(errors);
                new.extend(before.map(|before| (name.clone(), before.clone())));
            }
        }
    }
    keep_broken(&old, &mut new, reading);
    done.changed += old.keys().filter(|name| !new.contains_key(*name)).count();
    memory.failed.retain(|name, _| reading.config.domains.contains_key(name));
    if done.changed > 0 {
        domains.swap(new);
    }
    done
}

/// With the chain that is there, where nothing of it has changed.
async fn state(
    gateway: &Config,
    config: &Arc<DomainConfig>,
    inputs: Inputs,
    before: Option<&Arc<DomainState>>,
    source: &dyn ChainSource,
    loaded: &mut usize,
) -> Result<DomainState, Vec<ConfigError>> {
    if let Some(before) = before.filter(|before| before.inputs == inputs) {
        return Ok(before.with_config(config.clone()));
    }
    let chain = domains::load_chain(gateway, config, source).await?;
    *loaded += 1;
    Ok(DomainState::new(config.clone(), chain, inputs))
}

/// Domains whose files have a mistake, or may be there where nobody can see them, stay.
fn keep_broken(old: &Table, new: &mut Table, reading: &Reading) {
    let broken: HashSet<&PathBuf> = reading.broken.iter().map(|error| &error.file).collect();
    for (name, state) in old {
        if !new.contains_key(name) && (!reading.listed || broken.contains(&state.config.file)) {
            new.insert(name.clone(), state.clone());
        }
    }
}

/// The chain that is asked about connections; true when another one serves now.
pub async fn connect(
    domains: &Domains,
    source: &dyn ChainSource,
    config: &Config,
    inputs: Inputs,
    memory: &mut Memory,
    errors: &mut Vec<ConfigError>,
) -> bool {
    let before = domains.connect();
    let same = |before: &ConnectChain| before.inputs == inputs;
    if before.as_ref().map_or(config.chain.is_empty(), same) {
        memory.connect_failed = None;
        return false;
    }
    if let Some(failed) = memory.connect_failed.as_ref().filter(|failed| failed.is_the_same(None, &inputs)) {
        errors.extend(failed.errors.iter().cloned());
        return false;
    }
    match domains::load_connect(config, source, inputs.clone()).await {
        Ok(chain) => {
            memory.connect_failed = None;
            domains.swap_connect(chain);
            true
        }
        Err(found) => {
            let failed = Failed { config: None, inputs, errors: found.clone(), at: Instant::now() };
            memory.connect_failed = Some(failed);
            errors.extend(found);
            false
        }
    }
}
