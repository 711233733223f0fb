//! Follows the instructions for each language as a newcomer would: the READMEs of the examples, the page about
//! languages, and new projects with one hook; then holds every example against the same scenarios.
//!
//! Works on copies in `target/languages/`. What was installed there stays, so a second run is quick.

use crate::{
    examples::copy_tree,
    fences,
    tools::{Failure, Project, copy_file, empty_dir, file_failure, run, subdirectories},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const EXAMPLES: &str = "examples/plugins";
const SCENARIOS: &str = "examples/plugins/scenarios";
const PAGE: &str = "docs/languages.md";
/// Besides on-message, which the page's projects have.
const LONE_HOOK: &str = "on-event";

/// Only those languages, or all of them.
pub(crate) fn check(project: &Project, only: &[String]) -> Result<(), Failure> {
    let desk = Desk::set_up(project)?;
    let examples = examples(project)?;
    if let Some(unknown) = only.iter().find(|name| !examples.iter().any(|(language, _)| language == *name)) {
        let known: Vec<_> = examples.iter().map(|(language, _)| language.as_str()).collect();
        return Err(Failure::Other(format!("there is no example in {unknown:?}; there are {}", known.join(", "))));
    }
    let chosen = |language: &str| only.is_empty() || only.iter().any(|name| name == language);

    let mut failures = Vec::new();
    for (language, from) in examples.iter().filter(|(language, _)| chosen(language)) {
        failures.extend(told(&format!("example in {language}"), || desk.example(from, language)));
        failures.extend(told(&format!("one hook in {language}"), || desk.lone_hook(language)));
    }
    let page = read(&project.root.join(PAGE))?;
    for block in fences::commands(&page) {
        let about = language_of(&block).unwrap_or_default();
        if chosen(about) {
            failures.extend(told(&format!("{PAGE}, {about}"), || desk.page(about, &block)));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Other(failures.join("; "))) }
}

/// A heading, then what is wrong, if anything. All languages are tried before the end.
fn told(what: &str, run: impl FnOnce() -> Result<(), Failure>) -> Option<String> {
    eprintln!("\n-- {what}");
    run().err().map(|failure| format!("{what}: {failure}"))
}

/// Language and directory of each example.
fn examples(project: &Project) -> Result<Vec<(String, PathBuf)>, Failure> {
    let directories = subdirectories(&project.root.join(EXAMPLES))?;
    let projects = directories.into_iter().filter(|directory| directory.join("waypost-plugin.toml").is_file());
    Ok(projects.map(|directory| (file_name(&directory), directory)).collect())
}

/// "typescript", for commands that have `--lang typescript` among them.
fn language_of(block: &str) -> Option<&str> {
    block.split("--lang ").nth(1)?.split_whitespace().next()
}

/// Where the work is done.
struct Desk<'a> {
    project: &'a Project,
    root: PathBuf,
    /// With `waypost` in front.
    path: std::ffi::OsString,
}

impl<'a> Desk<'a> {
    fn set_up(project: &'a Project) -> Result<Self, Failure> {
        run(&mut project.cargo(&["build", "--quiet", "-p", "waypost"]))?;
        let root = project.root.join("target/languages");
        let bin = root.join("bin");
        fs::create_dir_all(&bin).map_err(file_failure(&bin))?;
        copy_file(&project.target.join("debug/waypost"), &bin.join("waypost"))?;
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(bin).chain(env::split_paths(&path)));
        let path = path.map_err(|error| Failure::Other(format!("the PATH cannot be extended: {error}")))?;
        Ok(Self { project, root, path })
    }

    /// Its README, as written; then the scenarios that all languages share.
    fn example(&self, from: &Path, language: &str) -> Result<(), Failure> {
        let copy = self.root.join("examples").join(language);
        copy_tree(from, &copy)?;
        self.follow(&copy.join("README.md"))?;
        let scenarios = self.project.root.join(SCENARIOS);
        let component = format!("greylist-{language}.wasm");
        run(self.command("waypost", &copy).args(["plugin", "test", &component, "--scenarios"]).arg(scenarios))
    }

    /// A new project with one hook, by its own README.
    fn lone_hook(&self, language: &str) -> Result<(), Failure> {
        let new = self.root.join("new");
        fs::create_dir_all(&new).map_err(file_failure(&new))?;
        let name = format!("lone-{language}");
        let directory = new.join(&name);
        empty_dir(&directory)?;
        let args = ["plugin", "new", "--lang", language, "--hooks", LONE_HOOK, &name];
        run(self.command("waypost", &new).args(args))?;
        self.follow(&directory.join("README.md"))?;
        // Compilers were installed into it; what failed stays, to be looked at.
        empty_dir(&directory)
    }

    /// One block of the page, in a directory of its own.
    fn page(&self, language: &str, block: &str) -> Result<(), Failure> {
        let directory = self.root.join("page").join(language);
        empty_dir(&directory)?;
        self.shell(block, &directory)?;
        empty_dir(&directory)
    }

    fn follow(&self, readme: &Path) -> Result<(), Failure> {
        let directory = readme.parent().unwrap_or(&self.root);
        let blocks = fences::commands(&read(readme)?);
        if blocks.is_empty() {
            return Err(Failure::Other(format!("{} has no commands to follow", readme.display())));
        }
        blocks.iter().try_for_each(|block| self.shell(block, directory))
    }

    fn shell(&self, commands: &str, directory: &Path) -> Result<(), Failure> {
        run(self.command("bash", directory).args(["-euo", "pipefail", "-c", commands]))
    }

    fn command(&self, program: &str, directory: &Path) -> Command {
        // `Command` looks in our PATH, and not in the one that it is given.
        let ours = self.root.join("bin").join(program);
        let mut command = self.project.command(if ours.is_file() { ours } else { program.into() }, &[]);
        command.current_dir(directory).env("PATH", &self.path);
        // All Rust projects have wit-bindgen in common.
        command.env("CARGO_TARGET_DIR", self.root.join("cargo"));
        command
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(file_failure(path))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        Project { target: root.join("target"), root }
    }

    #[test]
    fn every_language_has_an_example_with_instructions_and_a_part_of_the_page() {
        let project = project();
        let page = fences::commands(&read(&project.root.join(PAGE)).unwrap());
        let described: Vec<_> = page.iter().filter_map(|block| language_of(block)).collect();
        let examples = examples(&project).unwrap();
        let languages: Vec<_> = examples.iter().map(|(language, _)| language.as_str()).collect();
        for language in ["c", "cpp", "go", "javascript", "python", "rust", "typescript"] {
            assert!(languages.contains(&language), "no example in {language}");
            assert!(described.contains(&language), "{PAGE} does not tell of {language}");
        }
        for (language, directory) in examples {
            assert!(!fences::commands(&read(&directory.join("README.md")).unwrap()).is_empty(), "{language}");
        }
    }

    #[test]
    fn examples_are_built_against_the_contract_as_it_is() {
        let project = project();
        let contract = read(&project.root.join("wit/plugin.wit")).unwrap();
        for (language, directory) in examples(&project).unwrap() {
            let copy = read(&directory.join("wit/deps/waypost-plugin/plugin.wit")).unwrap();
            assert!(copy == contract, "copy wit/plugin.wit into {EXAMPLES}/{language}/wit/deps/waypost-plugin/");
        }
    }

    #[test]
    fn a_block_is_about_the_language_that_it_names() {
        assert_eq!(language_of("waypost plugin new --lang go mine\ncd mine\n"), Some("go"));
        assert_eq!(language_of("waypost --help\n"), None);
    }
}
