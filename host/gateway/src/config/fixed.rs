//! What of `waypost.toml` only a start takes: sockets, directories and limits that others were built on.

use super::Config;
use std::{collections::BTreeMap, path::Path};

/// By key, as text: enough to tell whether two differ.
pub type Fixed = BTreeMap<String, String>;

/// The engine has room for this much in each instance; a plugin may be given less at any time.
const PLUGIN_MEMORY: &str = "[plugins] memory";

impl Config {
    pub fn fixed(&self) -> Fixed {
        // However the file was named: the same place is the same.
        let path = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        let admin = super::Admin { token_file: path(&self.admin.token_file).into(), ..self.admin.clone() };
        let mut keys: Vec<(&str, String)> = vec![
            ("hostname", self.hostname.clone()),
            ("data-dir", path(&self.data_dir)),
            ("domain-dir", path(&self.domain_dir)),
            ("plugin-dir", path(&self.plugin_dir)),
            ("max-message-size", self.max_message_size.to_string()),
            ("max-mail-in-memory", self.room.max_mail_in_memory.to_string()),
            ("spool-threshold", self.room.spool_threshold.to_string()),
            ("min-free-space", self.room.watermarks.space.to_string()),
            ("min-free-inodes", self.room.watermarks.inodes.to_string()),
            ("max-recipients", self.max_recipients.to_string()),
            ("dsn-next-hop", format!("{:?}", self.dsn_next_hops)),
            ("max-dsn-per-hour", format!("{:?}", self.dsn_limits)),
            ("[timeouts]", format!("{:?}", self.timeouts)),
            ("[[listener]]", format!("{:?}", self.fixed_listeners())),
            ("[admin]", format!("{admin:?}")),
            ("[alerts] secret-file", path(&self.alerts.secret_file)),
            ("[check-in]", format!("{:?}", self.check_in)),
            ("[dns]", format!("{:?}", self.dns)),
            ("[authenticity]", format!("{:?}", self.authenticity)),
            ("[next-hop-tls]", format!("{:?}", self.authorities)),
            ("[journal] enabled", self.journal.enabled.to_string()),
        ];
        let memory = self.plugins.values().filter_map(|plugin| plugin.memory).max().unwrap_or_default();
        keys.push((PLUGIN_MEMORY, memory.to_string()));
        keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn fixed_listeners(&self) -> Vec<super::Listener> {
        let fixed =
            |listener: &super::Listener| super::Listener { limits: super::Limits::default(), ..listener.clone() };
        self.listeners.iter().map(fixed).collect()
    }

    /// Whether clients are limited as `other` says.
    pub fn limits_as(&self, other: &Self) -> bool {
        let all = |config: &Self| {
            let connections =
                [config.max_connections, config.max_connections_per_address, config.max_connections_per_network];
            (connections, config.listeners.iter().map(|listener| listener.limits.clone()).collect::<Vec<_>>())
        };
        all(self) == all(other)
    }

    /// Everything else is as this says, these are as `running` has them.
    pub fn keep_fixed(&mut self, running: &Self) {
        let new = std::mem::replace(self, running.clone());
        if new.fixed_listeners() == running.fixed_listeners() {
            self.listeners = new.listeners;
        }
        self.limits = new.limits;
        self.max_connections = new.max_connections;
        self.max_connections_per_address = new.max_connections_per_address;
        self.max_connections_per_network = new.max_connections_per_network;
        self.tls = new.tls;
        self.plugins = new.plugins;
        (self.chain, self.chain_places) = (new.chain, new.chain_places);
        self.journal = super::JournalSettings { enabled: running.journal.enabled, ..new.journal };
        self.alerts = super::Alerting { secret_file: running.alerts.secret_file.clone(), ..new.alerts };
        self.domains = new.domains;
    }
}

/// The keys in which `wanted` needs another start than `running` had.
pub fn needs_restart(wanted: &Fixed, running: &Fixed) -> Vec<String> {
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    let differs = |(key, value): &(&String, &String)| match key.as_str() {
        PLUGIN_MEMORY => number(Some(value)) > number(running.get(*key)),
        _ => running.get(*key) != Some(value),
    };
    wanted.iter().filter(differs).map(|(key, _)| key.clone()).collect()
}
