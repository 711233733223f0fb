//! The client against a next hop that follows a script: each way to fail, and what is told.

use crate::{
    relay::{client_config, envelope},
    script::{CONTENT, HELLO, MAIL, Session, closed, outcomes},
};
use bytes::Bytes;
use mail::{Content, Envelope, Failure, FailureKind, Outcome, Protocol};
use smtp::{CannotAsk, ClientConfig, ClientEvent, ClientTls, NotReady, Wait};

#[test]
fn a_greeting_that_is_none_closes_the_session() {
    for (greeting, kind) in [
        ("554 5.7.1 no\r\n", FailureKind::PermFail),
        ("421 4.3.2 busy\r\n", FailureKind::TempFail),
        ("450 busy\r\n", FailureKind::TempFail),
        ("250 what\r\n", FailureKind::Protocol),
        ("SSH-2.0-OpenSSH_9.9\r\n", FailureKind::Protocol),
        ("220-a\r\n250 b\r\n", FailureKind::Protocol),
        ("220 a\n", FailureKind::Protocol),
    ] {
        let mut session = Session::new(client_config());
        assert_eq!(closed(&session.hear(greeting)).kind, kind, "{greeting}");
        assert_eq!(session.said(), "");
        assert!(session.0.is_closed() && session.end().is_empty());
    }
    assert_eq!(closed(&Session::new(client_config()).end()).kind, FailureKind::Connect);
}

#[test]
fn a_reply_without_end_is_cut_short() {
    let mut session = Session::new(client_config());
    let events: Vec<_> = (0..1000).flat_map(|_| session.hear("220-more\r\n")).collect();
    assert_eq!(closed(&events).kind, FailureKind::Protocol);
    let mut session = Session::new(client_config());
    let events: Vec<_> = (0..1000).flat_map(|_| session.hear([b'2'; 100])).collect();
    assert_eq!(closed(&events).kind, FailureKind::Protocol);
    assert_eq!(events.len(), 1);
}

#[test]
fn helo_follows_where_ehlo_is_unknown() {
    let mut session = Session::new(client_config());
    session.hear("220 old\r\n");
    session.said();
    assert_eq!(session.hear("502 what\r\n"), []);
    assert_eq!(session.said(), "HELO relay.example\r\n");
    assert_eq!(session.hear("250 old\r\n"), [ClientEvent::Ready]);
    session.send_to(&["bob@example.org"]);
    assert_eq!(session.said(), "MAIL FROM:<ann@client.example>\r\n");
}

#[test]
fn each_recipient_gets_the_outcome_of_its_own_reply() {
    let mut session = Session::ready(HELLO);
    session.send_to(&["a@x.example", "b@x.example", "c@x.example", "d@x.example"]);
    let group = "RCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\nRCPT TO:<d@x.example>\r\n";
    assert_eq!(session.said(), [MAIL, group, "DATA\r\n"].concat());
    session.hear("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n451 later\r\n552 too many\r\n354 go\r\n");
    assert_eq!(session.said(), [CONTENT, ".\r\n"].concat());
    assert!(session.0.is_in_doubt());
    assert_eq!(session.0.waits_for(), Wait::EndOfData);
    let events = session.hear("250 2.0.0 queued as 1\r\n");
    assert_eq!(outcomes(&events), ["delivered 250", "failed permfail", "deferred tempfail", "deferred tempfail"]);
    let ClientEvent::Done(outcomes) = &events[0] else { unreachable!() };
    let Outcome::Failed(failure) = &outcomes[1] else { unreachable!() };
    assert_eq!(failure.reply.as_ref().unwrap().to_string(), "550 5.1.1 no");
    assert_eq!(failure.next_hop, client_config().next_hop);
    assert!(session.0.is_ready());
}

#[test]
fn a_refused_sender_or_refused_data_decides_for_all() {
    for (replies, expected) in [
        ("550 no\r\n503 x\r\n503 x\r\n503 x\r\n", ["failed permfail", "failed permfail"]),
        ("451 no\r\n503 x\r\n250 x\r\n503 x\r\n", ["deferred tempfail", "deferred tempfail"]),
        ("250 ok\r\n250 ok\r\n550 no\r\n451 no\r\n", ["deferred tempfail", "failed permfail"]),
        ("250 ok\r\n250 ok\r\n450 no\r\n554 no\r\n", ["failed permfail", "deferred tempfail"]),
    ] {
        let mut session = Session::ready(HELLO);
        session.send_to(&["a@x.example", "b@x.example"]);
        assert_eq!(outcomes(&session.hear(replies)), expected, "{replies}");
        assert!(session.0.is_ready());
    }
}

#[test]
fn data_for_nobody_is_a_lone_dot_and_never_delivered() {
    let mut session = Session::ready(HELLO);
    session.send_to(&["a@x.example"]);
    session.said();
    assert_eq!(session.hear("250 ok\r\n550 no\r\n354 go\r\n"), []);
    assert_eq!(session.said(), ".\r\n");
    assert_eq!(outcomes(&session.hear("250 queued\r\n")), ["failed permfail"]);
    session.send_to(&["b@x.example"]);
    assert!(session.said().starts_with("MAIL"), "the transaction is over");
}

#[test]
fn a_transaction_that_stays_open_is_reset_before_the_next_mail() {
    let mut session = Session::ready(HELLO);
    session.send_to(&["a@x.example"]);
    session.said();
    assert_eq!(outcomes(&session.hear("250 ok\r\n550 no\r\n503 no\r\n")), ["failed permfail"]);
    session.send_to(&["b@x.example"]);
    assert!(session.said().starts_with("RSET\r\nMAIL"));
    session.hear("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    session.said();
    assert_eq!(outcomes(&session.hear("250 ok\r\n")), ["delivered 250"]);
    session.send_to(&["c@x.example"]);
    assert!(session.said().starts_with("MAIL"));
}

#[test]
fn without_pipelining_each_command_waits_for_its_reply() {
    let mut session = Session::ready("250 mx.example.net\r\n");
    session.send_to(&["a@x.example", "b@x.example"]);
    for (said, reply) in [
        ("MAIL FROM:<ann@client.example>\r\n", "250 ok\r\n"),
        ("RCPT TO:<a@x.example>\r\n", "550 no\r\n"),
        ("RCPT TO:<b@x.example>\r\n", "250 ok\r\n"),
        ("DATA\r\n", "354 go\r\n"),
    ] {
        assert_eq!(session.said(), said);
        assert_eq!(session.hear(reply), []);
    }
    assert_eq!(session.said(), [CONTENT, ".\r\n"].concat());
    assert_eq!(outcomes(&session.hear("250 ok\r\n")), ["failed permfail", "delivered 250"]);
    session.send_to(&["c@x.example"]);
    session.said();
    session.hear("250 ok\r\n");
    session.said();
    assert_eq!(outcomes(&session.hear("550 no\r\n")), ["failed permfail"]);
    assert_eq!(session.said(), "", "no DATA for nobody");
    session.send_to(&["d@x.example"]);
    assert_eq!(session.said(), "RSET\r\n");
    session.hear("250 ok\r\n");
    assert_eq!(session.said(), "MAIL FROM:<ann@client.example>\r\n");
    let transcript = session.0.transcript().to_string();
    assert_eq!(transcript.matches("C: DATA").count(), 1, "{transcript}");
}

/// The replies to a mail for two recipients, one step each.
const STEPS: [&str; 4] = ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"];

#[test]
fn a_421_in_any_state_defers_what_is_undecided_and_closes() {
    for hello in [HELLO, "250 x\r\n"] {
        for steps in 0..=STEPS.len() {
            let mut session = Session::ready(hello);
            session.send_to(&["a@x.example", "b@x.example"]);
            for step in &STEPS[..steps] {
                session.said();
                assert_eq!(session.hear(step), []);
            }
            session.said();
            let events = session.hear("421 4.3.2 shutting down\r\n");
            assert_eq!(outcomes(&events), ["deferred tempfail", "deferred tempfail"]);
            assert_eq!(closed(&events).kind, FailureKind::TempFail);
            assert_eq!(session.0.send(&Envelope::default(), [], &Content::default()), Err(NotReady));
        }
    }
    assert_eq!(closed(&Session::ready(HELLO).hear("421 idle\r\n")).kind, FailureKind::TempFail);
}

#[test]
fn garbage_in_any_state_defers_what_is_undecided_and_closes() {
    for garbage in ["999 x\r\n", "250 x\n", "hello\r\n", "250-x\r\n550 x\r\n", "35\r\n"] {
        for steps in 0..=STEPS.len() {
            let mut session = Session::ready(HELLO);
            session.send_to(&["a@x.example", "b@x.example"]);
            STEPS[..steps].iter().for_each(|step| assert_eq!(session.hear(step), []));
            session.said();
            let events = session.hear(garbage);
            assert_eq!(outcomes(&events), ["deferred protocol", "deferred protocol"]);
            assert_eq!(closed(&events).kind, FailureKind::Protocol);
        }
    }
    assert_eq!(closed(&Session::ready(HELLO).hear("250 unasked\r\n")).kind, FailureKind::Protocol);
}

#[test]
fn an_end_before_the_dot_is_a_lost_connection_and_after_it_is_doubt() {
    for steps in 0..=STEPS.len() {
        let mut session = Session::ready(HELLO);
        session.send_to(&["a@x.example", "b@x.example"]);
        session.said();
        STEPS[..steps].iter().for_each(|step| assert_eq!(session.hear(step), []));
        let events = session.end();
        assert_eq!(outcomes(&events), ["deferred connect", "deferred connect"], "{steps}");
    }
    let mut session = Session::ready(HELLO);
    session.send_to(&["a@x.example", "b@x.example"]);
    session.said();
    session.hear("250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n");
    session.said();
    let events = session.end();
    assert_eq!(outcomes(&events), ["failed permfail", "deferred other"]);
    assert!(closed(&events).detail.contains("may be delivered twice"));
}

#[test]
fn a_reply_that_is_there_before_the_end_still_counts() {
    let mut session = Session::ready(HELLO);
    session.send_to(&["a@x.example"]);
    session.said();
    session.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    session.said();
    session.0.receive(b"250 queued\r\n");
    let events = session.end();
    assert_eq!(outcomes(&events), ["delivered 250"]);
    assert_eq!(closed(&events).kind, FailureKind::Connect);
}

#[test]
fn a_reply_before_the_end_of_the_data_is_never_delivered() {
    let large = Content::new(Bytes::from("x\r\n".repeat(100_000)));
    for (reply, expected) in [
        ("552 5.3.4 large\r\n", "failed permfail"),
        ("452 4.3.1 full\r\n", "deferred tempfail"),
        ("250 ok\r\n", "deferred protocol"),
    ] {
        let mut session = Session::ready("250-x\r\n250 PIPELINING\r\n");
        let envelope = envelope(&["a@x.example"]);
        session.0.send(&envelope, &envelope.recipients, &large).unwrap();
        session.said();
        session.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        assert!(session.0.output().split().len() < large.len());
        let events = session.hear(reply);
        assert_eq!(outcomes(&events), [expected]);
        assert_eq!(closed(&events).kind, FailureKind::Protocol);
        assert_eq!(session.said(), "");
    }
    // Even with the dot ready: it has not been written.
    let mut session = Session::ready(HELLO);
    session.send_to(&["a@x.example"]);
    session.said();
    session.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    assert!(!session.0.output().is_empty());
    assert_eq!(outcomes(&session.hear("250 ok\r\n")), ["deferred protocol"]);
}

#[test]
fn content_that_is_fed_in_pieces_goes_out_whole_and_one_that_fails_to_come_never_ends_with_a_dot() {
    let content = Content::new(Bytes::from_static(CONTENT.as_bytes()));
    let recipients = envelope(&["a@x.example"]);
    for (fed, taken) in [(&["Subj", "ect: hi\r", "\n\r\n"][..], true), (&["Subj", "ect: hi\r"], false)] {
        let mut session = Session::ready(HELLO);
        session.0.send_in_pieces(&recipients, &recipients.recipients, &content.outline()).unwrap();
        session.said();
        assert!(!session.0.wants_content(), "nobody has accepted it yet");
        session.hear("250 ok\r\n250 ok\r\n354 go\r\n");
        for piece in fed {
            assert_eq!((session.said().contains("."), session.0.wants_content()), (false, true));
            session.0.feed(Bytes::from_static(piece.as_bytes()));
            session.0.output();
        }
        if taken {
            assert!(session.said().ends_with("\r\n.\r\n") && !session.0.wants_content());
            assert_eq!(outcomes(&session.hear("250 queued\r\n")), ["delivered 250"]);
        } else {
            session.said();
            let failure = Failure::new(FailureKind::Other, None, "cannot be read");
            session.0.close_with(failure);
            let events = session.events();
            assert_eq!((outcomes(&events), session.said().as_str()), (vec!["deferred other".to_owned()], ""));
        }
    }
}

#[test]
fn lmtp_answers_for_each_accepted_recipient() {
    let config = ClientConfig { protocol: Protocol::Lmtp, tls: ClientTls::None, ..client_config() };
    let mut session = Session::new(config.clone());
    session.hear("220 lmtp\r\n");
    assert_eq!(session.said(), "LHLO relay.example\r\n");
    session.hear(HELLO);
    session.send_to(&["a@x.example", "b@x.example", "c@x.example", "d@x.example"]);
    session.said();
    session.hear("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    session.said();
    assert_eq!(session.hear("250 ok\r\n452 full\r\n"), []);
    let events = session.end();
    assert_eq!(outcomes(&events), ["delivered 250", "failed permfail", "deferred tempfail", "deferred other"]);

    let mut session = Session::new(config);
    session.hear("220 lmtp\r\n");
    session.said();
    assert_eq!(closed(&session.hear("500 no LHLO\r\n")).kind, FailureKind::PermFail);
}

#[test]
fn what_the_next_hop_cannot_take_fails_without_being_sent() {
    let mut utf8 = envelope(&["bob@example.org"]);
    utf8.smtputf8 = true;
    for (hello, envelope, content, enhanced) in [
        ("250-x\r\n250 SIZE 10\r\n", envelope(&["a@x.example"]), CONTENT, "5.3.4"),
        ("250-x\r\n250 SIZE\r\n", envelope(&["a@x.example"]), "a: b\r\n\r\né\r\n", "5.6.3"),
        ("250-x\r\n250 8BITMIME\r\n", utf8, "a: é\r\n", "5.6.7"),
        ("250 x\r\n", envelope(&["grün@x.example"]), CONTENT, "5.6.7"),
        (HELLO, envelope(&["a@x.example"]), "a: b\r\n\r\n\n.\n", "5.6.0"),
        (HELLO, envelope(&["a@x.example"]), "a: b\r\n\r\nx\r", "5.6.0"),
        (HELLO, envelope(&["a@x.example"]), "a: b\rc\r\n", "5.6.0"),
    ] {
        let mut session = Session::ready(hello);
        session.send(&envelope, content);
        let events = session.events();
        assert_eq!(outcomes(&events), ["failed permfail"]);
        let ClientEvent::Done(outcomes) = &events[0] else { unreachable!() };
        let Outcome::Failed(failure) = &outcomes[0] else { unreachable!() };
        assert_eq!(failure.reply.as_ref().unwrap().enhanced.unwrap().to_string(), enhanced);
        assert_eq!(failure.next_hop, None, "these are not its words");
        assert_eq!(session.said(), "");
        assert!(session.0.is_ready());
    }
}

#[test]
fn one_recipient_in_utf8_does_not_hold_up_the_others() {
    let mut session = Session::ready(HELLO);
    session.send_to(&["grün@x.example", "b@x.example"]);
    assert_eq!(session.said(), [MAIL, "RCPT TO:<b@x.example>\r\nDATA\r\n"].concat());
    session.hear("250 ok\r\n250 ok\r\n354 go\r\n");
    session.said();
    assert_eq!(outcomes(&session.hear("250 ok\r\n")), ["failed permfail", "delivered 250"]);
}

#[test]
fn an_ascii_mail_declared_smtputf8_goes_without_it() {
    let mut session = Session::ready(HELLO);
    let envelope = Envelope { smtputf8: true, ret: Some(mail::Ret::Full), ..envelope(&["a@x.example"]) };
    session.send(&envelope, CONTENT);
    assert!(session.said().starts_with(MAIL), "and RET is for next hops that offer DSN");
}

#[test]
fn the_driver_may_end_the_session_and_quit_is_answered() {
    let mut session = Session::ready(HELLO);
    session.send_to(&["a@x.example"]);
    session.0.close_with(Failure::new(FailureKind::Timeout, None, "no reply to MAIL within 5 min"));
    let events = session.events();
    assert_eq!(outcomes(&events), ["deferred timeout"]);
    assert_eq!(closed(&events).kind, FailureKind::Timeout);

    let mut session = Session::ready(HELLO);
    session.0.quit();
    assert_eq!(session.said(), "QUIT\r\n");
    assert_eq!(session.hear("221 bye\r\n"), [ClientEvent::Ended]);
    let mut session = Session::ready(HELLO);
    session.0.quit();
    assert_eq!(session.end(), [ClientEvent::Ended]);
}

#[test]
fn replies_may_come_cut_anywhere() {
    let replies = "220 x\r\n250-x\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250-2.0.0 a\r\n250 2.0.0 b\r\n";
    let mut session = Session::new(client_config());
    let mut events = Vec::new();
    for byte in replies.as_bytes() {
        events.extend(session.hear([*byte]));
        if session.0.is_ready() && events.len() == 1 {
            session.send_to(&["a@x.example"]);
        }
        session.said();
    }
    assert_eq!(events.remove(0), ClientEvent::Ready);
    assert_eq!(outcomes(&events), ["delivered 250"]);
}

#[test]
fn single_commands_are_answered_and_a_mail_after_them_begins_anew() {
    let mut session = Session::ready(HELLO);
    session.0.ask("MAIL FROM:<>").unwrap();
    assert_eq!(session.said(), "MAIL FROM:<>\r\n");
    assert_eq!(session.0.ask("RSET"), Err(CannotAsk::NotReady));
    assert_eq!(session.0.waits_for(), Wait::Answer);
    let events = session.hear("250 2.1.0 ok\r\n");
    assert!(matches!(&events[..], [ClientEvent::Answered(reply)] if reply.code == 250), "{events:?}");
    session.0.ask("RCPT TO:<postmaster@example.org>").unwrap();
    let events = session.hear("550 5.1.1 no\r\n");
    assert!(matches!(&events[..], [ClientEvent::Answered(reply)] if reply.code == 550), "{events:?}");
    session.said();
    session.send_to(&["bob@example.org"]);
    assert!(session.said().starts_with("RSET\r\nMAIL FROM:"), "the probe's transaction is over");
}

#[test]
fn a_command_is_one_line_and_never_begins_a_message() {
    let mut session = Session::ready(HELLO);
    assert_eq!(session.0.ask("RSET\r\nDATA"), Err(CannotAsk::NotOneLine));
    session.0.ask("NOOP").unwrap();
    assert_eq!(closed(&session.hear("354 go on\r\n")).kind, FailureKind::Protocol);
    let mut session = Session::ready(HELLO);
    session.0.ask("NOOP").unwrap();
    assert_eq!(closed(&session.hear("421 4.3.2 going down\r\n")).kind, FailureKind::TempFail);
}
