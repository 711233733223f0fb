//! What has to hold before a change goes in.

use crate::{
    deny, examples, guests, languages, pages,
    plan::{self, Step},
    setup,
    tools::{Failure, Project, run},
    unsafety,
};

pub(crate) fn lint(project: &Project) -> Result<(), Failure> {
    plan::run(&lint_steps(project))
}

pub(crate) fn test(project: &Project) -> Result<(), Failure> {
    plan::run(&test_steps(project))
}

pub(crate) fn ci(project: &Project) -> Result<(), Failure> {
    let mut steps = lint_steps(project);
    steps.extend(test_steps(project));
    steps.push(Step::new("examples", || examples::check(project)));
    plan::run(&steps)
}

/// The quickest first.
fn lint_steps(project: &Project) -> Vec<Step<'_>> {
    vec![
        Step::new("format", || run(&mut project.cargo(&["fmt", "--all", "--check"]))),
        Step::new("pages", || pages::check(project)),
        Step::new("unsafe code", || unsafety::check(project)),
        Step::new("deny", || deny::check(project)),
        Step::new("clippy", || {
            run(&mut project.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        }),
    ]
}

fn test_steps(project: &Project) -> Vec<Step<'_>> {
    vec![
        Step::new("setup", || setup::install_missing(project)),
        Step::new("guests", || guests::build(project).map(drop)),
        Step::new("test", || {
            // The plugins' own tests run natively: they are members too.
            let mut cargo = project.cargo(&["test", "--workspace"]);
            run(cargo.env("WAYPOST_GUESTS", project.built_guests()))
        }),
        Step::new("languages", || languages::check(project, &[])),
    ]
}
