//! The rules of the classic protocol, one test each.

use broker_model::ErrorCode;
use broker_model::machine::Refusal;

use super::bench::{Bench, again, direct, nobody, who};
use crate::request::{FirstJoin, GroupState, Join, MemberRef, Protocol, Request, Sync};
use crate::settings::Settings;

fn protocols(names: &[&str]) -> Vec<Protocol> {
    names.iter().map(|name| Protocol { name: (*name).into(), metadata: vec![1] }).collect()
}

#[test]
fn a_new_member_is_told_an_id_and_comes_again_with_it() {
    let mut bench = Bench::quick();
    let first = bench.join(Join { first_join: FirstJoin::IdRequired, ..direct("a") });
    assert_eq!((first.error, first.member.as_str(), first.generation), (ErrorCode::MemberIdRequired, "c-a", -1));
    let joined = bench.join(Join { first_join: FirstJoin::IdRequired, ..again("a") });
    assert_eq!((joined.error, joined.generation, joined.leader.as_str()), (ErrorCode::None, 1, "c-a"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.protocol.as_deref(), Some("range"));
}

#[test]
fn a_promised_id_ends_with_its_session() {
    let mut bench = Bench::quick();
    bench.join(Join { first_join: FirstJoin::IdRequired, ..direct("a") });
    bench.wait(10_000);
    assert_eq!(bench.join(again("a")).error, ErrorCode::UnknownMemberId);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn an_unknown_member_of_an_unknown_group_is_refused() {
    let mut bench = Bench::quick();
    assert_eq!(bench.join(again("a")).error, ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat(who("a", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(bench.sync(who("a", 1), &[]).error, ErrorCode::UnknownMemberId);
    assert_eq!(bench.leave(&[("c-a", None)]), [ErrorCode::UnknownMemberId]);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn bad_joins_are_refused_with_their_reason() {
    let refused = |join: Join| Bench::quick().join(join).error;
    assert_eq!(refused(Join { group: String::new(), ..direct("a") }), ErrorCode::InvalidGroupId);
    assert_eq!(refused(Join { session_timeout_ms: 5_999, ..direct("a") }), ErrorCode::InvalidSessionTimeout);
    assert_eq!(refused(Join { session_timeout_ms: 1_800_001, ..direct("a") }), ErrorCode::InvalidSessionTimeout);
    assert_eq!(refused(Join { protocols: vec![], ..direct("a") }), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(Join { protocol_type: String::new(), ..direct("a") }), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(refused(Join { client_id: "x".repeat(20_000), ..direct("a") }), ErrorCode::InvalidRequest);
    assert_eq!(refused(Join { protocols: protocols(&["x"; 65]), ..direct("a") }), ErrorCode::InvalidRequest);
    let large = vec![Protocol { name: "range".into(), metadata: vec![0; 9 << 20] }];
    assert_eq!(refused(Join { protocols: large, ..direct("a") }), ErrorCode::GroupMaxSizeReached);
}

#[test]
fn the_initial_delay_lets_more_members_in_and_grows_with_them() {
    let mut bench = Bench::new(Settings::default());
    let first = bench.start_join(direct("a"));
    bench.wait(2_999);
    let second = bench.start_join(direct("b"));
    assert!(bench.waits(first));
    bench.wait(2_999);
    assert!(bench.waits(first) && bench.waits(second), "a newcomer starts the delay anew");
    bench.wait(2);
    let (first, second) = (bench.joined(first), bench.joined(second));
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!((first.members.len(), second.members.len()), (2, 0), "the leader alone hears of all");
    assert_eq!(second.leader, "c-a");
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut bench = Bench::new(Settings::default());
    let short = |name: &str| Join { rebalance_timeout_ms: 7_000, ..direct(name) };
    let first = bench.start_join(short("0"));
    for name in 1..8 {
        bench.wait(1_000);
        bench.start_join(short(&name.to_string()));
    }
    assert_eq!(bench.joined(first).members.len(), 7, "3 s, 3 s and what is left of 7 s: the last came too late");
}

#[test]
fn a_second_member_makes_the_first_join_again() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    let second = bench.start_join(direct("b"));
    assert!(bench.waits(second));
    assert_eq!(bench.heartbeat(who("a", generation)), ErrorCode::RebalanceInProgress);
    let first = bench.join(again("a"));
    assert_eq!((first.generation, first.leader.as_str(), first.members.len()), (generation + 1, "c-a", 2));
    assert_eq!(bench.joined(second).leader, "c-a", "who led goes on leading");
}

#[test]
fn followers_wait_for_the_leaders_assignment_which_is_written_first() {
    let mut bench = Bench::quick();
    bench.stable(&["a"]);
    let second = bench.start_join(direct("b"));
    let generation = bench.join(again("a")).generation;
    bench.joined(second);
    let follower = bench.start_sync(who("b", generation), &[]);
    assert!(bench.waits(follower));
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
    let written = bench.log.len();
    let leader = bench.sync(who("a", generation), &[("c-a", "one"), ("c-b", "two"), ("c-stranger", "three")]);
    assert_eq!(bench.log.len(), written + 1);
    assert_eq!((leader.error, leader.assignment.as_slice()), (ErrorCode::None, &b"one"[..]));
    let follower = bench.synced(follower);
    assert_eq!((follower.assignment.as_slice(), follower.protocol.as_deref()), (&b"two"[..], Some("range")));
    // Again, now that the group is stable.
    assert_eq!(bench.sync(who("b", generation), &[]).assignment, b"two");
}

#[test]
fn sync_checks_generation_and_protocol() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    assert_eq!(bench.sync(who("a", generation + 1), &[]).error, ErrorCode::IllegalGeneration);
    assert_eq!(bench.sync(who("b", generation), &[]).error, ErrorCode::UnknownMemberId);
    for (protocol_type, protocol) in [(Some("connect"), None), (None, Some("sticky"))] {
        let request = Sync {
            who: who("a", generation),
            protocol_type: protocol_type.map(Into::into),
            protocol: protocol.map(Into::into),
            assignments: vec![],
        };
        let call = bench.start(Request::Sync(request));
        assert_eq!(bench.synced(call).error, ErrorCode::InconsistentGroupProtocol);
    }
    bench.start_join(direct("b"));
    assert_eq!(bench.sync(who("a", generation), &[]).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn a_follower_with_the_same_metadata_stays_in_its_generation() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b"]);
    let joined = bench.join(again("b"));
    assert_eq!((joined.generation, joined.members.len()), (generation, 0));
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn a_follower_with_other_metadata_rebalances() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b"]);
    let metadata = Protocol { name: "range".into(), metadata: b"other".to_vec() };
    let follower = bench.start_join(Join { protocols: vec![metadata], ..again("b") });
    assert!(bench.waits(follower));
    bench.join(again("a"));
    assert_eq!(bench.joined(follower).generation, generation + 1);
}

#[test]
fn a_leader_that_joins_again_rebalances() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b"]);
    let leader = bench.start_join(again("a"));
    assert!(bench.waits(leader));
    assert_eq!(bench.join(again("b")).generation, generation + 1);
    assert_eq!(bench.joined(leader).members.len(), 2);
}

#[test]
fn a_lost_answer_to_a_join_is_given_again() {
    let mut bench = Bench::quick();
    let first = bench.join(direct("a"));
    let retry = bench.join(again("a"));
    assert_eq!((first.generation, first.members), (retry.generation, retry.members));
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_join_that_waits_is_sent_away_by_the_next_of_the_same_member() {
    let mut bench = Bench::quick();
    bench.stable(&["a", "b"]);
    let once = bench.start_join(again("a"));
    let twice = bench.start_join(again("a"));
    assert_eq!(bench.joined(once).error, ErrorCode::RebalanceInProgress);
    assert!(bench.waits(twice));
}

#[test]
fn the_vote_takes_what_all_can_do_and_most_prefer() {
    let mut bench = Bench::new(Settings::default());
    let can = |name: &str, names: &[&str]| Join { protocols: protocols(names), ..direct(name) };
    let first = bench.start_join(can("a", &["x", "range", "sticky"]));
    bench.start_join(can("b", &["sticky", "range"]));
    bench.start_join(can("c", &["range", "sticky"]));
    let other = bench.join(can("d", &["x"]));
    assert_eq!(other.error, ErrorCode::InconsistentGroupProtocol, "not all can do x");
    let other = bench.join(Join { protocol_type: "connect".into(), ..can("e", &["range"]) });
    assert_eq!(other.error, ErrorCode::InconsistentGroupProtocol);
    bench.wait(60_000);
    assert_eq!(bench.joined(first).protocol.as_deref(), Some("range"));
}

#[test]
fn a_full_group_takes_no_more() {
    let settings = Settings { members_max: 2, initial_rebalance_delay_ms: 0, ..Settings::default() };
    let mut bench = Bench::new(settings);
    bench.stable(&["a", "b"]);
    assert_eq!(bench.join(direct("c")).error, ErrorCode::GroupMaxSizeReached);
    bench.start_join(again("a"));
    assert_eq!(bench.join(again("b")).error, ErrorCode::None);
}

#[test]
fn who_is_silent_for_a_session_is_dropped() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b"]);
    for _ in 0..4 {
        bench.wait(3_000);
        let error = bench.heartbeat(who("a", generation));
        assert!(matches!(error, ErrorCode::None | ErrorCode::RebalanceInProgress), "{error:?}");
    }
    assert_eq!(bench.heartbeat(who("b", generation)), ErrorCode::UnknownMemberId);
    let joined = bench.join(again("a"));
    assert_eq!((joined.generation, joined.members.len()), (generation + 1, 1));
}

#[test]
fn a_session_does_not_run_out_while_its_member_waits() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b"]);
    let leader = bench.start_join(again("a"));
    for _ in 0..10 {
        bench.wait(5_000);
        assert_eq!(bench.heartbeat(who("b", generation)), ErrorCode::RebalanceInProgress);
    }
    assert!(bench.waits(leader));
    assert_eq!(bench.join(again("b")).generation, generation + 1);
}

#[test]
fn a_rebalance_waits_only_as_long_as_its_most_patient_member() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b"]);
    let leader = bench.start_join(again("a"));
    for _ in 0..12 {
        bench.heartbeat(who("b", generation));
        bench.wait(5_000);
    }
    let joined = bench.joined(leader);
    assert_eq!((joined.generation, joined.members.len()), (generation + 1, 1));
    assert_eq!(bench.join(again("b")).error, ErrorCode::UnknownMemberId);
}

#[test]
fn who_does_not_sync_in_time_is_dropped() {
    let mut bench = Bench::quick();
    bench.stable(&["a"]);
    let second = bench.start_join(direct("b"));
    let generation = bench.join(again("a")).generation;
    bench.joined(second);
    assert_eq!(bench.sync(who("a", generation), &[]).error, ErrorCode::None);
    for _ in 0..11 {
        bench.wait(5_000);
        assert_eq!(bench.heartbeat(who("a", generation)), ErrorCode::None);
        assert_eq!(bench.heartbeat(who("b", generation)), ErrorCode::None);
    }
    bench.wait(5_000);
    assert_eq!(bench.heartbeat(who("b", generation)), ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat(who("a", generation)), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_leave_during_the_rebalance_completes_it() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b", "c"]);
    let first = bench.start_join(again("a"));
    let second = bench.start_join(again("b"));
    assert!(bench.waits(first));
    assert_eq!(bench.leave(&[("c-c", None), ("c-x", None)]), [ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert_eq!(bench.joined(first).members.len(), 2);
    assert_eq!(bench.joined(second).generation, generation + 1);
}

#[test]
fn a_leave_while_others_sync_sends_them_back() {
    let mut bench = Bench::quick();
    bench.stable(&["a"]);
    let second = bench.start_join(direct("b"));
    let generation = bench.join(again("a")).generation;
    bench.joined(second);
    let follower = bench.start_sync(who("b", generation), &[]);
    assert_eq!(bench.leave(&[("c-a", None)]), [ErrorCode::None]);
    assert_eq!(bench.synced(follower).error, ErrorCode::RebalanceInProgress);
    assert_eq!(bench.join(again("b")).leader, "c-b");
}

#[test]
fn who_waits_and_is_removed_hears_so() {
    let mut bench = Bench::quick();
    bench.stable(&["a", "b"]);
    let waiting = bench.start_join(again("a"));
    bench.leave(&[("c-a", None)]);
    assert_eq!(bench.joined(waiting).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_pending_member_holds_the_rebalance_until_it_comes_or_leaves() {
    let mut bench = Bench::quick();
    bench.stable(&["a"]);
    bench.join(Join { first_join: FirstJoin::IdRequired, ..direct("b") });
    let first = bench.start_join(again("a"));
    assert!(bench.waits(first));
    assert_eq!(bench.leave(&[("c-b", None)]), [ErrorCode::None]);
    assert_eq!(bench.joined(first).members.len(), 1);
}

#[test]
fn the_last_leave_empties_the_group_for_its_successor_too() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    bench.commit(who("a", generation), "t", 5);
    bench.leave(&[("c-a", None)]);
    assert_eq!(bench.state(), GroupState::Empty);
    assert!(bench.live.groups.is_empty(), "an empty group that is written costs no soft state");
    bench.restart();
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(bench.join(direct("b")).generation, generation + 2, "it goes on counting");
}

#[test]
fn a_refused_end_of_a_group_is_written_again() {
    let mut bench = Bench::quick();
    bench.stable(&["a"]);
    bench.refuse_next = Some(Refusal::Unavailable);
    bench.start(Request::Leave(crate::request::Leave {
        group: "g".into(),
        members: vec![crate::request::LeavingMember { member: "c-a".into(), instance: None }],
    }));
    assert!(!bench.hard.meta("g").unwrap().members.is_empty());
    bench.wait(1_000);
    assert!(bench.hard.meta("g").unwrap().members.is_empty());
}

#[test]
fn a_refused_assignment_tells_all_and_rebalances() {
    for (why, expected) in [
        (Refusal::Unavailable, ErrorCode::CoordinatorNotAvailable),
        (Refusal::NotLeader, ErrorCode::NotCoordinator),
        (Refusal::TooLarge, ErrorCode::UnknownServerError),
    ] {
        let mut bench = Bench::quick();
        let generation = bench.join(direct("a")).generation;
        bench.refuse_next = Some(why);
        assert_eq!(bench.sync(who("a", generation), &[("c-a", "x")]).error, expected);
        assert_eq!(bench.state(), GroupState::PreparingRebalance);
        assert_eq!(bench.join(again("a")).generation, generation + 1);
    }
}

#[test]
fn a_successor_knows_the_stable_group_and_gives_each_a_whole_session() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a", "b"]);
    bench.wait(9_000);
    bench.restart();
    bench.wait(9_000);
    assert_eq!(bench.heartbeat(who("a", generation)), ErrorCode::None);
    assert_eq!(bench.sync(who("b", generation), &[]).assignment, b"b");
    bench.wait(1_000);
    assert_eq!(bench.state(), GroupState::Stable, "both were heard since");
    bench.wait(9_001);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn who_joined_after_the_last_record_is_unknown_to_a_successor() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    bench.start_join(direct("b"));
    bench.join(again("a"));
    bench.restart();
    assert_eq!(bench.heartbeat(who("b", generation + 1)), ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat(who("a", generation + 1)), ErrorCode::IllegalGeneration);
}

#[test]
fn commits_are_checked_against_member_generation_and_phase() {
    let mut bench = Bench::quick();
    assert_eq!(bench.commit(who("a", 0), "t", 1), ErrorCode::GroupIdNotFound, "no such group");
    let joined = bench.join(direct("a"));
    let member = who("a", joined.generation);
    assert_eq!(bench.commit(member.clone(), "t", 1), ErrorCode::RebalanceInProgress);
    bench.sync(member.clone(), &[]);
    assert_eq!(bench.commit(member.clone(), "t", 2), ErrorCode::None);
    assert_eq!(bench.commit(who("a", 0), "t", 3), ErrorCode::IllegalGeneration);
    assert_eq!(bench.commit(who("b", joined.generation), "t", 3), ErrorCode::UnknownMemberId);
    assert_eq!(bench.commit(nobody(), "t", 3), ErrorCode::UnknownMemberId, "the group has members");
    bench.start_join(direct("b"));
    assert_eq!(bench.commit(member.clone(), "t", 4), ErrorCode::None, "what was read can be kept while preparing");
    bench.leave(&[("c-a", None), ("c-b", None)]);
    assert_eq!(bench.commit(member, "t", 5), ErrorCode::UnknownMemberId);
    assert_eq!(bench.commit(nobody(), "t", 6), ErrorCode::None, "a tool resets an empty group");
    assert_eq!(bench.offsets()["t"], 6);
}

#[test]
fn a_commit_counts_as_a_heartbeat() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    for offset in 0..5 {
        bench.wait(9_000);
        assert_eq!(bench.commit(who("a", generation), "t", offset), ErrorCode::None);
    }
}

#[test]
fn other_protocol_types_work_alike() {
    let mut bench = Bench::quick();
    let join = Join { protocol_type: "connect".into(), protocols: protocols(&["compatible"]), ..direct("w") };
    let joined = bench.join(join);
    assert_eq!(joined.protocol_type.as_deref(), Some("connect"));
    bench.sync(MemberRef { generation: joined.generation, ..who("w", 0) }, &[("c-w", "\u{1}\u{2}")]);
    let described = bench.describe();
    assert_eq!((described.protocol_type.as_str(), described.protocol.as_str()), ("connect", "compatible"));
    assert_eq!(described.members[0].assignment, [1, 2]);
}
