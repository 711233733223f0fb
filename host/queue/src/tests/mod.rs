//! What the whole crate promises, over media that fail.
