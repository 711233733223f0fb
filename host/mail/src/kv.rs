//! Durable state for plugins: small values under names, one name space for each plugin and domain.

use crate::Domain;
use bytes::Bytes;
use std::sync::Arc;

/// Whose state: no other plugin and no other domain sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KvSpace {
    pub plugin: Arc<str>,
    pub domain: Domain,
}

#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// A key or value too large, or the space over its quota.
    #[error("{0}")]
    Limit(String),
    /// The store cannot be read or written now.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The value under the key is not a number.
    #[error("the value is not a number")]
    NotANumber,
}

/// Calls return within microseconds and may be made from an async task. A change is visible to the
/// next call at once, and durable no later than a mail that is enqueued after it.
///
/// `ttl` is in seconds, from now; none keeps the value until it is deleted.
pub trait KvStore: Send + Sync {
    fn get(&self, space: &KvSpace, key: &str) -> Result<Option<Bytes>, KvError>;
    fn set(&self, space: &KvSpace, key: &str, value: &[u8], ttl: Option<u32>) -> Result<(), KvError>;
    /// False, and no change, where the key exists.
    fn add(&self, space: &KvSpace, key: &str, value: &[u8], ttl: Option<u32>) -> Result<bool, KvError>;
    fn delete(&self, space: &KvSpace, key: &str) -> Result<(), KvError>;
    /// A counter, kept as decimal text. A missing key counts as 0; `ttl` holds from when it is made.
    fn increment(&self, space: &KvSpace, key: &str, delta: i64, ttl: Option<u32>) -> Result<i64, KvError>;
    /// False, and no change, where the value is not `expect` (none: no value).
    fn compare_and_set(
        &self,
        space: &KvSpace,
        key: &str,
        expect: Option<&[u8]>,
        value: &[u8],
        ttl: Option<u32>,
    ) -> Result<bool, KvError>;
}
