//! `waypost plugin new`: says what was made, and what to do next.

use super::{PluginError, print_line};
use plugin_author::{Hook, Language, NewError, NewProject, create};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// rust, c, cpp, go, javascript, typescript or python
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
    /// What the plugin is asked: setup, on-connect, on-recipient, on-message, on-route, on-offline, on-online, on-event
    #[arg(long, value_name = "HOOKS", value_delimiter = ',', default_value = "on-message")]
    hooks: Vec<Hook>,
    /// Where [default: ./NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Lower-case words with hyphens between them
    name: String,
}

pub fn run(args: &Args) -> Result<(), PluginError> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let new = NewProject { dir: &dir, name: &args.name, language: args.lang, hooks: &args.hooks };
    let project = create(&new).map_err(|error| match error {
        NewError::Name(_) | NewError::NotEmpty(_) => PluginError::Usage(format!("waypost plugin new: {error}")),
        error => PluginError::Failed(format!("waypost plugin new: {error}")),
    })?;
    let hooks = project.hooks().map_err(|error| PluginError::Failed(error.to_string()))?;
    let hooks: Vec<_> = hooks.iter().map(|hook| hook.name()).collect();
    print_line(&format!(
        "{dir} is a plugin in {language} with {hooks}. Next:\n\n  cd {dir}\n  waypost plugin build\n  waypost plugin test\n\n\
         README.md says what to install first, and where the plugin goes then.",
        dir = dir.display(),
        language = args.lang,
        hooks = hooks.join(", "),
    ));
    Ok(())
}
