//! The bytes of one mail as they come in, within the budget of memory.

use crate::memory::Share;
use bytes::{Bytes, BytesMut};

/// In bytes; copying less than this costs nothing that could be measured.
const SMALL: usize = 16 * 1024;

#[derive(Default)]
pub struct Data {
    pub first: Bytes,
    pub rest: BytesMut,
    pub share: Option<Share>,
    pub over_budget: bool,
}

impl Data {
    /// In bytes.
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Most mails come in one piece. A small one is copied, so that it doesn't keep the whole read buffer alive.
    pub fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = if bytes.len() < SMALL { Bytes::copy_from_slice(&bytes) } else { bytes };
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(self.first.len() + bytes.len());
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&bytes);
    }
}
