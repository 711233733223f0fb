//! `cargo xtask`: builds, tries and checks the whole project with one command each.
//!
//! Standard library only, so that it is built in a second. Nothing here is part of the gateway.

mod checks;
mod deny;
mod examples;
mod fences;
mod guests;
mod languages;
mod layout;
mod pages;
mod plan;
mod setup;
mod tools;
mod unsafety;

use std::process::ExitCode;
use tools::{Failure, Project};

/// What one word does.
struct Subcommand {
    name: &'static str,
    about: &'static str,
    run: fn(&Project, &[String]) -> Result<(), Failure>,
}

const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "build",
        about: "the release binary, every shipped plugin and the examples, in target/waypost/",
        run: |project, _| layout::build(project),
    },
    Subcommand {
        name: "demo",
        about: "builds, then runs `waypost demo`; what follows is passed on, for instance --once",
        run: layout::demo,
    },
    Subcommand {
        name: "guests",
        about: "the plugins as WebAssembly components, in target/waypost/plugins/",
        run: |project, _| guests::build(project).map(drop),
    },
    Subcommand {
        name: "setup",
        about: "installs the peers that the tests talk to, as root on Debian; what is missing only",
        run: |project, _| setup::install_missing(project),
    },
    Subcommand {
        name: "languages",
        about: "follows the instructions for plugins in each language, or in those that are named",
        run: languages::check,
    },
    Subcommand {
        name: "pages",
        about: "every link of the pages, and the tests that they name",
        run: |project, _| pages::check(project),
    },
    Subcommand { name: "test", about: "setup, guests, every test, languages", run: |project, _| checks::test(project) },
    Subcommand {
        name: "lint",
        about: "format, pages, unsafe code, cargo deny and clippy",
        run: |project, _| checks::lint(project),
    },
    Subcommand {
        name: "examples",
        about: "builds the examples and checks their configurations",
        run: |project, _| examples::check(project),
    },
    Subcommand {
        name: "ci",
        about: "lint, test and examples: what .ci/run does",
        run: |project, _| checks::ci(project),
    },
];

const TAKE_ARGUMENTS: &[&str] = &["demo", "languages"];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        print!("{}", help());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name) else {
        eprint!("cargo xtask has no `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    if !TAKE_ARGUMENTS.contains(&subcommand.name) && !rest.is_empty() {
        eprintln!("`cargo xtask {name}` takes no arguments");
        return ExitCode::from(2);
    }
    let outcome = Project::find().and_then(|project| (subcommand.run)(&project, rest));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cargo xtask {name}: {failure}");
            failure.exit_code()
        }
    }
}

fn help() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for subcommand in SUBCOMMANDS {
        text.push_str(&format!("  {:<9} {}\n", subcommand.name, subcommand.about));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_the_help_on_one_line() {
        for subcommand in SUBCOMMANDS {
            assert!(help().contains(&format!("\n  {} ", subcommand.name)));
            assert!(!subcommand.about.contains('\n'));
        }
    }
}
