//! Signatures made with mail-auth's own signer; those of others are in the end-to-end tests.

use super::{
    super::fake_dns::FakeDns,
    selection::{MAX_LINKS, MAX_SIGNATURES},
    *,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    ArcOutput, AuthenticationResults,
    arc::ArcSealer,
    common::{crypto::Ed25519Key, headers::HeaderWriter},
    dkim::DkimSigner,
};
use std::time::Duration;

const MAIL: &str = "From: Ann <ann@example.org>\r\nSubject: hello\r\n\r\nbody\r\n";
const KEY: &str = "s1._domainkey.example.org";

struct Author(Vec<u8>);

impl Author {
    fn new() -> Self {
        Self(Ed25519Key::generate_pkcs8().unwrap())
    }
    fn key(&self) -> Ed25519Key {
        Ed25519Key::from_pkcs8_der(&self.0).unwrap()
    }
    fn record(&self) -> String {
        format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(self.key().public_key()))
    }
    fn dns(&self) -> FakeDns {
        FakeDns::default().with_txt(KEY, &self.record())
    }
    fn signed(&self, mail: &str) -> String {
        let signer = DkimSigner::from_key(self.key()).domain("example.org").selector("s1").headers(["From", "Subject"]);
        format!("{}{mail}", signer.sign(mail.as_bytes()).unwrap().to_header())
    }
    fn sealed(&self, mail: &str) -> String {
        let message = AuthenticatedMessage::parse(mail.as_bytes()).unwrap();
        let results = AuthenticationResults::new("list.example");
        let sealer = ArcSealer::from_key(self.key()).domain("example.org").selector("s1").headers(["From", "Subject"]);
        let set = sealer.seal(&message, &results, &ArcOutput::default()).unwrap();
        format!("{}{mail}", set.to_header())
    }
}

fn content(mail: &str) -> Content {
    Content::new(mail.to_owned().into())
}

/// Asks nobody.
fn verifier() -> MessageAuthenticator {
    MessageAuthenticator::new(ResolverConfig::from_name_servers(Vec::new()), ResolverOpts::default()).unwrap()
}

async fn of(dns: &FakeDns, mail: &str) -> Signatures {
    within(Duration::from_secs(60), dns, mail).await
}

async fn within(time: Duration, dns: &FakeDns, mail: &str) -> Signatures {
    let (cores, deadline) = (Arc::new(Semaphore::new(1)), time::Instant::now() + time);
    check(dns, Some(&verifier()), &content(mail), &cores, deadline).await
}

fn results(signatures: &Signatures) -> Vec<(&str, AuthResult)> {
    signatures.dkim.iter().map(|signed| (signed.domain.as_str(), signed.result)).collect()
}

#[tokio::test]
async fn a_signed_mail_passes_and_an_altered_one_fails() {
    let author = Author::new();
    let (dns, mail) = (author.dns(), author.signed(MAIL));
    let expect = async |mail: &str, result| {
        assert_eq!(results(&of(&dns, mail).await), [("example.org", result)], "{mail}");
    };
    expect(&mail, AuthResult::Pass).await;
    expect(&mail.replace("body\r\n", "other\r\n"), AuthResult::Fail).await;
    expect(&mail.replace("hello", "other"), AuthResult::Fail).await;
    // Relaxed canonicalisation, the default of the signer.
    expect(&mail.replace("Subject: hello", "subject :  hello "), AuthResult::Pass).await;
    // A field that is signed as often as it is there hides no second one.
    let signer = DkimSigner::from_key(author.key()).domain("example.org").selector("s1").headers(["From", "From"]);
    let mail = format!("{}{MAIL}", signer.sign(MAIL.as_bytes()).unwrap().to_header());
    expect(&mail.replace("Subject", "from : bob@bank.example\r\nSubject"), AuthResult::Fail).await;
}

#[tokio::test]
async fn without_its_key_a_signature_is_an_error_of_the_right_kind() {
    let mail = Author::new().signed(MAIL);
    let none = FakeDns::default();
    assert_eq!(results(&of(&none, &mail).await), [("example.org", AuthResult::PermError)]);
    let revoked = FakeDns::default().with_txt(KEY, "v=DKIM1; k=ed25519; p=");
    assert_eq!(results(&of(&revoked, &mail).await), [("example.org", AuthResult::PermError)]);
    let other = Author::new().dns();
    assert_eq!(results(&of(&other, &mail).await), [("example.org", AuthResult::Fail)]);
    let silent = FakeDns::default().with_failing(KEY);
    assert_eq!(results(&of(&silent, &mail).await), [("example.org", AuthResult::TempError)]);
}

#[tokio::test]
async fn mail_that_nobody_signed_asks_nothing() {
    let dns = FakeDns::default();
    assert_eq!(of(&dns, MAIL).await, Signatures::default());
    assert!(dns.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_the_topmost_signatures_are_looked_at() {
    let author = Author::new();
    let once = author.signed(MAIL);
    let field = once.strip_suffix(MAIL).unwrap();
    let mut many = MAIL.to_owned();
    for n in 0..200 {
        many.insert_str(0, &field.replace("s=s1;", &format!("s=s{n};")));
    }
    let dns = author.dns();
    assert_eq!(of(&dns, &many).await.dkim.len(), MAX_SIGNATURES);
    assert_eq!(dns.asked.lock().unwrap().len(), MAX_SIGNATURES);
}

#[tokio::test]
async fn a_signature_of_a_part_of_the_body_is_not_acceptable() {
    let author = Author::new();
    let signer =
        DkimSigner::from_key(author.key()).domain("example.org").selector("s1").headers(["From"]).body_length(true);
    let mail = format!("{}{MAIL}appended\r\n", signer.sign(MAIL.as_bytes()).unwrap().to_header());
    assert_eq!(results(&of(&author.dns(), &mail).await), [("example.org", AuthResult::Policy)]);
}

#[tokio::test]
async fn an_arc_chain_passes_until_the_mail_is_altered() {
    let author = Author::new();
    let (dns, mail) = (author.dns(), author.sealed(MAIL));
    assert_eq!(of(&dns, &mail).await.arc, AuthResult::Pass);
    assert_eq!(of(&dns, &mail.replace("body\r\n", "other\r\n")).await.arc, AuthResult::Fail);
    assert_eq!(of(&FakeDns::default().with_failing(KEY), &mail).await.arc, AuthResult::TempError);
    let end = mail.find("ARC-Message-Signature").unwrap();
    assert_eq!(of(&dns, &mail[end..]).await.arc, AuthResult::Fail, "a seal is missing");
    let endless = format!("{}{mail}", mail.strip_suffix(MAIL).unwrap().repeat(MAX_LINKS));
    assert_eq!(of(&dns, &endless).await.arc, AuthResult::PermError);
}

#[tokio::test]
async fn what_there_was_no_time_for_is_a_temperror() {
    let author = Author::new();
    let mail = author.sealed(&author.signed(MAIL));
    let nobody = (Arc::new(Semaphore::new(0)), time::Instant::now() + Duration::from_millis(10));
    let verifier = verifier();
    for verifier in [None, Some(&verifier)] {
        let undecided = check(&author.dns(), verifier, &content(&mail), &nobody.0, nobody.1).await;
        assert_eq!(results(&undecided), [("example.org", AuthResult::TempError)]);
        assert_eq!(undecided.arc, AuthResult::TempError);
        let unsigned = check(&author.dns(), verifier, &content(MAIL), &nobody.0, nobody.1).await;
        assert_eq!(unsigned, Signatures::default());
    }
}

#[tokio::test]
async fn a_signature_that_does_not_cover_from_proves_nothing() {
    let author = Author::new();
    let of_names = async |names: &[&str]| {
        let signer =
            DkimSigner::from_key(author.key()).domain("example.org").selector("s1").headers(names.iter().copied());
        let mail = format!("{}{MAIL}", signer.sign(MAIL.as_bytes()).unwrap().to_header());
        results(&of(&author.dns(), &mail).await)[0].1
    };
    assert_eq!(of_names(&["Subject"]).await, AuthResult::PermError);
    assert_eq!(of_names(&["Subject", "FROM"]).await, AuthResult::Pass);

    let message = AuthenticatedMessage::parse(MAIL.as_bytes()).unwrap();
    let results = AuthenticationResults::new("list.example");
    let sealer = ArcSealer::from_key(author.key()).domain("example.org").selector("s1").headers(["Subject"]);
    let set = sealer.seal(&message, &results, &ArcOutput::default()).unwrap();
    assert_eq!(of(&author.dns(), &format!("{}{MAIL}", set.to_header())).await.arc, AuthResult::PermError);
}

/// Names in `h=` of which the mail has none.
fn with_names(mail: &str, count: usize) -> String {
    let more: String = (0..count).map(|n| format!(":n{n}")).collect();
    let longer = mail.replace("h=Subject:From", &format!("h=Subject:From{more}"));
    assert_ne!(longer, mail);
    longer
}

#[tokio::test]
async fn a_signature_of_very_many_fields_is_not_verified() {
    let author = Author::new();
    let (signed, sealed) = (author.signed(MAIL), author.sealed(MAIL));
    for (more, expected) in [(198, AuthResult::Fail), (199, AuthResult::PermError), (2_000, AuthResult::PermError)] {
        let mail = with_names(&signed, more);
        assert_eq!(results(&of(&author.dns(), &mail).await), [("example.org", expected)], "{more}");
        assert_eq!(of(&author.dns(), &with_names(&sealed, more)).await.arc, expected, "{more}");
    }
    // Too long to be looked at.
    assert_eq!(of(&author.dns(), &with_names(&signed, 4_000)).await, Signatures::default());
    assert_eq!(of(&author.dns(), &with_names(&sealed, 4_000)).await.arc, AuthResult::PermError);
}

#[test]
fn a_mail_made_to_be_slow_costs_little() {
    let author = Author::new();
    let keys = Keys(HashMap::from([(format!("{KEY}.").into(), key(&[author.record().into_bytes()]))]));
    for names in [198, 2_500, 60_000] {
        let signed = with_names(&author.signed(MAIL), names);
        let fields = signed.strip_suffix(MAIL).unwrap().repeat((600_000 / signed.len()).clamp(1, MAX_SIGNATURES));
        let mail = content(&format!("{fields}{}{MAIL}", "x: y\r\n".repeat(9_900)));
        let before = cpu_time();
        let wanted = Wanted::of(&mail).unwrap();
        verify(&verifier(), &mail, &wanted.selection, &keys);
        let spent = cpu_time() - before;
        assert!(spent < Duration::from_secs(3), "{names}: {spent:?}");
    }
}

/// Of this thread.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn keys_are_found_by_the_name_that_the_library_asks_for() {
    let keys = Keys(HashMap::from([("a.example.".into(), Txt::Error(Error::Base64))]));
    assert!(matches!(keys.get("a.example."), Some(Txt::Error(Error::Base64))));
    assert!(matches!(keys.get("b.example."), Some(Txt::Error(Error::Dns(DnsError::Resolver(_))))));
}
