//! What is told of a certificate: its key's hash, for comparing, and its names, for people. Pure.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mail::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::fmt;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// SHA-256 of a SubjectPublicKeyInfo; as text `sha256:` and its base64 (RFC 7858 §4.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub key: KeyHash,
    /// DER.
    pub spki: Vec<u8>,
    pub subject: String,
    /// DNS names that it is for, the first few.
    pub names: Vec<String>,
    pub issuer: String,
    pub not_after: Timestamp,
}

/// A name of a stranger's certificate, in bytes, at most.
const MAX_NAME: usize = 200;
/// Names that are told.
const MAX_NAMES: usize = 5;

impl Certificate {
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let spki = parsed.tbs_certificate.subject_pki.raw.to_vec();
        Ok(Self {
            key: KeyHash(Sha256::digest(&spki).into()),
            spki,
            subject: printable(&parsed.subject().to_string()),
            names: names(&parsed),
            issuer: printable(&parsed.issuer().to_string()),
            not_after: Timestamp::from_secs(u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default()),
        })
    }
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(alternative)) = parsed.subject_alternative_name() else { return Vec::new() };
    let named = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        _ => None,
    });
    named.take(MAX_NAMES).collect()
}

impl KeyHash {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix("sha256:")?).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn printable(text: &str) -> String {
    let mut kept = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if kept.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_whatever_certificate_it_is_in() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = |name: &str| {
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            Certificate::read(params.self_signed(&key).unwrap().der()).unwrap()
        };
        let (one, other) = (certificate("a.example"), certificate("b.example"));
        assert_eq!(one.key, other.key);
        assert_eq!((&one.names[..], &other.names[..]), (&["a.example".to_owned()][..], &["b.example".to_owned()][..]));
        assert_eq!(one.key, KeyHash(Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).into()));
        assert!(one.key.to_string().starts_with("sha256:"));
    }

    #[test]
    fn a_strangers_name_breaks_no_line_and_fills_no_page() {
        assert_eq!(printable("CN=a\r\nb\u{1b}[0m"), "CN=a  b [0m");
        assert_eq!(printable(&"ä".repeat(1000)).len(), MAX_NAME);
        assert!(Certificate::read(&CertificateDer::from(vec![0x30, 0x80])).is_err());
    }
}
