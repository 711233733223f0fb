//! The protocol's dialogues and every way to hide a mail, against the live listener with a next hop behind it.

mod dialogue;

use super::support::{
    gateway::{Gateway, Home, PATIENT, root},
    next_hop::{NextHop, Recorded},
    smtp::Client,
    until,
};
use dialogue::Dialogue;
use std::{collections::BTreeSet, net::SocketAddr};

/// Dialogues that a gateway cannot be configured for, and why.
const NOT_LIVE: &[(&str, &str)] = &[
    ("rfc1870-actual", "its limit is 100 octets, the gateway's smallest is 1 KiB"),
    ("rfc1870-declared", "its limit is 1000 octets, the gateway's smallest is 1 KiB"),
    ("rfc3030-too-large", "its limit is 100 octets, the gateway's smallest is 1 KiB"),
    ("rfc3030-refused-start", "no plugin is asked at the start of the data"),
    ("rfc5321-refused-data", "no plugin is asked at the start of the data"),
    ("rfc5321-refused-sender", "no plugin is asked at MAIL"),
    ("rfc5321-refused-recipients", "no plugin puts off a recipient by its name with 4.2.1"),
    ("rfc5321-shutdown", "a gateway stops between mails, not because of one"),
    ("rfc5321-too-many-errors", "the limit is fixed"),
    ("rfc5321-idle-commands", "the limit is fixed"),
    ("rfc5321-paths", "address literals are not relayed for, and `%` in a local part is refused"),
];

/// In the order of the listeners.
const TLS: [&str; 3] = ["optional", "none", "required"];

/// The policy of the dialogues' README, as far as the gateway's own and the plugins' go.
struct Scene {
    home: Home,
    hop: NextHop,
}

impl Scene {
    fn new(max_recipients: &str, plugin: &str, config: &str) -> Self {
        let (home, hop) = (Home::new(""), NextHop::start());
        let listeners = TLS.map(|tls| format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"{tls}\"\n")).concat();
        home.write(
            "waypost.toml",
            &format!(
                "hostname = \"mx.example.net\"\nmax-message-size = \"1 MiB\"\nmax-recipients = {max_recipients}\nmax-connections-per-address = 1000\n{PATIENT}[admin]\nlisten = \"127.0.0.1:0\"\n{listeners}"
            ),
        );
        home.with_plugin(plugin);
        for domain in ["example.org", "mx.example.net"] {
            home.domain(
                domain,
                &format!(
                    "next-hop = \"{}\"\naccept = \"always\"\nplugins = [\"{plugin}\"]\n[config.{plugin}]\n{config}\n",
                    hop.address
                ),
            );
        }
        Self { home, hop }
    }

    fn run(&self, dialogues: &[&Dialogue]) {
        let gateway = self.home.start();
        let listeners = self.listeners();
        let tls = self.home.trusting();
        let mut seen = 0;
        for dialogue in dialogues {
            let tls_setting = dialogue.setting("tls").unwrap_or("optional");
            let listener = listeners[TLS.iter().position(|name| *name == tls_setting).unwrap()];
            dialogue.run(listener, &tls);
            let mails = self.hop.wait(seen + dialogue.mails.len());
            let mut arrived: Vec<_> = mails[seen..].iter().map(describe).collect();
            let mut expected = dialogue.mails.clone();
            arrived.sort();
            expected.sort();
            let shown = |mails: &[Vec<u8>]| {
                mails.iter().map(|mail| String::from_utf8_lossy(mail).into_owned()).collect::<Vec<_>>()
            };
            assert_eq!(shown(&arrived), shown(&expected), "{}", dialogue.name);
            assert_eq!(arrived, expected, "{}", dialogue.name);
            seen += arrived.len();
        }
        settle(&gateway);
        gateway.stop();
        assert_eq!(self.hop.count(), seen, "mail that no dialogue speaks of");
    }

    /// The dialogue goes as written, and yet its mail must not go to a next hop such as this one.
    fn run_in_vain(&self, dialogue: &Dialogue, refusal: &str) {
        let gateway = self.home.start();
        dialogue.run(self.listeners()[0], &self.home.trusting());
        until("the mail to fail", || self.home.log().contains(refusal).then_some(()));
        gateway.stop();
        assert_eq!((dialogue.mails.len(), self.hop.count()), (1, 0), "{}", dialogue.name);
    }

    fn listeners(&self) -> Vec<SocketAddr> {
        let run = std::fs::read(self.home.path("data/run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
        run["listeners"].as_array().unwrap().iter().map(|address| address.as_str().unwrap().parse().unwrap()).collect()
    }
}

fn settle(gateway: &Gateway<'_>) {
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
}

/// As in the dialogues: `<sender> <recipient> ... | content`.
fn describe(mail: &Recorded) -> Vec<u8> {
    let path = mail.mail.strip_prefix("MAIL FROM:").unwrap();
    let mut text = path.split_once("> ").map_or(path.to_owned(), |(path, _)| format!("{path}>"));
    for recipient in &mail.recipients {
        text += &format!(" <{recipient}>");
    }
    [format!("{text} | ").as_bytes(), mail.without_trace()].concat()
}

fn dialogues() -> Vec<Dialogue> {
    let files = std::fs::read_dir(root().join("host/smtp/tests/dialogues")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "smtp")).collect();
    files.sort();
    files.iter().map(|path| Dialogue::read(path)).collect()
}

#[test]
fn every_dialogue_goes_as_written_with_the_live_listener() {
    let known = "addresses = [\"bob\", \"eve\", \"jones\", \"brown\", \"a\", \"b\", \"c\", \"用\"]";
    let dialogues = dialogues();
    let names: BTreeSet<_> = dialogues.iter().map(|dialogue| dialogue.name.as_str()).collect();
    let not_live: BTreeSet<_> = NOT_LIVE.iter().map(|(name, _)| *name).collect();
    assert!(not_live.is_subset(&names), "a dialogue that is left out does not exist");
    let live = dialogues.iter().filter(|dialogue| !not_live.contains(dialogue.name.as_str()));
    let (rejecting, live): (Vec<_>, Vec<_>) = live.partition(|dialogue| dialogue.name == "rfc5321-refused-mail");
    let (few, usual): (Vec<_>, Vec<_>) =
        live.into_iter().partition(|dialogue| dialogue.setting("max-recipients") == Some("2"));
    let (secret, usual): (Vec<_>, Vec<_>) =
        usual.into_iter().partition(|dialogue| dialogue.name == "rfc8689-under-tls");
    assert!(usual.len() >= 50 && few.len() >= 2 && rejecting.len() == 1 && secret.len() == 1);
    Scene::new("1000", "recipients", known).run(&usual);
    Scene::new("2", "recipients", known).run(&few);
    Scene::new("1000", "hostile", "message = \"reject\"").run(&rejecting);
    Scene::new("1000", "recipients", known).run_in_vain(secret[0], "550 5.7.30");
}

const HIDDEN: &str = "MAIL FROM:<eve@client.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nhidden\r\n";

/// Whatever one program or another has taken for the line ends around the final dot, and a mail behind it.
fn hiding() -> Vec<Vec<u8>> {
    const AROUND: [&str; 14] = [
        "", "\n", "\r", "\r\n", "\n\n", "\n\r", "\r\r", "\r\r\n", "\0", "\r\0\n", "\r\n\0", "\0\r\n", "\x1a", "\u{85}",
    ];
    let mut all = Vec::new();
    for before in AROUND {
        for after in AROUND {
            for dots in [".", "..", ". "] {
                let data = format!("Subject: hi\r\n\r\nbody{before}{dots}{after}{HIDDEN}.\r\n");
                // A real end in the middle hides nothing.
                if data.find("\r\n.\r\n") == Some(data.len() - 5) {
                    all.push(data.into_bytes());
                }
            }
        }
    }
    all
}

fn is_lines(data: &[u8]) -> bool {
    !String::from_utf8_lossy(data).replace("\r\n", "").contains(['\r', '\n', '\0'])
}

/// What the end of the data was answered; exactly one reply came for it.
fn speak(client: &mut Client, start: &str, parts: &[&[u8]]) -> String {
    assert!(client.command("MAIL FROM:<ann@client.example>").starts_with("250 "));
    assert!(client.command("RCPT TO:<bob@example.org>").starts_with("250 "));
    client.send(start.as_bytes()).unwrap();
    if start.starts_with("DATA") {
        assert!(client.reply().unwrap().starts_with("354 "));
    }
    for part in parts {
        client.send(part).unwrap();
    }
    let reply = client.reply().unwrap();
    let vrfy = client.command("VRFY x");
    assert!(vrfy.starts_with("252 "), "after {reply} came {vrfy}: something hidden was run");
    reply
}

#[test]
fn no_variant_of_the_final_dot_brings_a_hidden_mail_to_the_next_hop() {
    let (home, hop) = (Home::new(""), NextHop::start());
    home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
    let gateway = home.start();
    let mut accepted = 0;
    for data in hiding() {
        let mut client = Client::connect(gateway.smtp);
        let (first, second) = data.split_at(20);
        let chunk = format!("BDAT {} LAST\r\n", data.len());
        for (start, parts) in
            [("DATA\r\n", vec![first, second]), (&chunk, vec![first, second]), ("DATA\r\n", vec![&data[..]])]
        {
            let reply = speak(&mut client, start, &parts);
            let expected = if is_lines(&data) { "250 2.0.0" } else { "550 5.6.0" };
            assert!(reply.starts_with(expected), "{:?}: {reply}", String::from_utf8_lossy(&data));
            accepted += usize::from(is_lines(&data));
        }
    }
    assert!(accepted > 0);
    settle(&gateway);
    gateway.stop();
    let mails = hop.mails();
    assert_eq!(mails.len(), accepted);
    for mail in mails {
        assert!(mail.mail.starts_with("MAIL FROM:<ann@client.example>"), "a hidden mail came out: {}", mail.text());
        assert_eq!(mail.recipients, ["bob@example.org"]);
        assert!(is_lines(&mail.content), "a bare CR, LF or a NUL came through: {:?}", mail.text());
    }
}
