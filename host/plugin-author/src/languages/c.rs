//! Decides how a C or C++ project is built: one of several compilers makes a WASI reactor, which becomes a
//! component here. C++ has bindings of its own, in the standard library's types.

use super::{Missing, Toolchain, generated, write_changed};
use crate::{
    build::{BuildError, read, write},
    component,
    project::Project,
    run::{Run, RunError},
    template::TemplateFile,
};
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use wit_bindgen_core::WorldGenerator;

mod compiler;
use compiler::Compiler;

pub(super) struct C;
pub(super) struct Cpp;

impl Toolchain for C {
    fn template(&self) -> &'static [TemplateFile] {
        &[
            TemplateFile { path: ".gitignore", text: include_str!("../../templates/c/gitignore") },
            TemplateFile { path: "README.md", text: include_str!("../../templates/c/README.md") },
            TemplateFile { path: "src/plugin.c", text: include_str!("../../templates/c/src/plugin.c.in") },
        ]
    }

    fn bindings(&self, project: &Project) -> Result<(), BuildError> {
        bindings(project, "C", wit_bindgen_c::Opts::default().build())
    }

    fn missing(&self, project: &Project, run: &mut dyn Run) -> Vec<Missing> {
        Compiler::find(project, false, run).is_none().then(|| compiler::missing("C")).into_iter().collect()
    }

    fn build(&self, project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError> {
        build(project, run)
    }
}

impl Toolchain for Cpp {
    fn template(&self) -> &'static [TemplateFile] {
        &[
            TemplateFile { path: ".gitignore", text: include_str!("../../templates/c/gitignore") },
            TemplateFile { path: "README.md", text: include_str!("../../templates/cpp/README.md") },
            TemplateFile { path: "src/plugin.cpp", text: include_str!("../../templates/cpp/src/plugin.cpp.in") },
        ]
    }

    fn bindings(&self, project: &Project) -> Result<(), BuildError> {
        bindings(project, "C++", wit_bindgen_cpp::Opts::default().build(None))
    }

    fn missing(&self, project: &Project, run: &mut dyn Run) -> Vec<Missing> {
        Compiler::find(project, true, run).is_none().then(|| compiler::missing("C++")).into_iter().collect()
    }

    fn build(&self, project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError> {
        build(project, run)
    }
}

fn bindings(project: &Project, language: &'static str, generator: Box<dyn WorldGenerator>) -> Result<(), BuildError> {
    for (name, bytes) in generated(project, language, generator)?.iter() {
        let path = project.gen_dir().join(name);
        if name.ends_with(".cpp") {
            write_changed(&path, with_optional_lists(&String::from_utf8_lossy(bytes)).as_bytes())?;
        } else {
            write_changed(&path, bytes)?;
        }
    }
    Ok(())
}

/// For an argument of type `option<list<…>>` the generator takes a span, and then wants to move a vector out of it.
fn with_optional_lists(source: &str) -> String {
    let corrected = source.split_inclusive('\n').map(|line| {
        let code = line.trim_start();
        match code.split_once("> payload") {
            Some((list, rest)) if list.starts_with("wit::vector<") && rest.contains(" = (std::move(") => {
                let indent = line.split_at(line.len() - code.len()).0;
                format!("{indent}auto payload{rest}")
            }
            _ => line.to_owned(),
        }
    });
    corrected.collect()
}

fn build(project: &Project, run: &mut dyn Run) -> Result<PathBuf, BuildError> {
    let sources = sources(project)?;
    let cpp = sources.iter().any(|source| is_cpp(source));
    let language = if cpp { "C++" } else { "C" };
    let compiler =
        Compiler::find(project, cpp, run).ok_or_else(|| BuildError::Missing(vec![compiler::missing(language)]))?;
    let objects = PathBuf::from("gen/objects");
    fs::create_dir_all(project.dir.join(&objects))
        .map_err(|error| BuildError::File { path: project.dir.join(&objects), error })?;
    // The generated object describes the world.
    let mut linked = vec![OsString::from("gen/plugin_component_type.o")];
    for source in &sources {
        let object = objects.join(object_name(source));
        run.run(&mut compile(&compiler, project, source, &object))?;
        linked.push(object.into_os_string());
    }
    let module = link(&compiler, project, cpp, &linked, run)?;
    let bytes = component::from_module(&read(&module)?, None)
        .map_err(|error| BuildError::Component { path: module.clone(), error })?;
    let path = project.gen_dir().join("component.wasm");
    write(&path, &bytes)?;
    Ok(path)
}

fn compile(compiler: &Compiler, project: &Project, source: &Path, object: &Path) -> Command {
    let cpp = is_cpp(source);
    let mut command = compiler.command(cpp);
    command.current_dir(&project.dir).args(["-Os", "-g0", "-Wall", "-Wextra", "-Igen"]);
    if cpp {
        // No plugin outlives an exception, and each one would carry the tables for them.
        command.args(["-std=c++23", "-fno-exceptions", "-fno-rtti"]);
    }
    command.arg("-c").arg(source).arg("-o").arg(object);
    command
}

fn link(
    compiler: &Compiler,
    project: &Project,
    cpp: bool,
    objects: &[OsString],
    run: &mut dyn Run,
) -> Result<PathBuf, RunError> {
    let mut command = compiler.command(cpp);
    command.current_dir(&project.dir).args(["-Os", "-mexec-model=reactor"]).args(objects);
    command.args(["-o", "gen/module.wasm"]);
    run.run(&mut command)?;
    Ok(project.gen_dir().join("module.wasm"))
}

/// The generated one, and the author's below `src/`, in a fixed order.
fn sources(project: &Project) -> Result<Vec<PathBuf>, BuildError> {
    let generated = ["gen/plugin.c", "gen/plugin.cpp"].map(PathBuf::from);
    let mut found: Vec<_> = generated.into_iter().filter(|file| project.dir.join(file).is_file()).collect();
    let mut directories = vec![PathBuf::from("src")];
    while let Some(directory) = directories.pop() {
        let failed = |error: io::Error| BuildError::File { path: project.dir.join(&directory), error };
        for entry in fs::read_dir(project.dir.join(&directory)).map_err(failed)? {
            let path = directory.join(entry.map_err(failed)?.file_name());
            if project.dir.join(&path).is_dir() {
                directories.push(path);
            } else if is_cpp(&path) || path.extension().is_some_and(|ending| ending == "c") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_cpp(source: &Path) -> bool {
    source.extension().is_some_and(|ending| ["cpp", "cc", "cxx"].iter().any(|cpp| ending == *cpp))
}

/// Two directories may have files of one name.
fn object_name(source: &Path) -> String {
    source.display().to_string().replace('/', "-") + ".o"
}
