//! What the tests stand on: built guests, scenarios from text, and one cache of compiled code for all.

use plugin_test::{Bench, LoadReport, Scenario, ScenarioReport, run, text};
use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

static CACHE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

/// Where `cargo xtask guests` puts them.
pub(crate) fn guest(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir =
        std::env::var_os("WAYPOST_GUESTS").map_or_else(|| root.join("target/wasm32-wasip2/plugin"), PathBuf::from);
    let path = dir.join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask guests` first", path.display());
    path
}

pub(crate) fn bench(name: &str) -> Bench {
    Bench::new(&guest(name), &CACHE.path().join("plugins"))
}

/// Debug builds on busy machines compile and call slowly; only tests of these limits lower them.
const PATIENT: &str = "time = \"60 s\"\ncpu = \"30 s\"\n";

/// What the plugin that does as it is told makes of a scenario; `top` stands before every table.
pub(crate) async fn hostile(top: &str, rest: &str) -> ScenarioReport {
    let limits = if rest.contains("[limits]") { String::new() } else { format!("[limits]\n{PATIENT}\n") };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("case.toml");
    std::fs::write(&file, format!("{top}\n{limits}{rest}")).unwrap();
    let scenario = Scenario::read(&file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    run(&bench("hostile"), &scenario).await
}

pub(crate) fn assert_holds(report: &ScenarioReport) {
    assert!(report.holds(), "{}", text::scenario(report, true));
    assert_eq!(report.load, LoadReport::Loaded);
}

/// What the report says, with the parts that must be in it.
pub(crate) fn assert_told(report: &ScenarioReport, parts: &[&str]) {
    let told = text::scenario(report, false);
    assert!(!report.holds(), "{told}");
    for part in parts {
        assert!(told.contains(part), "{part:?} is missing in:\n{told}");
    }
}
