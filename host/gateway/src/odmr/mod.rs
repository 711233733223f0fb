//! Where a domain's owner comes to collect its mail: On-Demand Mail Relay (RFC 2645).
//!
//! [`smtp::Odmr`] knows what is legal, `accounts` who may have which domain's mail, and the deliverer hands it
//! over. Mail never comes in here.

mod accounts;
#[doc(hidden)]
pub mod cram_md5;
mod exchange;
mod guard;
mod scram;
mod session;

pub use accounts::{Accounts, Busy};
#[doc(hidden)]
pub use scram::ClientFirst;
pub use scram::ScramVerifier;
pub use session::{Gate, Visit};

/// What a domain's file keeps of a password for SCRAM-SHA-256, with a salt of its own. Takes its time.
pub fn scram_verifier(password: &str) -> ScramVerifier {
    ScramVerifier::of(password, random::<{ accounts::SALT_LEN }>().to_vec(), scram::ITERATIONS)
}

/// A password for CRAM-MD5 that nobody guesses.
pub fn cram_md5_secret() -> String {
    random_text()
}

fn random<const N: usize>() -> [u8; N] {
    crate::random::bytes().unwrap_or_else(|error| {
        // It fails only where the kernel has no generator, and there no connection got this far.
        tracing::error!(%error, "a login without random bytes would be guessed");
        std::process::abort()
    })
}

/// Printable, with 144 bits.
fn random_text() -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    BASE64_URL_SAFE_NO_PAD.encode(random::<18>())
}
