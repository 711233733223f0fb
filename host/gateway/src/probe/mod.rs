//! Tests next hops step by step: whether they can be reached, are who they should be, and take the domain's mail.
//!
//! Goes the way that mail goes, and never sends a message.

mod alone;
mod dialogue;
mod hints;
mod message;
mod prober;
mod recorder;
mod shown;
mod step;

pub use alone::{Alone, AloneError};
pub use dialogue::Depth;
pub use message::{MessageError, Sent, compose, confirm, remember};
pub use prober::{Options, Prober, ProberParts};
pub use step::{Kind, Line, Report, Step, Summary, Verdict};

use crate::{
    clock::Clock,
    delivery::{Connection, Connector, Patience},
    domains::DomainState,
};
use dialogue::Asked;
use hints::Place;
use mail::{FailureKind, NextHop, TlsMode};
use recorder::{Recorder, Sink};
use shown::{Eyes, Glance};
use std::sync::{Mutex, PoisonError};

/// Who is asked, and how.
pub struct Probe<'a> {
    pub connector: &'a Connector,
    pub domain: &'a DomainState,
    pub clock: &'a Clock,
    pub depth: Depth,
    pub patience: Patience,
    pub max_message_size: u64,
}

impl Probe<'_> {
    /// Each of `hops` in turn; `told` hears of each step at once. With less depth the first that passes is enough.
    pub async fn run(&self, hops: &[NextHop], told: &Sink<'_>) -> Report {
        let steps = Mutex::new(Vec::new());
        let sink = |step: Step| {
            told(step.clone());
            steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        };
        let mut passed = false;
        for hop in hops {
            passed |= self.one(hop, &sink).await;
            if passed && self.depth == Depth::Postmaster {
                break;
            }
        }
        let steps = steps.into_inner().unwrap_or_else(PoisonError::into_inner);
        Report { domain: self.domain.config.name.to_string(), at: self.clock.now().to_rfc3339(), passed, steps }
    }

    async fn one(&self, hop: &NextHop, sink: &Sink<'_>) -> bool {
        let (config, connector) = (&self.domain.config, self.connector);
        let place = Place { domain: &config.name, hop, hostname: &connector.hostname };
        let is_proven_otherwise = self.domain.identity_of(hop).is_some();
        let eyes = Eyes { tls: &connector.tls, now: self.clock.date(), is_proven_otherwise };
        let recorder = Recorder::new(place, eyes, sink);
        let tls = hop.tls.unwrap_or(config.tls);
        match connector.connect_watched(hop, tls, Some(self.domain), self.patience, Some(&recorder)).await {
            Ok(connection) => {
                self.let_in(&connection, tls, &recorder);
                let Self { depth, patience, max_message_size, .. } = *self;
                dialogue::converse(connection, &recorder, &Asked { depth, patience, max_message_size }).await;
            }
            Err(failure) => {
                recorder.failed(&failure);
                if failure.kind == FailureKind::Tls && self.depth == Depth::Everything {
                    self.glance(hop, &Glance { recorder: &recorder, eyes }).await;
                }
            }
        }
        let passed = !recorder.has_failed();
        if passed && self.domain.reachable(hop).is_some() {
            connector.introduce_passed(hop, tls, self.domain).await;
        }
        passed
    }

    fn let_in(&self, connection: &Connection, tls: TlsMode, recorder: &Recorder<'_>) {
        let offered = connection.client().capabilities().starttls;
        if !connection.client().is_tls_active() && tls == TlsMode::Opportunistic && !offered {
            let hint = "mail goes in clear text: turn STARTTLS on there".to_owned();
            recorder.record(Kind::Starttls, Verdict::Warning, "not offered".to_owned(), Some(hint));
        }
        if self.domain.identity_of(recorder.place().hop).is_some() {
            recorder.passed(Kind::Identity, "it has proven to be the domain's next hop");
        }
    }

    /// What is wrong with a certificate is told best by the certificate.
    async fn glance(&self, hop: &NextHop, glance: &Glance<'_, '_>) {
        let looked = self.connector.connect_watched(hop, TlsMode::Required, None, self.patience, Some(glance)).await;
        if let Ok(connection) = looked {
            connection.quit().await;
        }
    }
}
