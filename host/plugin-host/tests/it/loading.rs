//! What is taken as a plugin, and what the operator reads when it is not.

use crate::rig::{Rig, Setup, binding, judge, named};
use mail::{ChainSource, Verdict};
use plugin_host::{HostConfig, HostError, Limits, PluginHost, PluginSettings, PoolLimits};
use serde_json::json;
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

/// A component with one hook, on-event, written by hand: `core` goes into its core module, `imports`
/// before it, and the hook is exported as `export`.
fn on_event(core: &str, imports: &str, export: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            {imports}
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "notify") (param i32 i32 i64 i32 i32))
                {core})
            (core instance $i (instantiate $m))
            (func $notify (param "kind" string) (param "at" u64) (param "json" string)
                (canon lift (core func $i "notify") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $e (export "notify" (func $notify)))
            (export "{export}" (instance $e)))"#
    );
    wat::parse_str(text).unwrap()
}

const HOOK: &str = "waypost:plugin/on-event@0.1.0";

async fn refused(bytes: &[u8], expected: &str) {
    refused_by(&Rig::new(Setup::default()), bytes, expected).await;
}

async fn refused_by(rig: &Rig, bytes: &[u8], expected: &str) {
    let reason = rig.refusal("odd", bytes).await;
    assert!(reason.contains(expected), "{reason}");
}

#[tokio::test]
async fn what_is_no_component_says_so() {
    refused(b"(component)", "it is a text file").await;
    refused(&wat::parse_str("(module)").unwrap(), "build it for wasm32-wasip2").await;
    refused(b"\0asm\x0d\0\x01\0garbage", "it cannot be compiled").await;
    refused(b"", "it is not a WebAssembly component").await;
}

#[tokio::test]
async fn a_component_without_a_hook_says_which_there_are() {
    refused(&wat::parse_str("(component)").unwrap(), "export at least one of on-connect, on-recipient").await;
}

#[tokio::test]
async fn a_hook_that_does_not_exist_is_named() {
    refused(&on_event("", "", "waypost:plugin/on-delivery@0.1.0"), "on-delivery@0.1.0, which is no hook").await;
}

#[tokio::test]
async fn another_version_of_the_contract_is_told() {
    refused(&on_event("", "", "waypost:plugin/on-event@0.2.0"), "built for waypost:plugin@0.2.0").await;
    let rig = Rig::new(Setup::default());
    std::fs::write(rig.plugins.path().join("newer.wasm"), on_event("", "", "waypost:plugin/on-event@0.1.9")).unwrap();
    assert!(rig.load("example.org", &[named("newer")]).await.is_ok(), "additions within a track are fine");
}

#[tokio::test]
async fn a_hook_of_the_wrong_type_is_refused_before_any_mail() {
    let component = r#"(component
        (core module $m (func (export "validate")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "validate")))
        (instance $e (export "notify" (func $f)))
        (export "waypost:plugin/on-event@0.1.0" (instance $e)))"#;
    refused(&wat::parse_str(component).unwrap(), "a hook has the wrong type").await;
}

#[tokio::test]
async fn what_is_not_linked_is_named() {
    let sockets = r#"(import "wasi:sockets/tcp@0.2.0" (instance))"#;
    refused(&on_event("", sockets, HOOK), "plugins have no network of their own").await;
    let other = r#"(import "acme:db/query@1.0.0" (instance))"#;
    refused(&on_event("", other, HOOK), "it imports acme:db/query@1.0.0").await;
    let later = r#"(import "waypost:plugin/config@0.1.0" (instance (export "newest" (func (result u32)))))"#;
    refused(&on_event("", later, HOOK), "its imports do not fit this gateway").await;
}

#[tokio::test]
async fn a_loop_at_the_start_ends_with_its_budget_or_its_time() {
    let component = on_event("(func $s (loop (br 0))) (start $s)", "", HOOK);
    let reason = Rig::new(Setup::default()).refusal("odd", &component).await;
    // What runs long computes while nothing else wants the processor: on a busy machine its time is over first.
    let ends = ["it does not start: it used more than 500ms of processor time", "it did not start within 2s"];
    assert!(ends.iter().any(|end| reason.contains(end)), "{reason}");
}

#[tokio::test]
async fn more_memory_or_larger_tables_than_allowed_are_refused_at_the_start() {
    refused(&on_event("(memory 2000)", "", HOOK), "memor").await;
    refused(&on_event("(table 2000000 funcref)", "", HOOK), "table").await;
}

#[tokio::test]
async fn a_component_that_takes_too_long_to_compile_or_is_too_large_is_refused() {
    let pool = PoolLimits { compile: Duration::ZERO, ..Setup::default().pool };
    let rig = Rig::new(Setup { pool, ..Setup::default() });
    for _ in 0..3 {
        refused_by(&rig, &on_event("", "", HOOK), "to compile").await;
    }
    let pool = PoolLimits { component: 100, ..Setup::default().pool };
    refused_by(&Rig::new(Setup { pool, ..Setup::default() }), &on_event("", "", HOOK), "too large").await;
}

#[tokio::test]
async fn setup_speaks_for_itself() {
    let rig = Rig::new(Setup::default());
    let hurried = Limits { time: Duration::from_millis(400), ..Setup::default().limits };
    let hurried = Rig::new(Setup { limits: hurried, ..Setup::default() });
    for (rig, deed, expected) in [
        (&rig, "refuse", "it refuses its configuration: delay: expected a duration "),
        (&rig, "trap", "its setup failed: wasm `unreachable` instruction executed, in "),
        (&hurried, "loop", "its setup failed: it "),
        (&hurried, "sleep", "its setup failed: it did not answer within 400ms"),
    ] {
        let errors = rig.load("example.org", &[binding(json!({ "setup": deed }))]).await.err().unwrap();
        assert!(errors[0].reason.contains(expected), "{}", errors[0].reason);
    }
}

#[tokio::test]
async fn all_errors_of_a_chain_are_told_at_once() {
    let rig = Rig::new(Setup::default());
    let bindings = [named("hostiel"), binding(json!({ "setup": "refuse" })), named("../hostile"), named("hostile")];
    let errors = rig.load("example.org", &bindings).await.err().unwrap();
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("did you mean \"hostile\"?"), "{told:?}");
    assert!(told[1].starts_with("plugin hostile: it refuses"), "{told:?}");
}

#[tokio::test]
async fn a_domains_own_plugin_comes_first_and_gets_no_grants_by_its_name() {
    let rig = Rig::new(Setup { grants: vec![], ..Setup::default() });
    let own = tempfile::tempdir().unwrap();
    std::fs::copy(rig.plugins.path().join("hostile.wasm"), own.path().join("hostile.wasm")).unwrap();
    let domain = "example.org".parse().unwrap();
    let bindings = [binding(json!({ "message": "accept" }))];
    let common = rig.host.load(&domain, None, &bindings).await.unwrap();
    assert_eq!(judge(&*common).await, Verdict::Pass, "without the grant for config it has no orders");
    let own = rig.host.load(&domain, Some(own.path()), &bindings).await.unwrap();
    assert_eq!(judge(&*own).await, Verdict::Accept, "the default grants");
}

#[tokio::test]
async fn compiled_code_is_reused_and_a_damaged_cache_is_not_trusted() {
    let rig = Rig::new(Setup::default());
    let path = rig.plugins.path().join("hostile.wasm");
    let first = rig.host.inspect(&path).await.unwrap();
    assert!(first.compile_time > Duration::ZERO);
    assert_eq!(
        first.hooks,
        ["setup", "on-connect", "on-recipient", "on-message", "on-route", "on-offline", "on-online", "on-event"]
    );
    assert_eq!(first.wit_version, "0.1.0");
    let cached = || std::fs::read_dir(rig.cache.path()).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(cached().len(), 1);
    assert_eq!(std::fs::metadata(rig.cache.path()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(rig.host.inspect(&path).await.unwrap().compile_time, Duration::ZERO);
    let mut code = std::fs::read(&cached()[0]).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&cached()[0], code).unwrap();
    assert!(rig.host.inspect(&path).await.unwrap().compile_time > Duration::ZERO);
    assert_eq!(rig.host.inspect(&path).await.unwrap().compile_time, Duration::ZERO);
}

#[tokio::test]
async fn a_changed_file_is_a_new_plugin_and_running_chains_keep_the_old() {
    let rig = Rig::new(Setup::default());
    let path = rig.plugins.path().join("hostile.wasm");
    let chain = rig.chain(json!({ "message": "accept" })).await;
    let next = rig.plugins.path().join("next");
    std::fs::write(&next, "broken").unwrap();
    std::fs::rename(&next, &path).unwrap();
    assert!(rig.load("example.org", &[named("hostile")]).await.is_err());
    assert_eq!(judge(&*chain).await, Verdict::Accept);
}

#[tokio::test]
async fn a_cache_directory_that_is_no_directory_stops_the_host() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let kv = Arc::new(crate::rig::MemoryKv::default());
    let config = HostConfig::new(dir.path().to_owned(), file, kv);
    assert!(matches!(PluginHost::new(config), Err(HostError::Cache { .. })));
}

#[tokio::test]
async fn settings_are_changed_for_chains_that_are_loaded_later() {
    let rig = Rig::new(Setup { grants: vec![], ..Setup::default() });
    let orders = json!({ "message": "accept" });
    assert_eq!(judge(&*rig.chain(orders.clone()).await).await, Verdict::Pass);
    rig.host.set_settings(BTreeMap::new());
    assert_eq!(judge(&*rig.chain(orders).await).await, Verdict::Accept);
    let limits = Limits { memory: 1 << 30, ..Limits::default() };
    rig.host.set_settings(BTreeMap::from([("hostile".to_owned(), PluginSettings { limits, grants: vec![] })]));
    let errors = rig.load("example.org", &[named("hostile")]).await.err().unwrap();
    assert!(errors[0].reason.contains("restart the gateway"), "{}", errors[0].reason);
    assert_eq!(rig.host.available(), ["hostile"]);
}
