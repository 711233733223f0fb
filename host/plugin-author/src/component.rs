//! Decides how a core module becomes a component, and what is noted in every component that is built.
//!
//! Bytes in, bytes out: nothing is read or written.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasm_encoder::{ComponentSection as _, CustomSection, Encode as _, RawSection};
use wasm_metadata::{AddMetadata, AddMetadataField};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// What is wrong with the bytes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    pub(crate) fn new(error: &dyn std::fmt::Display) -> Self {
        // The alternate form of an error chain has the causes, too.
        Self(format!("{error:#}"))
    }
}

/// Makes a component of a core module built for WASI preview 1. Some bindings leave the world's description in the
/// module; for others it is given here.
///
/// # Errors
/// The module is none, or doesn't fit its world.
pub fn from_module(module: &[u8], world: Option<&(Resolve, WorldId)>) -> Result<Vec<u8>, Malformed> {
    let mut module = without_debug_info(module)?;
    if let Some((resolve, world)) = world {
        embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8, false)
            .map_err(|error| Malformed::new(&error))?;
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).debug_names(true);
    encoder.module(&module).map_err(|error| Malformed::new(&error))?;
    encoder
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
        .map_err(|error| Malformed::new(&error))?;
    encoder.encode().map_err(|error| Malformed::new(&error))
}

/// Notes name and version in a component, where `waypost plugin inspect` and the gateway's log find them.
///
/// # Errors
/// The bytes are no component.
pub fn named(component: &[u8], name: &str, version: &str) -> Result<Vec<u8>, Malformed> {
    if !Parser::is_component(component) {
        return Err(Malformed("the toolchain made no component".to_owned()));
    }
    let mut metadata = AddMetadata::default();
    metadata.name = AddMetadataField::Set(name.to_owned());
    let mut component = metadata.to_wasm(component).map_err(|error| Malformed::new(&error))?;
    let section = CustomSection { name: "version".into(), data: version.as_bytes().into() };
    component.push(section.id());
    section.encode(&mut component);
    Ok(component)
}

/// Function names stay, for backtraces. DWARF goes: it is often most of the file, and tells the author's paths.
fn without_debug_info(module: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut stripped = wasm_encoder::Module::HEADER.to_vec();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(|error| Malformed::new(&error))?;
        let debug = matches!(&payload, Payload::CustomSection(section) if section.name().starts_with(".debug_"));
        let Some((id, range)) = payload.as_section().filter(|_| !debug) else { continue };
        let data = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let data = data.and_then(|(start, end)| module.get(start..end));
        let data = data.ok_or_else(|| Malformed("a section ends behind its module".to_owned()))?;
        let section = RawSection { id, data };
        stripped.push(section.id);
        section.encode(&mut stripped);
    }
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection};
    use wasm_encoder::{MemorySection, MemoryType, Module, NameMap, NameSection, TypeSection, ValType};

    /// One import of WASI, one export of the world, function names and debug information.
    fn module() -> Vec<u8> {
        let (mut types, mut imports, mut functions) =
            (TypeSection::new(), ImportSection::new(), FunctionSection::new());
        types.ty().function([ValType::I32, ValType::I32], [ValType::I32]);
        types.ty().function([], []);
        imports.import(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, "random_get", EntityType::Function(0));
        functions.function(1);
        let mut memories = MemorySection::new();
        memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("hello", ExportKind::Func, 1);
        let (mut code, mut function) = (CodeSection::new(), Function::new([]));
        function.instructions().i32_const(0).i32_const(4).call(0).drop().end();
        code.function(&function);
        let (mut names, mut section) = (NameMap::new(), NameSection::new());
        names.append(1, "say_hello");
        section.functions(&names);
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports);
        module.section(&code).section(&section);
        module.section(&CustomSection { name: ".debug_str".into(), data: b"/home/ann/secret.c".as_slice().into() });
        module.finish()
    }

    fn world() -> (Resolve, WorldId) {
        let mut resolve = Resolve::default();
        let text = "package local:tagger;\nworld plugin { export hello: func(); }\n";
        let package = resolve.push_str("world.wit", text).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        (resolve, world)
    }

    fn holds(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn a_component_keeps_function_names_and_loses_debug_information() {
        let component = from_module(&module(), Some(&world())).unwrap();
        assert!(Parser::is_component(&component));
        assert!(holds(&component, "say_hello"));
        assert!(!holds(&component, "/home/ann"));
    }

    #[test]
    fn a_component_says_its_name_and_version() {
        let component = named(&from_module(&module(), Some(&world())).unwrap(), "tagger", "1.2.3").unwrap();
        let mut depth = 0;
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(&component) {
            match payload.unwrap() {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::CustomSection(section) if depth == 0 => {
                    found.push((section.name().to_owned(), section.data().to_vec()));
                }
                _ => {}
            }
        }
        assert!(found.contains(&("version".to_owned(), b"1.2.3".to_vec())), "{found:?}");
        assert!(found.iter().any(|(name, data)| name == "component-name" && holds(data, "tagger")), "{found:?}");
    }

    #[test]
    fn what_is_no_module_or_no_component_is_refused() {
        assert!(from_module(b"\0asm", Some(&world())).is_err());
        assert!(named(&module(), "tagger", "1.2.3").is_err());
    }
}
