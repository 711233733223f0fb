//! Decides which contacts count as the same one.

use waypost_sdk::text::{Address, Network, fold};

/// Keys stay readable up to here; a longer one is hashed. Bounds what a long address costs the store.
const MAX_KEY: usize = 200;

pub(crate) fn client(network: Network) -> String {
    format!("client {network}")
}

pub(crate) fn triplet(network: Network, sender: Option<&str>, recipient: &str) -> String {
    let sender = sender.map_or_else(|| "<>".to_owned(), same_sender);
    let recipient = fold(recipient);
    let key = format!("triplet {network} {sender} {recipient}");
    if key.len() <= MAX_KEY { key } else { format!("triplet {network} #{:032x}", hash(&key)) }
}

/// Lists and bounce handlers put a number or a tag into each mail's sender (VERP); without them it is the same sender.
fn same_sender(sender: &str) -> String {
    let sender = fold(sender);
    let address = Address::new(&sender);
    let local = address.without_tag("+").unwrap_or(&address.local);
    let mut same = String::with_capacity(sender.len());
    for c in local.chars() {
        match c {
            '0'..='9' if same.ends_with('#') => {}
            '0'..='9' => same.push('#'),
            c => same.push(c),
        }
    }
    same.push('@');
    same + address.domain
}

/// FNV-1a with 128 bits: the same in every version, which `std`'s hashers don't promise. Two senders who
/// share a hash share a waiting time, and nothing else.
fn hash(text: &str) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ip: &str, sender: Option<&str>, recipient: &str) -> String {
        triplet(Network::of_client(ip.parse().unwrap()), sender, recipient)
    }

    #[test]
    fn the_same_contact_has_the_same_key() {
        let first = key("192.0.2.1", Some("ann@x.org"), "bob@example.org");
        assert_eq!(first, "triplet 192.0.2.0/24 ann@x.org bob@example.org");
        assert_eq!(first, key("192.0.2.254", Some("Ann@x.org"), "Bob@example.org"));
        assert_eq!(first, key("::ffff:192.0.2.9", Some("ann+tag@x.org"), "bob@example.org"));
        for (ip, sender, recipient) in [
            ("192.0.3.1", Some("ann@x.org"), "bob@example.org"),
            ("192.0.2.1", Some("ann@y.org"), "bob@example.org"),
            ("192.0.2.1", Some("ann@x.org"), "bo@example.org"),
            ("192.0.2.1", None, "bob@example.org"),
        ] {
            assert_ne!(first, key(ip, sender, recipient));
        }
    }

    #[test]
    fn numbers_in_a_lists_sender_make_no_difference() {
        let one = key("2001:db8::1", Some("bounce-17-4@list.example"), "bob@example.org");
        assert_eq!(one, "triplet 2001:db8::/64 bounce-#-#@list.example bob@example.org");
        assert_eq!(one, key("2001:db8::2", Some("bounce-1234-5@list.example"), "bob@example.org"));
    }

    #[test]
    fn a_long_key_is_hashed_to_a_bounded_one() {
        let long = "a".repeat(300);
        let sender = format!("{long}@x.org");
        let one = key("192.0.2.1", Some(&sender), "bob@example.org");
        assert!(one.len() <= MAX_KEY);
        assert_eq!(one, key("192.0.2.1", Some(&sender), "bob@example.org"));
        assert_ne!(one, key("192.0.2.1", Some(&sender), "eve@example.org"));
        assert_eq!(hash(""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(hash("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }
}
