//! What the gateway knows of plugins: questions with facts, answered by a domain's chain.
//!
//! The gateway sees plugins only through these traits; nothing here knows WebAssembly.

use crate::{
    Authenticity, CallRecord, Content, Domain, Event, Failure, MailId, Mailbox, NextHop, Outline, Recipient, Reply,
    ReversePath, Timestamp,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Notes on a mail, shared along the chain and kept with it through the queue.
pub type Attributes = BTreeMap<String, String>;

/// One entry of a domain's `plugins`.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The file name without its ending; several bindings may use one plugin.
    pub plugin: String,
    /// None is the default of the hook: tempfail before 250, default handling after.
    pub on_failure: Option<OnFailure>,
    /// The plugin's table for this domain, an object.
    pub config: serde_json::Value,
    pub isolation: Isolation,
    pub mode: Mode,
    /// The share of the mail that it is asked about, in percent, 1 to 100.
    pub sample: u8,
    /// The operator's, asked for every domain: a domain's own plugin of that name never takes its place.
    pub gateway_wide: bool,
}

/// What happens to the mail when a plugin traps, overruns a limit or answers nonsense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    TempFail,
    Pass,
    Reject,
    Quarantine,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// An instance is kept warm for its domain and serves one call after the other.
    #[default]
    Domain,
    /// Each call gets a fresh instance.
    Transaction,
}

/// Whether a plugin decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Active,
    /// Asked and recorded; what it answers and edits changes nothing.
    Shadow,
}

/// The hooks that at least one plugin of a chain implements; the others need not be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookSet {
    pub on_connect: bool,
    pub on_recipient: bool,
    pub on_message: bool,
    pub on_route: bool,
    pub on_offline: bool,
    pub on_online: bool,
    pub on_event: bool,
}

/// Makes chains from bindings: where plugins are loaded, type-checked and asked to validate their configuration.
pub trait ChainSource: Send + Sync {
    /// All errors at once. `own_plugins` is the domain's own plugin directory, looked in first.
    fn load<'a>(
        &'a self,
        domain: &'a Domain,
        own_plugins: Option<&'a std::path::Path>,
        bindings: &'a [Binding],
    ) -> BoxFuture<'a, Result<Arc<dyn Chain>, Vec<LoadError>>>;
}

/// A plugin that cannot serve.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin {plugin}: {reason}")]
pub struct LoadError {
    pub plugin: String,
    /// What is wrong and what to do about it.
    pub reason: String,
}

/// A domain's ordered plugins. A plugin's failure never comes out as an error: it has become the
/// verdict that its policy asks for, and its edits are gone.
///
/// A question that nobody answers has the answer of a chain without plugins.
pub trait Chain: Send + Sync {
    fn hooks(&self) -> HookSet;

    /// May this client talk? Asked of the gateway-wide chain only, before the greeting.
    fn on_connect<'a>(&'a self, connection: &'a mut Connection) -> BoxFuture<'a, Verdict> {
        let _ = connection;
        Box::pin(async { Verdict::Pass })
    }

    /// May `address` receive mail? `transaction.recipients` holds those accepted before.
    fn on_recipient<'a>(&'a self, transaction: &'a mut Transaction, address: &'a Mailbox) -> BoxFuture<'a, Verdict> {
        let _ = (transaction, address);
        Box::pin(async { Verdict::Pass })
    }

    /// What becomes of the mail? The edits of plugins that let it through are applied to both arguments.
    fn on_message<'a>(&'a self, transaction: &'a mut Transaction, content: &'a mut Content) -> BoxFuture<'a, Verdict> {
        let _ = (transaction, content);
        Box::pin(async { Verdict::Pass })
    }

    /// Where does this recipient's mail go, at this attempt?
    fn on_route<'a>(&'a self, delivery: &'a mut DeliveryFacts) -> BoxFuture<'a, Routing> {
        let _ = delivery;
        Box::pin(async { Routing::Default })
    }

    /// The next hop cannot be reached: what now?
    fn on_offline<'a>(&'a self, delivery: &'a mut DeliveryFacts, failure: &'a Failure) -> BoxFuture<'a, OfflineAction> {
        let _ = (delivery, failure);
        Box::pin(async { OfflineAction::Default })
    }

    /// The next hop is back: does what was held for it go out? `held` counts recipients.
    fn on_online<'a>(&'a self, held: u64, calls: &'a mut Vec<CallRecord>) -> BoxFuture<'a, bool> {
        let _ = (held, calls);
        Box::pin(async { true })
    }

    /// Tells; decides nothing. What became of the calls is added to `calls`.
    fn on_event<'a>(&'a self, event: &'a Event, calls: &'a mut Vec<CallRecord>) -> BoxFuture<'a, ()> {
        let _ = (event, calls);
        Box::pin(async {})
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No opinion; at the end of a chain: let it through.
    Pass,
    /// Let it through; no further plugin of this stage is asked.
    Accept,
    TempFail(Reply),
    Reject(Reply),
    /// 250, then dropped. Always logged.
    Discard,
    /// 250, then held under this reason until a person releases it.
    Quarantine(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The domain's configured next hop.
    Default,
    Relay(Vec<NextHop>),
    /// To another address of the domain.
    Rewrite(Mailbox),
    TempFail(Reply),
    Reject(Reply),
    Discard,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfflineAction {
    /// The domain's configured handling.
    Default,
    RetryAfter(Duration),
    /// Kept until the next hop is back or someone releases it.
    Hold(String),
    Redirect(Vec<NextHop>),
    Bounce(Reply),
    Discard,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// The listener's address, as configured.
    pub listener: Arc<str>,
    pub peer: SocketAddr,
    /// Forward-confirmed PTR.
    pub peer_name: Option<String>,
    pub helo: Option<String>,
    /// `TLSv1.3`.
    pub tls_version: Option<String>,
    pub auth_user: Option<String>,
}

/// A connection before its greeting.
#[derive(Clone, Debug)]
pub struct Connection {
    pub session: Arc<SessionFacts>,
    /// Each transaction of the connection begins with these.
    pub attributes: Attributes,
    pub calls: Vec<CallRecord>,
}

/// MAIL to end of data, of one policy domain.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub session: Arc<SessionFacts>,
    pub id: MailId,
    /// The domain whose policy runs.
    pub domain: Domain,
    pub sender: ReversePath,
    /// Upper-case names, as given with MAIL.
    pub mail_params: Vec<(String, Option<String>)>,
    /// Accepted so far.
    pub recipients: Vec<Recipient>,
    /// As far as it has been checked by now.
    pub authenticity: Authenticity,
    /// Hundredths of a point, summed over the chain.
    pub score: i32,
    pub symbols: Vec<(String, i32)>,
    pub attributes: Attributes,
    /// What the plugins asked so far left behind.
    pub calls: Vec<CallRecord>,
}

/// One recipient of a queued mail on its way to a next hop.
#[derive(Clone)]
pub struct DeliveryFacts {
    pub id: MailId,
    pub domain: Domain,
    pub sender: ReversePath,
    pub recipient: Mailbox,
    pub queued_at: Timestamp,
    pub expires_at: Timestamp,
    /// Attempts made before this one.
    pub attempts: u32,
    /// Since when its next hop cannot be reached.
    pub offline_since: Option<Timestamp>,
    pub attributes: Attributes,
    /// What the plugins asked at this attempt left behind.
    pub calls: Vec<CallRecord>,
    /// Read only if a plugin asks.
    pub content: Arc<dyn ContentSource>,
}

/// The mail's bytes, from memory or from the spool.
pub trait ContentSource: Send + Sync {
    /// Known without reading. In bytes.
    fn len(&self) -> u64;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Without touching the disk, if that is possible.
    fn in_memory(&self) -> Option<Content> {
        None
    }
    /// May block on the disk.
    fn load(&self) -> std::io::Result<Content>;
    /// As `load`, without blocking; where memory for mail is short it waits for its turn.
    fn fetch(self: Arc<Self>) -> BoxFuture<'static, std::io::Result<Content>>;
    /// To be read a piece at a time. Reads all of it once, and so may block on the disk.
    fn open(&self) -> std::io::Result<Arc<dyn OpenContent>> {
        Ok(Arc::new(self.load()?))
    }
}

/// A mail's bytes that were found whole and sound; they stay so while this lives, wherever they are.
pub trait OpenContent: Send + Sync {
    fn outline(&self) -> Outline;
    /// At most `len` bytes from `offset`; fewer at the end. May block on the disk.
    fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Bytes>;
}

impl ContentSource for Content {
    fn len(&self) -> u64 {
        Self::len(self) as u64
    }
    fn in_memory(&self) -> Option<Content> {
        Some(self.clone())
    }
    fn load(&self) -> std::io::Result<Content> {
        Ok(self.clone())
    }
    fn fetch(self: Arc<Self>) -> BoxFuture<'static, std::io::Result<Content>> {
        Box::pin(async move { Ok(Self::clone(&self)) })
    }
}

impl OpenContent for Content {
    fn outline(&self) -> Outline {
        Self::outline(self)
    }
    fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Bytes> {
        Ok(self.read(offset, len).into())
    }
}
