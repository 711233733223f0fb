//! Answers for `kv`: durable state, in the name space of this plugin and domain.

use crate::{
    bindings::waypost::plugin::{kv, types::Error},
    grant::Grant,
    state::State,
};
use bytes::Bytes;
use mail::KvError;

const MAX_KEYS: usize = 1000;

impl State {
    fn kv_granted(&self) -> Result<(), Error> {
        if self.profile.grants(&Grant::Kv) { Ok(()) } else { Err(Error::Denied) }
    }

    fn kv_get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.profile.kv.get(&self.profile.space, key).map_err(told)?.map(Bytes::into))
    }
}

impl kv::Host for State {
    fn get(&mut self, key: String) -> Result<Option<Vec<u8>>, Error> {
        self.called("kv.get");
        self.kv_granted()?;
        self.kv_get(&key)
    }
    fn get_many(&mut self, keys: Vec<String>) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.called("kv.get-many");
        self.kv_granted()?;
        if keys.len() > MAX_KEYS {
            return Err(Error::Limit(format!("one call asks for at most {MAX_KEYS} keys")));
        }
        let limit = self.profile.limits.host_call_bytes;
        let mut left = limit;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.kv_get(&key)?;
            left = left
                .checked_sub(value.as_ref().map_or(0, Vec::len))
                .ok_or_else(|| Error::Limit(format!("one call reads at most {limit} bytes")))?;
            values.push(value);
        }
        Ok(values)
    }
    fn set(&mut self, key: String, value: Vec<u8>, ttl_s: Option<u32>) -> Result<(), Error> {
        self.called("kv.set");
        self.kv_granted()?;
        self.profile.kv.set(&self.profile.space, &key, &value, ttl_s).map_err(told)
    }
    fn add(&mut self, key: String, value: Vec<u8>, ttl_s: Option<u32>) -> Result<bool, Error> {
        self.called("kv.add");
        self.kv_granted()?;
        self.profile.kv.add(&self.profile.space, &key, &value, ttl_s).map_err(told)
    }
    fn delete(&mut self, key: String) -> Result<(), Error> {
        self.called("kv.delete");
        self.kv_granted()?;
        self.profile.kv.delete(&self.profile.space, &key).map_err(told)
    }
    fn increment(&mut self, key: String, delta: i64, ttl_s: Option<u32>) -> Result<i64, Error> {
        self.called("kv.increment");
        self.kv_granted()?;
        self.profile.kv.increment(&self.profile.space, &key, delta, ttl_s).map_err(told)
    }
    fn compare_and_set(
        &mut self,
        key: String,
        expect: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl_s: Option<u32>,
    ) -> Result<bool, Error> {
        self.called("kv.compare-and-set");
        self.kv_granted()?;
        self.profile.kv.compare_and_set(&self.profile.space, &key, expect.as_deref(), &value, ttl_s).map_err(told)
    }
}

fn told(error: KvError) -> Error {
    match error {
        KvError::Limit(why) => Error::Limit(why),
        KvError::Unavailable(why) => Error::Unavailable(why),
        KvError::NotANumber => Error::Invalid(KvError::NotANumber.to_string()),
    }
}
