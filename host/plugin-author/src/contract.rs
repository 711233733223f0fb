//! Decides how a project's world is written: which hooks it exports, and where the contract lies beside it.
//!
//! Reads no file: the contract is compiled in, so that a project always gets the one of its gateway.

use std::{fmt, str::FromStr};

/// The contract, as it is copied into each project.
pub const PLUGIN_WIT: &str = include_str!("../../../wit/plugin.wit");
/// What the contract's package is called; hooks are interfaces of it.
pub const PACKAGE: &str = "waypost:plugin";
pub const VERSION: &str = "0.1.0";
/// The world that a project's `wit/world.wit` describes.
pub const WORLD: &str = "plugin";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    Setup,
    OnConnect,
    OnRecipient,
    OnMessage,
    OnRoute,
    OnOffline,
    OnOnline,
    OnEvent,
}

impl Hook {
    /// In the order of a mail's way.
    pub const ALL: [Self; 8] = [
        Self::Setup,
        Self::OnConnect,
        Self::OnRecipient,
        Self::OnMessage,
        Self::OnRoute,
        Self::OnOffline,
        Self::OnOnline,
        Self::OnEvent,
    ];

    /// The interface's name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::OnConnect => "on-connect",
            Self::OnRecipient => "on-recipient",
            Self::OnMessage => "on-message",
            Self::OnRoute => "on-route",
            Self::OnOffline => "on-offline",
            Self::OnOnline => "on-online",
            Self::OnEvent => "on-event",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Hook {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|hook| hook.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|hook| hook.name()).collect();
            format!("there is no hook {text:?}; there are {}", known.join(", "))
        })
    }
}

/// The text of `wit/world.wit`.
#[must_use]
pub fn world(project: &str, hooks: &[Hook]) -> String {
    let mut text = format!(
        "// What {project} asks of the gateway, and which hooks it has. To add a hook, export it here.\n\
         package local:{project};\n\n\
         world {WORLD} {{\n  include {PACKAGE}/services@{VERSION};\n"
    );
    for hook in Hook::ALL.iter().filter(|hook| hooks.contains(hook)) {
        text.push_str(&format!("  export {PACKAGE}/{hook}@{VERSION};\n"));
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_written_as_it_is_read() {
        for hook in Hook::ALL {
            assert_eq!(hook.to_string().parse(), Ok(hook));
            assert!(PLUGIN_WIT.contains(&format!("interface {hook} ")), "{hook} is an interface of the contract");
        }
        assert!("on-mail".parse::<Hook>().unwrap_err().contains("on-message"));
        assert!(PLUGIN_WIT.contains(&format!("package {PACKAGE}@{VERSION};")));
    }

    #[test]
    fn a_world_exports_the_hooks_asked_for_and_no_other() {
        let text = world("tagger", &[Hook::OnMessage, Hook::Setup]);
        assert_eq!(text.matches("  export ").count(), 2);
        assert!(text.contains("  export waypost:plugin/setup@0.1.0;\n  export waypost:plugin/on-message@0.1.0;\n"));
    }
}
