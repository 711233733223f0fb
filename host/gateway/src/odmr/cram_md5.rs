//! CRAM-MD5 (RFC 2195): a challenge, and a digest of it under the secret. Pure.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

/// `<random@host>`, like a message id.
pub fn challenge(random: &str, hostname: &str) -> String {
    format!("<{random}@{hostname}>")
}

/// The user and the digest.
pub fn response(message: &[u8]) -> Option<(&str, [u8; 16])> {
    let (user, digest) = str::from_utf8(message).ok()?.rsplit_once(' ')?;
    let mut bytes = [0; 16];
    // A sign would be a number's, not a digit.
    if user.is_empty() || digest.len() != 32 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digest.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some((user, bytes))
}

/// Takes the same time wherever they differ.
pub fn accepts(secret: &str, challenge: &str, digest: &[u8; 16]) -> bool {
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(challenge.as_bytes());
    mac.verify_slice(digest).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2195_is_accepted_and_nothing_near_it() {
        let challenge = challenge("1896.697170952", "postoffice.reston.mci.net");
        let (user, digest) = response(b"tim b913a602c7eda7a495b4e6e7334d3890").unwrap();
        assert_eq!(user, "tim");
        assert!(accepts("tanstaaftanstaaf", &challenge, &digest));
        assert!(!accepts("tanstaaftanstaag", &challenge, &digest));
        assert!(!accepts("tanstaaftanstaaf", &challenge.replace("1896", "1897"), &digest));
    }

    #[test]
    fn what_is_no_user_and_digest_is_none() {
        for wrong in [
            "",
            "tim",
            "tim b913",
            "tim +913a602c7eda7a495b4e6e7334d389+",
            "tim +913a602c7eda7a495b4e6e7334d3890",
            " b913a602c7eda7a495b4e6e7334d3890",
        ] {
            assert_eq!(response(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(response("tim é13a602c7eda7a495b4e6e7334d3890".as_bytes()), None);
    }
}
