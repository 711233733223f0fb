//! Decides which C compiler is taken: of those that can make WASI modules, the first that is there.
//!
//! 1. `WASI_SDK_PATH`: who sets it wants it.
//! 2. zig, in the project, on the PATH or in Python's packages: it brings the C and C++ libraries with it.
//! 3. clang, where it finds a C library for WASI.

use super::super::Missing;
use crate::{project::Project, run::Run};
use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "wasm32-wasi";
const INSTALL: &str = "python3 -m venv .venv && .venv/bin/pip install ziglang";
const NEWEST_CLANG: u32 = 30;
const OLDEST_CLANG: u32 = 14;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compiler {
    /// `zig cc`, `zig c++`.
    Zig(PathBuf),
    /// `python -m ziglang cc`.
    PythonZig(PathBuf),
    Clang {
        c: PathBuf,
        cpp: PathBuf,
    },
}

impl Compiler {
    pub(super) fn find(project: &Project, cpp: bool, run: &mut dyn Run) -> Option<Self> {
        let sdk = env::var_os("WASI_SDK_PATH").map(|sdk| PathBuf::from(sdk).join("bin"));
        if let Some(c) = sdk.and_then(|bin| run.find(&[bin], "clang")) {
            return Some(Self::Clang { cpp: c.with_file_name("clang++"), c });
        }
        let venv = [project.dir.join(".venv/bin")];
        let zig = |python: &PathBuf, run: &mut dyn Run| {
            run.ask(Command::new(python).args(["-m", "ziglang", "version"]).current_dir(&project.dir)).is_some()
        };
        let own = run.find(&venv, "python").filter(|python| python.starts_with(&project.dir));
        if let Some(python) = own.filter(|python| zig(python, run)) {
            return Some(Self::PythonZig(python));
        }
        if let Some(zig) = run.find(&[], "zig") {
            return Some(Self::Zig(zig));
        }
        if let Some(python) = run.find(&[], "python3").filter(|python| zig(python, run)) {
            return Some(Self::PythonZig(python));
        }
        let versions = (OLDEST_CLANG..=NEWEST_CLANG).rev().map(|version| format!("-{version}"));
        std::iter::once(String::new()).chain(versions).find_map(|version| clang(&version, cpp, run))
    }

    pub(super) fn command(&self, cpp: bool) -> Command {
        let mut command = match self {
            Self::Zig(zig) => Command::new(zig),
            Self::PythonZig(python) => Command::new(python),
            Self::Clang { c, cpp: plus } => Command::new(if cpp { plus } else { c }),
        };
        match self {
            Self::Zig(_) => command.arg(if cpp { "c++" } else { "cc" }),
            Self::PythonZig(_) => command.args(["-m", "ziglang", if cpp { "c++" } else { "cc" }]),
            Self::Clang { .. } => &mut command,
        };
        command.arg(format!("--target={TARGET}"));
        command
    }
}

/// A clang is of use only together with its linker, its own library and WASI's.
fn clang(version: &str, cpp: bool, run: &mut dyn Run) -> Option<Compiler> {
    let c = run.find(&[], &format!("clang{version}"))?;
    let plus = run.find(&[], &format!("clang++{version}")).or_else(|| (!cpp).then(|| c.clone()))?;
    let library = if cpp { "-print-file-name=libc++.a" } else { "-print-file-name=libc.a" };
    for question in ["-print-file-name=crt1-reactor.o", library, "-print-prog-name=wasm-ld", "-print-libgcc-file-name"]
    {
        // Where it finds nothing it answers with the name alone.
        let answer = run.ask(Command::new(&c).arg(format!("--target={TARGET}")).arg(question))?;
        if !Path::new(&answer).is_absolute() || !Path::new(&answer).exists() {
            return None;
        }
    }
    Some(Compiler::Clang { c, cpp: plus })
}

pub(super) fn missing(language: &str) -> Missing {
    Missing { what: format!("a compiler that makes WASI modules of {language}"), install: INSTALL.to_owned() }
}
