use super::*;

fn at(segment: u32, length: u32) -> Location {
    Location { segment, offset: 0, length }
}
fn t(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}
fn domain(name: &str) -> Domain {
    name.parse().unwrap()
}
fn wait(state: State, due: Timestamp, hop: Option<&str>) -> Wait {
    Wait { state, due, waiting_for: hop.map(|hop| hop.parse().unwrap()) }
}
fn queued(index: &mut Index, seq: Seq, name: &str, due: u64) {
    let id = MailId::from_u128(u128::from(seq));
    index.insert(seq, id, &domain(name), at(1, 10), 1, &wait(State::Queued, t(due), None));
}

#[test]
fn who_is_due_longest_is_claimed_first_and_only_once() {
    let mut index = Index::default();
    queued(&mut index, 1, "a.example", 30);
    queued(&mut index, 2, "a.example", 10);
    queued(&mut index, 3, "b.example", 5);
    queued(&mut index, 4, "a.example", 99);
    assert_eq!(index.next_due(), Some(t(5)));
    assert_eq!(index.due_domains(t(10)), [domain("b.example"), domain("a.example")]);
    assert_eq!(index.take_due(&domain("a.example"), t(40), 10), [(2, vec![0]), (1, vec![0])]);
    assert_eq!(index.take_due(&domain("a.example"), t(40), 10), []);
    assert_eq!(index.due_domains(t(40)), [domain("b.example")]);
    assert_eq!(index.counts().claimed, 2);
}

#[test]
fn who_comes_for_the_mail_gets_all_but_what_waits_for_a_person_and_nothing_twice() {
    let mut index = Index::default();
    for seq in 1..=5 {
        queued(&mut index, seq, "a.example", 100);
    }
    queued(&mut index, 6, "b.example", 1);
    index.set(2, 0, Some(&wait(State::Held, t(900), Some("mx.example:25"))));
    index.set(3, 0, Some(&wait(State::Held, Timestamp::NEVER, None)));
    index.set(4, 0, Some(&wait(State::Deferred, t(500), None)));
    index.take(5, 0);
    let (a, mut done) = (domain("a.example"), HashSet::new());
    assert_eq!(index.take_waiting(&a, 2, &done), [(1, vec![0]), (4, vec![0])]);
    done.extend([(index.id(1).unwrap(), 0), (index.id(4).unwrap(), 0)]);
    index.set(4, 0, Some(&wait(State::Deferred, t(600), None)));
    assert_eq!(index.take_waiting(&a, 10, &done), [(2, vec![0])]);
    assert_eq!(index.take_waiting(&a, 10, &done), []);
    index.set(3, 0, Some(&wait(State::Quarantined, Timestamp::NEVER, None)));
    assert_eq!(index.take_waiting(&a, 10, &done), []);
}

#[test]
fn recipients_of_one_mail_are_claimed_together() {
    let mut index = Index::default();
    let id = MailId::from_u128(1);
    index.insert(7, id, &domain("a.example"), at(1, 10), 3, &wait(State::Queued, t(1), None));
    queued(&mut index, 8, "a.example", 1);
    assert_eq!(index.take_due(&domain("a.example"), t(1), 4), [(7, vec![0, 1, 2]), (8, vec![0])]);
}

#[test]
fn a_mail_is_forgotten_with_its_last_recipient_and_its_segment_may_go() {
    let mut index = Index::default();
    index.insert(7, MailId::from_u128(1), &domain("a.example"), at(1, 10), 2, &wait(State::Queued, t(1), None));
    index.set(7, 0, None);
    assert_eq!((index.live(7), index.segments.take_empty(None).len()), (1, 0));
    index.set(7, 1, None);
    assert!(!index.contains(7));
    assert!(index.segments.take_empty(Some(1)).is_empty());
    assert_eq!(index.segments.take_empty(Some(2)), [1]);
    assert_eq!(index.counts(), Counts::default());
    assert_eq!(index.next_due(), None);
}

#[test]
fn a_next_hop_that_is_back_wakes_all_who_wait_for_it_and_nobody_else() {
    let mut index = Index::default();
    for seq in 1..=4 {
        queued(&mut index, seq, "a.example", 1);
    }
    index.set(1, 0, Some(&wait(State::Deferred, t(500), Some("mx.example:25"))));
    index.set(2, 0, Some(&wait(State::Held, t(900), Some("mx.example:25"))));
    index.set(3, 0, Some(&wait(State::Deferred, t(500), Some("other.example:25"))));
    index.set(4, 0, Some(&wait(State::Deferred, t(500), Some("mx.example:25"))));
    index.take(4, 0);
    assert_eq!(index.next_due(), Some(t(500)));
    let hop = "mx.example:25".parse().unwrap();
    assert_eq!(index.waiting_domains(&hop).len(), 1);
    assert_eq!(index.wake(&hop, None, t(20), 9, &|_| false), (0, None), "another's next hop");
    assert_eq!(index.wake(&hop, None, t(20), 1, &|_| true), (1, Some((1, 0))));
    assert_eq!(index.wake(&hop, Some((1, 0)), t(20), 9, &|_| true), (1, None));
    assert_eq!(index.wake(&hop, None, t(20), 9, &|_| true), (0, None));
    assert_eq!(index.next_due(), Some(t(20)));
    assert_eq!(index.take_due(&domain("a.example"), t(20), 10).len(), 2);
}

#[test]
fn who_waits_for_a_person_is_never_due() {
    let mut index = Index::default();
    queued(&mut index, 1, "a.example", 1);
    index.set(1, 0, Some(&wait(State::Held, Timestamp::NEVER, None)));
    assert_eq!(index.next_due(), None);
    assert!(index.set(1, 0, Some(&wait(State::Queued, t(3), None))), "something became due earlier");
    assert_eq!(index.next_due(), Some(t(3)));
}

#[test]
fn what_is_given_back_is_due_again_unless_it_was_settled() {
    let mut index = Index::default();
    queued(&mut index, 1, "a.example", 1);
    assert!(index.take(1, 0));
    assert!(!index.take(1, 0));
    index.give_back(1, 0, t(9));
    assert_eq!(index.next_due(), Some(t(9)));
    index.give_back(1, 0, t(2));
    assert_eq!(index.next_due(), Some(t(9)), "it was not claimed");
}

#[test]
fn a_nearly_empty_segment_is_found_for_emptying() {
    let mut index = Index::default();
    let lone = Location { segment: 1, offset: 900, length: 100 };
    index.insert(1, MailId::from_u128(1), &domain("a.example"), lone, 1, &wait(State::Held, Timestamp::NEVER, None));
    assert_eq!(index.segments.sparse(Some(1), 500), None);
    assert_eq!(index.segments.sparse(None, 5000), None);
    assert_eq!(index.segments.sparse(None, 500), Some(1));
    index.relocate(1, Location { segment: 2, offset: 0, length: 100 });
    assert_eq!(index.segments.take_empty(Some(2)), [1]);
}

#[test]
fn one_waiting_recipient_costs_about_what_the_design_says() {
    assert_eq!((size_of::<Slots>(), size_of::<Entry>()), (16, 56));
    assert_eq!(size_of::<(Timestamp, Seq, u32)>(), 24);
}
