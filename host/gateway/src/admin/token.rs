//! The secret that a caller must show.

use crate::random;
use std::{io, path::Path};
use subtle::ConstantTimeEq;

/// Reads the token, or makes one with mode 0600.
pub fn load_or_make(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 16 => return Ok(text.trim().to_owned()),
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it holds no token of at least 16 characters; remove it and a new one is made",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token: String = random::bytes::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    random::write_secret(path, &token)?;
    Ok(token)
}

/// Takes the same time wherever the two differ.
pub fn matches(shown: &str, token: &str) -> bool {
    shown.as_bytes().ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/admin-token");
        let token = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap(), token);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            matches(&token, &token)
                && !matches("", &token)
                && !matches(&token.replace(|c: char| c.is_ascii_digit(), "x"), &token)
        );
    }
}
