//! Lays out `target/waypost/` as an installation has it, and tries it.

use crate::{
    examples, guests,
    tools::{Failure, Project, copy_file, file_failure, run},
};
use std::fs;

pub(crate) fn build(project: &Project) -> Result<(), Failure> {
    run(&mut project.cargo(&["build", "--release", "-p", "waypost"]))?;
    let bin = project.layout().join("bin");
    fs::create_dir_all(&bin).map_err(file_failure(&bin))?;
    copy_file(&project.target.join("release/waypost"), &bin.join("waypost"))?;
    let plugins = guests::build(project)?;
    examples::lay_out(project)?;
    eprintln!("target/waypost/bin/waypost and the plugins {} are ready", plugins.join(", "));
    Ok(())
}

pub(crate) fn demo(project: &Project, args: &[String]) -> Result<(), Failure> {
    build(project)?;
    let waypost = project.layout().join("bin/waypost");
    run(project.command(waypost, &["demo"]).args(passed_on(args)))
}

/// `cargo xtask demo --once` and `cargo xtask demo -- --once` are the same.
fn passed_on(args: &[String]) -> &[String] {
    match args.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => args,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_demo_may_follow_two_dashes() {
        let args = ["--", "--once", "--"].map(String::from);
        assert_eq!(passed_on(&args), &args[1..]);
        assert_eq!(passed_on(&args[1..]), &args[1..]);
        assert!(passed_on(&[]).is_empty());
    }
}
