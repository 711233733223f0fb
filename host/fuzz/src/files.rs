//! Files: what people write for the gateway, and what it keeps for itself.

use crate::pieces::knob;
use bytes::Bytes;
use gateway::config::Config;
use journal::recorded::Recorded;
use mail::{Content, Envelope, MailId};
use queue::body_record;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// A gateway's file, and behind a line `---` a domain's: they are read, or every mistake has its place in one of them.
pub fn config(data: &[u8]) {
    thread_local!(static HOME: Home = Home::new());
    let cut = memchr::memmem::find(data, b"\n---\n");
    let (gateway, domain) = cut.map_or((data, &b""[..]), |at| (&data[..=at], &data[at + 5..]));
    HOME.with(|home| home.check(gateway, domain));
}

struct Home {
    directory: TempDir,
    gateway: PathBuf,
    domain: PathBuf,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (gateway, domains) = (directory.path().join("waypost.toml"), directory.path().join("domains"));
        fs::create_dir(&domains).expect("a directory");
        let domain = domains.join("example.org.toml");
        Self { directory, gateway, domain }
    }

    fn check(&self, gateway: &[u8], domain: &[u8]) {
        fs::write(&self.gateway, gateway).expect("it is written");
        fs::write(&self.domain, domain).expect("it is written");
        match Config::load(&self.gateway) {
            Ok(config) => {
                for domain in config.domains.values() {
                    assert!(domain.on_demand || !domain.next_hops.is_empty(), "nowhere to send its mail");
                }
            }
            Err(errors) => {
                assert!(!errors.list().is_empty() && !errors.to_string().is_empty());
                for error in errors.list() {
                    let text = match &error.file {
                        file if *file == self.gateway => gateway,
                        file if *file == self.domain => domain,
                        file => {
                            let ours = file.starts_with(self.directory.path());
                            assert!(ours || !file.exists(), "{} is none of its files", file.display());
                            continue;
                        }
                    };
                    let lines = text.split(|byte| *byte == b'\n');
                    let line = lines.clone().nth(error.line - 1).expect("a line of the file");
                    let width = String::from_utf8_lossy(line).chars().count();
                    assert!((1..=width + 1).contains(&error.column), "column {} of {width}", error.column);
                }
            }
        }
    }
}

/// A body as the spool keeps it: it reads back as it was, and neither a flipped bit nor a wrong length nor another
/// mail's name is overlooked. Nothing is read out of arbitrary bytes.
pub fn body(data: &[u8]) {
    let (at, rest) = knob(data);
    let (bit, rest) = knob(rest);
    let id = MailId::from_u128(7);
    let decode = |record: Vec<u8>, length: u32| body_record::decode(Bytes::from(record), id, length);
    let content = Content::new(Bytes::copy_from_slice(rest));
    let length = u32::try_from(rest.len()).expect("a short input");
    let record = body_record::encode(id, &content).to_vec();
    let read = decode(record.clone(), length).expect("what was written");
    assert_eq!((read.header(), read.body()), (content.header(), content.body()));

    let mut flipped = record.clone();
    // All of the head, and places all over the body.
    let place = if bit & 8 == 0 { usize::from(at) % 36 } else { usize::from(at) * 31 % record.len() };
    flipped[place] ^= 1 << (bit & 7);
    assert!(decode(flipped, length).is_err(), "a flipped bit at {place} was overlooked");
    assert!(body_record::decode(Bytes::from(record.clone()), MailId::from_u128(8), length).is_err());
    assert!(decode(record[..record.len() - 1].to_vec(), length).is_err());
    assert!(decode(record, length.wrapping_add(at.into()).wrapping_add(1)).is_err());
    // The input itself as a record: by chance alone it has a checksum that fits.
    for length in [length, length.wrapping_sub(36), u32::MAX] {
        if let Ok(content) = decode(rest.to_vec(), length) {
            assert_eq!(body_record::encode(id, &content), rest);
        }
    }
}

/// JSON of ours, as a damaged disk gives it back: read as what it says and no more.
pub fn record(data: &[u8]) {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(data) {
        let addresses = envelope.recipients.iter().map(|recipient| &recipient.address);
        for address in addresses.chain(envelope.sender.mailbox()) {
            assert!(!address.as_str().contains(char::is_control), "{address:?}");
        }
        let written = serde_json::to_vec(&envelope).expect("it is written");
        assert_eq!(serde_json::from_slice::<Envelope>(&written).expect("what was written"), envelope);
    }
    if let Ok(recorded) = serde_json::from_slice::<Recorded>(data) {
        let written = serde_json::to_vec(&recorded).expect("it is written");
        assert_eq!(serde_json::from_slice::<Recorded>(&written).expect("what was written"), recorded);
    }
}
