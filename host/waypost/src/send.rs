//! `waypost send`: one mail to one server, with what it answered.

use crate::cli::SendArgs;
use gateway::{ClientTls, Dns, Means, Target, TlsError};
use mail::{
    AddressError, BodyKind, Content, Domain, Envelope, Failure, NextHop, NextHopError, Outcome, Recipient, Timestamp,
    TlsMode,
};
use std::{
    io::{self, Read},
    time::SystemTime,
};

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Server(#[from] NextHopError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("{0:?} is not a TLS mode; expected none, opportunistic, required or verified")]
    Tls(String),
    #[error(transparent)]
    TlsSetup(#[from] TlsError),
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{0}")]
    Connect(Failure),
    #[error("{refused} of {all} recipients were refused")]
    Refused { refused: usize, all: usize },
}

pub async fn run(args: SendArgs) -> Result<(), SendError> {
    let hop: NextHop = args.to.parse()?;
    let mode = TlsMode::from_name(&args.tls).ok_or_else(|| SendError::Tls(args.tls.clone()))?;
    let (envelope, content) = mail(&args)?;
    let (tls, dns) = (ClientTls::new()?, Dns::of_system());
    let means = Means { tls: &tls, dns: &dns };
    let connection = gateway::connect(&Target::new(&hop, mode), &helo()?, means).await.map_err(SendError::Connect)?;
    let (attempt, connection) = connection.deliver(&envelope, &envelope.recipients, &content).await;
    if let Some(connection) = connection {
        connection.quit().await;
    }
    let mut refused = 0;
    for (recipient, outcome) in envelope.recipients.iter().zip(&attempt.outcomes) {
        match outcome {
            Outcome::Delivered(reply) => println!("{}: {reply}", recipient.address),
            Outcome::Deferred(failure) | Outcome::Failed(failure) => {
                refused += 1;
                println!("{}: {failure}", recipient.address);
            }
        }
    }
    if refused == 0 { Ok(()) } else { Err(SendError::Refused { refused, all: envelope.recipients.len() }) }
}

/// This machine's name, as far as it has one.
fn helo() -> Result<Domain, AddressError> {
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    name.trim().parse().or_else(|_| "localhost".parse())
}

fn mail(args: &SendArgs) -> Result<(Envelope, Content), SendError> {
    let recipients = args
        .recipients
        .iter()
        .map(|text| Ok(Recipient::new(text.parse()?)))
        .collect::<Result<Vec<_>, AddressError>>()?;
    let sender = args.from.parse()?;
    let bytes = match &args.file {
        Some(path) => {
            let wrong = |source| SendError::Read { path: path.display().to_string(), source };
            let mut bytes = Vec::new();
            if path.as_os_str() == "-" {
                io::stdin().read_to_end(&mut bytes)
            } else {
                std::fs::File::open(path).and_then(|mut f| f.read_to_end(&mut bytes))
            }
            .map_err(wrong)?;
            canonical(&bytes)
        }
        None => {
            let now = Timestamp::from_system(SystemTime::now());
            let to = args.recipients.join(", ");
            format!(
                "From: <{}>\r\nTo: {to}\r\nSubject: {}\r\nDate: {}\r\n\r\nSent by waypost send.\r\n",
                args.from,
                args.subject,
                now.to_rfc5322()
            )
            .into_bytes()
        }
    };
    let content = Content::new(bytes.into());
    let mut envelope = Envelope { sender, recipients, ..Envelope::default() };
    envelope.smtputf8 = envelope.has_utf8_address();
    if content.is_8bit() {
        envelope.body = BodyKind::EightBitMime;
    }
    Ok((envelope, content))
}

/// Every line end becomes CRLF, as the wire asks.
fn canonical(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 40);
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) {
        let (line, after) = rest.split_at(end);
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = after.strip_prefix(b"\r\n").or_else(|| after.get(1..)).unwrap_or_default();
    }
    if !rest.is_empty() {
        out.extend_from_slice(rest);
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn every_line_end_becomes_crlf() {
        assert_eq!(canonical(b"a\nb\r\nc\rd"), b"a\r\nb\r\nc\r\nd\r\n");
        assert_eq!(canonical(b""), b"");
        assert_eq!(canonical(b"\n\n"), b"\r\n\r\n");
    }
}
