//! Verifies DKIM (RFC 6376) and ARC (RFC 8617) signatures: keys are asked for at once and side by side, then the
//! arithmetic is done away from the threads that serve connections.
//!
//! Bounded: so many signatures, so many links, keys in one round. A key that cannot be asked for now is a temperror.

#[cfg(test)]
mod tests;

use crate::dns::Lookup;
use bytes::Bytes;
use mail::{AuthResult, Content, Domain};
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters, ResolverCache, Txt,
    common::{
        crypto::Algorithm,
        parse::TxtRecordParser,
        verify::{DomainKey, VerifySignature},
    },
    dkim::{DkimError, Signature},
};
use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};
use tokio::sync::Semaphore;

/// The topmost ones; others are not looked at.
const MAX_SIGNATURES: usize = 10;
/// A longer ARC chain is a permerror.
const MAX_LINKS: usize = 10;

/// One DKIM-Signature field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub domain: Domain,
    pub selector: String,
    pub result: AuthResult,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    pub dkim: Vec<Signed>,
    pub arc: AuthResult,
}

impl Signatures {
    /// What is to be told where there was no time to find out.
    pub fn undecided(content: &Content) -> Self {
        let mut signatures = Wanted::of(content).map(|wanted| wanted.undecided).unwrap_or_default();
        signatures.dkim.iter_mut().for_each(|signed| signed.result = AuthResult::TempError);
        if signatures.arc != AuthResult::None {
            signatures.arc = AuthResult::TempError;
        }
        signatures
    }
}

/// The content's header section must be whole. As long as DNS takes: the caller bounds it. `cores` are for the
/// arithmetic, and are kept until it is done, however soon the caller has gone.
pub async fn check(
    dns: &dyn Lookup,
    verifier: &MessageAuthenticator,
    content: &Content,
    cores: &Arc<Semaphore>,
) -> Signatures {
    let Some(wanted) = Wanted::of(content) else { return Signatures::default() };
    let keys = Keys::fetch(dns, &wanted.keys).await;
    let (verifier, content) = (verifier.clone(), content.clone());
    // It is never closed.
    let core = cores.clone().acquire_owned().await.ok();
    let verified = tokio::task::spawn_blocking(move || {
        let _core = core;
        verify(&verifier, &content, &keys)
    });
    verified.await.unwrap_or(wanted.undecided)
}

/// What a header section asks for.
struct Wanted {
    /// Names of key records.
    keys: BTreeSet<String>,
    undecided: Signatures,
}

impl Wanted {
    /// None where nothing is signed.
    fn of(content: &Content) -> Option<Self> {
        let is_signed = |name: &[u8]| {
            ["DKIM-Signature", "ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        };
        if !content.fields().any(|field| is_signed(field.name)) {
            return None;
        }
        // The header section alone: the body is hashed once, when the keys are there.
        let message = AuthenticatedMessage::parse_with_opts(b"", Some(content.header()), true)?;
        let dkim = message.dkim_headers.iter().take(MAX_SIGNATURES).map(|field| &field.header);
        let mut keys: BTreeSet<String> = dkim.clone().map(VerifySignature::domain_key).collect();
        if message.as_headers.len() <= MAX_LINKS && message.ams_headers.len() <= MAX_LINKS {
            keys.extend(message.as_headers.iter().map(|field| field.header.domain_key()));
            keys.extend(message.ams_headers.iter().map(|field| field.header.domain_key()));
        }
        let chained = message.has_arc_errors || !message.ams_headers.is_empty() || !message.as_headers.is_empty();
        let arc = if chained { AuthResult::TempError } else { AuthResult::None };
        let undecided = |signature| signed(signature, AuthResult::TempError);
        let undecided = Signatures { dkim: dkim.filter_map(undecided).collect(), arc };
        Some(Self { keys, undecided })
    }
}

/// Every key that is wanted, or why there is none.
struct Keys(HashMap<Box<str>, Txt>);

impl Keys {
    async fn fetch(dns: &dyn Lookup, names: &BTreeSet<String>) -> Self {
        let mut asked: Vec<_> = names.iter().map(|name| (name, dns.txt(name), None)).collect();
        std::future::poll_fn(|context| {
            for (_, question, answer) in asked.iter_mut().filter(|(_, _, answer)| answer.is_none()) {
                if let Poll::Ready(found) = question.as_mut().poll(context) {
                    *answer = Some(found);
                }
            }
            if asked.iter().all(|(_, _, answer)| answer.is_some()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let found = asked.into_iter().filter_map(|(name, _, answer)| {
            let key = match answer? {
                Ok(texts) => key(&texts),
                Err(_) => unknown(),
            };
            Some((name.to_ascii_lowercase().into_boxed_str(), key))
        });
        Self(found.collect())
    }
}

impl ResolverCache<Box<str>, Txt> for Keys {
    /// Never None: nothing is asked of DNS while there is arithmetic to do.
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        Some(self.0.get(name).cloned().unwrap_or_else(unknown))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// RFC 6376 §3.6.2.2: of several records the first that is a key.
fn key(texts: &[Vec<u8>]) -> Txt {
    let mut last = Error::Dns(DnsError::InvalidRecordType);
    for text in texts {
        match DomainKey::parse(text) {
            Ok(key) => return Txt::DomainKey(Arc::new(key)),
            Err(error) => last = error,
        }
    }
    Txt::Error(last)
}

fn unknown() -> Txt {
    Txt::Error(Error::Dns(DnsError::Resolver(String::new())))
}

/// Blocks while it computes.
fn verify(verifier: &MessageAuthenticator, content: &Content, keys: &Keys) -> Signatures {
    // `l=` is refused (RFC 6376 §8.2), which also bounds how often the body is hashed.
    let header = plain(content);
    let message = AuthenticatedMessage::parse_with_opts(content.body(), Some(&header), true);
    let Some(mut message) = message else { return Signatures::default() };
    let mut partial: Vec<Signed> = Vec::new();
    for error in &message.errors {
        if error.header == Error::Dkim(DkimError::SignatureLength)
            && let Ok(signature) = Signature::parse(error.value)
        {
            partial.extend(signed(&signature, AuthResult::Policy));
        }
    }
    message.dkim_headers.truncate(MAX_SIGNATURES);
    for field in &mut message.dkim_headers {
        // Neither reports nor third parties: both would ask more of DNS.
        (field.header.r, field.header.atps) = (false, None);
    }
    let dkim = now(verifier.verify_dkim(Parameters::new(&message).with_txt_cache(keys))).unwrap_or_default();
    let mut dkim: Vec<Signed> = dkim
        .iter()
        .filter_map(|output| {
            let signature = output.signature()?;
            // RFC 8301 §3.1: SHA-1 proves nothing any more.
            let weak = signature.a == Algorithm::RsaSha1 && *output.result() == DkimResult::Pass;
            signed(signature, if weak { AuthResult::Policy } else { result(output.result()) })
        })
        .collect();
    dkim.extend(partial);
    dkim.truncate(MAX_SIGNATURES);
    let arc = if message.ams_headers.len() > MAX_LINKS || message.as_headers.len() > MAX_LINKS {
        AuthResult::PermError
    } else {
        let output = now(verifier.verify_arc(Parameters::new(&message).with_txt_cache(keys)));
        output.map_or(AuthResult::TempError, |output| result(output.result()))
    };
    Signatures { dkim, arc }
}

/// The fields without white space before their colons, where the library would not know their names.
fn plain(content: &Content) -> Bytes {
    if content.fields().all(|field| field.raw.get(field.name.len()) == Some(&b':')) {
        return content.header().clone();
    }
    content.fields().flat_map(|field| [field.name, b":", field.value, b"\r\n"]).collect::<Vec<_>>().concat().into()
}

/// None where a stranger's text is no domain.
fn signed(signature: &Signature, result: AuthResult) -> Option<Signed> {
    let domain: Domain = signature.d.parse().ok()?;
    Some(Signed { domain, selector: signature.s.chars().take(64).collect(), result })
}

/// What has nothing to wait for is ready at once.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn result(found: &DkimResult) -> AuthResult {
    match found {
        DkimResult::Pass => AuthResult::Pass,
        DkimResult::Fail(_) => AuthResult::Fail,
        // RFC 8601 §2.7.1: it did not pass the test; neutral is for what cannot be tested.
        DkimResult::Neutral(Error::Dkim(DkimError::FailedBodyHashMatch)) => AuthResult::Fail,
        DkimResult::Neutral(Error::Arc(mail_auth::arc::ArcError::FailedBodyHashMatch)) => AuthResult::Fail,
        DkimResult::Neutral(_) => AuthResult::Neutral,
        DkimResult::PermError(_) => AuthResult::PermError,
        DkimResult::TempError(_) => AuthResult::TempError,
        DkimResult::None => AuthResult::None,
    }
}
