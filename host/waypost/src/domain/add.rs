//! `waypost domain add`: writes a domain's file, whole or not at all, and never over another.

use super::DomainError;
use crate::{cli::AddArgs, trace_command::say};
use gateway::config::{Config, ConfigErrors, Reading};
use mail::Domain;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub fn run(file: &Path, args: AddArgs) -> Result<(), DomainError> {
    let Reading { config, .. } = Config::read(file)?;
    let name: Domain = args.name.parse()?;
    let path = config.domain_dir.join(format!("{name}.toml"));
    let text = text(&args);
    check(&config, &name, &path, &text)?;
    check_plugins(&config, &name, &args.plugins)?;
    write(&path, &text)?;
    if args.json {
        super::print(&serde_json::json!({ "domain": name, "file": path }));
        return Ok(());
    }
    let Config { hostname, .. } = &config;
    say(&format!("{} is written; a running gateway takes it by itself.", path.display()));
    say(&format!("Next:\n  waypost probe {name}\n  then the domain's MX: {name}. MX 10 {hostname}."));
    Ok(())
}

/// Only what differs from the defaults.
fn text(args: &AddArgs) -> String {
    let quoted = |text: &str| toml_string(text);
    let list = |all: &[String]| all.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    let mut text = match &args.next_hop[..] {
        [only] => format!("next-hop = {}\n", quoted(only)),
        all => format!("next-hop = [{}]\n", list(all)),
    };
    if let Some(tls) = &args.tls {
        text += &format!("tls = {}\n", quoted(tls));
    }
    if !args.plugins.is_empty() {
        text += &format!("plugins = [{}]\n", list(&args.plugins));
    }
    text
}

/// A basic string of TOML: what JSON escapes, TOML reads.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// As the gateway would read it, in a directory of its own.
fn check(config: &Config, name: &Domain, path: &Path, text: &str) -> Result<(), DomainError> {
    let failed = |source| DomainError::Write { path: "a temporary directory".to_owned(), source };
    let dir = tempfile::tempdir().map_err(failed)?;
    fs::write(dir.path().join(format!("{name}.toml")), text).map_err(failed)?;
    let trial = Config { domain_dir: dir.path().to_owned(), ..config.clone() };
    let Reading { broken, .. } = trial.read_domains();
    if broken.is_empty() {
        return Ok(());
    }
    let told = broken.into_iter().map(|mut mistake| {
        mistake.file = path.to_owned();
        mistake
    });
    Err(ConfigErrors::new(path, told.collect()).into())
}

fn check_plugins(config: &Config, domain: &Domain, plugins: &[String]) -> Result<(), DomainError> {
    for name in plugins {
        let file = format!("{name}.wasm");
        let own = config.domain_dir.join(domain.as_str()).join("plugins").join(&file);
        let places: [PathBuf; 2] = [own, config.plugin_dir.join(&file)];
        if !places.iter().any(|place| place.is_file()) {
            let places = places.map(|place| place.display().to_string()).join(" nor ");
            return Err(DomainError::NoPlugin { name: name.clone(), places: format!("{places} exists") });
        }
    }
    Ok(())
}

/// Readers see the whole file or none: it is linked to its name when it is complete, which fails where that is taken.
fn write(path: &Path, text: &str) -> Result<(), DomainError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => DomainError::Exists(path.display().to_string()),
        _ => DomainError::Write { path: path.display().to_string(), source },
    };
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    // Another user may run the gateway.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    // The name too must be on the disk.
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_no_more_than_was_asked_for() {
        let mut args = AddArgs {
            name: "example.org".into(),
            next_hop: vec!["mail.example.org:25".into()],
            tls: None,
            plugins: Vec::new(),
            json: false,
        };
        assert_eq!(text(&args), "next-hop = \"mail.example.org:25\"\n");
        args.next_hop.push("b\"\\.example:25".into());
        args.tls = Some("verified".into());
        args.plugins = vec!["recipients".into(), "greylist".into()];
        assert_eq!(
            text(&args),
            "next-hop = [\"mail.example.org:25\", \"b\\\"\\\\.example:25\"]\ntls = \"verified\"\nplugins = [\"recipients\", \"greylist\"]\n"
        );
    }
}
