//! What stands in for the world around a plugin under test.

pub(crate) mod kv;
