//! Whether a password opens a user's domains, at the same price for users that are not there.
//!
//! Reads what the domains' files say now. Never keeps a password longer than a check.

use super::{cram_md5, random, random_text, scram};
use crate::{check_in::password, config::CheckIn, domains::Domains};
use argon2::{Argon2, PasswordVerifier, password_hash::phc::PasswordHash};
use mail::Domain;
use queue::Queue;
use scram::{Proof, ScramVerifier};
use smtp::Mechanisms;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Semaphore;
use tracing::warn;

/// Hashes computed at once: each takes a processor and 19 MiB for a while.
const HASHING: usize = 2;
/// Passwords that are compared or wait for it.
const WAITING: usize = 64;
/// Different hashes that are tried for one user; the same line in each file is one.
const MOST_HASHES: usize = 16;
/// Longer ones are nobody's.
const MAX_PASSWORD: usize = 1024;
/// Of the salts that users have who are not there.
const SALT_FACT: &str = "odmr/salt-key";

pub struct Accounts {
    domains: Arc<Domains>,
    salt_key: [u8; 32],
    nobody_hash: String,
    hashing: Arc<Semaphore>,
    line: Semaphore,
}

/// Too many passwords wait to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Who has proven to be somebody, and for which domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    /// As their files were.
    pub domains: BTreeMap<Domain, CheckIn>,
}

impl Accounts {
    pub fn new(domains: Arc<Domains>, queue: &Queue) -> Self {
        let (salt_key, hashing) = (salt_key(queue), Arc::new(Semaphore::new(HASHING)));
        Self { domains, salt_key, nobody_hash: nobody_hash(), hashing, line: Semaphore::new(WAITING) }
    }

    /// What some domain has the means for.
    pub fn mechanisms(&self) -> Mechanisms {
        let mut mechanisms = Mechanisms::default();
        for check_in in self.domains.all().values().filter_map(|domain| domain.config.check_in.as_ref()) {
            mechanisms.plain = true;
            mechanisms.scram_sha_256 |= check_in.scram_sha_256.is_some();
            mechanisms.cram_md5 |= check_in.cram_md5_secret.is_some();
        }
        mechanisms
    }

    /// None where nothing opens.
    pub async fn plain(&self, user: &str, password: String) -> Result<Option<Login>, Busy> {
        let _place = self.line.try_acquire().map_err(|_| Busy)?;
        let mut by_hash: BTreeMap<String, BTreeMap<Domain, CheckIn>> = BTreeMap::new();
        for (domain, check_in) in self.of(user) {
            by_hash.entry(check_in.password_hash.clone()).or_default().insert(domain, check_in);
        }
        if by_hash.len() > MOST_HASHES {
            warn!(
                ?user,
                hashes = by_hash.len(),
                "too many different password-hash lines of one user: use one in all files"
            );
        }
        if by_hash.is_empty() {
            by_hash.insert(self.nobody_hash.clone(), BTreeMap::new());
        }
        let hashes: Vec<(String, BTreeMap<Domain, CheckIn>)> = by_hash.into_iter().take(MOST_HASHES).collect();
        if password.len() > MAX_PASSWORD {
            return Ok(None);
        }
        let permit = self.hashing.clone().acquire_owned().await.map_err(|_| Busy)?;
        let opened = tokio::task::spawn_blocking(move || {
            let opened = hashes.into_iter().filter(|(hash, _)| verifies(hash, &password));
            let opened: BTreeMap<Domain, CheckIn> = opened.flat_map(|(_, domains)| domains).collect();
            drop(permit);
            opened
        });
        Ok(login(user, opened.await.unwrap_or_default()))
    }

    pub fn cram_md5(&self, user: &str, challenge: &str, digest: &[u8; 16]) -> Option<Login> {
        let mut opened = BTreeMap::new();
        let mut tried = false;
        for (domain, check_in) in self.of(user) {
            let Some(secret) = &check_in.cram_md5_secret else { continue };
            tried = true;
            if cram_md5::accepts(secret.reveal(), challenge, digest) {
                opened.insert(domain, check_in);
            }
        }
        if !tried {
            cram_md5::accepts("nobody has this secret", challenge, digest);
        }
        login(user, opened)
    }

    /// What a user is challenged with; the same each time, whether the user is there or not.
    pub fn scram_verifier(&self, user: &str) -> ScramVerifier {
        let known = self.of(user).into_iter().find_map(|(_, check_in)| check_in.scram_sha_256);
        known.unwrap_or_else(|| {
            let salt = scram::keyed(&self.salt_key, user.as_bytes());
            ScramVerifier::of_nobody(salt.iter().take(SALT_LEN).copied().collect())
        })
    }

    /// With the proof that we know the password too. One exchange has one salt: domains with another are not opened.
    pub fn scram(&self, user: &str, challenged: &ScramVerifier, proof: &Proof) -> Option<(Login, String)> {
        let nobody = [(None, Some(challenged.clone()))];
        let same =
            |verifier: &ScramVerifier| verifier.salt == challenged.salt && verifier.iterations == challenged.iterations;
        let known = self.of(user).into_iter().map(|(domain, check_in)| {
            let verifier = check_in.scram_sha_256.clone().filter(same);
            (Some((domain, check_in)), verifier)
        });
        let (mut opened, mut answer) = (BTreeMap::new(), None);
        for (domain, verifier) in known.chain(nobody) {
            let Some(verifier) = verifier else { continue };
            let accepted = verifier.accepts(proof);
            if let Some((domain, check_in)) = domain.filter(|_| accepted) {
                opened.insert(domain, check_in);
                answer.get_or_insert_with(|| verifier.server_final(proof));
            }
        }
        Some((login(user, opened)?, answer?))
    }

    /// The files may have changed since the login: whoever has another password now opens nothing by the old one.
    pub fn still_opens(&self, login: &Login, domain: &Domain) -> bool {
        let now = self.domains.get(domain);
        let now = now.as_ref().and_then(|domain| domain.config.check_in.as_ref());
        now.is_some() && now == login.domains.get(domain)
    }

    fn of(&self, user: &str) -> Vec<(Domain, CheckIn)> {
        let domains = self.domains.all();
        let theirs = domains.iter().filter_map(|(name, domain)| Some((name, domain.config.check_in.as_ref()?)));
        theirs.filter(|(_, check_in)| check_in.user == user).map(|(name, c)| (name.clone(), c.clone())).collect()
    }
}

/// As `waypost password` makes them.
pub const SALT_LEN: usize = 16;

fn login(user: &str, domains: BTreeMap<Domain, CheckIn>) -> Option<Login> {
    (!domains.is_empty()).then(|| Login { user: user.to_owned(), domains })
}

fn verifies(hash: &str, password: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

/// Durable: salts that change with each start would tell who is not there.
fn salt_key(queue: &Queue) -> [u8; 32] {
    if let Ok(Some(bytes)) = queue.fact(SALT_FACT)
        && let Ok(key) = <[u8; 32]>::try_from(&*bytes)
    {
        return key;
    }
    let key = random::<32>();
    if let Err(error) = queue.set_fact(SALT_FACT, Some(&key)) {
        warn!(%error, "a key for AUTH could not be written: another one is made at the next start");
    }
    key
}

/// Of a password that nobody has; as costly as what `waypost password` makes.
fn nobody_hash() -> String {
    password::hash(&random_text()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the reference implementation of argon2 has made it of `secret`.
    const OF_ANOTHERS_MAKING: &str =
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$QQCd8VPOryZiCF3MtwQnPTK7odKCaPcXJGplgNEuj1A";

    #[test]
    fn a_hash_that_another_program_has_made_is_opened_by_its_password_alone() {
        assert!(verifies(OF_ANOTHERS_MAKING, "secret"));
        assert!(["", "secre", "Secret"].iter().all(|wrong| !verifies(OF_ANOTHERS_MAKING, wrong)));
        assert!(!verifies(&nobody_hash(), "") && !verifies("", ""));
    }
}
