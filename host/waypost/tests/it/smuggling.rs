//! Every way that is known to hide a mail in another, through a gateway: what its next hop gets, byte for byte.

use super::support::{
    gateway::{Gateway, Home},
    next_hop::NextHop,
    smtp::Client,
    tap::Tap,
};
use dialogue::smuggling::{self, Hiding, is_lines, normalised, normalised_chunks};

const REFUSING: &str = "refuse";
const NORMALISING: &str = "normalise";

struct Scene {
    home: Home,
    hop: NextHop,
    tap: Tap,
}

impl Scene {
    fn new(bare_line_ends: &str, keys: &str) -> Self {
        let home = Home::new(keys);
        let (hop, text) = (NextHop::start(), std::fs::read_to_string(home.path("waypost.toml")).unwrap());
        // The listener is the file's last table.
        home.write("waypost.toml", &format!("{text}bare-line-ends = \"{bare_line_ends}\"\n"));
        let tap = Tap::before(hop.address);
        home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", tap.address));
        Self { home, hop, tap }
    }

    /// The next hop has got the contents that are expected, each in a mail of ann's, and nothing else of any kind.
    fn ends_with(&self, gateway: Gateway<'_>, mut expected: Vec<Vec<u8>>) {
        gateway.wait_until_empty();
        gateway.stop();
        let mails = self.hop.mails();
        for mail in &mails {
            assert!(mail.mail.starts_with("MAIL FROM:<ann@client.example>"), "a hidden mail came out: {}", mail.text());
            assert_eq!(mail.recipients, ["bob@example.org"]);
        }
        let mut arrived: Vec<Vec<u8>> = mails.iter().map(|mail| mail.without_trace().to_vec()).collect();
        arrived.sort();
        expected.sort();
        assert_eq!(arrived.len(), expected.len(), "mails at the next hop");
        for (arrived, expected) in arrived.iter().zip(&expected) {
            assert_eq!(arrived.escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
        let sent = self.tap.sent();
        assert!(expected.is_empty() || !sent.is_empty());
        for bytes in sent {
            assert!(is_lines(&bytes), "a bare CR or LF or a NUL went out");
        }
    }
}

/// What the parts behind `start` were answered: exactly one reply came for them.
fn speak(client: &mut Client, start: &str, parts: &[&[u8]]) -> String {
    assert!(client.command("MAIL FROM:<ann@client.example>").starts_with("250 "));
    assert!(client.command("RCPT TO:<eve@elsewhere.example>").starts_with("550 "));
    assert!(client.command("RCPT TO:<bob@example.org>").starts_with("250 "));
    if start == "DATA" {
        assert!(client.command(start).starts_with("354 "));
    }
    for part in parts {
        client.send(part).unwrap();
    }
    let reply = client.reply().unwrap();
    let vrfy = client.command("VRFY x");
    assert!(vrfy.starts_with("252 "), "after {reply} came {vrfy}: something hidden was run");
    reply
}

fn check(reply: &str, hiding: &Hiding, content: Option<Vec<u8>>, expected: &mut Vec<Vec<u8>>) {
    let code = if content.is_some() { "250 2.0.0" } else { "550 5.6.0" };
    assert!(reply.starts_with(code), "{}: {reply}", hiding.data.escape_ascii());
    expected.extend(content);
}

/// The whole set, in DATA at once and in two writes, in a chunk, and in two of them.
fn speak_all(bare_line_ends: &str) {
    let scene = Scene::new(bare_line_ends, "");
    let gateway = scene.home.start();
    let taken = |data: &[u8]| bare_line_ends == NORMALISING || is_lines(data);
    let mut expected = Vec::new();
    let mut client = Client::connect(gateway.smtp);
    for hiding in smuggling::all() {
        let data = &hiding.data;
        let (first, second) = data.split_at(hiding.suspicious.start + 1);
        let whole = || normalised(data).filter(|_| taken(data));
        let reply = speak(&mut client, "DATA", &[data]);
        check(&reply, &hiding, whole(), &mut expected);
        let reply = speak(&mut client, "DATA", &[first, second]);
        check(&reply, &hiding, whole(), &mut expected);
        let chunk = [format!("BDAT {} LAST\r\n", data.len()).as_bytes(), data].concat();
        let reply = speak(&mut client, "BDAT", &[&chunk]);
        check(&reply, &hiding, normalised_chunks(data).filter(|_| taken(data)), &mut expected);
        // Commands that end the session when there are too many are not counted across sessions.
        client = Client::connect(gateway.smtp);
    }
    assert!(expected.len() > 30, "{} mails", expected.len());
    scene.ends_with(gateway, expected);
}

#[test]
fn no_variant_of_the_final_dot_brings_a_hidden_mail_to_the_next_hop() {
    speak_all(REFUSING);
}

#[test]
fn no_variant_brings_one_where_bare_line_ends_are_made_good() {
    speak_all(NORMALISING);
}

/// Those that were exploited elsewhere, cut at every byte, in DATA and across two chunks.
#[test]
fn what_was_exploited_elsewhere_hides_nothing_wherever_it_is_cut() {
    for setting in [REFUSING, NORMALISING] {
        let scene = Scene::new(setting, "");
        let gateway = scene.home.start();
        let mut expected = Vec::new();
        for hiding in smuggling::exploited() {
            let data = &hiding.data;
            for cut in 1..data.len() {
                let mut client = Client::connect(gateway.smtp);
                let (first, second) = data.split_at(cut);
                let taken = || setting == NORMALISING;
                let reply = speak(&mut client, "DATA", &[first, second]);
                check(&reply, &hiding, normalised(data).filter(|_| taken()), &mut expected);
                // What the first chunk is answered comes first.
                let one = [format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat();
                let two = [format!("BDAT {} LAST\r\n", second.len()).as_bytes(), second].concat();
                for line in ["MAIL FROM:<ann@client.example>", "RCPT TO:<bob@example.org>"] {
                    assert!(client.command(line).starts_with("250 "));
                }
                client.send(&one).unwrap();
                let first_reply = client.reply().unwrap();
                client.send(&two).unwrap();
                let last = client.reply().unwrap();
                let content = normalised_chunks(data).filter(|_| taken());
                match &content {
                    Some(_) => assert!(last.starts_with("250 2.0.0"), "{last}"),
                    None => assert!(first_reply.starts_with("550 5.6.0") || last.starts_with("550 5.6.0"), "{last}"),
                }
                expected.extend(content);
            }
        }
        scene.ends_with(gateway, expected);
    }
}

#[test]
fn nothing_hides_behind_a_mail_that_is_too_large() {
    for setting in [REFUSING, NORMALISING] {
        let scene = Scene::new(setting, "max-message-size = \"1 KiB\"");
        let gateway = scene.home.start();
        for hiding in smuggling::all() {
            let filler = [&b"x".repeat(2000)[..], b"\r\n"].concat();
            let mut client = Client::connect(gateway.smtp);
            let reply = speak(&mut client, "DATA", &[&filler, &hiding.data]);
            assert!(reply.starts_with("552 5.3.4"), "{}: {reply}", hiding.data.escape_ascii());
        }
        scene.ends_with(gateway, Vec::new());
    }
}
