//! A value that may be written alone or as a list: `"a:25"` or `["a:25", "b:25"]`.

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor, value::StrDeserializer};
use std::{fmt, marker::PhantomData, ops::Deref};

/// Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(Vec<T>);

impl<T> Deref for OneOrMany<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                Ok(vec![T::deserialize(StrDeserializer::new(text))?])
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                if items.is_empty() { Err(de::Error::custom("the list is empty")) } else { Ok(items) }
            }
        }
        deserializer.deserialize_any(Items(PhantomData)).map(Self)
    }
}
