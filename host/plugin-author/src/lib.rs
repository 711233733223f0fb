//! Decides what an author's project looks like, and how it becomes a component: `new` and `build`.
//!
//! Runs no plugin and knows nothing of the gateway: `plugin-test` does the one, `plugin-host` the other.

pub mod build;
pub mod component;
pub mod contract;
pub mod languages;
pub mod new;
pub mod project;
pub mod run;
mod template;

pub use build::{BuildError, build};
pub use contract::Hook;
pub use languages::{Engine, Language, Missing, Toolchain};
pub use new::{NewError, NewProject, create};
pub use project::{Project, ProjectError};
pub use run::{Run, Shell};
