//! The key that webhooks are signed with: `whsec_` and base64, as Standard Webhooks writes it.

use crate::random;
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::hmac;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const PREFIX: &str = "whsec_";

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read or make the alerts' secret file {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "the alerts' secret file {0} holds no whsec_ and base64 of 24 to 64 bytes; remove it and a new one is made"
    )]
    Unusable(PathBuf),
}

/// Reads the key, or makes one with mode 0600.
pub fn load_or_make(path: &Path) -> Result<hmac::Key, SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    };
    let text = text.trim();
    let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok();
    match key.filter(|key| (24..=64).contains(&key.len())) {
        Some(key) => Ok(hmac::Key::new(hmac::HMAC_SHA256, &key)),
        None => Err(SecretError::Unusable(path.to_owned())),
    }
}

fn make(path: &Path) -> io::Result<String> {
    let text = format!("{PREFIX}{}", STANDARD.encode(random::bytes::<32>()?));
    random::write_secret(path, &text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/alert-secret");
        let sign = |key: &hmac::Key| hmac::sign(key, b"x").as_ref().to_owned();
        let first = sign(&load_or_make(&path).unwrap());
        assert_eq!(sign(&load_or_make(&path).unwrap()), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read_to_string(&path).unwrap().starts_with("whsec_"));
    }

    #[test]
    fn a_file_without_a_usable_secret_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alert-secret");
        for text in ["", "whsec_", "whsec_c2hvcnQ=", "not base64 at all, whatever its length may be"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(load_or_make(&path), Err(SecretError::Unusable(_))), "{text:?}");
        }
    }
}
