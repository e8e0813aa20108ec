//! Static members (KIP-345): they come back, and fence who was there before.

use broker_model::ErrorCode;

use super::bench::{Bench, direct};
use crate::request::{Assignment, GroupState, Join, LeaderReturn, MemberRef, Protocol};

fn fixed(unique: &str) -> Join {
    let protocols = vec![Protocol { name: "range".into(), metadata: vec![7] }];
    Join { instance: Some("i".into()), unique: unique.into(), protocols, ..direct("") }
}

fn fixed_ref(unique: &str, generation: i32) -> MemberRef {
    let (group, member) = ("g".into(), format!("i-{unique}"));
    MemberRef { group, member, instance: Some("i".into()), generation }
}

/// A stable group of one static member.
fn stable() -> (Bench, i32) {
    let mut bench = Bench::quick();
    let generation = bench.join(fixed("1")).generation;
    bench.sync(fixed_ref("1", generation), &[("i-1", "mine")]);
    (bench, generation)
}

#[test]
fn a_static_member_needs_no_second_join() {
    let (mut bench, _) = stable();
    assert_eq!(bench.describe().members[0].instance.as_deref(), Some("i"));
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn a_static_leader_comes_back_without_a_rebalance_and_fences() {
    let (mut bench, generation) = stable();
    let joined = bench.join(fixed("2"));
    assert_eq!((joined.generation, joined.member.as_str(), joined.leader.as_str()), (generation, "i-2", "i-2"));
    assert_eq!((joined.assignment, joined.members.len()), (Assignment::Skip, 1));
    assert_eq!(bench.sync(fixed_ref("2", generation), &[]).assignment, b"mine");
    assert_eq!(bench.heartbeat(fixed_ref("1", generation)), ErrorCode::FencedInstanceId);
    assert_eq!(bench.sync(fixed_ref("1", generation), &[]).error, ErrorCode::FencedInstanceId);
    assert_eq!(bench.commit(fixed_ref("1", generation), "t", 1), ErrorCode::FencedInstanceId);
    assert_eq!(bench.join(Join { member: "i-1".into(), ..fixed("3") }).error, ErrorCode::FencedInstanceId);
    bench.restart();
    assert_eq!(bench.heartbeat(fixed_ref("2", generation)), ErrorCode::None, "a successor knows the new id");
}

#[test]
fn an_older_version_is_told_that_another_leads() {
    let (mut bench, generation) = stable();
    let joined = bench.join(Join { leader_return: LeaderReturn::AsFollower, ..fixed("2") });
    assert_eq!((joined.generation, joined.leader.as_str(), joined.members.len()), (generation, "i-1", 0));
}

#[test]
fn a_static_member_with_other_opaque_metadata_stays() {
    let (mut bench, generation) = stable();
    let metadata = |name: &str| vec![Protocol { name: name.into(), metadata: vec![8] }];
    let joined = bench.join(Join { protocols: metadata("range"), ..fixed("2") });
    assert_eq!((joined.generation, joined.assignment), (generation, Assignment::Skip), "it cannot be read");
    let refused = bench.join(Join { protocols: metadata("sticky"), ..fixed("3") });
    assert_eq!(refused.error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn who_waits_for_a_static_id_is_fenced_by_the_next() {
    let (mut bench, generation) = stable();
    let other = bench.start_join(direct("b"));
    let waiting = bench.start_join(Join { member: "i-1".into(), ..fixed("x") });
    assert!(!bench.waits(other), "all have joined");
    bench.joined(waiting);
    let waiting = bench.start_sync(fixed_ref("1", generation + 1), &[]);
    bench.outputs.remove(&waiting);
    let third = bench.start_join(direct("c"));
    let waiting = bench.start_join(Join { member: "i-1".into(), ..fixed("x") });
    assert!(bench.waits(waiting) && bench.waits(third));
    bench.start_join(fixed("2"));
    assert_eq!(bench.joined(waiting).error, ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_member_that_is_away_is_kept_through_a_rebalance_until_its_session_ends() {
    let mut bench = Bench::quick();
    let generation = bench.join(Join { session_timeout_ms: 100_000, ..fixed("1") }).generation;
    bench.sync(fixed_ref("1", generation), &[]);
    let second = bench.start_join(direct("b"));
    bench.wait(60_000);
    let joined = bench.joined(second);
    assert_eq!((joined.generation, joined.leader.as_str(), joined.members.len()), (generation + 1, "c-b", 2));
    assert_eq!(bench.heartbeat(fixed_ref("1", generation)), ErrorCode::IllegalGeneration);
    bench.wait(100_001);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn a_static_member_leaves_by_its_instance() {
    let (mut bench, _) = stable();
    assert_eq!(bench.leave(&[("i-9", Some("i"))]), [ErrorCode::FencedInstanceId]);
    assert_eq!(bench.leave(&[("", Some("other"))]), [ErrorCode::UnknownMemberId]);
    assert_eq!(bench.leave(&[("", Some("i"))]), [ErrorCode::None]);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn what_a_static_consumer_owned_is_no_reason_to_rebalance_but_its_topics_are() {
    let consumer = |unique: &str, topics: &[&str], owned: &'static [u8]| {
        let protocols = vec![super::bench::subscription(topics, owned)];
        Join { protocols, ..fixed(unique) }
    };
    let mut bench = Bench::quick();
    let generation = bench.join(consumer("1", &["a", "b"], b"owned")).generation;
    bench.sync(fixed_ref("1", generation), &[("i-1", "mine")]);
    let joined = bench.join(consumer("2", &["b", "a"], b""));
    assert_eq!((joined.generation, joined.assignment), (generation, Assignment::Skip));
    let joined = bench.join(consumer("3", &["a"], b""));
    assert_eq!((joined.generation, joined.assignment), (generation + 1, Assignment::Compute));
}

#[test]
fn what_other_protocols_say_is_theirs() {
    let worker = |unique: &str, metadata: u8| {
        let protocols = vec![Protocol { name: "range".into(), metadata: vec![metadata] }];
        Join { protocol_type: "connect".into(), protocols, ..fixed(unique) }
    };
    let mut bench = Bench::quick();
    let generation = bench.join(worker("1", 1)).generation;
    bench.sync(fixed_ref("1", generation), &[]);
    assert_eq!(bench.join(worker("2", 2)).generation, generation);
}
