//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side: what is kept of a password, and the three messages.
//!
//! Pure: nonces are handed in. Without channel binding: the client may say that it could have used it.

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{digest, hmac, pbkdf2};
use std::{fmt, num::NonZeroU32, str::FromStr};
use subtle::ConstantTimeEq;

/// RFC 7677 §4 asks for 4,096 at least. The work is the client's.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(9_999);
const FEWEST_ITERATIONS: u32 = 4096;
const MOST_ITERATIONS: u32 = 10_000_000;

/// Enough to recognise who knows the password, not enough to be them elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramVerifierError {
    #[error(
        "this is not SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>; let `waypost password --scram` make it"
    )]
    Form,
    #[error("{0} iterations are not between {FEWEST_ITERATIONS} and {MOST_ITERATIONS}")]
    Iterations(u32),
}

/// The client's first message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst {
    pub user: String,
    gs2_header: String,
    bare: String,
    nonce: String,
}

/// What was said so far, waiting for the proof.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenged {
    first: ClientFirst,
    server_first: String,
    nonce: String,
}

/// The client's proof over what was said.
#[derive(Debug)]
pub struct Proof {
    auth_message: String,
    proof: [u8; 32],
}

impl ScramVerifier {
    /// Takes its time: that is what it is for.
    pub fn of(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
        let (stored_key, server_key) = (hashed(&keyed(&salted, b"Client Key")), keyed(&salted, b"Server Key"));
        Self { iterations: iterations.get(), salt, stored_key, server_key }
    }

    /// For somebody who is not there: looks like others, and nothing proves it.
    pub fn of_nobody(salt: Vec<u8>) -> Self {
        Self { iterations: ITERATIONS.get(), salt, stored_key: [0; 32], server_key: [0; 32] }
    }

    pub fn accepts(&self, proof: &Proof) -> bool {
        let signature = keyed(&self.stored_key, proof.auth_message.as_bytes());
        let mut client_key = proof.proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, signed)| *byte ^= signed);
        hashed(&client_key).ct_eq(&self.stored_key).into()
    }

    /// That we know the password too.
    pub fn server_final(&self, proof: &Proof) -> String {
        let signature = keyed(&self.server_key, proof.auth_message.as_bytes());
        format!("v={}", BASE64_STANDARD.encode(signature))
    }
}

impl ClientFirst {
    /// None where the client wants what is not offered, or speaks another language.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let message = str::from_utf8(message).ok()?;
        let bare_at = message.match_indices(',').nth(1)?.0 + 1;
        let (gs2_header, bare) = message.split_at_checked(bare_at)?;
        let (binding, authzid) = gs2_header.strip_suffix(',')?.split_once(',')?;
        let mut attributes = bare.split(',');
        let user = unescaped(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?.to_owned();
        // RFC 5802 §7: `y` is a client that could bind channels to a server that does not offer it.
        let usable = matches!(binding, "n" | "y");
        // Nobody acts for somebody else.
        let own = authzid.is_empty() || authzid.strip_prefix("a=").and_then(unescaped).is_some_and(|id| id == user);
        (usable && own).then(|| Self { user, gs2_header: gs2_header.to_owned(), bare: bare.to_owned(), nonce })
    }

    /// `nonce` is ours, of printable characters without comma.
    pub fn challenge(self, verifier: &ScramVerifier, nonce: &str) -> (Challenged, String) {
        let nonce = format!("{}{nonce}", self.nonce);
        let salt = BASE64_STANDARD.encode(&verifier.salt);
        let message = format!("r={nonce},s={salt},i={}", verifier.iterations);
        (Challenged { first: self, server_first: message.clone(), nonce }, message)
    }
}

impl Challenged {
    pub fn user(&self) -> &str {
        &self.first.user
    }

    /// None for a final message that does not belong to what was said.
    pub fn proof(&self, message: &[u8]) -> Option<Proof> {
        let message = str::from_utf8(message).ok()?;
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding = BASE64_STANDARD.decode(attributes.next()?.strip_prefix("c=")?).ok()?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let proof = BASE64_STANDARD.decode(proof).ok()?.try_into().ok()?;
        let fits = binding == self.first.gs2_header.as_bytes() && nonce == self.nonce;
        let auth_message = format!("{},{},{without_proof}", self.first.bare, self.server_first);
        fits.then_some(Proof { auth_message, proof })
    }
}

fn hashed(bytes: &[u8]) -> [u8; 32] {
    fixed(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    fixed(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref())
}

/// SHA-256 has 32 bytes.
fn fixed(bytes: &[u8]) -> [u8; 32] {
    let mut fixed = [0; 32];
    fixed.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    fixed
}

fn is_nonce(text: &str) -> bool {
    (8..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

/// RFC 5802 §5.1: `=2C` is a comma, `=3D` an equals sign, and no other may stand.
fn unescaped(name: &str) -> Option<String> {
    let name = name.replace("=2C", ",");
    let parts: Vec<&str> = name.split("=3D").collect();
    let sound = !name.is_empty() && parts.iter().all(|part| !part.contains('='));
    sound.then(|| parts.join("="))
}

impl FromStr for ScramVerifier {
    type Err = ScramVerifierError;

    fn from_str(text: &str) -> Result<Self, ScramVerifierError> {
        let parts = || {
            let (work, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
            let ((iterations, salt), (stored, server)) = (work.split_once(':')?, keys.split_once(':')?);
            let decoded = |text: &str| BASE64_STANDARD.decode(text).ok();
            Some(Self {
                iterations: iterations.parse().ok()?,
                salt: decoded(salt).filter(|salt| (8..=64).contains(&salt.len()))?,
                stored_key: decoded(stored)?.try_into().ok()?,
                server_key: decoded(server)?.try_into().ok()?,
            })
        };
        let verifier = parts().ok_or(ScramVerifierError::Form)?;
        match verifier.iterations {
            FEWEST_ITERATIONS..=MOST_ITERATIONS => Ok(verifier),
            other => Err(ScramVerifierError::Iterations(other)),
        }
    }
}

impl fmt::Display for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored, server] =
            [&*self.salt, &self.stored_key, &self.server_key].map(|bytes: &[u8]| BASE64_STANDARD.encode(bytes));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// Whoever reads it can try passwords against it.
impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SCRAM-SHA-256$***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 §3.
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &str =
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn verifier(password: &str) -> ScramVerifier {
        ScramVerifier::of(
            password,
            BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
            4096.try_into().unwrap(),
        )
    }

    fn challenged(first: &str) -> Challenged {
        ClientFirst::parse(first.as_bytes()).unwrap().challenge(&verifier("pencil"), SERVER_NONCE).0
    }

    #[test]
    fn the_exchange_of_rfc_7677_goes_as_printed() {
        let first = ClientFirst::parse(CLIENT_FIRST.as_bytes()).unwrap();
        assert_eq!(first.user, "user");
        let (challenged, said) = first.challenge(&verifier("pencil"), SERVER_NONCE);
        assert_eq!(said, SERVER_FIRST);
        let proof = challenged.proof(CLIENT_FINAL.as_bytes()).unwrap();
        assert!(verifier("pencil").accepts(&proof) && !verifier("pencil2").accepts(&proof));
        assert!(!ScramVerifier::of_nobody(verifier("pencil").salt).accepts(&proof));
        assert_eq!(verifier("pencil").server_final(&proof), SERVER_FINAL);
    }

    #[test]
    fn a_final_message_that_belongs_to_another_exchange_is_none() {
        let challenged = challenged(CLIENT_FIRST);
        for wrong in [
            CLIENT_FINAL.replace("c=biws", "c=eSws"),
            CLIENT_FINAL.replace("r=rOpr", "r=sOpr"),
            CLIENT_FINAL.replace("p=dHz", "p="),
            CLIENT_FINAL.replace(",p=", ",q="),
            String::new(),
        ] {
            assert!(challenged.proof(wrong.as_bytes()).is_none(), "{wrong}");
        }
        let proof = challenged.proof(CLIENT_FINAL.replace("p=dH", "p=eH").as_bytes()).unwrap();
        assert!(!verifier("pencil").accepts(&proof));
    }

    #[test]
    fn a_client_that_asks_for_what_is_not_offered_is_not_understood() {
        let user = |message: &str| ClientFirst::parse(message.as_bytes()).map(|first| first.user);
        assert_eq!(user("y,,n=user,r=rOprNGfwEbeRWgbNEkqO").as_deref(), Some("user"));
        assert_eq!(user("n,a=user,n=user,r=rOprNGfwEbeRWgbNEkqO").as_deref(), Some("user"));
        assert_eq!(user("n,,n=a=2Cb=3Dc,r=rOprNGfwEbeRWgbNEkqO").as_deref(), Some("a,b=c"));
        for other in [
            "p=tls-unique,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "n,a=root,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "n,,m=1,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "n,,n=us=er,r=rOprNGfwEbeRWgbNEkqO",
            "n,,n=user,r=short",
            "n,,n=user",
            "n,n=user",
            "",
        ] {
            assert_eq!(user(other), None, "{other}");
        }
    }

    #[test]
    fn a_verifier_reads_back_as_it_was_written_and_shows_nothing_in_a_log() {
        let verifier = verifier("pencil");
        let text = verifier.to_string();
        assert_eq!(text.parse(), Ok(verifier.clone()));
        assert_eq!(format!("{verifier:?}"), "SCRAM-SHA-256$***");
        assert_eq!(text.replace("4096", "1").parse::<ScramVerifier>(), Err(ScramVerifierError::Iterations(1)));
        for wrong in ["", "SCRAM-SHA-256$4096:c2FsdA==$a:b", &text.replace("SHA-256", "SHA-1"), &text.replace(':', "$")]
        {
            assert_eq!(wrong.parse::<ScramVerifier>(), Err(ScramVerifierError::Form), "{wrong}");
        }
    }
}
