//! Groups that are full, members whose first join takes too long, and what is told while a group changes.

use broker_model::ErrorCode;

use super::bench::{Bench, again, direct, who};
use crate::request::{FirstJoin, GroupState, Join, Request};
use crate::settings::{NEW_MEMBER_JOIN_MS, Settings};

fn full(members_max: usize) -> Settings {
    Settings { members_max, initial_rebalance_delay_ms: 50, ..Settings::default() }
}

fn pending(name: &str) -> Join {
    Join { first_join: FirstJoin::IdRequired, ..direct(name) }
}

#[test]
fn ids_are_promised_to_more_than_fit_and_the_last_to_come_stay_out() {
    let mut bench = Bench::new(full(3));
    let names = ["a", "b", "c", "d"];
    for name in names {
        assert_eq!(bench.join(pending(name)).error, ErrorCode::MemberIdRequired);
    }
    let calls: Vec<_> = names.iter().map(|name| bench.start_join(again(name))).collect();
    let refused = bench.joined(calls[3]);
    assert_eq!((refused.error, refused.member.as_str()), (ErrorCode::GroupMaxSizeReached, ""));
    bench.wait(100);
    assert!(calls[..3].iter().all(|call| bench.joined(*call).error == ErrorCode::None));
    // Who is in may come again, who is not may not.
    assert_eq!(bench.join(again("a")).error, ErrorCode::None);
    assert_eq!(bench.join(again("d")).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(bench.join(pending("e")).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn while_a_group_rebalances_those_count_who_have_come() {
    let mut bench = Bench::new(Settings { initial_rebalance_delay_ms: 0, ..full(2) });
    bench.stable(&["a", "b"]);
    assert_eq!(bench.join(direct("c")).error, ErrorCode::GroupMaxSizeReached);
    let leader = bench.start_join(again("a"));
    let newcomer = bench.start_join(direct("d"));
    assert!(bench.waits(leader) && bench.waits(newcomer), "two have come");
    assert_eq!(bench.join(again("b")).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(bench.joined(leader).members.len(), 2, "who was refused holds up nobody");
    assert_eq!(bench.joined(newcomer).error, ErrorCode::None);
}

#[test]
fn a_group_that_is_larger_than_it_may_be_now_rebalances_when_it_is_loaded() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b", "c"]);
    bench.machine = crate::GroupMachine::new(Settings { initial_rebalance_delay_ms: 0, ..full(2) });
    bench.restart();
    assert_eq!((bench.state(), bench.describe().members.len()), (GroupState::PreparingRebalance, 3));
    assert_eq!(bench.heartbeat(who("a", generation)), ErrorCode::RebalanceInProgress);
    let first = bench.start_join(again("c"));
    bench.start_join(again("b"));
    assert_eq!(bench.join(again("a")).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(bench.joined(first).generation, generation + 1);
    assert_eq!(bench.describe().members.len(), 2);
}

#[test]
fn a_new_member_waits_for_a_long_rebalance_only_so_long() {
    let patient = |join: Join| Join { rebalance_timeout_ms: 3_600_000, session_timeout_ms: 1_800_000, ..join };
    let mut bench = Bench::quick();
    let first = bench.join(patient(direct("a")));
    bench.sync(who("a", first.generation), &[]);
    let newcomer = bench.start_join(patient(direct("b")));
    bench.wait(NEW_MEMBER_JOIN_MS - 1);
    assert!(bench.waits(newcomer));
    bench.wait(1);
    let gone = bench.joined(newcomer);
    assert_eq!((gone.error, gone.member.as_str()), (ErrorCode::UnknownMemberId, ""));
    assert_eq!(bench.join(patient(again("a"))).generation, first.generation + 1);
    // Once it was in a generation, its session counts, and not while it waits.
    let second = bench.start_join(patient(direct("b")));
    let generation = bench.join(patient(again("a"))).generation;
    assert_eq!(bench.joined(second).generation, generation);
    bench.start_sync(who("b", generation), &[]);
    bench.sync(who("a", generation), &[]);
    let again_b =
        Join { protocols: vec![crate::request::Protocol { name: "range".into(), metadata: vec![9] }], ..again("b") };
    let waiting = bench.start_join(patient(again_b));
    bench.wait(NEW_MEMBER_JOIN_MS + 1);
    assert!(bench.waits(waiting));
}

#[test]
fn a_member_cannot_come_with_assignors_that_nobody_had() {
    let mut bench = Bench::quick();
    bench.stable(&["a"]);
    let other = crate::request::Protocol { name: "sticky".into(), metadata: vec![] };
    let changed = Join { protocols: vec![other], ..again("a") };
    assert_eq!(bench.join(changed).error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn what_a_member_was_assigned_is_shown_until_it_is_assigned_anew() {
    let mut bench = Bench::quick();
    bench.stable(&["a"]);
    bench.start_join(direct("b"));
    let preparing = bench.describe();
    assert_eq!((preparing.state, preparing.protocol.as_str()), (GroupState::PreparingRebalance, ""));
    assert_eq!((preparing.members[0].assignment.as_slice(), preparing.members[0].metadata.len()), (&b"a"[..], 0));
    assert_eq!(preparing.members[1].assignment.len(), 0);
}

#[test]
fn a_leader_that_does_not_name_a_member_assigns_it_nothing() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    let second = bench.start_join(direct("b"));
    let next = bench.join(again("a")).generation;
    bench.joined(second);
    let follower = bench.start_sync(who("b", next), &[]);
    assert_eq!(bench.sync(who("a", next), &[("c-b", "all")]).assignment, b"", "also if it had something before");
    assert_eq!((next, bench.synced(follower).assignment), (generation + 1, b"all".to_vec()));
}

#[test]
fn requests_without_a_group_are_refused() {
    let mut bench = Bench::quick();
    let nameless = crate::request::MemberRef { group: String::new(), ..who("a", 1) };
    assert_eq!(bench.heartbeat(nameless.clone()), ErrorCode::InvalidGroupId);
    assert_eq!(bench.sync(nameless, &[]).error, ErrorCode::InvalidGroupId);
    let call = bench.start(Request::DeleteOffsets(crate::request::DeleteOffsets::default()));
    assert_eq!(bench.answer(call), crate::request::Output::OffsetsDeleted(Err(ErrorCode::InvalidGroupId)));
}

#[test]
fn a_rebalance_timeout_below_zero_is_none() {
    let mut bench = Bench::quick();
    let hasty = |join: Join| Join { rebalance_timeout_ms: -1, ..join };
    let first = bench.join(hasty(direct("a")));
    bench.sync(who("a", first.generation), &[]);
    let second = bench.start_join(hasty(direct("b")));
    bench.wait(1);
    assert_eq!(bench.joined(second).members.len(), 1, "nobody was waited for");
}

#[test]
fn the_first_rebalance_does_not_wait_for_who_was_only_promised_an_id() {
    let mut bench = Bench::quick();
    bench.join(pending("a"));
    assert_eq!(bench.join(direct("b")).generation, 1);
    let second = bench.start_join(again("a"));
    assert_eq!(bench.join(again("b")).generation, 2);
    assert_eq!(bench.joined(second).generation, 2, "who comes later is not lost");
}

#[test]
fn who_was_promised_an_id_and_leaves_makes_a_rebalance() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    bench.join(pending("b"));
    assert_eq!(bench.leave(&[("c-b", None)]), [ErrorCode::None]);
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    assert_eq!(bench.join(again("a")).generation, generation + 1);
}
