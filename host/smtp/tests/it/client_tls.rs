//! The client and STARTTLS: nothing said in clear text outlives it, and required is required.

use crate::{
    relay::{client_config, envelope},
    script::{Session, closed},
};
use mail::FailureKind;
use smtp::{ClientConfig, ClientEvent, ClientTls};

#[test]
fn starttls_forgets_what_was_offered_before() {
    let mut session = Session::new(client_config());
    session.hear("220 x\r\n");
    session.said();
    assert_eq!(session.hear("250-x\r\n250-PIPELINING\r\n250 STARTTLS\r\n"), []);
    assert_eq!(session.said(), "STARTTLS\r\n");
    assert_eq!(session.hear("220 go\r\n"), [ClientEvent::StartTls]);
    session.0.tls_started();
    assert!(!session.0.capabilities().pipelining && session.0.is_tls_active());
    assert_eq!(session.said(), "EHLO relay.example\r\n");
    assert_eq!(session.hear("250-x\r\n250 STARTTLS\r\n"), [ClientEvent::Ready]);
}

#[test]
fn replies_injected_before_the_handshake_end_the_session() {
    for tls in [ClientTls::IfOffered, ClientTls::Required] {
        let mut session = Session::new(ClientConfig { tls, ..client_config() });
        session.hear("220 x\r\n");
        session.hear("250-x\r\n250 STARTTLS\r\n");
        assert_eq!(closed(&session.hear("220 go\r\n250-x\r\n")).kind, FailureKind::Tls);
        let mut session = Session::new(ClientConfig { tls, ..client_config() });
        session.hear("220 x\r\n");
        session.hear("250-x\r\n250 STARTTLS\r\n");
        session.hear("220 go\r\n");
        assert_eq!(session.hear("250-late\r\n"), []);
        session.0.tls_started();
        assert_eq!(closed(&session.events()).kind, FailureKind::Tls);
    }
}

#[test]
fn required_tls_never_falls_back_to_clear_text() {
    let required = ClientConfig { tls: ClientTls::Required, ..client_config() };
    for replies in [
        "250 x\r\n",
        "502 x\r\n250 x\r\n",
        "250-x\r\n250 STARTTLS\r\n454 4.7.0 no\r\n",
        "250-x\r\n250 STARTTLS\r\n554 no\r\n",
    ] {
        let mut session = Session::new(required.clone());
        session.hear("220 x\r\n");
        let events = session.hear(replies);
        assert_eq!((closed(&events).kind, events.len()), (FailureKind::Tls, 1), "{replies}");
        assert!(!session.said().contains("MAIL"));
    }
    for replies in ["250 x\r\n", "250-x\r\n250 STARTTLS\r\n454 4.7.0 no\r\n"] {
        let mut session = Session::new(client_config());
        session.hear("220 x\r\n");
        assert_eq!(session.hear(replies), [ClientEvent::Ready]);
    }
}

/// Under TLS, with what the next hop offers there.
fn under_tls(offers: &str, proven: bool) -> Session {
    let mut session = Session::new(client_config());
    session.hear("220 x\r\n");
    session.hear("250-x\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n");
    session.hear("220 go\r\n");
    if proven {
        session.0.server_proven();
    }
    session.0.tls_started();
    session.hear(offers);
    session.said();
    session
}

fn requiring_tls() -> mail::Envelope {
    mail::Envelope { require_tls: true, ..envelope(&["a@x.example"]) }
}

#[test]
fn mail_that_requires_tls_asks_a_proven_server_for_the_same() {
    let mut session = under_tls("250-x\r\n250 REQUIRETLS\r\n", true);
    session.send(&requiring_tls(), "x\r\n");
    assert_eq!(session.said(), "MAIL FROM:<ann@client.example> REQUIRETLS\r\n");
    let mut session = under_tls("250-x\r\n250 REQUIRETLS\r\n", true);
    session.send(&envelope(&["a@x.example"]), "x\r\n");
    assert_eq!(session.said(), "MAIL FROM:<ann@client.example>\r\n", "and no other mail does");
}

#[test]
fn mail_that_requires_tls_goes_nowhere_else() {
    let in_clear = || {
        let mut session = Session::new(client_config());
        session.hear("220 x\r\n");
        session.hear("250-x\r\n250 REQUIRETLS\r\n");
        session.0.server_proven();
        session.said();
        session
    };
    let sessions =
        [in_clear(), under_tls("250-x\r\n250 REQUIRETLS\r\n", false), under_tls("250-x\r\n250 DSN\r\n", true)];
    for mut session in sessions {
        session.send(&requiring_tls(), "x\r\n");
        let events = session.events();
        let [ClientEvent::Done(outcomes)] = events.as_slice() else { panic!("{events:?}") };
        let [mail::Outcome::Failed(failure)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!(failure.reply.as_ref().unwrap().enhanced, Some(mail::EnhancedCode::new(5, 7, 30)));
        assert_eq!(session.said(), "", "not a byte of it is said");
    }
}
