//! One visit of somebody who collects mail: moves the bytes, keeps the time, and turns the connection.

use super::{
    accounts::{Accounts, Login},
    exchange::{Exchange, Step},
    guard::Guard,
};
use crate::{
    config::{ListenerTls, Patience},
    delivery::{Connection, Deliverer, Round, as_next_hop},
    stream::Stream,
};
use bytes::Buf;
use mail::{Domain, Reply, TlsMode};
use queue::Claim;
use smtp::{Mechanism, Odmr, OdmrConfig, OdmrEvent, TlsOffer};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Before anybody is known, a connection costs more than it brings.
const STRANGER: Duration = Duration::from_secs(60);
const READ: usize = 4096;

/// What all visits share.
pub struct Gate {
    hostname: Domain,
    accounts: Arc<Accounts>,
    guard: Guard,
    deliverer: Arc<Deliverer>,
}

/// How a client came.
pub struct Visit {
    pub peer: SocketAddr,
    pub listener: Arc<str>,
    pub tls: ListenerTls,
    pub certificate: Arc<rustls::ServerConfig>,
    pub patience: Patience,
    pub shutdown: CancellationToken,
}

struct Session<'a> {
    gate: &'a Gate,
    visit: &'a Visit,
    stream: Stream,
    odmr: Odmr,
    exchange: Option<(Mechanism, Box<Exchange>)>,
    login: Option<Login>,
    /// Claimed at ATRN, so that the answer to it is true.
    turn: Option<(Round, Vec<Claim>)>,
    /// The next command must be whole within its time from here, however it trickles.
    answered: Instant,
}

enum Next {
    Read,
    StartTls,
    Turn,
    Close,
}

impl Gate {
    pub fn new(deliverer: Arc<Deliverer>, accounts: Arc<Accounts>) -> Arc<Self> {
        Arc::new(Self { hostname: deliverer.hostname.clone(), accounts, guard: Guard::default(), deliverer })
    }

    /// Until the client leaves, or all of its mail is gone. An error is the client's going away.
    pub async fn receive(&self, mut stream: Stream, visit: &Visit) -> io::Result<()> {
        let implicit = visit.tls == ListenerTls::Implicit;
        if implicit {
            stream =
                tokio::time::timeout(visit.patience.handshake, stream.accept_tls(visit.certificate.clone())).await??;
        }
        let tls = match visit.tls {
            ListenerTls::None | ListenerTls::Implicit => TlsOffer::None,
            ListenerTls::Optional => TlsOffer::Optional,
            ListenerTls::Required => TlsOffer::Required,
        };
        let config = OdmrConfig { tls, ..OdmrConfig::new(self.hostname.clone()) };
        let odmr = Odmr::new(config, self.accounts.mechanisms(), implicit);
        let answered = Instant::now();
        let session = Session { gate: self, visit, stream, odmr, exchange: None, login: None, turn: None, answered };
        session.run().await
    }
}

impl Session<'_> {
    async fn run(mut self) -> io::Result<()> {
        self.odmr.greet();
        loop {
            match self.events().await {
                Next::Read => self.flush().await?,
                Next::StartTls => {
                    self.flush().await?;
                    self = self.start_tls().await?;
                    continue;
                }
                Next::Turn => {
                    self.flush().await?;
                    self.hand_over().await;
                    return Ok(());
                }
                Next::Close => {
                    self.flush().await?;
                    return tokio::time::timeout(self.visit.patience.write, self.stream.shutdown()).await?;
                }
            }
            let idle = self.visit.patience.idle;
            let deadline = self.answered + if self.login.is_some() { idle } else { idle.min(STRANGER) };
            let input = self.odmr.input();
            input.reserve(READ);
            tokio::select! {
                biased;
                read = tokio::time::timeout_at(deadline, self.stream.read_buf(input)) => match read {
                    Ok(Ok(0)) => return Ok(()),
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Err(error),
                    Err(_) => self.odmr.close_with(IDLE),
                },
                () = self.visit.shutdown.cancelled() => self.odmr.close_with(SHUTDOWN),
            }
        }
    }

    async fn events(&mut self) -> Next {
        while let Some(event) = self.odmr.next_event() {
            match event {
                OdmrEvent::Auth { mechanism, initial } => self.begin(mechanism, initial).await,
                OdmrEvent::Response(response) => match self.exchange.take() {
                    Some((mechanism, exchange)) if self.may_try() => {
                        let step = exchange.respond(&response, &self.gate.accounts).await;
                        self.answer(mechanism, step);
                    }
                    Some(_) => self.odmr.refuse(BLOCKED),
                    None => self.odmr.refuse(MALFORMED),
                },
                OdmrEvent::AuthAborted => self.exchange = None,
                OdmrEvent::Turn(domains) => {
                    let reply = self.claim(domains).await;
                    self.odmr.answer_turn(reply);
                }
                OdmrEvent::StartTls => return Next::StartTls,
                OdmrEvent::Turned => return Next::Turn,
                OdmrEvent::Quit => return Next::Close,
            }
        }
        Next::Read
    }

    async fn begin(&mut self, mechanism: Mechanism, initial: Option<Vec<u8>>) {
        let gate = self.gate;
        if !self.may_try() {
            return self.odmr.refuse(BLOCKED);
        }
        let step = Exchange::begin(mechanism, initial, &gate.accounts, gate.hostname.as_str()).await;
        self.answer(mechanism, step);
    }

    /// Counted as failed before it is looked at; `answer` takes that back.
    fn may_try(&self) -> bool {
        self.gate.guard.enter(self.visit.peer.ip(), self.gate.deliverer.clock.now())
    }

    fn answer(&mut self, mechanism: Mechanism, step: Step) {
        let (peer, listener) = (self.visit.peer, &self.visit.listener);
        if !matches!(step, Step::Refused(_)) {
            self.gate.guard.forgive(peer.ip());
        }
        match step {
            Step::Challenge(exchange, message) => {
                self.exchange = Some((mechanism, exchange));
                self.odmr.challenge(&message);
            }
            Step::Granted(login) => {
                info!(%listener, %peer, user = %login.user, mechanism = mechanism.as_str(), outcome = "authenticated");
                self.login = Some(login);
                self.odmr.authenticated();
            }
            Step::Refused(user) => {
                warn!(%listener, %peer, ?user, mechanism = mechanism.as_str(), outcome = "refused");
                self.odmr.refuse(WRONG);
            }
            Step::Malformed => self.odmr.refuse(MALFORMED),
            Step::Busy => self.odmr.refuse(BUSY),
        }
    }

    /// RFC 2645 §5.2.1: all of the named domains, or none.
    async fn claim(&mut self, named: Vec<Domain>) -> Reply {
        let Some(login) = &self.login else { return REFUSED };
        let domains = if named.is_empty() { login.domains.keys().cloned().collect() } else { named };
        if !domains.iter().all(|domain| self.gate.accounts.still_opens(login, domain)) {
            let (peer, user) = (self.visit.peer, &login.user);
            warn!(listener = %self.visit.listener, %peer, %user, ?domains, outcome = "refused", "not all of the domains are theirs");
            return REFUSED;
        }
        if !matches!(self.stream, Stream::Tls(_)) && domains.iter().any(|domain| self.is_kept_from_clear_text(domain)) {
            let (peer, user) = (self.visit.peer, &login.user);
            warn!(listener = %self.visit.listener, %peer, %user, ?domains, outcome = "refused", "their mail goes over TLS only");
            return NOT_IN_CLEAR;
        }
        let (accounts, login) = (self.gate.accounts.clone(), login.clone());
        let mut round = Round::new(domains, Box::new(move |domain| accounts.still_opens(&login, domain)));
        let first = self.gate.deliverer.next_to_collect(&mut round).await;
        if first.is_empty() {
            return NO_MAIL;
        }
        self.turn = Some((round, first));
        TURNING
    }

    /// Its file lets the mail go to no next hop without TLS.
    fn is_kept_from_clear_text(&self, domain: &Domain) -> bool {
        let Some(domain) = self.gate.deliverer.domains.get(domain) else { return true };
        let mut modes = domain.config.next_hops.iter().filter_map(|hop| hop.tls).chain([domain.config.tls]);
        domain.config.identity.is_some() || modes.any(|mode| mode >= TlsMode::Required)
    }

    /// From here on the client is the server.
    async fn hand_over(mut self) {
        let Some((round, first)) = self.turn.take() else { return };
        let user = self.login.take().map(|login| login.user).unwrap_or_default();
        let (peer, hop) = (self.visit.peer, as_next_hop(self.visit.peer));
        let (deliverer, listener) = (&self.gate.deliverer, &self.visit.listener);
        match Connection::turned(self.stream, hop, &self.gate.hostname, deliverer.connector.timeouts).await {
            Ok(connection) => {
                let told = deliverer.collect(connection, round, first, &user, &self.visit.shutdown).await;
                let (delivered, deferred, failed) = (told.delivered, told.deferred, told.failed);
                info!(%listener, %peer, %user, delivered, deferred, failed, whole = told.whole, outcome = "collected");
            }
            Err(failure) => {
                first.into_iter().for_each(|claim| deliverer.queue.unclaim(claim));
                warn!(%listener, %peer, %user, reason = %failure, outcome = "not collected");
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.odmr.output();
        if output.has_remaining() {
            let write = async {
                self.stream.write_all_buf(output).await?;
                self.stream.flush().await
            };
            tokio::time::timeout(self.visit.patience.write, write).await??;
            self.answered = Instant::now();
        }
        Ok(())
    }

    /// A login in clear text holds no longer.
    async fn start_tls(self) -> io::Result<Self> {
        let stream =
            tokio::time::timeout(self.visit.patience.handshake, self.stream.accept_tls(self.visit.certificate.clone()))
                .await??;
        let mut odmr = self.odmr;
        odmr.tls_started();
        Ok(Self { stream, odmr, exchange: None, login: None, answered: Instant::now(), ..self })
    }
}

const IDLE: Reply = Reply::fixed(421, (4, 4, 2), "[WP-IDLE] Idle for too long");
const SHUTDOWN: Reply = Reply::fixed(421, (4, 3, 2), "[WP-DOWN] Service is shutting down; try again later");
const WRONG: Reply = Reply::fixed(535, (5, 7, 8), "[WP-LOGIN] Wrong user or password");
const MALFORMED: Reply = Reply::fixed(501, (5, 5, 2), "This is no message of the mechanism");
const BLOCKED: Reply =
    Reply::fixed(421, (4, 7, 0), "[WP-LOGIN] Too many failed logins from your address; try again later");
const REFUSED: Reply =
    Reply::fixed(450, (4, 7, 1), "[WP-ATRN] ATRN request refused: not all of these domains are yours");
const NOT_IN_CLEAR: Reply =
    Reply::fixed(450, (4, 7, 1), "[WP-ATRN] ATRN request refused: this mail goes over TLS only; send STARTTLS first");
const BUSY: Reply = Reply::fixed(454, (4, 7, 0), "[WP-LOGIN] Too many logins at once; try again later");
const NO_MAIL: Reply = Reply::fixed(453, (4, 2, 0), "You have no mail");
const TURNING: Reply = Reply::fixed(250, (2, 0, 0), "OK now reversing the connection");
