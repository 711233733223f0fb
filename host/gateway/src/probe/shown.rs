//! What a next hop's certificate says, and whether somebody vouches for it.

use super::{
    recorder::Recorder,
    step::{Kind, Verdict},
};
use crate::{
    delivery::{Told, Watch},
    identity::{self, Certificate},
    stream::Stream,
    tls::ClientTls,
};
use mail::Timestamp;
use std::time::Duration;

/// A certificate that ends within this time is worth a word.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// How certificates are looked at.
#[derive(Clone, Copy)]
pub struct Eyes<'a> {
    pub tls: &'a ClientTls,
    pub now: Timestamp,
    /// The domain asks for a proof of its own, whoever vouches.
    pub is_proven_otherwise: bool,
}

pub fn certificate(stream: &Stream, recorder: &Recorder<'_>, eyes: Eyes<'_>) {
    let chain = stream.peer_certificates();
    let host = &recorder.place().hop.host;
    let Some(shown) = chain.first().and_then(|own| Certificate::read(own).ok()) else {
        let hint = "its certificate cannot be read: give it another".to_owned();
        return recorder.record(Kind::Certificate, Verdict::Warning, "none that can be read".to_owned(), Some(hint));
    };
    let vouched =
        identity::server_name(host).and_then(|name| eyes.tls.vouch(&chain, &name).map_err(|error| error.to_string()));
    let Certificate { key, subject, issuer, not_after, names, .. } = &shown;
    let names = if names.is_empty() { subject.clone() } else { names.join(", ") };
    let word = match &vouched {
        Ok(()) => format!("valid for {host}"),
        Err(error) => format!("not valid for {host} ({error})"),
    };
    let until = not_after.to_rfc3339();
    let told = format!("{word}; for {names}, issued by {issuer}, good until {until}; key {key}");
    let hint = match vouched {
        _ if *not_after < eyes.now.plus(SOON) => Some(format!("it ends at {until}: renew it")),
        Err(_) if !eyes.is_proven_otherwise => Some(format!(
            "nobody vouches for its name: tls = \"verified\" would hold the mail, other modes do not mind; to be sure of it all the same, write under [identity]: pin = [\"{key}\"]"
        )),
        _ => None,
    };
    let verdict = if hint.is_some() { Verdict::Warning } else { Verdict::Passed };
    recorder.record(Kind::Certificate, verdict, told, hint);
}

/// Looks at the certificate of a connection that is of no other use.
pub struct Glance<'a, 'p> {
    pub recorder: &'a Recorder<'p>,
    pub eyes: Eyes<'p>,
}

impl Watch for Glance<'_, '_> {
    fn told(&self, told: Told<'_>) {
        if let Told::Secured(stream) = told {
            certificate(stream, self.recorder, self.eyes);
        }
    }
}
