//! Answers for `session`, `transaction` and `attributes`: the envelope and notes, read and staged.

use super::outside;
use crate::{
    bindings::waypost::plugin::{
        attributes, session, transaction,
        types::{AuthResult, Error},
    },
    state::State,
    subject::Subject,
};
use mail::{Authenticity, Mailbox, Recipient, ReversePath, SessionFacts};

const HOOKS: &str = "on-recipient and on-message";
/// A plugin may not turn one mail into more than these.
const MAX_RECIPIENTS: usize = 1000;
const MAX_SYMBOLS: usize = 64;
const MAX_ATTRIBUTES: usize = 64;
const MAX_ATTRIBUTE_NAME: usize = 64;
const MAX_ATTRIBUTE_VALUE: usize = 4096;

impl State {
    fn session(&self) -> Option<&SessionFacts> {
        self.call.subject.session()
    }

    /// As this plugin has staged them, else as they are.
    fn recipients(&self) -> &[Recipient] {
        let now = self.call.subject.transaction().map_or(&[][..], |transaction| &transaction.recipients);
        self.call.staged.recipients.as_deref().unwrap_or(now)
    }

    fn authenticity(&self) -> Option<&Authenticity> {
        self.call.subject.transaction().map(|transaction| &transaction.authenticity)
    }

    /// The list to change, or why there is none.
    fn recipients_mut(&mut self) -> Result<&mut Vec<Recipient>, Error> {
        let transaction = self.call.subject.transaction().ok_or_else(|| outside(HOOKS))?;
        Ok(self.call.staged.recipients.get_or_insert_with(|| transaction.recipients.clone()))
    }
}

impl session::Host for State {
    fn listener(&mut self) -> String {
        self.called("session.listener");
        self.session().map_or_else(String::new, |s| s.listener.to_string())
    }
    fn peer_ip(&mut self) -> String {
        self.called("session.peer-ip");
        self.session().map_or_else(String::new, |s| s.peer.ip().to_canonical().to_string())
    }
    fn peer_port(&mut self) -> u16 {
        self.called("session.peer-port");
        self.session().map_or(0, |s| s.peer.port())
    }
    fn peer_name(&mut self) -> Option<String> {
        self.called("session.peer-name");
        self.session()?.peer_name.clone()
    }
    fn helo(&mut self) -> Option<String> {
        self.called("session.helo");
        self.session()?.helo.clone()
    }
    fn tls_version(&mut self) -> Option<String> {
        self.called("session.tls-version");
        self.session()?.tls_version.clone()
    }
    fn auth_user(&mut self) -> Option<String> {
        self.called("session.auth-user");
        self.session()?.auth_user.clone()
    }
}

impl transaction::Host for State {
    fn id(&mut self) -> String {
        self.called("transaction.id");
        self.call.subject.transaction().map_or_else(String::new, |t| t.id.to_string())
    }
    fn domain(&mut self) -> String {
        self.called("transaction.domain");
        self.profile.domain.as_str().to_owned()
    }
    fn sender(&mut self) -> Option<String> {
        self.called("transaction.sender");
        let now = self.call.subject.transaction().map(|t| &t.sender);
        Some(self.call.staged.sender.as_ref().or(now)?.mailbox()?.as_str().to_owned())
    }
    fn recipients(&mut self) -> Vec<String> {
        self.called("transaction.recipients");
        let mut list: Vec<String> = State::recipients(self).iter().map(|r| r.address.as_str().to_owned()).collect();
        if let Subject::Recipient { asked, .. } = &self.call.subject {
            list.push(asked.as_str().to_owned());
        }
        list
    }
    fn mail_param(&mut self, name: String) -> Option<String> {
        self.called("transaction.mail-param");
        let params = &self.call.subject.transaction()?.mail_params;
        let (_, value) = params.iter().find(|(known, _)| known.eq_ignore_ascii_case(&name))?;
        Some(value.clone().unwrap_or_default())
    }
    fn rcpt_param(&mut self, recipient: u32, name: String) -> Option<String> {
        self.called("transaction.rcpt-param");
        let recipient = State::recipients(self).get(recipient as usize)?;
        match name.to_ascii_uppercase().as_str() {
            "NOTIFY" => recipient.notify.map(mail::Notify::to_param),
            "ORCPT" => recipient.orcpt.clone(),
            _ => None,
        }
    }
    fn spf(&mut self) -> AuthResult {
        self.called("transaction.spf");
        self.authenticity().map_or(AuthResult::None, |found| result(found.spf))
    }
    fn dmarc(&mut self) -> AuthResult {
        self.called("transaction.dmarc");
        self.authenticity().map_or(AuthResult::None, |found| result(found.dmarc))
    }
    fn arc(&mut self) -> AuthResult {
        self.called("transaction.arc");
        self.authenticity().map_or(AuthResult::None, |found| result(found.arc))
    }
    fn dkim(&mut self) -> Vec<(String, AuthResult)> {
        self.called("transaction.dkim");
        let Some(found) = self.authenticity() else { return Vec::new() };
        found.dkim.iter().map(|(domain, of)| (domain.clone(), result(*of))).collect()
    }
    fn score(&mut self) -> i32 {
        self.called("transaction.score");
        let before = self.call.subject.transaction().map_or(0, |t| t.score);
        before.saturating_add(self.call.staged.score)
    }
    fn add_score(&mut self, points: i32, symbol: String) {
        self.called("transaction.add-score");
        let staged = &mut self.call.staged;
        staged.score = staged.score.saturating_add(points);
        let printable = !symbol.is_empty() && symbol.len() <= 64 && symbol.bytes().all(|b| b.is_ascii_graphic());
        if printable && staged.symbols.len() < MAX_SYMBOLS {
            staged.symbols.push((symbol, points));
        }
    }
    fn set_sender(&mut self, address: Option<String>) -> Result<(), Error> {
        self.called("transaction.set-sender");
        self.call.subject.transaction().ok_or_else(|| outside(HOOKS))?;
        let sender = match address {
            None => ReversePath::Null,
            Some(address) => ReversePath::Mailbox(parse(&address)?),
        };
        self.call.staged.sender = Some(sender);
        Ok(())
    }
    fn add_recipient(&mut self, address: String) -> Result<(), Error> {
        self.called("transaction.add-recipient");
        let address = parse(&address)?;
        if address.domain_str() != self.profile.domain.as_str() {
            return Err(Error::Invalid(format!("{address} is not an address of {}", self.profile.domain)));
        }
        let recipients = self.recipients_mut()?;
        if recipients.iter().any(|known| known.address == address) {
            return Ok(());
        }
        if recipients.len() >= MAX_RECIPIENTS {
            return Err(Error::Limit(format!("a mail has at most {MAX_RECIPIENTS} recipients")));
        }
        recipients.push(Recipient::new(address));
        Ok(())
    }
    fn remove_recipient(&mut self, address: String) -> Result<(), Error> {
        self.called("transaction.remove-recipient");
        let address = parse(&address)?;
        let recipients = self.recipients_mut()?;
        let before = recipients.len();
        recipients.retain(|known| known.address != address);
        if recipients.len() < before { Ok(()) } else { Err(Error::NotFound) }
    }
}

fn result(found: mail::AuthResult) -> AuthResult {
    match found {
        mail::AuthResult::None => AuthResult::None,
        mail::AuthResult::Pass => AuthResult::Pass,
        mail::AuthResult::Fail => AuthResult::Fail,
        mail::AuthResult::SoftFail => AuthResult::Softfail,
        mail::AuthResult::Neutral => AuthResult::Neutral,
        mail::AuthResult::Policy => AuthResult::Policy,
        mail::AuthResult::TempError => AuthResult::Temperror,
        mail::AuthResult::PermError => AuthResult::Permerror,
    }
}

fn parse(address: &str) -> Result<Mailbox, Error> {
    address.parse().map_err(|error: mail::AddressError| Error::Invalid(error.to_string()))
}

impl attributes::Host for State {
    fn get(&mut self, name: String) -> Option<String> {
        self.called("attributes.get");
        let kept = || self.call.subject.attributes()?.get(&name);
        self.call.staged.attributes.get(&name).or_else(kept).cloned()
    }
    fn set(&mut self, name: String, value: String) -> Result<(), Error> {
        self.called("attributes.set");
        let kept = match &self.call.subject {
            // It is over: nothing can be noted any more.
            Subject::Event { .. } => None,
            subject => subject.attributes(),
        };
        let kept = kept.ok_or_else(|| outside("on-connect and hooks about a mail that is under way"))?;
        let name_ok = (1..=MAX_ATTRIBUTE_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_graphic())
            && !name.starts_with(':');
        if !name_ok {
            let names =
                format!("a name is 1 to {MAX_ATTRIBUTE_NAME} printable ASCII characters and has no colon in front");
            return Err(Error::Invalid(names));
        }
        if value.len() > MAX_ATTRIBUTE_VALUE {
            return Err(Error::Limit(format!("a value is limited to {MAX_ATTRIBUTE_VALUE} bytes")));
        }
        let staged = &mut self.call.staged.attributes;
        let is_new = !staged.contains_key(&name) && !kept.contains_key(&name);
        if is_new && staged.len() + kept.len() >= MAX_ATTRIBUTES {
            return Err(Error::Limit(format!("a mail has at most {MAX_ATTRIBUTES} attributes")));
        }
        staged.insert(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_one_name_for_plugins_and_for_people() {
        for found in mail::AuthResult::ALL {
            let shown = format!("{:?}", result(found)).to_lowercase();
            assert!(shown.ends_with(found.as_str()), "{shown} {found}");
        }
    }
}
