//! XCLIENT: a proxy in front says for whom it speaks. Postfix's extension, as its XCLIENT_README tells it.
//!
//! Decides the syntax. Who may use it is the driver's to say, and so is what follows from it.

use super::{Question, Server, ServerEvent, State};
use crate::xtext;
use mail::Reply;
use std::net::IpAddr;

/// An attribute that may be known to be unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    Known(T),
    /// `[UNAVAILABLE]`, or `[TEMPUNAVAIL]`: looking it up failed for now.
    Unavailable,
}

impl<T> Told<T> {
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unavailable => None,
        }
    }
}

/// What is said of the client behind the proxy. None: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xclient {
    pub address: Option<Told<IpAddr>>,
    pub port: Option<Told<u16>>,
    /// Its host name, as the proxy has looked it up.
    pub name: Option<Told<String>>,
    pub helo: Option<Told<String>>,
    /// ESMTP; false for SMTP.
    pub esmtp: Option<bool>,
    /// Who has logged in.
    pub login: Option<Told<String>>,
    /// Where it connected to.
    pub destination_address: Option<Told<IpAddr>>,
    pub destination_port: Option<Told<u16>>,
}

impl Server {
    pub(super) fn xclient(&mut self, argument: &[u8]) {
        if !self.is_proxy {
            return self.reply_error(NOT_ALLOWED);
        }
        match parse(argument) {
            None => self.reply_error(SYNTAX),
            Some(_) if self.is_idling() => self.end_with(TOO_MANY),
            Some(client) => self.ask(Question::Xclient, ServerEvent::Xclient(client)),
        }
    }

    /// The session begins again: what EHLO told belongs to the proxy.
    pub(super) fn xclient_answered(&mut self, reply: Reply) {
        if reply.is_positive() {
            self.state = State::Greeted;
            self.greet();
        } else {
            self.end_with(reply);
        }
    }
}

/// `NAME=value` in any order, each at most once.
fn parse(argument: &[u8]) -> Option<Xclient> {
    let text = str::from_utf8(argument).ok()?;
    let mut client = Xclient::default();
    for attribute in text.split(' ').filter(|word| !word.is_empty()) {
        let (name, value) = attribute.split_once('=')?;
        let value = xtext::decode(value).filter(|value| (1..=MAX_VALUE).contains(&value.len()))?;
        match name.to_ascii_uppercase().as_str() {
            "ADDR" => once(&mut client.address, told(&value, address)?)?,
            "PORT" => once(&mut client.port, told(&value, port)?)?,
            "NAME" => once(&mut client.name, told(&value, word)?)?,
            "HELO" => once(&mut client.helo, told(&value, word)?)?,
            "PROTO" => once(&mut client.esmtp, protocol(&value)?)?,
            "LOGIN" => once(&mut client.login, told(&value, |login| Some(login.to_owned()))?)?,
            "DESTADDR" => once(&mut client.destination_address, told(&value, address)?)?,
            "DESTPORT" => once(&mut client.destination_port, told(&value, port)?)?,
            _ => return None,
        }
    }
    Some(client)
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn told<T>(value: &str, read: impl Fn(&str) -> Option<T>) -> Option<Told<T>> {
    let is = |word: &str| value.eq_ignore_ascii_case(word);
    if is("[UNAVAILABLE]") || is("[TEMPUNAVAIL]") { Some(Told::Unavailable) } else { read(value).map(Told::Known) }
}

fn address(text: &str) -> Option<IpAddr> {
    match text.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("IPV6:") => rest.parse().ok().map(IpAddr::V6),
        _ => text.parse().ok().map(IpAddr::V4),
    }
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// As what a client calls itself.
fn word(text: &str) -> Option<String> {
    text.bytes().all(|b| b.is_ascii_graphic()).then(|| text.to_owned())
}

fn protocol(text: &str) -> Option<bool> {
    match text.to_ascii_uppercase().as_str() {
        "SMTP" => Some(false),
        "ESMTP" => Some(true),
        _ => None,
    }
}

/// A host name is no longer.
const MAX_VALUE: usize = 255;
const NOT_ALLOWED: Reply = Reply::fixed(550, (5, 7, 0), "You are not trusted to speak for others");
const SYNTAX: Reply = Reply::fixed(501, (5, 5, 4), "Syntax: XCLIENT NAME=value ...");
const TOO_MANY: Reply = Reply::fixed(421, (4, 7, 0), "Too many commands without mail");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attribute_is_read_once_and_decoded() {
        let client = parse(
            b"ADDR=IPV6:2001:db8::1 port=25 NAME=[TEMPUNAVAIL] HELO=a+2Bb PROTO=esmtp LOGIN=ann+20lee DESTADDR=192.0.2.1 DESTPORT=[UNAVAILABLE]",
        );
        let expected = Xclient {
            address: Some(Told::Known("2001:db8::1".parse().unwrap())),
            port: Some(Told::Known(25)),
            name: Some(Told::Unavailable),
            helo: Some(Told::Known("a+b".to_owned())),
            esmtp: Some(true),
            login: Some(Told::Known("ann lee".to_owned())),
            destination_address: Some(Told::Known([192, 0, 2, 1].into())),
            destination_port: Some(Told::Unavailable),
        };
        assert_eq!(client, Some(expected));
    }

    #[test]
    fn what_is_no_attribute_is_refused_as_a_whole() {
        let long = format!("NAME={}", "a".repeat(256));
        for wrong in [
            "ADDR",
            "ADDR=",
            "ADDR=192.0.2",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=192.0.2.1 ADDR=192.0.2.2",
            "PORT=65536",
            "PORT=-1",
            "PORT=+2B5",
            "NAME=a+20b",
            "HELO=a+0D+0Ab",
            "PROTO=LMTP",
            "COLOUR=red",
            "=1",
            &long,
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(parse(b"NAME=\xff"), None);
    }
}
