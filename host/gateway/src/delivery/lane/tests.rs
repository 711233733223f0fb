//! A lane without a next hop behind it: what it hands out, and when.

use super::*;

#[test]
fn a_trial_that_gets_no_answer_is_followed_by_another() {
    let lane = Lane::new(LaneKey { hop: "127.0.0.1:25".parse().unwrap(), tls: TlsMode::None, domain: None });
    let failure = Failure::new(mail::FailureKind::PermFail, None, "never");
    let away = Away { since: crate::clock::Clock::system().now(), failure };
    lane.lock().condition = Condition::Refusing(away, Trial::Out);
    let next = || matches!(lane.lock().condition, Condition::Refusing(_, Trial::Due));
    lane.lock().workers = 1;
    assert!(lane.try_one(lane.closing()) && !next(), "it is still under way");
    lane.lock().workers = 0;
    assert!(lane.try_one(lane.closing()) && next());
}

#[test]
fn the_prober_of_an_earlier_closing_has_no_say_in_a_later_one() {
    let lane = Lane::new(LaneKey { hop: "127.0.0.1:25".parse().unwrap(), tls: TlsMode::None, domain: None });
    let failure = Failure::new(mail::FailureKind::PermFail, None, "never");
    let away = Away { since: crate::clock::Clock::system().now(), failure };
    let earlier = lane.closing();
    lane.lock().closings += 1;
    lane.lock().condition = Condition::Refusing(away, Trial::Waiting);
    assert!(!lane.try_one(earlier));
    lane.believe(earlier);
    assert!(lane.reopen(earlier) && lane.is_refusing());
    assert!(lane.try_one(lane.closing()));
    if let Condition::Refusing(_, trial) = &mut lane.lock().condition {
        *trial = Trial::Out;
    }
    assert!(!lane.reopen(lane.closing()) && lane.is_refusing(), "its answer is still to come");
}

#[tokio::test]
async fn a_lane_without_work_does_not_keep_a_stopping_gateway_waiting() {
    let lane = Lane::new(LaneKey { hop: "127.0.0.1:25".parse().unwrap(), tls: TlsMode::None, domain: None });
    lane.lock().workers = 1;
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let job = tokio::time::timeout(IDLE / 2, lane.next_job(&shutdown)).await;
    assert!(matches!(job, Ok(None)));
    assert_eq!(lane.lock().workers, 0);
}
