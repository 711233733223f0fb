//! What a component says of itself in its custom sections. Shown to people, never relied on.

use crate::imports::printable;
use wasmparser::{ComponentName, ComponentNameSectionReader, Name, NameSectionReader, Parser, Payload};

/// Characters of a name or a version.
const MAX_TEXT: usize = 60;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
}

/// The component's own word counts first, then that of the first module in it that has one: linkers
/// leave the sections of a plugin's code where they are.
pub(crate) fn read(bytes: &[u8]) -> Metadata {
    let (mut own, mut inner, mut depth) = (Metadata::default(), Metadata::default(), 0_u32);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::CustomSection(section)) => {
                let said = if depth == 0 { &mut own } else { &mut inner };
                let data = wasmparser::BinaryReader::new(section.data(), section.data_offset());
                match section.name() {
                    "version" => keep(&mut said.version, std::str::from_utf8(section.data()).ok()),
                    "component-name" => keep(&mut said.name, component_name(ComponentNameSectionReader::new(data))),
                    "name" => keep(&mut said.name, module_name(NameSectionReader::new(data))),
                    _ => {}
                }
            }
            Ok(_) => {}
            // The engine tells what is wrong with it.
            Err(_) => break,
        }
    }
    Metadata { name: own.name.or(inner.name), version: own.version.or(inner.version) }
}

fn keep(place: &mut Option<String>, found: Option<&str>) {
    let text = found.map(|text| printable(text).trim().chars().take(MAX_TEXT).collect::<String>());
    if place.is_none() {
        *place = text.filter(|text| !text.is_empty());
    }
}

fn component_name<'a>(names: ComponentNameSectionReader<'a>) -> Option<&'a str> {
    names.into_iter().find_map(|name| match name {
        Ok(ComponentName::Component { name, .. }) => Some(name),
        _ => None,
    })
}

/// The linker writes the file's name.
fn module_name<'a>(names: NameSectionReader<'a>) -> Option<&'a str> {
    let name = names.into_iter().find_map(|name| match name {
        Ok(Name::Module { name, .. }) => Some(name),
        _ => None,
    });
    name.map(|name| name.strip_suffix(".wasm").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_names_itself_or_its_code_does() {
        let inner = r#"(core module $the-code (@custom "version" "1.2.0"))"#;
        let outer = r#"(@custom "version" "\0a3.0.0\0a")"#;
        let read = |text: String| read(&wat::parse_str(text).unwrap());
        let said = |name: &str, version: &str| Metadata { name: Some(name.into()), version: Some(version.into()) };
        assert_eq!(read(format!("(component {inner})")), said("the-code", "1.2.0"));
        assert_eq!(read(format!("(component $itself {inner} {outer})")), said("itself", "3.0.0"));
        assert_eq!(read("(component)".to_owned()), Metadata::default());
        assert_eq!(super::read(b"\0asm\x0d\0\x01\0\xff\xff"), Metadata::default());
    }
}
