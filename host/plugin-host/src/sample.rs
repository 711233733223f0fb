//! Decides whether a mail belongs to a plugin's share: all hooks of one mail agree, today and after a restart.

use crate::subject::SampleKey;

/// Whether a plugin that is asked about `percent` of the mail is asked about this.
pub(crate) fn is_in(percent: u8, plugin: &str, key: Option<SampleKey>) -> bool {
    let Some(key) = key.filter(|_| percent < 100) else { return true };
    let hash = match key {
        SampleKey::Mail(id) => hash(id.to_bytes().into_iter(), plugin),
        SampleKey::Peer(std::net::IpAddr::V4(ip)) => hash(ip.octets().into_iter(), plugin),
        SampleKey::Peer(std::net::IpAddr::V6(ip)) => hash(ip.octets().into_iter(), plugin),
    };
    hash % 100 < u64::from(percent)
}

/// FNV-1a with a last mix, since ids of one moment differ in few bits. Must never change.
fn hash(key: impl Iterator<Item = u8>, plugin: &str) -> u64 {
    let hash = plugin
        .bytes()
        .chain([0])
        .chain(key)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::MailId;

    #[test]
    fn a_share_is_that_many_of_a_hundred_and_differs_by_plugin() {
        let mail = |n: u128| Some(SampleKey::Mail(MailId::from_u128(n << 64 | n)));
        let share = |percent, plugin| (0..10_000).filter(|n| is_in(percent, plugin, mail(*n))).count();
        assert!((900..1100).contains(&share(10, "one")), "{}", share(10, "one"));
        assert!((60..140).contains(&share(1, "one")), "{}", share(1, "one"));
        assert_eq!((share(100, "one"), share(0, "one")), (10_000, 0));
        let both = (0..10_000).filter(|n| is_in(50, "one", mail(*n)) && is_in(50, "two", mail(*n))).count();
        assert!((2200..2800).contains(&both), "{both}");
        assert!(is_in(1, "one", None));
    }

    #[test]
    fn the_choice_never_changes() {
        let chosen: Vec<u128> =
            (0..40).filter(|n| is_in(20, "tag", Some(SampleKey::Mail(MailId::from_u128(*n))))).collect();
        assert_eq!(chosen, [4, 8, 22, 32, 36]);
    }
}
