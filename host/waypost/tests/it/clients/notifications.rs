//! What a sender is told when the next hop does not take the mail, read by Python's own parser.

use super::{job, smtplib};
use crate::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, Recorded},
    tools::python,
    until,
};
use serde_json::{Value, json};

const CONTENT: &[u8] = b"Subject: the original\r\nX-Secret: no\r\n\r\nThe body stays here.\r\n";

/// example.org, whose next hop knows neither SMTPUTF8 nor gone@, and where senders are told.
struct Scene {
    hop: NextHop,
    notified: NextHop,
    home: Home,
}

impl Scene {
    fn new(offers: &[&str]) -> Self {
        let hop = NextHop::start_with(Behaviour {
            offers: offers.iter().map(|offer| (*offer).to_owned()).collect(),
            replies: vec![("RCPT TO:<GONE@".into(), "550 5.1.1 <gone> has left".into())],
            ..Behaviour::default()
        });
        let notified = NextHop::start();
        let home = Home::new(&format!("dsn-next-hop = \"{}\"", notified.address));
        home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n", hop.address));
        Self { hop, notified, home }
    }

    /// All are accepted; what becomes of them is another thing.
    fn send(&self, gateway: &Gateway<'_>, jobs: &[Value], content: &[u8]) {
        let answers = smtplib(&self.home, gateway, false, jobs, &vec![content; jobs.len()]);
        assert!(answers.iter().all(|answer| answer["reply"] == "250"), "{answers:?}");
        until("the queue to be empty", || (gateway.waiting() == 0).then_some(()));
    }

    /// The only notification, taken apart.
    fn report(&self) -> (Recorded, Value) {
        let mails = self.notified.wait(1);
        assert_eq!(mails.len(), 1);
        std::fs::write(self.home.path("report"), &mails[0].content).unwrap();
        let report = python(include_str!("../scripts/report.py"), &[self.home.path("report").to_str().unwrap()]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["type"], &report["report-type"]), (&json!("multipart/report"), &json!("delivery-status")));
        assert_eq!(report["defects"], json!([]));
        assert_eq!(report["auto-submitted"], "auto-replied");
        assert!(mails[0].mail.starts_with("MAIL FROM:<>"), "{}", mails[0].mail);
        (mails[0].clone(), report)
    }
}

#[test]
fn a_refused_recipient_is_reported_with_its_original_address_and_envelope_id() {
    let scene = Scene::new(&["8BITMIME"]);
    let gateway = scene.home.start();
    let mut job = job("bob@client.test", "gone@example.org");
    job["recipients"] = json!(["ann@example.org", "gone@example.org"]);
    job["options"] = json!(["ENVID=QQ+2B314", "RET=HDRS"]);
    job["recipient_options"] = json!(["ORCPT=rfc822;Left+2BHere@example.com", "NOTIFY=FAILURE"]);
    scene.send(&gateway, &[job], CONTENT);
    assert_eq!(scene.hop.wait(1)[0].recipients, ["ann@example.org"]);

    let (mail, report) = scene.report();
    assert_eq!(mail.recipients, ["bob@client.test"]);
    assert_eq!(report["to"], "bob@client.test");
    assert_eq!(report["parts"], json!(["text/plain", "message/delivery-status", "text/rfc822-headers"]));
    assert_eq!(report["status"][0]["Reporting-MTA"], "dns; gw.test");
    assert_eq!(report["status"][0]["Original-Envelope-Id"], "QQ+314");
    assert_eq!(report["status"].as_array().unwrap().len(), 2, "only what failed is reported: {report}");
    let failed = &report["status"][1];
    assert_eq!(failed["Final-Recipient"], "rfc822; gone@example.org");
    assert_eq!(failed["Original-Recipient"], "rfc822;Left+Here@example.com");
    assert_eq!((&failed["Action"], &failed["Status"]), (&json!("failed"), &json!("5.1.1")));
    assert_eq!(failed["Diagnostic-Code"], "smtp; 550 5.1.1 <gone> has left");
    let returned = report["returned"].as_str().unwrap();
    assert!(returned.contains("Subject: the original") && !returned.contains("The body"), "{returned}");
    assert!(report["explanation"].as_str().unwrap().contains("gone@example.org"));
    gateway.stop();
}

#[test]
fn the_whole_mail_is_returned_where_ret_full_asks_for_it() {
    let scene = Scene::new(&["8BITMIME"]);
    let gateway = scene.home.start();
    let mut job = job("bob@client.test", "gone@example.org");
    job["options"] = json!(["RET=FULL"]);
    scene.send(&gateway, &[job], CONTENT);
    let (_, report) = scene.report();
    assert_eq!(report["parts"][2], "message/rfc822");
    assert!(report["returned"].as_str().unwrap().contains("The body stays here."));
    gateway.stop();
}

#[test]
fn a_mail_that_needs_smtputf8_is_returned_with_5_6_7_where_the_next_hop_lacks_it() {
    let scene = Scene::new(&["8BITMIME"]);
    let gateway = scene.home.start();
    let mut job = job("jürgen@grün.test", "用户@example.org");
    job["options"] = json!(["SMTPUTF8", "BODY=8BITMIME"]);
    scene.send(&gateway, &[job], "Subject: grün\r\n\r\n書\r\n".as_bytes());

    let (mail, report) = scene.report();
    assert!(mail.mail.contains(" SMTPUTF8"), "{}", mail.mail);
    assert_eq!(mail.recipients, ["jürgen@xn--grn-ioa.test"]);
    assert_eq!(report["parts"], json!(["text/plain", "message/global-delivery-status", "message/global-headers"]));
    let failed = &report["status"][1];
    assert_eq!(failed["Final-Recipient"], "utf-8; 用户@example.org");
    assert_eq!((&failed["Action"], &failed["Status"]), (&json!("failed"), &json!("5.6.7")));
    assert!(report["returned"].as_str().unwrap().contains("Subject: grün"));
    gateway.stop();
    assert_eq!(scene.hop.count(), 0);
}

#[test]
fn an_8bit_mail_is_returned_with_5_6_3_where_the_next_hop_takes_7bit_only() {
    let scene = Scene::new(&["ENHANCEDSTATUSCODES"]);
    let gateway = scene.home.start();
    scene.send(&gateway, &[job("bob@client.test", "ann@example.org")], b"Subject: x\r\n\r\ncaf\xE9\r\n");
    let (_, report) = scene.report();
    assert_eq!(report["status"][1]["Status"], "5.6.3");
    assert_eq!(report["status"][1]["Final-Recipient"], "rfc822; ann@example.org");
    gateway.stop();
    assert_eq!(scene.hop.count(), 0);
}

#[test]
fn nobody_is_told_of_mail_from_the_null_reverse_path_or_against_their_wish() {
    let scene = Scene::new(&["8BITMIME"]);
    let gateway = scene.home.start();
    let mut jobs = [
        job("", "gone@example.org"),
        job("never@client.test", "gone@example.org"),
        job("bob@client.test", "gone@example.org"),
    ];
    jobs[1]["recipient_options"] = json!(["NOTIFY=NEVER"]);
    let mut delay = job("delay@client.test", "gone@example.org");
    delay["recipient_options"] = json!(["NOTIFY=SUCCESS,DELAY"]);
    scene.send(&gateway, &jobs[..2], CONTENT);
    scene.send(&gateway, &[delay], CONTENT);
    assert_eq!(scene.notified.count(), 0);
    scene.send(&gateway, &jobs[2..], CONTENT);
    let (mail, _) = scene.report();
    assert_eq!(mail.recipients, ["bob@client.test"]);
    gateway.stop();
    assert_eq!((scene.notified.count(), scene.hop.count()), (1, 0));
}
