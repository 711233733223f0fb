//! A plugin that keeps failing is not asked for a while, and served again once it is well.

use crate::rig::{Rig, Setup, judge};
use mail::{KvSpace, KvStore, Verdict};
use plugin_host::BreakerState;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_broken_plugin_is_left_alone_and_probed() {
    let rig = Rig::new(Setup::default());
    let chain = rig.chain(json!({ "message": "break-unless-healed" })).await;
    for _ in 0..5 {
        assert!(matches!(judge(&*chain).await, Verdict::TempFail(_)));
    }
    assert_eq!(rig.host.status()[0].breaker, BreakerState::Open);
    let space = KvSpace { plugin: "hostile".into(), domain: "example.org".parse().unwrap() };
    rig.kv.set(&space, "healed", b"", None).unwrap();
    assert!(matches!(judge(&*chain).await, Verdict::TempFail(_)), "it is well again, but not asked yet");
    let healed = async {
        while judge(&*chain).await != Verdict::Pass {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), healed).await.unwrap();
    assert_eq!(rig.host.status()[0].breaker, BreakerState::Closed);
}
