//! Verifies DKIM (RFC 6376) and ARC (RFC 8617) signatures: keys are asked for at once and side by side, then the
//! arithmetic is done away from the threads that serve connections.
//!
//! Bounded: so many signatures, so many links, of such a size, keys in one round. A key that cannot be asked for now is
//! a temperror.

mod selection;
#[cfg(test)]
mod tests;

use crate::dns::Lookup;
use mail::{AuthResult, Content, Domain, HeaderField};
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters, ResolverCache, Txt,
    common::{
        crypto::Algorithm,
        parse::TxtRecordParser,
        verify::{DomainKey, VerifySignature},
    },
    dkim::{DkimError, Signature},
};
use selection::{Chain, Selection, is_acceptable};
use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};
use tokio::{sync::Semaphore, time};

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

/// The content's header section must be whole. What is not known at the deadline, or cannot be asked for without a
/// verifier, is a temperror. `cores` are for the arithmetic, and are kept until it is done, however soon the caller
/// has gone.
pub async fn check(
    dns: &dyn Lookup,
    verifier: Option<&MessageAuthenticator>,
    content: &Content,
    cores: &Arc<Semaphore>,
    deadline: time::Instant,
) -> Signatures {
    let Some(Wanted { keys, undecided, selection }) = Wanted::of(content) else { return Signatures::default() };
    let Some(verifier) = verifier.cloned() else { return undecided };
    let verified = async {
        let keys = Keys::fetch(dns, &keys).await;
        // It is never closed.
        let core = cores.clone().acquire_owned().await.ok();
        let content = content.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let _core = core;
            verify(&verifier, &content, &selection, &keys)
        });
        verified.await.ok()
    };
    time::timeout_at(deadline, Box::pin(verified)).await.ok().flatten().unwrap_or(undecided)
}

/// What a header section asks for.
struct Wanted {
    /// Names of key records.
    keys: BTreeSet<String>,
    /// What is to be told where there is no time to find out.
    undecided: Signatures,
    selection: Selection,
}

impl Wanted {
    /// None where nothing is signed.
    fn of(content: &Content) -> Option<Self> {
        let selection = Selection::of(content)?;
        // These fields alone: the body is hashed once, when the keys are there.
        let message = AuthenticatedMessage::parse_with_opts(b"", Some(&selection.fields), true).unwrap_or_default();
        let dkim = message.dkim_headers.iter().map(|field| &field.header);
        let mut keys: BTreeSet<String> =
            dkim.clone().filter(|signature| is_acceptable(&signature.h)).map(VerifySignature::domain_key).collect();
        keys.extend(message.as_headers.iter().map(|field| field.header.domain_key()));
        keys.extend(message.ams_headers.iter().map(|field| field.header.domain_key()));
        let arc = match selection.chain {
            Chain::None => AuthResult::None,
            Chain::Selected => AuthResult::TempError,
            Chain::TooLong => AuthResult::PermError,
        };
        let undecided = |signature| signed(signature, AuthResult::TempError);
        let undecided = Signatures { dkim: dkim.filter_map(undecided).collect(), arc };
        Some(Self { keys, undecided, selection })
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
fn verify(verifier: &MessageAuthenticator, content: &Content, selection: &Selection, keys: &Keys) -> Signatures {
    // `l=` is refused (RFC 6376 §8.2), which also bounds how often the body is hashed.
    let message = AuthenticatedMessage::parse_with_opts(content.body(), Some(&selection.fields), true);
    let mut message = message.unwrap_or_default();
    // What is signed, final CRLF included.
    let value = |field: &HeaderField<'_>| field.raw.len().saturating_sub(field.value.len() + 2);
    message.headers =
        content.fields().map(|field| (field.name, field.raw.get(value(&field)..).unwrap_or_default())).collect();
    let refused = refused(&mut message);
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
    dkim.extend(refused);
    // The last one covers the mail.
    let is_odd = message.ams_headers.last().is_some_and(|field| !is_acceptable(&field.header.h));
    let arc = if selection.chain == Chain::TooLong || is_odd {
        AuthResult::PermError
    } else {
        let output = now(verifier.verify_arc(Parameters::new(&message).with_txt_cache(keys)));
        output.map_or(AuthResult::TempError, |output| result(output.result()))
    };
    Signatures { dkim, arc }
}

/// Takes away the DKIM signatures that are not verified, whatever their keys say.
fn refused(message: &mut AuthenticatedMessage<'_>) -> Vec<Signed> {
    let mut refused: Vec<Signed> = Vec::new();
    for error in &message.errors {
        if error.header == Error::Dkim(DkimError::SignatureLength)
            && let Ok(signature) = Signature::parse(error.value)
        {
            refused.extend(signed(&signature, AuthResult::Policy));
        }
    }
    message.dkim_headers.retain(|field| {
        let acceptable = is_acceptable(&field.header.h);
        if !acceptable {
            refused.extend(signed(&field.header, AuthResult::PermError));
        }
        acceptable
    });
    refused
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
