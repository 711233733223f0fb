//! Single commands outside of any mail, for whoever wants to know what a next hop says to them.
//!
//! Never sends a message: a reply that asks for one ends the session.

use super::{CannotAsk, Client, ClientEvent, State, transfer};
use mail::{FailureKind, Reply};

impl Client {
    /// Sends one command line; ends with [`ClientEvent::Answered`]. A mail that follows begins with RSET.
    pub fn ask(&mut self, line: &str) -> Result<(), CannotAsk> {
        if !matches!(self.state, State::Ready) {
            return Err(CannotAsk::NotReady);
        }
        if line.contains(['\r', '\n', '\0']) {
            return Err(CannotAsk::NotOneLine);
        }
        self.command(line);
        self.reset_due = true;
        self.state = State::Asking;
        Ok(())
    }

    pub(super) fn answered(&mut self, reply: Reply) {
        // RFC 5321 §4.2.1: 3yz waits for more than a command, and what came next would be taken for it.
        if reply.code / 100 == 3 {
            let failure = self.failure(FailureKind::Protocol, "the next hop waits for data that nobody meant to send");
            return self.close(mail::Failure { reply: Some(transfer::bounded(reply)), ..failure });
        }
        self.state = State::Ready;
        self.events.push_back(ClientEvent::Answered(reply));
    }
}
