//! Decides what a component gets instead of a network: functions that end the call.
//!
//! Bytes in, bytes out. The component itself stays as it is: it becomes part of one that imports less.

use crate::component::Malformed;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId, types::Package};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, decode, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve, WorldId, WorldKey};

const CLOSED: &str = "wasi:sockets/";
/// Everything else that it exports is its toolchain's own business.
const KEPT: &str = "waypost:";

/// # Errors
/// The bytes are no component.
pub(super) fn without(component: &[u8]) -> Result<Vec<u8>, Malformed> {
    let DecodedWasm::Component(mut resolve, world) = decode(component).map_err(|error| Malformed::new(&error))? else {
        return Err(Malformed::new(&"it is a package of interfaces, and no component"));
    };
    let closed = names(&resolve, world, Side::Imports, CLOSED);
    if closed.is_empty() {
        return Ok(component.to_owned());
    }
    let kept = names(&resolve, world, Side::Exports, KEPT);
    let stub = stub(&mut resolve, &closed).map_err(|error| Malformed::new(&error))?;

    let mut graph = CompositionGraph::new();
    let (_, stub) = instance(&mut graph, "local:closed", stub)?;
    let (_, plugin) = instance(&mut graph, "local:plugin", component.to_owned())?;
    for name in &closed {
        let export = graph.alias_instance_export(stub, name).map_err(|error| Malformed::new(&error))?;
        graph.set_instantiation_argument(plugin, name, export).map_err(|error| Malformed::new(&error))?;
    }
    for name in kept {
        let export = graph.alias_instance_export(plugin, &name).map_err(|error| Malformed::new(&error))?;
        graph.export(export, name).map_err(|error| Malformed::new(&error))?;
    }
    let options = EncodeOptions { define_components: true, ..EncodeOptions::default() };
    graph.encode(options).map_err(|error| Malformed::new(&error))
}

fn instance(graph: &mut CompositionGraph, name: &str, bytes: Vec<u8>) -> Result<(PackageId, NodeId), Malformed> {
    let package = Package::from_bytes(name, None, bytes, graph.types_mut()).map_err(|error| Malformed::new(&error))?;
    let package = graph.register_package(package).map_err(|error| Malformed::new(&error))?;
    Ok((package, graph.instantiate(package)))
}

/// A component whose functions are all `unreachable`.
fn stub(resolve: &mut Resolve, interfaces: &[String]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let exports: String = interfaces.iter().map(|name| format!("  export {name};\n")).collect();
    let package = resolve.push_str("closed.wit", &format!("package local:closed;\nworld closed {{\n{exports}}}\n"))?;
    let world = resolve.select_world(&[package], Some("closed"))?;
    let mut module = dummy_module(resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8, false)?;
    let mut encoder = ComponentEncoder::default();
    encoder.module(&module)?;
    Ok(encoder.encode()?)
}

enum Side {
    Imports,
    Exports,
}

fn names(resolve: &Resolve, world: WorldId, side: Side, prefix: &str) -> Vec<String> {
    let Some(world) = resolve.worlds.get(world) else { return Vec::new() };
    let items = match side {
        Side::Imports => &world.imports,
        Side::Exports => &world.exports,
    };
    let name = |key: &WorldKey| resolve.name_world_key(key);
    items.keys().map(name).filter(|name| name.starts_with(prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIT: &str = "package wasi:sockets@0.2.9;
interface network { resource network; enum error-code { denied } }
interface tcp { use network.{network, error-code}; connect: func(to: borrow<network>) -> result<_, error-code>; }
world any { }";
    const WORLD: &str = "package local:plugin;
interface facts { peek: func(); }
world plugin {
  import facts;
  import wasi:sockets/tcp@0.2.9;
  export facts;
}";

    fn component(world: &str) -> Vec<u8> {
        let mut resolve = Resolve::default();
        resolve.push_str("sockets.wit", WIT).unwrap();
        let package = resolve.push_str("plugin.wit", world).unwrap();
        let world = resolve.select_world(&[package], Some("plugin")).unwrap();
        let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
        ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
    }

    fn imports(component: &[u8]) -> Vec<String> {
        let DecodedWasm::Component(resolve, world) = decode(component).unwrap() else { panic!("no component") };
        names(&resolve, world, Side::Imports, "")
    }

    #[test]
    fn a_component_loses_the_network_and_nothing_else() {
        let open = component(&WORLD.replace("local:plugin", "waypost:plugin"));
        assert_eq!(imports(&open).len(), 3);
        let closed = without(&open).unwrap();
        assert_eq!(imports(&closed), ["waypost:plugin/facts"]);
        let DecodedWasm::Component(resolve, world) = decode(&closed).unwrap() else { panic!("no component") };
        assert_eq!(names(&resolve, world, Side::Exports, ""), ["waypost:plugin/facts"]);
    }

    #[test]
    fn a_component_that_has_no_network_stays_as_it_is() {
        let plain = component("package local:plugin;\nworld plugin { }");
        assert_eq!(without(&plain).unwrap(), plain);
        assert!(without(b"\0asm").is_err());
    }
}
