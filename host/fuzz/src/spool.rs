//! A whole spool after damage.

use mail::{Content, Envelope, MailId, Recipient, Timestamp};
use queue::{InitialState, NewMail, OpenError, Options, Queue};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const MAILS: u128 = 6;

/// Some bytes of some files of a spool are changed, or files are cut: it opens all the same, and every mail that it
/// hands out is one that was put in, as it was. New mail is taken. Only what looks like a newer version's is refused.
///
/// Five bytes of the input are a change: the file, what is done, where (two bytes), and the byte.
pub fn spool(data: &[u8]) {
    static SOUND: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    let mut files = SOUND.get_or_init(|| runtime().block_on(sound())).clone();
    for change in data.chunks_exact(5).take(16) {
        let &[file, what, high, low, byte] = change else { continue };
        let count = files.len();
        let Some((_, bytes)) = files.get_mut(usize::from(file) % count) else { continue };
        let place = usize::from(u16::from_be_bytes([high, low]));
        // Most are changes of a byte: of the whole length, of the beginning, and by a bit.
        let at = if what & 1 == 0 { place * 7 } else { place } % bytes.len().max(1);
        match (what >> 4, bytes.get_mut(at)) {
            (0, _) => bytes.truncate(at),
            (1..8, Some(old)) => *old = byte,
            (_, Some(old)) => *old ^= 1 << (byte % 8),
            (_, None) => {}
        }
    }
    let home = tempfile::tempdir().expect("a directory");
    write(&files, home.path());
    runtime().block_on(check(home.path()));
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
    })
}

fn open(directory: &Path) -> Option<Queue> {
    match Queue::open(directory, Options { segment_size: 2048, ..Options::default() }, NOW) {
        Ok((queue, _)) => Some(queue),
        Err(OpenError::Newer { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

fn mail(number: u128) -> NewMail {
    let id = MailId::from_u128(number);
    let address = format!("r{number}@a.example").parse().expect("a mailbox");
    NewMail {
        id,
        domain: "a.example".parse().expect("a domain"),
        envelope: Envelope {
            sender: "ann@b.example".parse().expect("a mailbox"),
            recipients: vec![Recipient::new(address)],
            ..Envelope::default()
        },
        content: Content::new(format!("Subject: {id}\r\n\r\n{}\r\n", "x".repeat(700)).into()),
        attributes: [("spam".to_owned(), "no".to_owned())].into(),
        received_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(5000)),
        state: InitialState::Queued,
    }
}

/// The files of a spool as a kill leaves them.
async fn sound() -> Vec<(PathBuf, Vec<u8>)> {
    let home = tempfile::tempdir().expect("a directory");
    let queue = open(home.path()).expect("a new one");
    for number in 1..=MAILS {
        queue.unclaim(queue.enqueue(mail(number)).await.expect("it is taken"));
    }
    let mut files = Vec::new();
    for directory in [home.path().to_owned(), home.path().join("segments")] {
        for entry in fs::read_dir(directory).expect("it is listed") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(home.path()).expect("inside").to_owned();
            let is_kept = path.is_file() && name.extension().is_some_and(|ending| ending != "lock");
            if is_kept && !name.to_string_lossy().ends_with("-shm") {
                files.push((name, fs::read(&path).expect("it is read")));
            }
        }
    }
    queue.close().await;
    files.retain(|(_, bytes)| !bytes.is_empty());
    files.sort();
    files
}

fn write(files: &[(PathBuf, Vec<u8>)], home: &Path) {
    fs::create_dir(home.join("segments")).expect("a directory");
    for (name, bytes) in files {
        fs::write(home.join(name), bytes).expect("it is written");
    }
}

async fn check(home: &Path) {
    let Some(queue) = open(home) else { return };
    let claims = queue.claim(&"a.example".parse().expect("a domain"), Timestamp::NEVER, 100).await;
    for claim in claims {
        let number = claim.mail.id.as_u128();
        assert!((1..=MAILS).contains(&number), "a mail that nobody sent: {number}");
        let expected = mail(number);
        assert_eq!(claim.mail.envelope, expected.envelope, "the envelope is another");
        if let Ok(content) = claim.content.load() {
            assert_eq!(content, expected.content, "the content is another");
        }
    }
    let fresh = queue.enqueue(mail(MAILS + 1)).await.expect("new mail is taken");
    assert_eq!(fresh.content.load().expect("its content"), mail(MAILS + 1).content);
    drop(fresh);
    queue.close().await;
}
