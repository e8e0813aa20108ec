//! The whole way on a real disk: machine, driver, log files; the process ends, another begins.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use broker_group::request::{CommitOffsets, CommitPartition, CommitTopic, CommittedOffset, MemberRef};
use broker_group::{GroupMachine, Request as GroupRequest, Settings};
use broker_log::{DiskFiles, Log, LogConfig, OpenHints};
use broker_metadata::{
    BeginIncarnation, CreateMode, CreateTopics, Existing, MetadataMachine, NewTopic, Output, Request,
};
use broker_model::machine::{CallId, Input, Machine};
use broker_model::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, TopicId};
use broker_quorum::file::Damage;
use broker_quorum::{Driver, FileLog, Flush};
use parking_lot::Mutex;

fn open<M: Machine>(machine: M, dir: &Path, flush: Flush) -> Driver<M, FileLog<DiskFiles>> {
    let hints = OpenHints::unknown(TopicId([3; 16]), Timestamp(1));
    let config = LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() };
    let (log, _) = Log::open(DiskFiles, dir.to_owned(), config, &hints).expect("it opens");
    let log = FileLog::new(Arc::new(Mutex::new(log)), flush);
    let epoch = log.next_epoch();
    Driver::load(machine, log, epoch, Timestamp(1)).expect("it loads")
}

#[test]
fn metadata_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for start in 1..4u8 {
        let mut driver = open(MetadataMachine, &dir.path().join("__cluster_metadata-0"), Flush::BeforeCommit);
        let begin =
            BeginIncarnation { node: NodeId(1), cluster_id: "c".into(), incarnation: [start; 16], directory: [1; 16] };
        driver.handle(Timestamp(2), Input::Request(CallId(1), Request::BeginIncarnation(begin)));
        let topic = NewTopic {
            name: format!("t{start}"),
            id: TopicId([start; 16]),
            partitions: 3,
            replication_factor: 1,
            configs: BTreeMap::new(),
        };
        let create = CreateTopics { topics: vec![topic], mode: CreateMode::Apply, existing: Existing::Refuse };
        driver.handle(Timestamp(3), Input::Request(CallId(2), Request::CreateTopics(create)));
        let replies = driver.drain();
        assert!(
            matches!(&replies[0], (CallId(1), Ok(Output::Incarnation(begun))) if begun.broker_epoch == start.into())
        );
        assert!(matches!(&replies[1], (CallId(2), Ok(Output::Created(_)))));
        let image = &driver.committed().unwrap().hard;
        assert_eq!(image.topic_count(), start.into());
        let oldest = image.topic("t1").unwrap();
        assert_eq!(image.leader_epoch(&oldest.partitions[&PartitionIndex(0)]), LeaderEpoch(i32::from(start) - 1));
    }
}

#[test]
fn committed_offsets_survive_and_dirt_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("__consumer_offsets-7");
    let mut last = 0;
    for _ in 0..3 {
        let mut driver = open(GroupMachine::new(Settings::default()), &path, Flush::Never);
        for _ in 0..5_000 {
            last += 1;
            commit(&mut driver, last);
            driver.compact_if_dirty(Timestamp(last), 100_000);
        }
        assert!(driver.log().shared().lock().size_bytes() < 400_000);
    }
    let driver = open(GroupMachine::new(Settings::default()), &path, Flush::Never);
    assert_eq!(committed(&driver), [last]);
}

#[test]
fn a_rotten_commit_is_left_out_and_the_one_before_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("__consumer_offsets-7");
    let mut driver = open(GroupMachine::new(Settings::default()), &path, Flush::Never);
    (1..=3).for_each(|offset| commit(&mut driver, offset));
    driver.log().shared().lock().close(Timestamp(4)).expect("it closes");
    drop(driver);
    let file = path.join("00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let load = |damage| {
        let hints = OpenHints { clean: true, ..OpenHints::unknown(TopicId([3; 16]), Timestamp(5)) };
        let (log, _) = Log::open(DiskFiles, path.clone(), LogConfig::default(), &hints).expect("it opens");
        let log = FileLog::new(Arc::new(Mutex::new(log)), Flush::Never).with_damage(damage);
        let epoch = log.next_epoch();
        Driver::load(GroupMachine::new(Settings::default()), log, epoch, Timestamp(5))
    };
    assert!(load(Damage::Refuse).is_err());
    assert_eq!(committed(&load(Damage::LeaveOut).expect("it loads without the last commit")), [2]);
}

fn commit(driver: &mut Driver<GroupMachine, FileLog<DiskFiles>>, offset: i64) {
    let now = Timestamp(offset);
    let offset = CommittedOffset { offset: Offset(offset), leader_epoch: LeaderEpoch(0), metadata: "m".into() };
    let partitions = vec![CommitPartition { partition: PartitionIndex(0), error: ErrorCode::None, offset }];
    let topic = CommitTopic { topic: "t".into(), id: TopicId([9; 16]), error: ErrorCode::None, partitions };
    let who = MemberRef { group: "g".into(), generation: -1, ..MemberRef::default() };
    let request = GroupRequest::CommitOffsets(CommitOffsets { who, topics: vec![topic], ..CommitOffsets::default() });
    driver.handle(now, Input::Request(CallId(0), request));
    assert!(matches!(driver.drain()[..], [(CallId(0), Ok(_))]));
}

fn committed(driver: &Driver<GroupMachine, FileLog<DiskFiles>>) -> Vec<i64> {
    let image = driver.committed().expect("it leads");
    let group = image.hard.get("g").expect("the group is there");
    group.offsets.values().map(|kept| kept.committed.offset.0).collect()
}

#[test]
fn a_driver_can_be_an_actor_on_any_thread() {
    fn sendable<T: Send>() {}
    sendable::<Driver<GroupMachine, FileLog<DiskFiles>>>();
    sendable::<Driver<MetadataMachine, FileLog<DiskFiles>>>();
}
