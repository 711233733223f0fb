//! The client and STARTTLS: nothing said in clear text outlives it, and required is required.

use crate::{
    relay::client_config,
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
