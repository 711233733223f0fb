//! The part of a report that a person reads: what happened, what the other side said, what can be done.

use super::{Action, Told, encoding::Form, fields};
use mail::{Failure, FailureKind, MailId, Timestamp};
use std::fmt::Write;

pub struct About<'a> {
    pub hostname: &'a str,
    pub arrived: Timestamp,
    pub id: MailId,
}

/// Of the worst that is told.
pub fn subject(told: &[Told]) -> &'static str {
    let any = |wanted: fn(&Action) -> bool| told.iter().any(|told| wanted(&told.action));
    if any(|action| matches!(action, Action::Failed(_))) {
        "Undelivered mail returned to sender"
    } else if any(|action| matches!(action, Action::Delayed { .. })) {
        "Your mail has not been delivered yet"
    } else if any(|action| matches!(action, Action::Relayed { .. })) {
        "Your mail has been passed on"
    } else {
        "Your mail has been delivered"
    }
}

pub fn explanation(form: Form, told: &[Told], about: &About<'_>) -> String {
    let mut text = format!("This is the mail system at {}.\r\n", about.hostname);
    for (heading, action) in [
        ("Your mail could not be delivered to:", "failed"),
        ("Your mail has not been delivered yet, and is tried again, to:", "delayed"),
        ("Your mail has been passed on to a system that will not confirm its delivery, for:", "relayed"),
        ("Your mail has been delivered to:", "delivered"),
    ] {
        let mut of_this = told.iter().filter(|told| told.action.as_str() == action).peekable();
        if of_this.peek().is_some() {
            let _ = write!(text, "\r\n{heading}\r\n");
            of_this.for_each(|told| recipient(&mut text, form, told));
        }
    }
    let _ = write!(
        text,
        "\r\nYour mail came here {} and has the number {}. What follows is for programs.\r\n",
        about.arrived.to_rfc5322(),
        about.id
    );
    text
}

fn recipient(text: &mut String, form: Form, Told { recipient, action }: &Told) {
    let _ = write!(text, "\r\n  <{}>\r\n", form.text(recipient.address.as_str()));
    match action {
        Action::Failed(failure) => {
            indented(text, form, &what_happened(failure));
            indented(text, form, advice(action));
        }
        Action::Delayed { failure, until } => {
            if let Some(failure) = failure {
                indented(text, form, &what_happened(failure));
            }
            indented(text, form, &format!("It is tried until {}. You need not send it again.", until.to_rfc5322()));
        }
        Action::Relayed { reply, .. } | Action::Delivered { reply, .. } => {
            indented(text, form, &format!("Its mail server said: {reply}"));
        }
    }
}

fn indented(text: &mut String, form: Form, line: &str) {
    let _ = write!(text, "    {}\r\n", form.text(line).chars().take(900).collect::<String>());
}

/// What the next hop said. Where it is, and what else is known of it, is not a stranger's business.
fn what_happened(failure: &Failure) -> String {
    match (&failure.reply, &failure.next_hop) {
        (Some(reply), Some(_)) => return format!("Its mail server said: {reply}"),
        (Some(reply), None) if reply.is_permanent() => return format!("It was refused here: {reply}"),
        (Some(reply), None) => return format!("It was put off here: {reply}"),
        (None, _) => {}
    }
    match failure.kind {
        FailureKind::Dns => "Its mail server cannot be found.",
        FailureKind::Connect => "Its mail server cannot be reached, or ends the connection.",
        FailureKind::Timeout => "Its mail server does not answer in time.",
        FailureKind::Tls => "No secure connection to its mail server can be made.",
        FailureKind::Identity => "Its mail server cannot prove that it is the right one.",
        FailureKind::Protocol => "Its mail server does not answer as a mail server should.",
        FailureKind::TempFail => "Its mail server has put the mail off.",
        FailureKind::PermFail => "It was refused.",
        FailureKind::Other => "It could not be delivered.",
    }
    .to_owned()
}

/// By the subject of RFC 3463.
fn advice(action: &Action) -> &'static str {
    let status = fields::status(action);
    match (status.subject, status.detail) {
        (1, _) => "Look for a mistake in the address. If it is right, ask the recipient in another way.",
        (2, 2) => "The mailbox is full: tell the recipient in another way, or try again later.",
        (2, 3) | (3, 4) => "The mail is too large: send less, or send it in another way.",
        (2, _) => "The mailbox takes no mail now: ask the recipient in another way.",
        (4, _) => "No further attempt is made. Send it again later, or tell the recipient in another way.",
        (6, _) => "The mail is of a kind that cannot be passed on there: send it as plain text or attach it as a file.",
        (7, _) => "It was refused by policy: show this report to those who run the recipient's mail server.",
        _ => "No further attempt is made. If it should have worked, show this report to those who run the mail server.",
    }
}
