//! What stands in for the world around a plugin under test.

pub(crate) mod clock;
pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod kv;
