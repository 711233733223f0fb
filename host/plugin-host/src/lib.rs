//! Runs plugins: WebAssembly components, loaded from files, sandboxed, limited in all they use.
//!
//! The gateway sees none of this but the traits of `mail`. Only this crate names wasmtime. What a
//! guest answers is checked before it is handed on; a plugin that fails changes nothing.

mod answers;
mod background;
mod bindings;
mod bound;
mod breaker;
mod budget;
mod cache;
mod chain;
mod component;
mod config_table;
mod course;
mod engine;
mod failure;
mod files;
mod grant;
mod guest;
mod host;
mod http;
mod imports;
mod instance;
mod lines;
mod loader;
mod metadata;
mod meter;
mod metrics;
mod mime;
mod opinion;
mod pace;
mod record;
mod registry;
mod resolver;
mod sample;
mod settings;
mod state;
mod stdio;
mod subject;

pub use breaker::BreakerState;
pub use component::Inspection;
pub use grant::{Grant, Origin, OriginHost, ParseGrantError, Scheme};
pub use host::{PluginHost, PluginStatus};
pub use http::{HttpClient, HttpError, HttpRequest, HttpResponse};
pub use metrics::{Metric, MetricValue};
pub use resolver::SystemResolver;
pub use settings::{Clock, HostConfig, HostError, Limits, PluginSettings, PoolLimits, ResolveError, Resolver, TICK};
