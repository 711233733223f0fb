//! Finds the configuration's files and reads them all.

use super::{Config, ConfigError, ConfigErrors, DomainConfig, domain_file, gateway_file, own_address::OwnAddresses};
use mail::Domain;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use toml_keys::{Noted, Source};

/// A gateway's file without a mistake, with those of the domains' files that have none.
pub struct Reading {
    pub config: Config,
    /// What is wrong with the others.
    pub broken: Vec<ConfigError>,
    /// False when nobody knows which domains there are.
    pub listed: bool,
}

impl Config {
    /// Reads `file` and the files of its `domain-dir`. Blocks on the disk.
    pub fn load(file: &Path) -> Result<Self, ConfigErrors> {
        Self::load_on(file, system_hostname().as_deref())
    }

    /// As `load`, but a mistake in a domain's file leaves only that domain out. Blocks on the disk.
    pub fn read(file: &Path) -> Result<Reading, ConfigErrors> {
        Self::read_on(file, system_hostname().as_deref())
    }

    /// The domains' files alone, with the gateway's as it was. Blocks on the disk.
    pub fn read_domains(&self) -> Reading {
        let errors = Noted::default();
        let domains = read_domains(self, &errors);
        let listed = domains.is_some();
        let config = Self { domains: domains.unwrap_or_default(), ..self.clone() };
        Reading { config, broken: errors.into_inner(), listed }
    }

    pub(super) fn load_on(file: &Path, system_hostname: Option<&str>) -> Result<Self, ConfigErrors> {
        let Reading { config, broken, .. } = Self::read_on(file, system_hostname)?;
        if broken.is_empty() { Ok(config) } else { Err(ConfigErrors::new(file, broken)) }
    }

    fn read_on(file: &Path, system_hostname: Option<&str>) -> Result<Reading, ConfigErrors> {
        let errors = Noted::default();
        // `./data` reads worse than `data`.
        let base = file.parent().filter(|parent| *parent != Path::new(".")).unwrap_or(Path::new(""));
        let config = read_text(file, &errors).map(|text| {
            let source = Source { file, text: &text, noted: &errors, top_keys: gateway_file::TOP_KEYS };
            let mut config = gateway_file::read(&source, base, system_hostname);
            let sound = errors.borrow().is_empty();
            let domains = read_domains(&config, &errors);
            let listed = domains.is_some();
            config.domains = domains.unwrap_or_default();
            (config, sound, listed)
        });
        let errors = errors.into_inner();
        match config {
            Some((config, true, listed)) => Ok(Reading { config, broken: errors, listed }),
            _ => Err(ConfigErrors::new(file, errors)),
        }
    }
}

/// None when the directory cannot be listed.
fn read_domains(config: &Config, errors: &Noted) -> Option<BTreeMap<Domain, Arc<DomainConfig>>> {
    let own = OwnAddresses { hostname: &config.hostname, listeners: &config.listeners };
    let mut domains: BTreeMap<Domain, Arc<DomainConfig>> = BTreeMap::new();
    let mut files: BTreeMap<Domain, PathBuf> = BTreeMap::new();
    for file in domain_files(&config.domain_dir, errors)? {
        let Some(name) = domain_of(&file, errors) else { continue };
        if let Some(other) = files.insert(name.clone(), file.clone()) {
            let message = format!("{} is for the same domain, {name}", other.display());
            errors.borrow_mut().push(ConfigError::of_file(&file, message, "keep one of the two files"));
            continue;
        }
        let Some(text) = read_text(&file, errors) else { continue };
        let source = Source { file: &file, text: &text, noted: errors, top_keys: domain_file::TOP_KEYS };
        let mistakes = errors.borrow().len();
        let domain = domain_file::read(&source, name.clone(), own_plugins(&file, &name), &own);
        if let Some(domain) = domain.filter(|_| errors.borrow().len() == mistakes) {
            domains.insert(name, Arc::new(domain));
        }
    }
    Some(domains)
}

/// Each `*.toml` in order of name. Hidden files, which editors leave, are none of ours.
fn domain_files(directory: &Path, errors: &Noted) -> Option<Vec<PathBuf>> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|ending| ending == "toml") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    let listed = list().map_err(|error| {
        // A missing directory is told where it is configured.
        if error.kind() != io::ErrorKind::NotFound {
            let hint = "it holds one file for each domain, named <domain>.toml";
            errors.borrow_mut().push(ConfigError::of_file(directory, format!("cannot be listed: {error}"), hint));
        }
    });
    listed.ok()
}

fn domain_of(file: &Path, errors: &Noted) -> Option<Domain> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let domain = stem.and_then(|stem| stem.parse::<Domain>().ok()).filter(|domain| !domain.is_address_literal());
    if domain.is_none() {
        let message = "the file's name is not a domain and .toml";
        let hint = "name it after its domain, for instance example.org.toml";
        errors.borrow_mut().push(ConfigError::of_file(file, message, hint));
    }
    domain
}

/// `<domain>/plugins`, the domain spelt as in the file's name or canonically.
fn own_plugins(file: &Path, name: &Domain) -> Option<PathBuf> {
    let candidates = [file.with_extension(""), file.with_file_name(name.as_str())];
    candidates.into_iter().map(|directory| directory.join("plugins")).find(|directory| directory.is_dir())
}

fn read_text(file: &Path, errors: &Noted) -> Option<String> {
    let note = |message: String, hint: &str| {
        errors.borrow_mut().push(ConfigError::of_file(file, message, hint));
        None
    };
    match fs::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => Some(text),
        Ok(Err(_)) => note("is not UTF-8".into(), "TOML is UTF-8: save it in that encoding"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note("there is no such file".into(), "make it, or name another with --config FILE")
        }
        Err(error) => note(format!("cannot be read: {error}"), "check the file's owner and mode"),
    }
}

/// As the kernel knows it, else as it is set at boot.
fn system_hostname() -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|file| {
        let name = fs::read_to_string(file).ok()?.trim().to_owned();
        (!name.is_empty()).then_some(name)
    })
}
