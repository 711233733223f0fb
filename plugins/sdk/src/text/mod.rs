//! What people write in a configuration, as types that are checked when they are read.

mod address;
mod duration;
mod glob;
mod network;
mod next_hop;
mod one_or_many;
mod sender;

pub use address::{Address, fold, unquoted};
pub use duration::{duration, parse_duration};
pub use glob::Glob;
pub use network::Network;
pub use next_hop::NextHop;
pub use one_or_many::OneOrMany;
pub use sender::Senders;

/// `Deserialize` for a type that is written as a string and has `FromStr`.
macro_rules! from_text {
    ($type:ty, $expected:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}
use from_text;
