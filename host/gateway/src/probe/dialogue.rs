//! What a next hop that lets us in is asked: who it takes mail for, and how much. Never sends a message.

use super::{
    recorder::Recorder,
    step::{Kind, Verdict},
};
use crate::delivery::{Connection, Patience};
use mail::{Domain, Failure, Reply};

/// How much is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Whether it takes the domain's mail at all.
    Postmaster,
    Everything,
}

pub struct Asked {
    pub depth: Depth,
    pub patience: Patience,
    /// In bytes: what is accepted here.
    pub max_message_size: u64,
}

/// Ends the session; what is found out is in the recorder.
pub async fn converse(mut connection: Connection, recorder: &Recorder<'_>, asked: &Asked) {
    if asked.depth == Depth::Everything {
        size(&connection, recorder, asked.max_message_size);
    }
    let mut dialogue = Dialogue { connection: &mut connection, recorder, asked };
    match dialogue.run().await {
        Ok(()) => {
            connection.quit().await;
            if asked.depth == Depth::Everything && !recorder.has_failed() {
                recorder.passed(Kind::Quit, "goodbye");
            }
        }
        Err(Lost { during, failure }) => {
            // What is asked for information only proves nothing when the session ends over it.
            let informs = matches!(during, Kind::CatchAll | Kind::OpenRelay | Kind::Quit);
            let verdict = if informs { Verdict::Warning } else { Verdict::Failed };
            let hint = recorder.place().failed(during, &failure);
            recorder.record(during, verdict, failure.to_string(), Some(hint));
        }
    }
}

fn size(connection: &Connection, recorder: &Recorder<'_>, ours: u64) {
    match connection.client().capabilities().size {
        Some(limit) if limit > 0 && limit < ours => recorder.record(
            Kind::Size,
            Verdict::Warning,
            format!("it takes {limit} bytes, and {ours} are accepted here"),
            Some(recorder.place().small(limit, ours)),
        ),
        Some(limit) if limit > 0 => recorder.passed(Kind::Size, format!("{limit} bytes")),
        Some(_) => recorder.passed(Kind::Size, "no fixed limit"),
        None => recorder.passed(Kind::Size, "it does not say how much it takes"),
    }
}

struct Dialogue<'a, 'p> {
    connection: &'a mut Connection,
    recorder: &'a Recorder<'p>,
    asked: &'a Asked,
}

struct Lost {
    during: Kind,
    failure: Failure,
}

impl Dialogue<'_, '_> {
    async fn run(&mut self) -> Result<(), Lost> {
        let domain = self.recorder.place().domain;
        if !self.postmaster(domain).await? || self.asked.depth == Depth::Postmaster {
            return Ok(());
        }
        self.random_name(domain).await?;
        self.foreign_domain(domain).await?;
        self.ask(Kind::Quit, "RSET").await.map(drop)
    }

    async fn ask(&mut self, during: Kind, line: &str) -> Result<Reply, Lost> {
        let asked = self.connection.ask(line, self.asked.patience.step).await;
        asked.map_err(|failure| Lost { during, failure })
    }

    /// False when there is no transaction to go on with.
    async fn postmaster(&mut self, domain: &Domain) -> Result<bool, Lost> {
        let place = self.recorder.place();
        let sender = self.ask(Kind::Postmaster, "MAIL FROM:<>").await?;
        if !sender.is_positive() {
            let (verdict, hint) = match sender.is_permanent() {
                true => (Verdict::Failed, place.null_sender()),
                false => (Verdict::Warning, place.greylisted()),
            };
            self.recorder.record(Kind::Postmaster, verdict, format!("MAIL FROM:<>: {sender}"), Some(hint));
            return Ok(false);
        }
        let reply = self.ask(Kind::Postmaster, &format!("RCPT TO:<postmaster@{domain}>")).await?;
        let (verdict, hint) = match reply.code / 100 {
            2 => (Verdict::Passed, None),
            5 => (Verdict::Failed, Some(place.refused_postmaster())),
            _ => (Verdict::Warning, Some(place.greylisted())),
        };
        self.recorder.record(Kind::Postmaster, verdict, format!("postmaster@{domain}: {reply}"), hint);
        Ok(verdict != Verdict::Failed)
    }

    async fn random_name(&mut self, domain: &Domain) -> Result<(), Lost> {
        let name = format!("waypost-probe-{:08x}@{domain}", fastrand::u32(..));
        let reply = self.ask(Kind::CatchAll, &format!("RCPT TO:<{name}>")).await?;
        let place = self.recorder.place();
        let (verdict, hint) = match reply.code / 100 {
            2 => (Verdict::Warning, Some(place.catch_all())),
            5 => (Verdict::Passed, None),
            _ => (Verdict::Warning, Some(place.greylisted())),
        };
        self.recorder.record(Kind::CatchAll, verdict, format!("{name}: {reply}"), hint);
        Ok(())
    }

    /// RFC 2606 §3: these domains are nobody's, and no message follows.
    async fn foreign_domain(&mut self, domain: &Domain) -> Result<(), Lost> {
        let is_ours = domain.as_str() == "example.com" || domain.as_str().ends_with(".example.com");
        let foreign = if is_ours { "example.net" } else { "example.com" };
        let name = format!("waypost-probe@{foreign}");
        let reply = self.ask(Kind::OpenRelay, &format!("RCPT TO:<{name}>")).await?;
        let (verdict, hint) = match reply.is_positive() {
            true => (Verdict::Warning, Some(self.recorder.place().open_relay())),
            false => (Verdict::Passed, None),
        };
        self.recorder.record(Kind::OpenRelay, verdict, format!("{name}: {reply}"), hint);
        Ok(())
    }
}
