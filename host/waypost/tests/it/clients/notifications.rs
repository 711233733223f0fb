//! What a sender is told when the next hop does not take the mail, read by Python's own parser.

use super::{job, smtplib};
use crate::support::{
    gateway::{Gateway, Home},
    next_hop::{Behaviour, NextHop, Recorded, free_address},
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
        Self::with(offers, "", "")
    }

    /// With more in the gateway's file and in the domain's.
    fn with(offers: &[&str], gateway: &str, domain: &str) -> Self {
        let hop = NextHop::start_with(Behaviour {
            offers: offers.iter().map(|offer| (*offer).to_owned()).collect(),
            replies: vec![("RCPT TO:<GONE@".into(), "550 5.1.1 <gone> has left".into())],
            ..Behaviour::default()
        });
        let notified = NextHop::start();
        let home = Home::new(&format!("dsn-next-hop = \"{}\"\n{gateway}", notified.address));
        home.domain("example.org", &format!("next-hop = \"{}\"\naccept = \"always\"\n{domain}", hop.address));
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
        self.taken_apart(&mails[0])
    }

    fn taken_apart(&self, mail: &Recorded) -> (Recorded, Value) {
        std::fs::write(self.home.path("report"), &mail.content).unwrap();
        let report = python(include_str!("../scripts/report.py"), &[self.home.path("report").to_str().unwrap()]);
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!((&report["type"], &report["report-type"]), (&json!("multipart/report"), &json!("delivery-status")));
        assert_eq!(report["defects"], json!([]));
        assert_eq!(report["auto-submitted"], "auto-replied");
        assert!(mail.mail.starts_with("MAIL FROM:<>"), "{}", mail.mail);
        assert!(mail.rcpts.iter().all(|rcpt| rcpt.ends_with(" NOTIFY=NEVER")), "{:?}", mail.rcpts);
        (mail.clone(), report)
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

/// Asks to be told of everything.
fn asks(sender: &str, recipient: &str) -> Value {
    let mut job = job(sender, recipient);
    job["recipient_options"] = json!(["NOTIFY=SUCCESS,FAILURE,DELAY"]);
    job
}

#[test]
fn who_asked_is_told_of_a_delay_once_also_across_a_kill() {
    let scene = Scene::with(&["8BITMIME"], "", "delay-notice = \"1 s\"\n");
    scene.home.domain(
        "away.example",
        &format!("next-hop = \"{}\"\naccept = \"always\"\ndelay-notice = \"1 s\"\n", free_address()),
    );
    let gateway = scene.home.start();
    let send =
        |gateway: &Gateway<'_>, jobs: &[Value]| smtplib(&scene.home, gateway, false, jobs, &vec![CONTENT; jobs.len()]);
    let mut silent = job("silent@client.test", "bob@away.example");
    silent["options"] = json!(["ENVID=x"]);
    send(&gateway, &[silent, asks("first@client.test", "bob@away.example")]);
    let (mail, report) = scene.report();
    assert_eq!(mail.recipients, ["first@client.test"]);
    assert_eq!(report["subject"], "Your mail has not been delivered yet");
    let delayed = &report["status"][1];
    assert_eq!((&delayed["Action"], &delayed["Status"]), (&json!("delayed"), &json!("4.4.1")));
    assert!(delayed["Will-Retry-Until"].as_str().unwrap().ends_with("+0000") && delayed["Diagnostic-Code"].is_null());
    assert_eq!(gateway.listed(&["--state", "held"]).len(), 2, "both go on waiting");

    gateway.kill();
    let gateway = scene.home.start();
    send(&gateway, &[asks("second@client.test", "bob@away.example")]);
    let mails = scene.notified.wait(2);
    assert_eq!(mails[1].recipients, ["second@client.test"]);
    assert_eq!(scene.home.output(&["queue", "retry"]), "3 recipients due now\n");
    until("all to be held again", || (gateway.listed(&["--state", "held"]).len() == 3).then_some(()));
    gateway.stop();
    assert_eq!(scene.notified.count(), 2);
}

#[test]
fn a_mail_that_is_put_off_is_reported_with_what_the_next_hop_said() {
    let scene = Scene::with(&["8BITMIME"], "", "delay-notice = \"1 s\"\n");
    let busy = NextHop::start_with(Behaviour {
        after_dot: Some("451 4.3.0 our disks are full".into()),
        ..Behaviour::default()
    });
    scene.home.domain(
        "busy.example",
        &format!("next-hop = \"{}\"\naccept = \"always\"\ndelay-notice = \"1 s\"\n", busy.address),
    );
    let gateway = scene.home.start();
    smtplib(&scene.home, &gateway, false, &[asks("bob@client.test", "ann@busy.example")], &[CONTENT]);
    let (_, report) = scene.report();
    let delayed = &report["status"][1];
    assert_eq!((&delayed["Action"], &delayed["Status"]), (&json!("delayed"), &json!("4.3.0")));
    assert_eq!(delayed["Diagnostic-Code"], "smtp; 451 4.3.0 our disks are full");
    assert!(report["explanation"].as_str().unwrap().contains("You need not send it again."));
    gateway.stop();
}

#[test]
fn success_is_reported_where_the_next_hop_does_not_and_else_left_to_it() {
    let scene = Scene::new(&["8BITMIME"]);
    let knows_dsn = NextHop::start();
    let mailboxes =
        NextHop::start_with(Behaviour { lmtp: true, offers: vec!["8BITMIME".into()], ..Behaviour::default() });
    scene.home.domain("dsn.example", &format!("next-hop = \"{}\"\naccept = \"always\"\n", knows_dsn.address));
    scene.home.domain("lmtp.example", &format!("next-hop = \"lmtp://{}\"\naccept = \"always\"\n", mailboxes.address));
    let gateway = scene.home.start();
    let mut passed_on = asks("ann@client.test", "Bob+x@dsn.example");
    passed_on["options"] = json!(["RET=FULL", "ENVID=QQ+2B1"]);
    scene.send(&gateway, &[passed_on], CONTENT);
    scene.send(
        &gateway,
        &[
            job("quiet@client.test", "bob@example.org"),
            asks("one@client.test", "bob@example.org"),
            asks("two@client.test", "bob@lmtp.example"),
        ],
        CONTENT,
    );
    let mails = scene.notified.wait(2);
    for (sender, action) in [("one@client.test", "relayed"), ("two@client.test", "delivered")] {
        let mail = mails.iter().find(|mail| mail.recipients == [sender]).unwrap();
        let (_, report) = scene.taken_apart(mail);
        let told = &report["status"][1];
        assert_eq!((&told["Action"], &told["Status"]), (&json!(action), &json!("2.0.0")));
        assert_eq!(told["Remote-MTA"], "dns; [127.0.0.1]");
    }
    let there = &knows_dsn.wait(1)[0];
    assert!(there.mail.contains(" RET=FULL ENVID=QQ+2B1"), "{}", there.mail);
    assert_eq!(
        there.rcpts,
        ["RCPT TO:<Bob+x@dsn.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;Bob+2Bx@dsn.example"]
    );
    gateway.stop();
    assert_eq!(scene.notified.count(), 2);
}

#[test]
fn an_address_gets_so_many_notifications_and_no_more() {
    let scene = Scene::with(&["8BITMIME"], "max-dsn-per-hour-per-address = 2", "");
    let gateway = scene.home.start();
    let flood: Vec<Value> = (0..5).map(|_| job("victim@client.test", "gone@example.org")).collect();
    scene.send(&gateway, &flood, CONTENT);
    scene.send(&gateway, &[job("bob@client.test", "gone@example.org")], CONTENT);
    let mails = scene.notified.wait(3);
    assert_eq!(mails.iter().filter(|mail| mail.recipients == ["victim@client.test"]).count(), 2);
    gateway.stop();
    assert_eq!(scene.notified.count(), 3);
    assert_eq!(scene.home.log().matches("has had 2 notifications within an hour").count(), 3, "{}", scene.home.log());
}

#[test]
fn a_report_about_a_utf8_recipient_is_ascii_for_an_ascii_sender() {
    let scene = Scene::new(&["8BITMIME"]);
    let gateway = scene.home.start();
    let mut job = job("bob@client.test", "用户@example.org");
    job["options"] = json!(["SMTPUTF8"]);
    scene.send(&gateway, &[job], "Subject: grün\r\n\r\n書\r\n".as_bytes());
    let (mail, report) = scene.report();
    assert!(mail.content.is_ascii() && !mail.mail.contains("SMTPUTF8"), "{}", mail.mail);
    assert_eq!(report["parts"], json!(["text/plain", "message/delivery-status", "message/global-headers"]));
    assert_eq!(report["status"][1]["Final-Recipient"], "utf-8; \\x{7528}\\x{6237}@example.org");
    assert!(report["returned"].as_str().unwrap().contains("Subject: grün"), "{report}");
    gateway.stop();
}

#[test]
fn mail_that_a_next_hop_lacks_something_for_fails_by_itself_and_closes_nothing() {
    let scene = Scene::new(&["8BITMIME"]);
    let gateway = scene.home.start();
    let mut unfit = job("bob@client.test", "用户@example.org");
    unfit["options"] = json!(["SMTPUTF8"]);
    scene.send(&gateway, &vec![unfit; 12], CONTENT);
    scene.send(&gateway, &[job("bob@client.test", "ann@example.org")], CONTENT);
    gateway.stop();
    assert_eq!((scene.hop.count(), scene.notified.count()), (1, 12));
    let told = scene.taken_apart(&scene.notified.mails()[0]).1;
    assert!(told["explanation"].as_str().unwrap().contains("It was refused here: 553 5.6.7 "), "{told}");
    assert!(told["status"][1].get("Remote-MTA").is_none(), "{told}");
}

#[test]
fn a_notification_that_cannot_be_delivered_is_dropped_and_nobody_is_told() {
    let scene = Scene::new(&["8BITMIME"]);
    scene.home.domain("client.test", &format!("next-hop = \"{}\"\naccept = \"always\"\n", scene.hop.address));
    let gateway = scene.home.start();
    scene.send(&gateway, &[job("gone@client.test", "gone@example.org")], CONTENT);
    gateway.stop();
    assert_eq!((scene.notified.count(), scene.hop.count()), (0, 0));
    assert_eq!(scene.home.log().matches("the notification cannot be delivered").count(), 1, "{}", scene.home.log());
}
