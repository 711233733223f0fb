//! The contract only grows: what was published is still there, type by type, and what was built for it runs.

use crate::rig::{NOW, Rig, Setup, connection, content, delivery, event, guest, mailbox, named, transaction};
use mail::{Failure, FailureKind, OfflineAction, Routing, Verdict};
use serde_json::json;
use std::{collections::BTreeMap, path::Path};
use wit_parser::{Function, Handle, InterfaceId, Resolve, Type, TypeDefKind, WorldItem};

/// Everything of a package, by its full name, each written out whole.
fn items(path: &str) -> BTreeMap<String, String> {
    let mut resolve = Resolve::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit").join(path);
    let (package, _) = resolve.push_path(root).unwrap();
    let package = &resolve.packages[package];
    let mut items = BTreeMap::new();
    for (name, interface) in &package.interfaces {
        let interface = &resolve.interfaces[*interface];
        for (item, ty) in &interface.types {
            items.insert(format!("{name}.{item}"), written(&resolve, Type::Id(*ty)));
        }
        for (item, function) in &interface.functions {
            items.insert(format!("{name}.{item}"), signature(&resolve, function));
        }
    }
    for (name, world) in &package.worlds {
        let world = &resolve.worlds[*world];
        let all = world.imports.values().map(|item| ("import", item));
        for (way, item) in all.chain(world.exports.values().map(|item| ("export", item))) {
            let WorldItem::Interface { id, .. } = item else { panic!("{name} has more than interfaces") };
            items.insert(format!("world {name}: {way} {}", interface_name(&resolve, *id)), String::new());
        }
    }
    items
}

fn interface_name(resolve: &Resolve, id: InterfaceId) -> String {
    resolve.interfaces[id].name.clone().unwrap_or_default()
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let params: Vec<String> =
        function.params.iter().map(|param| format!("{}: {}", param.name, written(resolve, param.ty))).collect();
    format!("({}) -> {}", params.join(", "), optional(resolve, function.result))
}

fn optional(resolve: &Resolve, ty: Option<Type>) -> String {
    ty.map_or_else(|| "_".to_owned(), |ty| written(resolve, ty))
}

/// Structure and the names of fields and cases, as the component model compares them.
fn written(resolve: &Resolve, ty: Type) -> String {
    let Type::Id(id) = ty else { return format!("{ty:?}") };
    match &resolve.types[id].kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, written(resolve, field.ty)));
            format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| format!("{}({})", case.name, optional(resolve, case.ty)));
            format!("variant {{ {} }}", cases.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Enum(cases) => {
            format!("enum {{ {} }}", cases.cases.iter().map(|case| case.name.clone()).collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Option(inner) => format!("option<{}>", written(resolve, *inner)),
        TypeDefKind::List(inner) => format!("list<{}>", written(resolve, *inner)),
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", optional(resolve, result.ok), optional(resolve, result.err))
        }
        TypeDefKind::Tuple(tuple) => {
            let types = tuple.types.iter().map(|ty| written(resolve, *ty));
            format!("tuple<{}>", types.collect::<Vec<_>>().join(", "))
        }
        TypeDefKind::Type(inner) => written(resolve, *inner),
        TypeDefKind::Handle(Handle::Own(_) | Handle::Borrow(_)) | TypeDefKind::Resource => {
            panic!("the contract has no resources")
        }
        other => panic!("{} is not in the contract", other.as_str()),
    }
}

#[test]
fn the_contract_only_adds_to_what_was_released() {
    let (released, now) = (items("released/0.1.0"), items("."));
    assert!(released.len() > 100, "{}", released.len());
    for (name, item) in &released {
        assert_eq!(now.get(name), Some(item), "{name} was published in 0.1.0");
    }
}

#[test]
fn the_world_for_http_is_whole() {
    let mut resolve = Resolve::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/http");
    let (package, _) = resolve.push_path(root).unwrap();
    let world = resolve.packages[package].worlds["client"];
    let imports: Vec<String> = resolve.worlds[world]
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .filter(|name| name.starts_with("wasi:http/"))
        .collect();
    assert_eq!(imports, ["wasi:http/types@0.2.12", "wasi:http/outgoing-handler@0.2.12"]);
}

#[tokio::test]
async fn a_plugin_that_was_built_for_0_1_0_serves_in_every_hook() {
    let rig = Rig::new(Setup::default());
    std::fs::copy(guest("fixture_0_1_0"), rig.plugins.path().join("fixture.wasm")).unwrap();
    let mut bound = named("fixture");
    assert!(rig.load("example.org", &[bound.clone()]).await.is_err(), "its setup wants a configuration");
    bound.config = json!({ "key": "value" });
    let chain = rig.load("example.org", &[bound]).await.unwrap();

    let Verdict::TempFail(reply) = chain.on_connect(&mut connection()).await else { panic!() };
    assert_eq!(&*reply.text, "192.0.2.7:4711");
    let (mut seen, mut mail) = (transaction("example.org"), content());
    let Verdict::Reject(reply) = chain.on_recipient(&mut seen, &mailbox("dan@example.org")).await else { panic!() };
    assert_eq!(&*reply.text, "dan@example.org from alice@example.com");
    assert_eq!(chain.on_message(&mut seen, &mut mail).await, Verdict::Accept);
    assert!(mail.to_bytes().starts_with(b"X-Fixture: 0.1.0\r\n"));
    assert_eq!((seen.score, seen.attributes["fixture"].as_str()), (25, "was here"));

    let mut facts = delivery(content());
    assert_eq!(chain.on_route(&mut facts).await, Routing::Relay(vec!["example.org:2525".parse().unwrap()]));
    let failure = Failure::new(FailureKind::Connect, None, "refused");
    let held = OfflineAction::Hold("Kind::Connect refused".to_owned());
    assert_eq!(chain.on_offline(&mut facts, &failure).await, held);
    let mut calls = Vec::new();
    assert!(chain.on_online(9, &mut calls).await && !chain.on_online(10, &mut calls).await);
    chain.on_event(&event(Some(facts)), &mut Vec::new()).await;
    assert_eq!(rig.kv.text("fixture", "event"), Some(format!("delivered {NOW}")));
}
