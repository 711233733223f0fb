//! `waypost plugin build`: what is missing is said before anything starts.

use super::{PluginError, print_line};
use plugin_author::{BuildError, Engine, Project, Shell, build};
use std::{fs, path::PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The project
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// What runs JavaScript and TypeScript, instead of what waypost-plugin.toml says: quickjs or spidermonkey
    #[arg(long, value_name = "ENGINE")]
    engine: Option<Engine>,
    /// Don't show the commands that are run
    #[arg(long)]
    quiet: bool,
}

pub fn run(args: &Args) -> Result<(), PluginError> {
    let mut project =
        Project::open(&args.dir).map_err(|error| PluginError::Usage(format!("waypost plugin build: {error}")))?;
    project.engine = args.engine.unwrap_or(project.engine);
    let built = build(&project, &mut Shell { quiet: args.quiet }).map_err(|error| match error {
        BuildError::Project(_) => PluginError::Configuration(format!("waypost plugin build: {error}")),
        error => PluginError::Failed(format!("waypost plugin build: {error}")),
    })?;
    let size = fs::metadata(&built).map_or(0, |found| found.len().div_ceil(1024));
    print_line(&format!("{} ({size} KiB)", built.display()));
    Ok(())
}
