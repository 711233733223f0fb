//! Promises of the configuration, each with files on a disk.

use super::*;
use std::{fs, path::Path};

mod golden;
mod keys;

/// A configuration in a directory of its own.
struct Files(tempfile::TempDir);

impl Files {
    /// The gateway's file; the machine has no usable name.
    fn gateway(text: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        fs::create_dir(files.path("domains")).unwrap();
        files.with("waypost.toml", text)
    }

    /// Only a domain's file says something of interest.
    fn domain(text: &str) -> Self {
        Self::gateway("hostname = 'mx1.example.net'").with("domains/example.org.toml", text)
    }

    fn with(self, name: &str, text: &str) -> Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load_on(&self.path("waypost.toml"), None)
    }

    #[track_caller]
    fn config(&self) -> Config {
        self.load().unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[track_caller]
    fn example_org(&self) -> DomainConfig {
        let name = "example.org".parse().unwrap();
        self.config().domains.get(&name).map(|domain| DomainConfig::clone(domain)).unwrap()
    }

    /// The messages with their hints.
    #[track_caller]
    fn mistakes(&self) -> Vec<String> {
        let errors = self.load().expect_err("a mistake is found");
        let one = |e: &ConfigError| format!("{}; {}", e.message, e.hint.clone().unwrap_or_default());
        errors.list().iter().map(one).collect()
    }
}
