//! Sessions of a host that comes to collect mail (RFC 2645).

use crate::{
    driver::{self, Said},
    pieces::{knob, pieces},
};
use mail::Reply;
use smtp::{Mechanisms, Odmr, OdmrConfig, OdmrEvent, TlsOffer};

/// Any bytes as a session, in one piece and cut: replies are well-formed, the roles turn only after a login, and
/// where the bytes are cut changes nothing but whether the client is caught talking out of turn.
pub fn odmr(data: &[u8]) {
    let (cut, sent) = knob(data);
    let whole = run(cut, [sent].into_iter());
    let in_pieces = run(cut, pieces(cut, sent));
    match whole.split_last() {
        Some((last, before)) if last.code == 421 => assert!(in_pieces.starts_with(before)),
        _ => assert_eq!(whole, in_pieces, "cutting the input changes what is said"),
    }
}

fn run<'a>(choice: u8, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Said> {
    let tls = if choice & 8 == 0 { TlsOffer::Optional } else { TlsOffer::Required };
    let config = OdmrConfig { tls, ..OdmrConfig::new("mx.example.net".parse().expect("a domain")) };
    let mechanisms = Mechanisms { plain: true, scram_sha_256: true, cram_md5: true };
    let mut session = Odmr::new(config, mechanisms, choice & 16 != 0);
    session.greet();
    let mut output = session.output().split().to_vec();
    let (mut logged_in, mut ended) = (false, false);
    for piece in pieces {
        session.receive(piece);
        while let Some(event) = session.next_event() {
            assert!(!ended, "{event:?} behind the end");
            match event {
                OdmrEvent::Auth { initial: None, .. } => session.challenge(b"<1@mx.example.net>"),
                OdmrEvent::Auth { initial: Some(secret), .. } | OdmrEvent::Response(secret) => {
                    if secret.starts_with(b"ok") {
                        logged_in = true;
                        session.authenticated();
                    } else if secret.len() > 8 {
                        session.challenge(b"more");
                    } else {
                        session.refuse(Reply::fixed(535, (5, 7, 8), "No"));
                    }
                }
                OdmrEvent::Turn(_) => {
                    assert!(logged_in, "the roles turn for nobody");
                    session.answer_turn(Reply::fixed(250, (2, 0, 0), "OK now reversing the connection"));
                }
                OdmrEvent::AuthAborted => {}
                OdmrEvent::StartTls => {
                    logged_in = false;
                    session.tls_started();
                }
                OdmrEvent::Quit | OdmrEvent::Turned => ended = true,
            }
        }
        let kept = session.input().len();
        assert!(kept <= 12_288, "{kept} octets are kept");
        output.extend_from_slice(&session.output().split());
        if ended {
            break;
        }
    }
    session.eof();
    assert_eq!(session.next_event(), None);
    driver::replies(&output)
}
