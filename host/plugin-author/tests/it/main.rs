//! What a person meets who makes a project: new, build, and what is said when something is missing.

mod build;
mod new;
