//! What a plugin may ask of the host: one file for each kind of question.
//!
//! A call outside the hooks that it is for answers `invalid` where its signature has an error, and
//! an empty text, none or 0 elsewhere. It never traps.

mod delivery;
mod dns;
mod kv;
mod message;
mod services;
mod transaction;

pub(crate) use services::printable;

use crate::{
    bindings::{Host_ as Bindings, waypost::plugin::types},
    state::State,
};
use wasmtime::component::{HasSelf, Linker};

impl types::Host for State {}

impl State {
    /// Every function begins with this.
    fn called(&mut self, name: &'static str) {
        self.call.host_calls.count(name);
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    Bindings::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

/// `text`, cut to `max` bytes at a character.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

fn outside(hooks: &str) -> types::Error {
    types::Error::Invalid(format!("only valid in {hooks}"))
}
