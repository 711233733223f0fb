//! A build starts nothing before it knows that everything is there, and says what to install.

use plugin_author::{
    BuildError, Hook, Language, NewProject, Project, Run, build,
    contract::PLUGIN_WIT,
    create,
    run::{RunError, shown},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A machine with these programs, of which each does nothing but leave a module where it was told to.
#[derive(Default)]
struct Machine {
    programs: Vec<&'static str>,
    leaves: Vec<(PathBuf, Vec<u8>)>,
    ran: Vec<String>,
}

impl Run for Machine {
    fn run(&mut self, command: &mut Command) -> Result<(), RunError> {
        self.ran.push(shown(command));
        for (path, bytes) in &self.leaves {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Ok(())
    }

    fn ask(&mut self, command: &mut Command) -> Option<String> {
        shown(command).contains("GOVERSION").then(|| "go1.19.8".to_owned())
    }

    fn find(&self, _first: &[PathBuf], name: &str) -> Option<PathBuf> {
        self.programs.contains(&name).then(|| Path::new("/usr/bin").join(name))
    }
}

fn project(dir: &Path, language: Language) -> Project {
    create(&NewProject { dir: &dir.join("tagger"), name: "tagger", language, hooks: &[Hook::OnMessage] }).unwrap()
}

#[test]
fn what_is_missing_is_said_before_anything_is_started() {
    for language in Language::ALL {
        let home = tempfile::tempdir().unwrap();
        let mut machine = Machine::default();
        let error = build(&project(home.path(), language), &mut machine).unwrap_err();
        assert!(matches!(error, BuildError::Missing(_)), "{language}: {error}");
        assert!(error.to_string().contains("is missing; install it with\n    "), "{language}: {error}");
        assert_eq!(machine.ran, Vec::<String>::new(), "{language}");
    }
}

#[test]
fn a_go_that_is_too_old_is_as_good_as_none() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = Machine { programs: vec!["go"], ..Machine::default() };
    let error = build(&project(home.path(), Language::Go), &mut machine).unwrap_err();
    assert!(error.to_string().contains("Go 1.21 or newer is missing"), "{error}");
}

#[test]
fn rust_without_the_target_for_components_is_told_the_command_that_adds_it() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = Machine { programs: vec!["cargo"], ..Machine::default() };
    let error = build(&project(home.path(), Language::Rust), &mut machine).unwrap_err();
    assert!(error.to_string().ends_with("    rustup target add wasm32-wasip2"), "{error}");
}

#[test]
fn zig_alone_builds_c_and_a_module_that_is_none_is_named() {
    let home = tempfile::tempdir().unwrap();
    let project = project(home.path(), Language::C);
    let module = project.dir.join("gen/module.wasm");
    let mut machine = Machine { programs: vec!["zig"], leaves: vec![(module, b"no".to_vec())], ran: Vec::new() };
    let error = build(&project, &mut machine).unwrap_err();
    assert!(error.to_string().contains("gen/module.wasm: "), "{error}");
    let starts: Vec<_> = machine.ran.iter().map(|command| command.split(" -").next().unwrap()).collect();
    assert_eq!(starts, ["zig cc", "zig cc", "zig cc"], "two sources and the linker: {:?}", machine.ran);
    assert!(machine.ran[1].ends_with("-c src/plugin.c -o gen/objects/src-plugin.c.o"), "{:?}", machine.ran);
}

#[test]
fn a_mistake_in_the_world_is_told_before_any_tool_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let project = project(home.path(), Language::Go);
    let world = project.dir.join("wit/world.wit");
    let text = fs::read_to_string(&world).unwrap().replace("on-message", "on-mail");
    fs::write(&world, text).unwrap();
    let mut machine = Machine::default();
    let error = build(&project, &mut machine).unwrap_err();
    assert!(matches!(error, BuildError::Project(_)), "{error}");
    assert!(error.to_string().contains("on-mail"), "{error}");
}

#[test]
fn a_manifest_with_a_wrong_word_names_its_file() {
    let home = tempfile::tempdir().unwrap();
    let project = project(home.path(), Language::Go);
    for (text, says) in [
        ("name = \"tagger\"\nlanguage = \"perl\"\n", "perl"),
        ("name = \"Tagger\"\nlanguage = \"go\"\n", "lower-case"),
        ("name = \"tagger\"\nlanguage = \"go\"\nversoin = \"1\"\n", "versoin"),
    ] {
        fs::write(project.dir.join("waypost-plugin.toml"), text).unwrap();
        let error = Project::open(&project.dir).unwrap_err().to_string();
        assert!(error.contains("waypost-plugin.toml") && error.contains(says), "{error}");
    }
}

/// Comments may differ: what is built from them is the same.
#[test]
fn the_examples_are_written_for_this_contract() {
    let words = |text: &str| {
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        code.flat_map(str::split_whitespace).map(str::to_owned).collect::<Vec<_>>()
    };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/plugins");
    let mut seen = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let dir = entry.unwrap().path();
        let contract = dir.join("wit/deps/waypost-plugin/plugin.wit");
        let Ok(text) = fs::read_to_string(&contract) else { continue };
        assert_eq!(words(&text), words(PLUGIN_WIT), "copy wit/plugin.wit to {}", contract.display());
        let project = Project::open(&dir).unwrap();
        assert_eq!(project.name, format!("greylist-{}", project.language));
        assert_eq!(project.hooks().unwrap(), [Hook::Setup, Hook::OnRecipient, Hook::OnMessage]);
        seen += 1;
    }
    assert!(seen >= 4, "{seen} examples");
}
