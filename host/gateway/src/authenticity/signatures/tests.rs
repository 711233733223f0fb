//! Signatures made with mail-auth's own signer; those of others are in the end-to-end tests.

use super::{super::fake_dns::FakeDns, *};
use base64::{Engine, engine::general_purpose::STANDARD};
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{
    ArcOutput, AuthenticationResults,
    arc::ArcSealer,
    common::{crypto::Ed25519Key, headers::HeaderWriter},
    dkim::DkimSigner,
};

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
    check(dns, &verifier(), &content(mail), &Arc::new(Semaphore::new(1))).await
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

#[test]
fn what_there_was_no_time_for_is_a_temperror() {
    let mail = Author::new().sealed(&Author::new().signed(MAIL));
    let undecided = Signatures::undecided(&content(&mail));
    assert_eq!(results(&undecided), [("example.org", AuthResult::TempError)]);
    assert_eq!(undecided.arc, AuthResult::TempError);
    assert_eq!(Signatures::undecided(&content(MAIL)), Signatures::default());
}

#[test]
fn keys_are_found_by_the_name_that_the_library_asks_for() {
    let keys = Keys(HashMap::from([("a.example.".into(), Txt::Error(Error::Base64))]));
    assert!(matches!(keys.get("a.example."), Some(Txt::Error(Error::Base64))));
    assert!(matches!(keys.get("b.example."), Some(Txt::Error(Error::Dns(DnsError::Resolver(_))))));
}
