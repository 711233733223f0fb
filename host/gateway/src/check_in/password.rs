//! Passwords as argon2id hashes in PHC form: made, and checked for their form and cost. Nothing is compared here.

use argon2::{
    Argon2, Params, PasswordHasher, Version,
    password_hash::{Error, phc::PasswordHash},
};

/// In KiB, of one comparison: what a hash from elsewhere may ask for.
const MAX_MEMORY: u32 = 128 << 10;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 8;
const MIN_OUTPUT: usize = 16;

#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(Error);

/// With a new salt and the cost that OWASP names for argon2id.
pub fn hash(password: &str) -> Result<String, HashError> {
    Ok(Argon2::default().hash_password(password.as_bytes()).map_err(HashError)?.to_string())
}

/// The hash as it was, if it is one that can be compared with and costs no more than the gateway gives.
pub fn check(text: &str) -> Result<String, String> {
    const HINT: &str = "; make one with `waypost password`";
    let parsed = parse(text).map_err(|reason| format!("{reason}{HINT}"))?;
    let params =
        Params::try_from(&parsed).map_err(|error| format!("the cost of this hash is out of range: {error}{HINT}"))?;
    if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES {
        return Err(format!(
            "this hash costs more than the gateway gives: m={MAX_MEMORY},t={MAX_PASSES},p={MAX_LANES} at the most{HINT}"
        ));
    }
    Ok(text.to_owned())
}

fn parse(text: &str) -> Result<PasswordHash, String> {
    if !text.starts_with("$argon2id$") {
        return Err("this is no argon2id hash".to_owned());
    }
    let parsed = PasswordHash::new(text).map_err(|error| format!("this hash is broken: {error}"))?;
    if parsed.version.is_some_and(|version| version != u32::from(Version::V0x13)) {
        return Err("this hash is of another version of argon2 than 19".to_owned());
    }
    if parsed.salt.is_none() || parsed.hash.as_ref().is_none_or(|hash| hash.len() < MIN_OUTPUT) {
        return Err("this hash has no salt, or less than 16 bytes".to_owned());
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;

    fn matches(password: &[u8], hash: &str) -> bool {
        Argon2::default().verify_password(password, &PasswordHash::new(hash).unwrap()).is_ok()
    }

    #[test]
    fn a_hash_that_was_made_here_is_one_and_matches_its_password_alone() {
        let made = hash("correct horse").unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
        assert_eq!(check(&made), Ok(made.clone()));
        assert_ne!(hash("correct horse").unwrap(), made);
        assert!(matches(b"correct horse", &made) && !matches(b"correct hors", &made) && !matches(b"", &made));
    }

    #[test]
    fn what_is_no_argon2id_hash_or_costs_too_much_is_refused() {
        for (text, reason) in [
            ("secret", "no argon2id"),
            ("$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$iAH9/rRCsR8MYp4VQMX7L51uPXlCsg", "no argon2id"),
            ("$argon2id$v=16$m=19456,t=2,p=1$c29tZXNhbHQ$iAH9/rRCsR8MYp4VQMX7L51uPXlCsg", "another version"),
            ("$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQ$iAH9/rRCsR8MYp4VQMX7L51uPXlCsg", "costs more"),
            ("$argon2id$v=19$m=19456,t=99,p=1$c29tZXNhbHQ$iAH9/rRCsR8MYp4VQMX7L51uPXlCsg", "costs more"),
            ("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ", "no salt"),
        ] {
            assert!(check(text).unwrap_err().contains(reason), "{text}: {:?}", check(text));
        }
    }
}
