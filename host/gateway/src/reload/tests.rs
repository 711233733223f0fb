//! Promises of a reload, with files on a disk and plugins that are only counted.

use super::*;
use crate::{
    domains::load_chain,
    plugins::{PluginMetric, PluginStatus},
};
use mail::{Binding, BoxFuture, Chain, ChainSource, LoadError, NoPlugins};
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Loads what begins with `good`.
struct Counted {
    plugin_dir: PathBuf,
    loads: AtomicUsize,
}

impl ChainSource for Counted {
    fn load<'a>(
        &'a self,
        _: &'a Domain,
        _: Option<&'a Path>,
        bindings: &'a [Binding],
    ) -> BoxFuture<'a, Result<Arc<dyn Chain>, Vec<LoadError>>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let wrong = |binding: &&Binding| {
            let text = fs::read_to_string(self.plugin_dir.join(format!("{}.wasm", binding.plugin)));
            !text.is_ok_and(|text| text.starts_with("good"))
        };
        let wrong = bindings.iter().filter(wrong);
        let errors: Vec<LoadError> =
            wrong.map(|b| LoadError { plugin: b.plugin.clone(), reason: "it is bad".into() }).collect();
        let chain: Arc<dyn Chain> = Arc::new(NoPlugins);
        Box::pin(async move { if errors.is_empty() { Ok(chain) } else { Err(errors) } })
    }
}

impl Plugins for Counted {
    fn configure(&self, _: &Config) -> Result<(), Vec<ConfigError>> {
        Ok(())
    }
    fn status(&self) -> Vec<PluginStatus> {
        Vec::new()
    }
    fn metrics(&self) -> Vec<PluginMetric> {
        Vec::new()
    }
}

struct Rig {
    home: tempfile::TempDir,
    domains: Arc<Domains>,
    source: Arc<Counted>,
    reloader: Arc<Reloader>,
}

const GATEWAY: &str = "hostname = 'gw.example'\n";

fn write(home: &Path, name: &str, text: &str) {
    let path = home.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn pair(home: &Path, name: &str) {
    let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    write(home, "cert.pem", &pair.cert.pem());
    write(home, "key.pem", &pair.signing_key.serialize_pem());
}

impl Rig {
    async fn new(files: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        for dir in ["domains", "plugins", "data"] {
            fs::create_dir(home.path().join(dir)).unwrap();
        }
        write(home.path(), "waypost.toml", GATEWAY);
        pair(home.path(), "gw.example");
        files.iter().for_each(|(name, text)| write(home.path(), name, text));
        let config = Config::load(&home.path().join("waypost.toml")).unwrap();
        let source = Arc::new(Counted { plugin_dir: config.plugin_dir.clone(), loads: AtomicUsize::new(0) });
        let domains = Arc::new(Domains::load(&config, source.as_ref()).await.unwrap());
        source.loads.store(0, Ordering::Relaxed);
        let tls = ServerTls::new(config.tls.as_ref(), &config.hostname, &config.data_dir).unwrap();
        let reloader = Reloader::new(ReloaderParts {
            config,
            domains: domains.clone(),
            plugins: source.clone(),
            tls,
            clock: Clock::system(),
            changed: Box::new(|_| {}),
        });
        Self { home, domains, source, reloader }
    }

    fn write(&self, name: &str, text: &str) {
        write(self.home.path(), name, text);
    }

    fn hop(&self, domain: &str) -> String {
        self.domains.get(&domain.parse().unwrap()).unwrap().config.next_hops[0].to_string()
    }

    fn loads(&self) -> usize {
        self.source.loads.swap(0, Ordering::Relaxed)
    }
}

#[tokio::test]
async fn of_a_thousand_domains_only_the_one_that_changed_is_loaded() {
    let rig = Rig::new(&[("plugins/p.wasm", "good 1"), ("plugins/q.wasm", "good")]).await;
    for n in 0..1000 {
        let plugins = if n < 2 { "['p']" } else { "['q']" };
        rig.write(&format!("domains/d{n}.example.toml"), &format!("next-hop = 'mx:25'\nplugins = {plugins}\n"));
    }
    assert_eq!(rig.reloader.reload().await.domains, 1000);
    assert_eq!(rig.loads(), 1000);
    rig.reloader.reload().await;
    assert_eq!(rig.loads(), 0, "nothing has changed");
    rig.write("domains/d7.example.toml", "next-hop = 'other:25'\nplugins = ['q']\n");
    rig.reloader.reload().await;
    assert_eq!((rig.loads(), rig.hop("d7.example").as_str()), (0, "other:25"), "its plugins are the same");
    rig.write("plugins/p.wasm", "good 2");
    let status = rig.reloader.reload().await;
    assert_eq!((rig.loads(), status.not_in_force), (2, vec![]));
}

#[tokio::test]
async fn what_cannot_be_taken_leaves_what_it_replaces_and_does_not_keep_others() {
    let rig = Rig::new(&[
        ("plugins/p.wasm", "good"),
        ("domains/a.example.toml", "next-hop = 'a:25'\n"),
        ("domains/b.example.toml", "next-hop = 'b:25'\nplugins = ['p']\n"),
    ])
    .await;
    rig.write("domains/a.example.toml", "next-hop = 7\n");
    rig.write("domains/b.example.toml", "next-hop = 'b2:25'\nplugins = ['p', 'missing']\n");
    rig.write("domains/c.example.toml", "next-hop = 'c:25'\n");
    let status = rig.reloader.reload().await;
    let places: Vec<_> = status
        .not_in_force
        .iter()
        .map(|f| (f.file.rsplit('/').next().unwrap().to_owned(), f.line, f.column, f.message.clone()))
        .collect();
    assert_eq!(places[0], ("a.example.toml".into(), 1, 12, "`next-hop` must be a string, not a whole number".into()));
    assert_eq!(places[1], ("b.example.toml".into(), 2, 17, "plugin missing: it is bad".into()));
    assert_eq!([rig.hop("a.example"), rig.hop("b.example"), rig.hop("c.example")], ["a:25", "b:25", "c:25"]);
    rig.write("plugins/missing.wasm", "good");
    rig.write("domains/a.example.toml", "next-hop = 'a2:25'\n");
    assert_eq!(rig.reloader.reload().await.not_in_force, []);
    assert_eq!([rig.hop("a.example"), rig.hop("b.example")], ["a2:25", "b2:25"]);
    fs::remove_file(rig.home.path().join("plugins/p.wasm")).unwrap();
    assert_eq!(rig.reloader.reload().await.not_in_force.len(), 1);
    assert_eq!(rig.hop("b.example"), "b2:25", "what was loaded goes on serving");
    fs::remove_file(rig.home.path().join("domains/a.example.toml")).unwrap();
    assert_eq!(rig.reloader.reload().await.domains, 2, "a domain whose file is gone is gone");
}

#[tokio::test]
async fn domains_stay_while_their_directory_cannot_be_seen() {
    let rig = Rig::new(&[("domains/a.example.toml", "next-hop = 'a:25'\n")]).await;
    let (there, away) = (rig.home.path().join("domains"), rig.home.path().join("away"));
    fs::rename(&there, &away).unwrap();
    let status = rig.reloader.reload().await;
    assert_eq!((status.domains, status.not_in_force.len()), (1, 1));
    fs::rename(&away, &there).unwrap();
    assert_eq!(rig.reloader.reload().await.not_in_force, []);
}

#[tokio::test]
async fn a_mistake_in_the_gateways_file_keeps_it_as_it_was_and_domains_change_all_the_same() {
    let rig = Rig::new(&[("domains/a.example.toml", "next-hop = 'a:25'\n")]).await;
    rig.write("waypost.toml", "hostname = 'gw.example'\nmax-connection = 1\n");
    rig.write("domains/a.example.toml", "next-hop = 'a2:25'\n");
    let status = rig.reloader.reload().await;
    assert_eq!((status.not_in_force.len(), status.not_in_force[0].line), (1, 2));
    assert_eq!(rig.hop("a.example"), "a2:25");
    rig.write("waypost.toml", "hostname = 'other.example'\nmax-recipients = 1\n[[chain]]\nuse = 'wide'\n");
    let status = rig.reloader.reload().await;
    assert_eq!(status.needs_restart, ["hostname", "max-recipients"]);
    assert!(status.not_in_force.iter().any(|fault| fault.line == 4 && fault.message.starts_with("plugin wide:")));
    rig.write("plugins/wide.wasm", "good");
    assert_eq!(rig.reloader.reload().await.not_in_force, []);
    assert!(rig.domains.connect().is_some());
}

#[tokio::test]
async fn another_directory_of_domains_takes_none_away_before_the_next_start() {
    let rig = Rig::new(&[("domains/a.example.toml", "next-hop = 'a:25'\n")]).await;
    fs::create_dir(rig.home.path().join("others")).unwrap();
    rig.write("waypost.toml", "hostname = 'gw.example'\ndomain-dir = 'others'\n");
    let status = rig.reloader.reload().await;
    assert_eq!((status.domains, status.needs_restart), (1, vec!["domain-dir".to_owned()]));
    rig.write("domains/a.example.toml", "next-hop = 'a2:25'\n");
    rig.reloader.reload().await;
    assert_eq!(rig.hop("a.example"), "a2:25", "the directory of the start is in force");
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_a_broken_one_is_not() {
    let rig =
        Rig::new(&[("waypost.toml", &format!("{GATEWAY}[tls]\ncertificate = 'cert.pem'\nkey = 'key.pem'\n"))]).await;
    let before = rig.reloader.tls.current();
    rig.write("cert.pem", "half of");
    let status = rig.reloader.reload().await;
    assert!(status.not_in_force[0].message.starts_with("[tls]: "), "{status:?}");
    assert!(Arc::ptr_eq(&before, &rig.reloader.tls.current()));
    assert_eq!(rig.reloader.reload().await.not_in_force.len(), 1, "as long as it is broken");
    pair(rig.home.path(), "gw.example");
    assert_eq!(rig.reloader.reload().await.not_in_force, []);
    assert!(!Arc::ptr_eq(&before, &rig.reloader.tls.current()));
}

#[tokio::test]
async fn files_are_watched_however_they_are_written() {
    let rig = Rig::new(&[("domains/a.example.toml", "next-hop = 'a:25'\n")]).await;
    let stop = CancellationToken::new();
    let watching = tokio::spawn(rig.reloader.clone().watch(stop.clone()));
    let comes = async |hop: &str| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while rig.hop("a.example") != hop {
            assert!(tokio::time::Instant::now() < deadline, "{hop} did not come");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    rig.write("domains/a.example.toml", "next-hop = 'written:25'\n");
    comes("written:25").await;
    rig.write("domains/.a.new", "next-hop = 'renamed:25'\n");
    let path = |name: &str| rig.home.path().join(name);
    fs::rename(path("domains/.a.new"), path("domains/a.example.toml")).unwrap();
    comes("renamed:25").await;
    // A directory that is put in the place of the old one, as deployments do.
    write(rig.home.path(), "new/a.example.toml", "next-hop = 'swapped:25'\n");
    fs::rename(path("domains"), path("old")).unwrap();
    fs::rename(path("new"), path("domains")).unwrap();
    comes("swapped:25").await;
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_chain_that_fails_is_told_at_the_entry_that_names_it() {
    let rig = Rig::new(&[]).await;
    rig.write("domains/a.example.toml", "next-hop = 'a:25'\nplugins = [\n  'x',\n  { use = 'y' },\n]\n");
    let config = Config::load(&rig.home.path().join("waypost.toml")).unwrap();
    let domain = config.domains.values().next().unwrap();
    let errors = load_chain(&config, domain, rig.source.as_ref()).await.err().unwrap();
    assert_eq!(errors.iter().map(|e| (e.line, e.column)).collect::<Vec<_>>(), [(3, 3), (4, 11)]);
}
