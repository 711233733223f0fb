//! Holds the pages against the tree: every link leads to a file, and a test that a page names is there.
//!
//! Reads Markdown no deeper than its links. Addresses on the web and places within a page are not followed.

use crate::tools::{Failure, Project, file_failure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where pages are, beside those at the top.
const DIRECTORIES: &[&str] = &["docs", "host", "examples", "plugins", "wit"];
/// Pages that owe each of their rows a test: what a row is called, and how many there are.
const PROMISES: &[(&str, &[(char, u32)])] = &[("docs/reliability.md", &[('F', 17)]), ("SECURITY.md", &[('S', 22)])];
/// Numbers that were never given.
const NEVER_GIVEN: &[&str] = &["S12", "S18"];

pub(crate) fn check(project: &Project) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for page in pages(&project.root)? {
        let text = fs::read_to_string(&page).map_err(file_failure(&page))?;
        let directory = page.parent().unwrap_or(&project.root);
        let shown = page.strip_prefix(&project.root).unwrap_or(&page).display().to_string();
        wrong.extend(links(&text).filter_map(|link| fault(&link, directory)).map(|fault| format!("{shown}: {fault}")));
        if let Some((_, rows)) = PROMISES.iter().find(|(name, _)| *name == shown) {
            wrong.extend(rows_without_a_test(&text, rows).map(|row| format!("{shown}: {row} has no row with a test")));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Other(format!("pages that are wrong:\n{}", wrong.join("\n")))) }
}

#[derive(Debug, PartialEq)]
struct Link<'a> {
    text: &'a str,
    target: &'a str,
}

/// Outside of fenced blocks.
fn links(page: &str) -> impl Iterator<Item = Link<'_>> {
    let mut fenced = false;
    let lines = page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.flat_map(|line| {
        line.match_indices("](").filter_map(|(at, _)| {
            let text = line.get(line.get(..at)?.rfind('[')? + 1..at)?;
            let target = line.get(at + 2..)?.split(')').next()?;
            Some(Link { text, target })
        })
    })
}

fn fault(link: &Link<'_>, directory: &Path) -> Option<String> {
    let path = link.target.split('#').next().filter(|path| !path.is_empty() && !path.contains("://"))?;
    let file = directory.join(path);
    if !file.exists() {
        return Some(format!("{} is not there", link.target));
    }
    let name = link.text.strip_prefix('`')?.strip_suffix('`')?;
    let name = name.rsplit("::").next().filter(|name| is_name_of_a_test(name) && path.ends_with(".rs"))?;
    let source = fs::read_to_string(&file).unwrap_or_default();
    (!has_test(&source, name)).then(|| format!("{path} has no test {name}"))
}

fn is_name_of_a_test(name: &str) -> bool {
    name.contains('_') && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn has_test(source: &str, name: &str) -> bool {
    let declaration = format!("fn {name}(");
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.contains(&declaration) {
            return is_test;
        }
        match line.strip_prefix("#[") {
            Some(attribute) => is_test |= attribute.starts_with("test]") || attribute.starts_with("tokio::test"),
            None => is_test = false,
        }
    }
    false
}

/// A row is a line of a table that begins with its name.
fn rows_without_a_test<'a>(page: &'a str, rows: &'a [(char, u32)]) -> impl Iterator<Item = String> + use<'a> {
    let names = rows.iter().flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")));
    names.filter(|name| !NEVER_GIVEN.contains(&name.as_str())).filter(|name| {
        let row = page.lines().find(|line| line.starts_with(&format!("| {name} |")));
        row.is_none_or(|row| links(row).next().is_none())
    })
}

fn pages(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(file_failure(&directory))? {
            let path = entry.map_err(file_failure(&directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_ours = directory != root || DIRECTORIES.contains(&name.as_str());
            if path.is_dir() && is_ours && !matches!(name.as_str(), "target" | "node_modules") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_a_page_names_must_be_a_test_of_that_file() {
        let source = "#[test]\nfn it_holds() {}\n\nfn helper_of_it() {}\n#[tokio::test(start_paused = true)]\n#[allow(x)]\nasync fn it_waits() {}\n";
        assert!(has_test(source, "it_holds") && has_test(source, "it_waits"));
        assert!(!has_test(source, "helper_of_it") && !has_test(source, "it_is_gone"));
    }

    #[test]
    fn links_are_read_outside_of_fences() {
        let page = "a [b](c.md#d) and [`e::f_g`](h.rs)\n```\n[x](y)\n```\n[z](https://example.org)\n";
        let read: Vec<_> = links(page).map(|link| (link.text, link.target)).collect();
        assert_eq!(read, [("b", "c.md#d"), ("`e::f_g`", "h.rs"), ("z", "https://example.org")]);
    }

    #[test]
    fn a_row_without_a_test_is_told() {
        let page = "| F1 | kill | [`a_b`](c.rs) |\n| F2 | power loss | later |\n";
        assert_eq!(rows_without_a_test(page, &[('F', 3)]).collect::<Vec<_>>(), ["F2", "F3"]);
    }
}
