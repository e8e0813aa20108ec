//! Offsets, tools and housekeeping: what is kept, shown and deleted.

use broker_model::machine::Machine;
use broker_model::{ErrorCode, PartitionIndex, TopicId};

use super::bench::{Bench, again, commit, direct, nobody, subscription, who};
use crate::request::{
    CommitOffsets, DeleteOffsets, FetchOffsets, FetchTopic, FirstJoin, GroupState, Join, Output, Request,
};
use crate::settings::Settings;

const WEEK_MS: i64 = 10_080 * 60_000;
const CHECK_MS: i64 = 600_000;

#[test]
fn what_is_not_committed_is_minus_one() {
    let mut bench = Bench::quick();
    let topic = FetchTopic { topic: "t".into(), id: TopicId::ZERO, partitions: vec![PartitionIndex(3)] };
    let group = FetchOffsets { group: "none".into(), topics: Some(vec![topic]) };
    let call = bench.start(Request::FetchOffsets(vec![group]));
    let Output::Fetched(groups) = bench.answer(call) else { panic!() };
    let (partition, committed) = &groups[0].topics[0].1[0];
    assert_eq!((partition.0, committed.offset.0, committed.leader_epoch.0), (3, -1, -1));
    assert_eq!(committed.metadata, "");
}

#[test]
fn an_offset_of_an_earlier_topic_of_the_name_is_not_told() {
    let mut bench = Bench::quick();
    let Request::CommitOffsets(mut request) = commit(nobody(), "t", 7, "") else { panic!() };
    request.topics[0].id = TopicId([1; 16]);
    bench.start(Request::CommitOffsets(request));
    for (id, expected) in [(TopicId([1; 16]), 7), (TopicId([2; 16]), -1), (TopicId::ZERO, 7)] {
        let topic = FetchTopic { topic: "t".into(), id, partitions: vec![PartitionIndex(0)] };
        let call =
            bench.start(Request::FetchOffsets(vec![FetchOffsets { group: "g".into(), topics: Some(vec![topic]) }]));
        let Output::Fetched(groups) = bench.answer(call) else { panic!() };
        assert_eq!(groups[0].topics[0].1[0].1.offset.0, expected);
    }
}

#[test]
fn errors_are_per_partition_and_the_rest_is_committed() {
    let mut bench = Bench::quick();
    let part = |topic: &str, metadata: &str, error| {
        let Request::CommitOffsets(CommitOffsets { mut topics, .. }) = commit(nobody(), topic, 1, metadata) else {
            panic!()
        };
        let mut topic = topics.remove(0);
        topic.error = error;
        topic
    };
    let topics = vec![
        part("t", "", ErrorCode::None),
        part("long", &"x".repeat(4097), ErrorCode::None),
        part("fits", &"x".repeat(4096), ErrorCode::None),
        part("gone", "", ErrorCode::UnknownTopicOrPartition),
        part("", "", ErrorCode::None),
    ];
    let call = bench.start(Request::CommitOffsets(CommitOffsets { who: nobody(), topics, ..CommitOffsets::default() }));
    let Output::Committed(topics) = bench.answer(call) else { panic!() };
    let errors: Vec<ErrorCode> = topics.iter().map(|topic| topic.partitions[0].1).collect();
    let expected = [
        ErrorCode::None,
        ErrorCode::OffsetMetadataTooLarge,
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::InvalidTopicException,
    ];
    assert_eq!(errors, expected);
    assert_eq!(bench.offsets().into_keys().collect::<Vec<_>>(), ["fits", "t"]);
}

#[test]
fn groups_are_listed_with_state_and_type() {
    let mut bench = Bench::quick();
    bench.commit(nobody(), "t", 1);
    bench.commit(crate::request::MemberRef { group: "simple".into(), ..nobody() }, "t", 1);
    bench.leave(&[]);
    bench.stable(&["a"]);
    let call = bench.start(Request::List);
    let Output::Listed(groups) = bench.answer(call) else { panic!() };
    let seen: Vec<_> =
        groups.iter().map(|group| (group.group.as_str(), group.protocol_type.as_str(), group.state)).collect();
    assert_eq!(seen, [("g", "consumer", GroupState::Stable), ("simple", "", GroupState::Empty)]);
}

#[test]
fn groups_are_deleted_with_their_offsets_if_empty() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    bench.commit(who("a", generation), "t", 1);
    let delete = |bench: &mut Bench| {
        let call = bench.start(Request::Delete(vec!["g".into(), "none".into()]));
        let Output::Deleted(results) = bench.answer(call) else { panic!() };
        results.into_iter().map(|(_, error)| error).collect::<Vec<_>>()
    };
    assert_eq!(delete(&mut bench), [ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound]);
    bench.leave(&[("c-a", None)]);
    assert_eq!(delete(&mut bench), [ErrorCode::None, ErrorCode::GroupIdNotFound]);
    assert_eq!(bench.hard, crate::Groups::default());
}

#[test]
fn offsets_expire_a_week_after_the_group_became_empty() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    bench.commit(who("a", generation), "t", 1);
    let mut left = WEEK_MS + CHECK_MS;
    while left > 0 {
        bench.wait(9_000);
        left -= 9_000;
        assert_eq!(bench.heartbeat(who("a", generation)), ErrorCode::None);
    }
    assert_eq!(bench.offsets().len(), 1, "members keep them");
    bench.leave(&[("c-a", None)]);
    bench.wait(WEEK_MS - 1);
    assert_eq!(bench.offsets().len(), 1);
    bench.wait(CHECK_MS + 1);
    assert_eq!(bench.offsets().len(), 0);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn simple_groups_expire_by_commit() {
    let mut bench =
        Bench::new(Settings { offsets_retention_ms: 5_000, retention_check_ms: 1_000, ..Settings::default() });
    bench.commit(nobody(), "old", 1);
    bench.wait(3_000);
    bench.commit(nobody(), "new", 1);
    bench.wait(3_000);
    assert_eq!(bench.offsets().into_keys().collect::<Vec<_>>(), ["new"]);
}

#[test]
fn offsets_of_deleted_topics_go_a_few_at_a_time() {
    let mut bench = Bench::quick();
    for group in 0..30 {
        let Request::CommitOffsets(mut request) = commit(nobody(), "t", 1, "") else { panic!() };
        let partition = request.topics[0].partitions[0].clone();
        let number = |index| crate::request::CommitPartition { partition: PartitionIndex(index), ..partition.clone() };
        request.topics[0].partitions = (0..100).map(number).collect();
        request.who.group = format!("g{group}");
        bench.start(Request::CommitOffsets(request));
    }
    bench.commit(nobody(), "kept", 1);
    let call = bench.start(Request::TopicsDeleted(vec!["t".into()]));
    assert_eq!(bench.answer(call), Output::Noted);
    let before = bench.log.len();
    bench.wait(1);
    assert_eq!(bench.log.len(), before + 1000, "a step is bounded");
    bench.wait(10);
    assert_eq!(bench.hard.groups.len(), 1);
    assert_eq!(bench.offsets().into_keys().collect::<Vec<_>>(), ["kept"]);
    assert!(bench.live.housekeeping.deleted_topics.is_empty());
    let records = bench.machine.records(&bench.hard);
    assert_eq!(records.len(), 1);
}

#[test]
fn an_emptied_group_without_offsets_stays_until_the_next_check() {
    let mut bench = Bench::quick();
    let generation = bench.stable(&["a"]);
    bench.leave(&[("c-a", None)]);
    bench.start(Request::TopicsDeleted(vec!["other".into()]));
    bench.wait(10);
    assert_eq!(bench.state(), GroupState::Empty, "a deleted topic takes offsets, and no groups");
    assert_eq!(bench.join(direct("b")).generation, generation + 2, "it goes on counting");
    bench.leave(&[("c-b", None)]);
    bench.wait(CHECK_MS);
    assert_eq!(bench.state(), GroupState::Dead);
    assert_eq!(bench.hard, crate::Groups::default());
}

/// A stable group of one consumer that subscribes to these topics. Returns its generation.
fn consumer_of(bench: &mut Bench, topics: &[&str]) -> i32 {
    let join = Join { protocols: vec![subscription(topics, b"")], ..direct("a") };
    let generation = bench.join(join).generation;
    assert_eq!(bench.sync(who("a", generation), &[]).error, ErrorCode::None);
    generation
}

fn short() -> Bench {
    Bench::new(Settings {
        offsets_retention_ms: 5_000,
        retention_check_ms: 1_000,
        initial_rebalance_delay_ms: 0,
        ..Settings::default()
    })
}

fn topics_left(bench: &mut Bench) -> Vec<String> {
    bench.offsets().into_keys().collect()
}

#[test]
fn a_stable_group_keeps_the_offsets_of_what_it_subscribes_to() {
    let mut bench = short();
    let generation = consumer_of(&mut bench, &["a", "b"]);
    for topic in ["a", "b", "old"] {
        assert_eq!(bench.commit(who("a", generation), topic, 1), ErrorCode::None);
    }
    bench.wait(4_000);
    bench.commit(who("a", generation), "new", 1);
    bench.wait(2_000);
    assert_eq!(topics_left(&mut bench), ["a", "b", "new"], "of what nobody subscribes to, from the commit on");
    // While the group rebalances nothing expires, and then what is subscribed to now counts.
    bench.heartbeat(who("a", generation));
    let second = bench.start_join(Join { protocols: vec![subscription(&["b"], b"")], ..direct("b") });
    bench.wait(5_000);
    assert_eq!(topics_left(&mut bench), ["a", "b", "new"]);
    let changed = Join { protocols: vec![subscription(&["b"], b"")], ..again("a") };
    let generation = bench.join(changed).generation;
    assert_eq!(bench.joined(second).error, ErrorCode::None);
    bench.start_sync(who("b", generation), &[]);
    bench.sync(who("a", generation), &[]);
    bench.wait(2_000);
    assert_eq!(topics_left(&mut bench), ["b"]);
    bench.restart();
    bench.wait(2_000);
    assert_eq!((bench.state(), topics_left(&mut bench)), (GroupState::Stable, vec!["b".to_owned()]));
}

#[test]
fn offsets_of_a_group_whose_subscription_is_not_known_do_not_expire() {
    for protocol_type in ["consumer", "connect"] {
        let mut bench = short();
        let join = Join { protocol_type: protocol_type.into(), ..direct("a") };
        let generation = bench.join(join).generation;
        bench.sync(who("a", generation), &[]);
        bench.commit(who("a", generation), "t", 1);
        for _ in 0..3 {
            bench.wait(5_000);
            assert_eq!(bench.heartbeat(who("a", generation)), ErrorCode::None);
        }
        assert_eq!(topics_left(&mut bench), ["t"], "{protocol_type}");
    }
}

#[test]
fn a_tools_commit_to_an_empty_group_is_kept_from_the_commit_on() {
    let mut bench = short();
    let generation = bench.stable(&["a"]);
    bench.commit(who("a", generation), "old", 1);
    bench.leave(&[("c-a", None)]);
    bench.wait(4_000);
    bench.commit(nobody(), "reset", 1);
    bench.wait(2_000);
    assert_eq!(topics_left(&mut bench), ["reset"]);
    bench.wait(5_000);
    assert_eq!(bench.state(), GroupState::Dead, "with its last offset the group goes");
}

#[test]
fn an_offset_with_a_retention_of_its_own_goes_by_that() {
    let mut bench = short();
    let retained = |topic: &str, retention_ms| {
        let Request::CommitOffsets(request) = commit(nobody(), topic, 1, "") else { panic!() };
        Request::CommitOffsets(CommitOffsets { retention_ms: Some(retention_ms), ..request })
    };
    bench.start(retained("short", 1_500));
    bench.start(retained("long", 20_000));
    bench.commit(nobody(), "plain", 1);
    bench.restart();
    bench.wait(3_000);
    assert_eq!(topics_left(&mut bench), ["long", "plain"]);
    bench.wait(3_000);
    assert_eq!(topics_left(&mut bench), ["long"]);
    bench.wait(15_000);
    assert_eq!(topics_left(&mut bench), Vec::<String>::new());
}

#[test]
fn what_is_committed_to_a_new_topic_of_a_deleted_ones_name_stays() {
    let mut bench = Bench::quick();
    bench.commit(nobody(), "t", 1);
    bench.start(Request::TopicsDeleted(vec!["t".into()]));
    bench.now = bench.now.plus_ms(1);
    bench.commit(nobody(), "t", 2);
    bench.wait(10);
    assert_eq!(bench.offsets()["t"], 2);
}

fn delete_offsets(bench: &mut Bench, topics: &[&str]) -> Result<Vec<ErrorCode>, ErrorCode> {
    let topics = topics.iter().map(|topic| ((*topic).to_owned(), vec![PartitionIndex(0)])).collect();
    let call = bench.start(Request::DeleteOffsets(DeleteOffsets { group: "g".into(), topics }));
    let Output::OffsetsDeleted(deleted) = bench.answer(call) else { panic!() };
    deleted.map(|topics| topics.into_iter().map(|(_, partitions)| partitions[0].1).collect())
}

#[test]
fn offsets_are_deleted_unless_a_member_may_use_them() {
    use ErrorCode::{GroupIdNotFound, GroupSubscribedToTopic, NonEmptyGroup, None as Fine};
    let mut bench = Bench::quick();
    assert_eq!(delete_offsets(&mut bench, &["t"]), Err(GroupIdNotFound));
    let first = bench.join(Join { protocols: vec![subscription(&["t"], b"")], ..direct("a") });
    assert_eq!(delete_offsets(&mut bench, &["t", "other"]), Ok(vec![GroupSubscribedToTopic, Fine]));
    bench.sync(who("a", first.generation), &[]);
    bench.commit(who("a", first.generation), "t", 1);
    bench.commit(who("a", first.generation), "other", 1);
    assert_eq!(delete_offsets(&mut bench, &["t", "other", "other"]), Ok(vec![GroupSubscribedToTopic, Fine, Fine]));
    assert_eq!(topics_left(&mut bench), ["t"]);
    bench.restart();
    assert_eq!(delete_offsets(&mut bench, &["t"]), Ok(vec![GroupSubscribedToTopic]));
    bench.leave(&[("c-a", None)]);
    assert_eq!(delete_offsets(&mut bench, &["t", "t"]), Ok(vec![Fine, Fine]));
    assert_eq!((topics_left(&mut bench).len(), bench.state()), (0, GroupState::Empty));
    bench.join(Join { protocol_type: "connect".into(), ..direct("w") });
    assert_eq!(delete_offsets(&mut bench, &["t"]), Err(NonEmptyGroup));
}

#[test]
fn before_the_first_generation_consumers_may_use_any_topic() {
    let mut bench = Bench::new(Settings::default());
    bench.start_join(Join { protocols: vec![subscription(&["t"], b"")], ..direct("a") });
    assert_eq!(delete_offsets(&mut bench, &["other"]), Ok(vec![ErrorCode::GroupSubscribedToTopic]));
}

#[test]
fn a_simple_group_outlives_its_last_offset_until_the_next_look() {
    let mut bench = Bench::quick();
    bench.commit(nobody(), "t", 1);
    assert_eq!(delete_offsets(&mut bench, &["t"]), Ok(vec![ErrorCode::None]));
    assert_eq!(bench.state(), GroupState::Empty);
    bench.restart();
    assert_eq!(bench.describe().protocol_type, "");
    bench.wait(CHECK_MS + 1);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn a_group_of_promised_ids_can_be_deleted() {
    let mut bench = Bench::quick();
    bench.join(Join { first_join: FirstJoin::IdRequired, ..direct("a") });
    assert_eq!(bench.state(), GroupState::Empty);
    let call = bench.start(Request::Delete(vec!["g".into()]));
    assert_eq!(bench.answer(call), Output::Deleted(vec![("g".into(), ErrorCode::None)]));
    assert_eq!(bench.state(), GroupState::Dead);
    assert_eq!(bench.join(again("a")).error, ErrorCode::UnknownMemberId);
}
