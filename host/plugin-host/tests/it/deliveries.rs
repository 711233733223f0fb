//! After 250: where mail goes, and what happens while its next hop is away.

use crate::rig::{NOW, Rig, Setup, content, delivery};
use mail::{BoxFuture, Content, ContentSource, Failure, FailureKind, OfflineAction, Reply, Routing, Timestamp};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// On a disk, if it can be read at all.
struct Spooled(Option<Content>);

impl ContentSource for Spooled {
    fn len(&self) -> u64 {
        1000
    }
    fn load(&self) -> std::io::Result<Content> {
        self.0.clone().ok_or_else(|| std::io::Error::other("bad sector"))
    }
    fn fetch(self: Arc<Self>) -> BoxFuture<'static, std::io::Result<Content>> {
        Box::pin(async move { self.load() })
    }
}

fn failure() -> Failure {
    let mut failure = Failure::new(FailureKind::Connect, Some(&"mail.example.org:25".parse().unwrap()), "refused");
    failure.reply = Some(Reply::new(421, (4, 3, 2), "closing"));
    failure
}

#[tokio::test]
async fn a_route_is_the_plugins_hop_or_the_default() {
    let rig = Rig::new(Setup::default());
    let mut facts = delivery(content());
    let chain = rig.chain(json!({ "route": "relay", "to": "lmtp://127.0.0.1:24" })).await;
    assert_eq!(chain.on_route(&mut facts).await, Routing::Relay(vec!["lmtp://127.0.0.1:24".parse().unwrap()]));
    let chain = rig.chain(json!({ "route": "rewrite", "to": "carol@example.org" })).await;
    assert_eq!(chain.on_route(&mut facts).await, Routing::Rewrite("carol@example.org".parse().unwrap()));
    assert_eq!(rig.chain(json!({})).await.on_route(&mut facts).await, Routing::Default);
}

#[tokio::test]
async fn a_route_that_makes_no_sense_is_the_default() {
    let rig = Rig::new(Setup::default());
    for config in [
        json!({ "route": "relay", "to": "not a hop" }),
        json!({ "route": "rewrite", "to": "bob@elsewhere.example" }),
        json!({ "route": "reject-as-tempfail" }),
        json!({ "route": "trap" }),
        json!({ "route": "loop" }),
    ] {
        assert_eq!(rig.chain(config).await.on_route(&mut delivery(content())).await, Routing::Default);
    }
}

#[tokio::test]
async fn the_mail_is_read_from_the_spool_only_when_asked_for() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "route": "by-subject" })).await;
    let routing = chain.on_route(&mut delivery(Spooled(Some(content())))).await;
    assert_eq!(routing, Routing::Rewrite("grün@example.org".parse().unwrap()));
    // Unreadable, the subject is empty, and so the rewrite makes no sense.
    assert_eq!(chain.on_route(&mut delivery(Spooled(None))).await, Routing::Default);
}

#[tokio::test]
async fn expiry_is_moved_within_bounds() {
    let rig = Rig::new(Setup::default());
    let mut facts = delivery(content());
    assert_eq!(rig.chain(json!({ "route": "expire" })).await.on_route(&mut facts).await, Routing::Default);
    assert_eq!(facts.expires_at, Timestamp::from_secs(NOW + 3600));
}

#[tokio::test]
async fn an_outage_is_told_and_answered() {
    let rig = Rig::new(Setup::default());
    let mut facts = delivery(content());
    let chain = rig.chain(json!({ "offline": "tell" })).await;
    let told = "Kind::Connect|refused|Some(\"mail.example.org:25\")|Some(\"closing\")";
    assert_eq!(chain.on_offline(&mut facts, &failure()).await, OfflineAction::Hold(told.to_owned()));
    let chain = rig.chain(json!({ "offline": "retry" })).await;
    assert_eq!(chain.on_offline(&mut facts, &failure()).await, OfflineAction::RetryAfter(Duration::from_secs(60)));
    for config in [json!({}), json!({ "offline": "bounce-with-4yz" }), json!({ "offline": "trap" })] {
        assert_eq!(rig.chain(config).await.on_offline(&mut facts, &failure()).await, OfflineAction::Default);
    }
}
