//! The protocol's dialogues against the live listener, with a next hop behind it.

mod dialogue;

use super::support::{
    gateway::{Gateway, Home, PATIENT, root},
    next_hop::{NextHop, Recorded},
    until,
};
use ::dialogue::{Dialogue, Line};
use dialogue::run;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// Dialogues that a gateway cannot be configured for, and why.
const NOT_LIVE: &[(&str, &str)] = &[
    ("rfc3030-refused-start", "no plugin is asked at the start of the data"),
    ("rfc5321-refused-data", "no plugin is asked at the start of the data"),
    ("rfc5321-refused-sender", "no plugin is asked at MAIL"),
    ("rfc5321-refused-recipients", "no plugin puts off a recipient by its name with 4.2.1"),
    ("rfc5321-shutdown", "a gateway stops between mails, not because of one"),
    ("rfc5321-too-many-errors", "the limit for one session is fixed"),
    ("rfc5321-error-count-goes-on", "the limit for one session is fixed"),
    ("rfc5321-idle-commands", "the limit for one session is fixed"),
    ("xclient-unwelcome-client", "no shipped plugin refuses a client by its address"),
];

/// Whose mail must not go to a next hop such as these, which have no TLS.
const SECRET: &str = "rfc8689-under-tls";

/// In the order of the listeners: TLS, XCLIENT, what becomes of bare line ends.
const LISTENERS: [(&str, bool, &str); 5] = [
    ("optional", false, "refuse"),
    ("none", false, "refuse"),
    ("required", false, "refuse"),
    ("optional", true, "refuse"),
    ("optional", false, "normalise"),
];

const KNOWN: &str = "addresses = [\"bob\", \"eve\", \"jones\", \"brown\", \"a\", \"b\", \"c\", \"用\", '\"b\\\"ob\"']";

/// The policy of the dialogues' README, as far as the gateway's own and the plugins' go.
struct Scene {
    home: Home,
    hop: NextHop,
}

impl Scene {
    /// With the limits of the dialogue's settings.
    fn new((max_size, max_recipients): (&str, &str), plugin: &str, config: &str) -> Self {
        let (home, hop) = (Home::new(""), NextHop::start());
        let listeners = LISTENERS.map(|(tls, xclient, bare)| {
            let from = if xclient { "\"127.0.0.1\"" } else { "" };
            format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntls = \"{tls}\"\nbare-line-ends = \"{bare}\"\nxclient-from = [{from}]\n")
        });
        home.write(
            "waypost.toml",
            &format!(
                "hostname = \"mx.example.net\"\nmax-message-size = \"{max_size} B\"\nmax-recipients = {max_recipients}\nmax-connections-per-address = 1000\n{PATIENT}[admin]\nlisten = \"127.0.0.1:0\"\n{}",
                listeners.concat()
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
        let tls = self.home.trusting();
        let mut seen = 0;
        for dialogue in dialogues {
            if dialogue.name.starts_with("rfc1985") {
                // ETRN tells whether something waits.
                settle(&gateway);
            }
            run(dialogue, self.listener(dialogue), &tls);
            let mails = self.hop.wait(seen + dialogue.mails.len());
            let mut arrived: Vec<_> = mails[seen..].iter().map(describe).collect();
            let mut expected = dialogue.mails.clone();
            arrived.sort();
            expected.sort();
            let shown =
                |mails: &[Vec<u8>]| mails.iter().map(|mail| mail.escape_ascii().to_string()).collect::<Vec<_>>();
            assert_eq!(shown(&arrived), shown(&expected), "{}", dialogue.name);
            seen += arrived.len();
        }
        settle(&gateway);
        gateway.stop();
        assert_eq!(self.hop.count(), seen, "mail that no dialogue speaks of");
    }

    /// The dialogue goes as written, and yet its mail must not go to a next hop such as this one.
    fn run_in_vain(&self, dialogue: &Dialogue, refusal: &str) {
        let gateway = self.home.start();
        run(dialogue, self.listener(dialogue), &self.home.trusting());
        until("the mail to fail", || self.home.log().contains(refusal).then_some(()));
        gateway.stop();
        assert_eq!((dialogue.mails.len(), self.hop.count()), (1, 0), "{}", dialogue.name);
    }

    fn listener(&self, dialogue: &Dialogue) -> SocketAddr {
        let wanted = (
            dialogue.setting("tls").unwrap_or("optional"),
            dialogue.setting("xclient").is_some(),
            dialogue.setting("bare-line-ends").unwrap_or("refuse"),
        );
        let number = LISTENERS.iter().position(|listener| *listener == wanted);
        let run = std::fs::read(self.home.path("data/run.json")).unwrap();
        let run: serde_json::Value = serde_json::from_slice(&run).unwrap();
        let address = &run["listeners"][number.unwrap_or_else(|| panic!("{}: no such listener", dialogue.name))];
        address.as_str().unwrap().parse().unwrap()
    }
}

fn settle(gateway: &Gateway<'_>) {
    until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
}

/// As in the dialogues: `<sender> <recipient> ... | content`.
fn describe(mail: &Recorded) -> Vec<u8> {
    let path = mail.mail.strip_prefix("MAIL FROM:").unwrap();
    let mut text = path.rfind('>').map_or(path, |end| &path[..=end]).to_owned();
    for recipient in &mail.recipients {
        text += &format!(" <{recipient}>");
    }
    [text.as_bytes(), b" | ", mail.without_trace()].concat()
}

/// Its mails are refused by what they say.
fn is_rejected(dialogue: &Dialogue) -> bool {
    let says = |line: &Line| matches!(line, Line::Client(bytes) if bytes.starts_with(b"X-Reject: yes\r\n"));
    dialogue.mails.is_empty() && dialogue.lines.iter().any(says)
}

#[test]
fn every_dialogue_goes_as_written_with_the_live_listener() {
    let dialogues = Dialogue::read_all(&root().join("host/smtp/tests/dialogues")).unwrap();
    let names: BTreeSet<_> = dialogues.iter().map(|dialogue| dialogue.name.as_str()).collect();
    let not_live: BTreeSet<_> = NOT_LIVE.iter().map(|(name, _)| *name).collect();
    assert!(not_live.is_subset(&names), "a dialogue that is left out does not exist");
    let mut usual: BTreeMap<_, Vec<&Dialogue>> = BTreeMap::new();
    let mut rejecting: BTreeMap<_, Vec<&Dialogue>> = BTreeMap::new();
    for dialogue in dialogues.iter().filter(|dialogue| !not_live.contains(dialogue.name.as_str())) {
        let limits = ("max-size", "max-recipients");
        let limits = (dialogue.setting(limits.0).unwrap_or("1048576"), dialogue.setting(limits.1).unwrap_or("1000"));
        match dialogue.name == SECRET {
            true => Scene::new(limits, "recipients", KNOWN).run_in_vain(dialogue, "550 5.7.30"),
            false if is_rejected(dialogue) => rejecting.entry(limits).or_default().push(dialogue),
            false => usual.entry(limits).or_default().push(dialogue),
        }
    }
    assert!(usual.values().map(Vec::len).sum::<usize>() >= 190 && rejecting.values().map(Vec::len).sum::<usize>() >= 4);
    usual.iter().for_each(|(limits, dialogues)| Scene::new(*limits, "recipients", KNOWN).run(dialogues));
    rejecting.iter().for_each(|(limits, some)| Scene::new(*limits, "hostile", "message = \"reject\"").run(some));
}
