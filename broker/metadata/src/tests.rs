//! The rules of the metadata machine, one test each, and the golden bytes of its records.

use std::collections::BTreeMap;

use broker_model::machine::{CallId, Effects, Input, Machine, Record};
use broker_model::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, Timestamp, TopicId};

use crate::machine::{META_1, META_2, MetadataMachine, PRODUCER_ID_BLOCK};
use crate::{
    AlterConfigs, AlterError, ArchiveChange, BeginIncarnation, ClusterImage, ConfigChange, ConfigOwner, CreateMode,
    CreatePartitions, CreateTopics, CreatedTopic, DeletedTopic, Existing, Incarnation, MorePartitions, NewTopic,
    Output, Request, TopicRef,
};

/// A machine whose every batch is committed at once.
#[derive(Default)]
struct Bench {
    image: ClusterImage,
    log: Vec<Record>,
}

impl Bench {
    fn founded() -> Bench {
        let mut bench = Bench::default();
        bench.begin("c");
        bench
    }

    fn ask(&mut self, request: Request) -> Output {
        let input = Input::Request(CallId(1), request);
        let Effects { batch, outputs } = MetadataMachine.step(&self.image, &mut (), Timestamp(0), input);
        for record in batch {
            MetadataMachine.apply(&mut self.image, Offset(self.log.len() as i64), &record).unwrap();
            self.log.push(record);
        }
        MetadataMachine.check(&self.image).unwrap();
        let mut replayed = ClusterImage::default();
        for record in MetadataMachine.records(&self.image) {
            MetadataMachine.apply(&mut replayed, Offset(0), &record).unwrap();
        }
        assert_eq!(replayed, self.image, "the shortest log leads to the same state");
        let [(CallId(1), output)] = &outputs[..] else { panic!("{outputs:?}") };
        output.clone()
    }

    fn begin(&mut self, cluster: &str) -> Output {
        self.ask(Request::BeginIncarnation(BeginIncarnation {
            node: NodeId(1),
            cluster_id: cluster.into(),
            incarnation: [7; 16],
            directory: [8; 16],
        }))
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<Result<NewTopic, ErrorCode>> {
        self.create_as(topics, CreateMode::Apply, Existing::Refuse)
    }

    fn create_as(
        &mut self,
        topics: Vec<NewTopic>,
        mode: CreateMode,
        existing: Existing,
    ) -> Vec<Result<NewTopic, ErrorCode>> {
        match self.ask(Request::CreateTopics(CreateTopics { topics, mode, existing })) {
            Output::Created(created) => {
                created.into_iter().map(|CreatedTopic { result, .. }| result.map_err(|error| error.code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn error(&mut self, topic: NewTopic) -> ErrorCode {
        self.create(vec![topic]).remove(0).expect_err("it is refused")
    }

    fn delete(&mut self, topics: Vec<TopicRef>) -> Vec<Result<(String, TopicId), ErrorCode>> {
        match self.ask(Request::DeleteTopics(topics)) {
            Output::Deleted(deleted) => {
                deleted.into_iter().map(|DeletedTopic { result, .. }| result.map_err(|error| error.code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn epoch(&self, topic: &str) -> LeaderEpoch {
        let topic = self.image.topic(topic).unwrap();
        self.image.leader_epoch(&topic.partitions[&PartitionIndex(0)])
    }
}

fn topic(name: &str, id: u8) -> NewTopic {
    NewTopic {
        name: name.into(),
        id: TopicId([id; 16]),
        partitions: 2,
        replication_factor: 1,
        configs: BTreeMap::from([("retention.ms".into(), "5".into())]),
    }
}

#[test]
fn the_first_incarnation_founds_the_cluster_with_the_feature_level_first() {
    let mut bench = Bench::default();
    assert!(matches!(bench.ask(Request::AllocateProducerIds), Output::Refused(_)));
    let begun = bench.begin("c");
    assert_eq!(begun, Output::Incarnation(Incarnation { cluster_id: "c".into(), broker_epoch: 1 }));
    assert_eq!(bench.log[0].key, [0, 0]);
    assert_eq!((bench.image.feature_level(), bench.image.cluster_id()), (Some(1), Some("c")));
    assert!(matches!(bench.begin("other"), Output::Refused(_)), "this log is of another cluster");
}

#[test]
fn leader_epochs_rise_at_each_start_by_one_record() {
    let mut bench = Bench::founded();
    bench.begin("c");
    bench.create(vec![topic("t", 1)]);
    assert_eq!(bench.epoch("t"), LeaderEpoch(0), "a new topic begins at 0 whatever happened before");
    let before = bench.log.len();
    bench.begin("c");
    assert_eq!(bench.log.len(), before + 1);
    assert_eq!(bench.epoch("t"), LeaderEpoch(1));
    bench.create(vec![topic("later", 2)]);
    bench.begin("c");
    assert_eq!((bench.epoch("t"), bench.epoch("later")), (LeaderEpoch(2), LeaderEpoch(1)));
}

#[test]
fn topics_are_found_by_name_and_id() {
    let mut bench = Bench::founded();
    assert_eq!(bench.create(vec![topic("b", 1), topic("a", 2)]), [Ok(topic("b", 1)), Ok(topic("a", 2))]);
    let found = bench.image.topic("b").unwrap();
    assert_eq!(bench.image.topic_by_id(TopicId([1; 16])), Some(found));
    assert_eq!(found.partitions.keys().map(|index| index.0).collect::<Vec<_>>(), [0, 1]);
    let names: Vec<&str> = bench.image.topics().map(|topic| &*topic.name).collect();
    assert_eq!((names, bench.image.topic_count()), (vec!["a", "b"], 2));
}

#[test]
fn bad_topics_are_refused_alone() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a.b", 1)]);
    assert_eq!(bench.error(topic("a.b", 2)), ErrorCode::TopicAlreadyExists);
    assert_eq!(bench.error(topic("a_b", 2)), ErrorCode::InvalidTopicException);
    assert_eq!(bench.error(topic("a/b", 2)), ErrorCode::InvalidTopicException);
    assert_eq!(bench.error(topic("x", 1)), ErrorCode::InvalidRequest, "the id is taken");
    assert_eq!(bench.error(topic("x", 0)), ErrorCode::InvalidRequest, "no id");
    assert_eq!(bench.error(NewTopic { partitions: 0, ..topic("x", 2) }), ErrorCode::InvalidPartitions);
    assert_eq!(bench.error(NewTopic { partitions: -1, ..topic("x", 2) }), ErrorCode::InvalidPartitions);
    assert_eq!(bench.error(NewTopic { partitions: i32::MAX, ..topic("x", 2) }), ErrorCode::PolicyViolation);
    assert_eq!(bench.error(NewTopic { replication_factor: 3, ..topic("x", 2) }), ErrorCode::InvalidReplicationFactor);
    let long = BTreeMap::from([("retention.ms".into(), "5".repeat(40_000))]);
    assert_eq!(bench.error(NewTopic { configs: long, ..topic("x", 2) }), ErrorCode::InvalidConfig);
    let twice = vec![topic("x", 2), topic("y_z", 3), topic("x", 4), topic("y.z", 5)];
    let expected = [
        Err(ErrorCode::InvalidRequest),
        Ok(topic("y_z", 3)),
        Err(ErrorCode::InvalidRequest),
        Err(ErrorCode::InvalidTopicException),
    ];
    assert_eq!(bench.create(twice), expected);
    assert_eq!(bench.image.topic_count(), 2);
}

#[test]
fn one_request_has_a_bound_on_partitions() {
    let mut bench = Bench::founded();
    let large = |name, id| NewTopic { partitions: 6_000, ..topic(name, id) };
    assert_eq!(bench.create(vec![large("a", 1), large("b", 2)])[1], Err(ErrorCode::PolicyViolation));
    assert_eq!(bench.image.topic("a").unwrap().partitions.len(), 6_000);
}

#[test]
fn validation_alone_changes_nothing() {
    let mut bench = Bench::founded();
    let before = bench.image.clone();
    let topics = vec![topic("a", 1)];
    assert_eq!(bench.create_as(topics, CreateMode::ValidateOnly, Existing::Refuse), [Ok(topic("a", 1))]);
    assert_eq!(bench.image, before);
}

#[test]
fn auto_creation_takes_what_stands() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1)]);
    let wanted = NewTopic { partitions: 9, ..topic("a", 2) };
    assert_eq!(bench.create_as(vec![wanted], CreateMode::Apply, Existing::Return), [Ok(topic("a", 1))]);
}

#[test]
fn a_deleted_topic_is_purged_until_that_is_finished() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1), topic("b", 2)]);
    let asked = vec![
        TopicRef::Name("a".into()),
        TopicRef::Id(TopicId([2; 16])),
        TopicRef::Id(TopicId([1; 16])),
        TopicRef::Name("none".into()),
        TopicRef::Id(TopicId([9; 16])),
    ];
    let expected = [
        Ok(("a".into(), TopicId([1; 16]))),
        Ok(("b".into(), TopicId([2; 16]))),
        Err(ErrorCode::InvalidRequest),
        Err(ErrorCode::UnknownTopicOrPartition),
        Err(ErrorCode::UnknownTopicId),
    ];
    assert_eq!(bench.delete(asked), expected);
    assert_eq!(bench.image.topic_count(), 0);
    let purges: Vec<_> = bench.image.purges().map(|(id, purge)| (id, purge.name.to_string())).collect();
    assert_eq!(purges, [(TopicId([1; 16]), "a".into()), (TopicId([2; 16]), "b".into())]);
    assert_eq!(bench.error(topic("c", 1)), ErrorCode::InvalidRequest, "an id that is purged is not fresh");
    assert_eq!(bench.create(vec![topic("a", 3)]), [Ok(topic("a", 3))], "the name is free at once");
    for id in [1, 2, 2] {
        assert_eq!(bench.ask(Request::PurgeFinished(TopicId([id; 16]))), Output::Purged);
    }
    assert_eq!(bench.image.purges().count(), 0);
    assert_eq!(bench.image.topic("a").unwrap().id, TopicId([3; 16]));
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn change(owner: ConfigOwner, expected: &[(&str, &str)], after: &[(&str, &str)]) -> ConfigChange {
    ConfigChange { owner, expected: configs(expected), configs: configs(after), archive: ArchiveChange::Keep }
}

fn named(topic: &str) -> ConfigOwner {
    ConfigOwner::Topic(topic.into())
}

impl Bench {
    fn alter(&mut self, mode: CreateMode, changes: Vec<ConfigChange>) -> Vec<Result<(), Option<ErrorCode>>> {
        match self.ask(Request::AlterConfigs(AlterConfigs { changes, mode })) {
            Output::Altered(results) => {
                let code = |error| match error {
                    AlterError::Overtaken => None,
                    AlterError::Refused(error) => Some(error.code),
                };
                results.into_iter().map(|result| result.map_err(code)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn grow(&mut self, mode: CreateMode, topics: Vec<MorePartitions>) -> Vec<Result<(), (ErrorCode, String)>> {
        match self.ask(Request::CreatePartitions(CreatePartitions { topics, mode })) {
            Output::PartitionsCreated(results) => {
                results.into_iter().map(|result| result.map_err(|error| (error.code, error.message))).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn configs_change_whole_and_only_from_what_the_caller_saw() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1)]);
    let (before, after) = ([("retention.ms", "5")], [("segment.ms", "1")]);
    assert_eq!(bench.alter(CreateMode::ValidateOnly, vec![change(named("a"), &before, &after)]), [Ok(())]);
    assert_eq!(*bench.image.topic("a").unwrap().configs, configs(&before));
    let long = "x".repeat(40_000);
    let changes = vec![
        change(named("a"), &before, &after),
        change(named("none"), &[], &after),
        change(named("a"), &[], &after),
        change(named("a"), &before, &[("retention.ms", &long)]),
    ];
    let expected =
        [Ok(()), Err(Some(ErrorCode::UnknownTopicOrPartition)), Err(None), Err(Some(ErrorCode::InvalidConfig))];
    assert_eq!(bench.alter(CreateMode::Apply, changes), expected);
    assert_eq!(*bench.image.topic("a").unwrap().configs, configs(&after));
    assert_eq!(bench.alter(CreateMode::Apply, vec![change(named("a"), &before, &after)]), [Err(None)]);
    let length = bench.log.len();
    assert_eq!(bench.alter(CreateMode::Apply, vec![change(named("a"), &after, &after)]), [Ok(())]);
    assert_eq!(bench.log.len(), length, "what changes nothing is not written");
}

#[test]
fn brokers_have_configs_of_their_own_and_of_all() {
    let mut bench = Bench::founded();
    let (all, one) = (ConfigOwner::Broker(None), ConfigOwner::Broker(Some(NodeId(1))));
    let (few, more) = ([("log.retention.ms", "1")], [("log.retention.ms", "2"), ("log.roll.ms", "3")]);
    let changes = vec![change(all.clone(), &[], &few), change(one.clone(), &[], &more)];
    assert_eq!(bench.alter(CreateMode::Apply, changes), [Ok(()), Ok(())]);
    assert_eq!(*bench.image.broker_configs(None), configs(&few));
    assert_eq!(*bench.image.broker_configs(Some(NodeId(1))), configs(&more));
    assert_eq!(bench.alter(CreateMode::Apply, vec![change(one, &few, &[])]), [Err(None)], "overtaken");
    assert_eq!(bench.alter(CreateMode::Apply, vec![change(all, &few, &[])]), [Ok(())]);
    assert_eq!(*bench.image.broker_configs(None), configs(&[]));
    assert_eq!(bench.image.broker_configs.len(), 1, "nothing is kept of what has nothing");
}

#[test]
fn a_topic_that_leaves_the_tier_is_purged_before_it_comes_back() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1)]);
    let (tiered, local) = ([("retention.ms", "5")], [("remote.storage.enable", "false")]);
    let leave = ConfigChange { archive: ArchiveChange::Purge, ..change(named("a"), &tiered, &local) };
    assert_eq!(bench.alter(CreateMode::Apply, vec![leave]), [Ok(())]);
    let purges: Vec<_> = bench.image.purges().map(|(id, purge)| (id, purge.name.to_string())).collect();
    assert_eq!(purges, [(TopicId([1; 16]), "a".into())]);
    let back = || ConfigChange { archive: ArchiveChange::Begin, ..change(named("a"), &local, &tiered) };
    assert_eq!(bench.alter(CreateMode::Apply, vec![back()]), [Err(Some(ErrorCode::InvalidConfig))]);
    assert_eq!(bench.ask(Request::PurgeFinished(TopicId([1; 16]))), Output::Purged);
    assert_eq!(bench.alter(CreateMode::Apply, vec![back()]), [Ok(())]);
    assert_eq!(bench.image.purges().count(), 0);
}

#[test]
fn topics_get_more_partitions_and_never_fewer() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1), topic("b", 2)]);
    bench.begin("c");
    let more = |name: &str, count| MorePartitions { name: name.into(), count, assignments: None };
    let asked = || vec![more("a", 5), more("none", 5), more("b", 2), more("b", 1), more("b", -1)];
    let same = "Topic already has 2 partition(s).".to_owned();
    let fewer = |count| format!("The topic b currently has 2 partition(s); {count} would not be an increase.");
    let expected = [
        Ok(()),
        Err((ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.".to_owned())),
        Err((ErrorCode::InvalidPartitions, same)),
        Err((ErrorCode::InvalidPartitions, fewer(1))),
        Err((ErrorCode::InvalidPartitions, fewer(-1))),
    ];
    let before = bench.image.clone();
    assert_eq!(bench.grow(CreateMode::ValidateOnly, asked()), expected);
    assert_eq!(bench.image, before);
    assert_eq!(bench.grow(CreateMode::Apply, asked()), expected);
    let grown = bench.image.topic("a").unwrap().clone();
    assert_eq!((grown.partition_count, grown.partitions.len()), (5, 5));
    let epoch = |index| bench.image.leader_epoch(&grown.partitions[&PartitionIndex(index)]);
    assert_eq!((epoch(0), epoch(4)), (LeaderEpoch(1), LeaderEpoch(0)), "old ones keep theirs, new ones begin at 0");
    let large = bench.grow(CreateMode::Apply, vec![more("a", i32::MAX), more("b", 10_002), more("a", 6)]);
    assert_eq!(large[0].as_ref().map_err(|error| error.0), Err(ErrorCode::PolicyViolation));
    assert_eq!(large[1..].iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn new_partitions_lie_where_the_request_says() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1)]);
    let mut ask = |rows: &[&[i32]]| {
        let assignments = rows.iter().map(|row| row.iter().copied().map(NodeId).collect()).collect();
        let topic = MorePartitions { name: "a".into(), count: 4, assignments: Some(assignments) };
        bench.grow(CreateMode::ValidateOnly, vec![topic]).remove(0)
    };
    assert_eq!(ask(&[&[1], &[1]]), Ok(()));
    for (rows, words) in [
        (&[&[1][..]][..], "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."),
        (&[&[1], &[]], "an empty replica list."),
        (&[&[1], &[2]], "includes broker 2, but no such broker is registered."),
        (&[&[1], &[1, 1]], "includes the broker 1 more than once."),
    ] {
        let (code, message) = ask(rows).unwrap_err();
        assert!(code == ErrorCode::InvalidReplicaAssignment && message.ends_with(words), "{rows:?}: {message}");
    }
}

#[test]
fn producer_ids_are_handed_out_once() {
    let mut bench = Bench::founded();
    for block in 0..3 {
        let Output::ProducerIds(ids) = bench.ask(Request::AllocateProducerIds) else { panic!() };
        assert_eq!((ids.first, ids.len), (ProducerId(block * i64::from(PRODUCER_ID_BLOCK)), PRODUCER_ID_BLOCK));
    }
}

#[test]
fn half_a_batch_breaks_an_invariant() {
    let mut bench = Bench::founded();
    let founded = bench.log.len();
    bench.create(vec![topic("a", 1)]);
    let replay = |records: &[Record]| {
        let mut image = ClusterImage::default();
        records.iter().for_each(|record| MetadataMachine.apply(&mut image, Offset(0), record).unwrap());
        MetadataMachine.check(&image)
    };
    for cut in founded + 1..bench.log.len() {
        assert_eq!(replay(&bench.log[..cut]), Err(META_1), "cut at {cut}");
    }
    assert_eq!(replay(&bench.log[1..]), Err(META_2));
    assert_eq!(replay(&bench.log), Ok(()));
}

#[test]
fn a_topic_may_stand_behind_its_partitions_as_compaction_leaves_it() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1)]);
    let mut image = ClusterImage::default();
    for record in bench.log.iter().rev() {
        MetadataMachine.apply(&mut image, Offset(0), record).unwrap();
    }
    assert_eq!(image, bench.image);
}

#[test]
fn golden_bytes_do_not_change() {
    let mut bench = Bench::founded();
    bench.create(vec![NewTopic { partitions: 1, ..topic("a", 1) }]);
    bench.ask(Request::AllocateProducerIds);
    bench.delete(vec![TopicRef::Name("a".into())]);
    let (all, one) = (ConfigOwner::Broker(None), ConfigOwner::Broker(Some(NodeId(1))));
    let given = [("a", "b")];
    bench.alter(CreateMode::Apply, vec![change(all.clone(), &[], &given), change(one, &[], &given)]);
    bench.alter(CreateMode::Apply, vec![change(all, &given, &[])]);
    let put = |key: &[u8], value: &[&[u8]]| Record::put(key.to_vec(), value.concat());
    let of_topic = |kind: u8| [&[0, kind][..], &[1; 16]].concat();
    let partition = [&of_topic(4)[..], &[0; 4]].concat();
    let expected = [
        put(b"\0\0", &[b"\x01\0\x01"]),
        put(b"\0\x01", &[b"\x01\0\x01c"]),
        put(b"\0\x02\0\0\0\x01", &[b"\x01\0\0\0\0\0\0\0\x01", &[7; 16], &[8; 16]]),
        put(&of_topic(3), &[b"\x01\0\x01a\0\0\0\x01\0\0\0\x01\0\x0cretention.ms\0\x015"]),
        put(
            &partition,
            &[b"\x01\0\0\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\x01\0\0\0\x01", &[8; 16], b"\0\0\0\x01\0\0\0\x01"],
        ),
        put(b"\0\x05", &[b"\x01\0\0\0\0\0\0\x03\xe8"]),
        Record::tombstone(partition.clone()),
        Record::tombstone(of_topic(3)),
        put(&of_topic(6), &[b"\x01\0\x01a\0\0\0\x01"]),
        put(b"\0\x07\xff\xff\xff\xff", &[b"\x01\0\0\0\x01\0\x01a\0\x01b"]),
        put(b"\0\x07\0\0\0\x01", &[b"\x01\0\0\0\x01\0\x01a\0\x01b"]),
        Record::tombstone(b"\0\x07\xff\xff\xff\xff".to_vec()),
    ];
    assert_eq!(bench.log, expected);
}

#[test]
fn damaged_and_newer_records_are_errors_and_unknown_kinds_are_skipped() {
    let mut bench = Bench::founded();
    bench.create(vec![topic("a", 1)]);
    bench.ask(Request::AllocateProducerIds);
    bench.alter(CreateMode::Apply, vec![change(ConfigOwner::Broker(None), &[], &[("a", "b")])]);
    let apply = |record: &Record| MetadataMachine.apply(&mut ClusterImage::default(), Offset(0), record);
    for record in &bench.log {
        let value = record.value.clone().unwrap();
        for cut in 0..value.len() {
            assert!(apply(&Record::put(record.key.clone(), value[..cut].to_vec())).is_err());
        }
        assert!(apply(&Record::put(record.key.clone(), [&value[..], &[0]].concat())).is_err(), "spare bytes");
        assert!(apply(&Record::put(record.key.clone(), [&[2], &value[1..]].concat())).is_err(), "newer version");
        for cut in 0..record.key.len() {
            assert!(apply(&Record::put(record.key[..cut].to_vec(), value.clone())).is_err());
        }
    }
    assert!(apply(&Record::put(vec![0, 0], b"\x01\0\x02".to_vec())).is_err(), "a newer feature level");
    assert_eq!(apply(&Record::put(vec![0, 99, 1], vec![])), Ok(()));
    let bomb = [&[1, 0, 1, b'a', 0, 0, 0, 1][..], &[0xff; 4]].concat();
    let key = [&[0, 3][..], &[1; 16]].concat();
    assert!(apply(&Record::put(key, bomb)).is_err(), "a count is not believed");
}
