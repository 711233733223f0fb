//! Who answers a client: the gateway's session, or a next hop for trying things.

use crate::limits::Cut;
use bytes::Bytes;
use mail::{BodyKind, Recipient, Reply, Ret, ReversePath};
use smtp::{Node, Xclient};
use std::future::Future;

/// MAIL as the client gave it.
pub struct MailFacts {
    pub sender: ReversePath,
    /// From a client that has said EHLO.
    pub esmtp: bool,
    pub body: BodyKind,
    pub smtputf8: bool,
    /// RFC 8689.
    pub require_tls: bool,
    pub ret: Option<Ret>,
    pub envid: Option<String>,
    /// As announced (RFC 1870), in bytes.
    pub size: Option<u64>,
    /// As given, names in upper case.
    pub params: Vec<(String, Option<String>)>,
}

/// Gets parsed questions in a legal order, and gives replies.
pub trait Receiver: Send {
    /// EHLO or HELO: what was under way is void.
    fn hello(&mut self, name: String);
    /// TLS is active; what was said before is void.
    fn tls(&mut self, version: Option<String>);
    fn mail(&mut self, facts: MailFacts) -> Reply;
    fn recipient(&mut self, recipient: Recipient) -> impl Future<Output = Reply> + Send;
    /// 354, or why not.
    fn data_start(&mut self) -> Reply;
    /// No more is read from the client until this has ended.
    fn body(&mut self, bytes: Bytes) -> impl Future<Output = ()> + Send;
    /// 250 takes the responsibility.
    fn end_of_message(&mut self) -> impl Future<Output = Reply> + Send;
    /// ETRN: mail that waits for the node shall be sent now.
    fn start(&mut self, node: Node) -> impl Future<Output = Reply> + Send;
    /// The transaction is void.
    fn reset(&mut self);
    /// So many errors more than before: commands that break the protocol, recipients that were refused for good.
    /// The reply that ends the session, where that is too many.
    fn mistakes(&mut self, _more: u32) -> Option<Reply> {
        None
    }
    /// Whether those who only wait should leave.
    fn is_crowded(&self) -> bool {
        false
    }
    /// The client has missed a deadline, and the session ends.
    fn cut(&mut self, _cut: Cut) {}
    /// A proxy that is believed says whose session it is; what was said before is void. The reply that ends the
    /// session, where that client is not wanted.
    fn comes_from(&mut self, _client: Xclient) -> impl Future<Output = Option<Reply>> + Send {
        std::future::ready(None)
    }
}
