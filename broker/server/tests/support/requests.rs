//! Requests as clients send them, with the fields of each version in their places, and what tests look at in the answers.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use broker_records::{BatchBuilder, BatchHead, Codec, batches};
use broker_wire::Records;
use broker_wire::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use broker_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use broker_wire::messages::fetch_response::{FetchResponse, PartitionData};
use broker_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use broker_wire::messages::list_offsets_response::ListOffsetsPartitionResponse;
use broker_wire::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use broker_wire::messages::produce_response::PartitionProduceResponse;
use broker_wire::messages::{JoinGroupRequest, SyncGroupRequest};
use bytes::Bytes;

use super::{Client, LONG_POLL_MS};

/// Versions from which Produce and Fetch name topics by id.
pub(crate) const BY_ID: i16 = 13;
/// The last versions that name them.
pub(crate) const BY_NAME: i16 = 12;
/// The timestamp of the first record of each batch.
pub(crate) const TIME: i64 = 1_700_000_000_000;

/// A topic as requests name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topic {
    pub(crate) name: &'static str,
    pub(crate) id: TopicId,
}

pub(crate) fn creatable(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    let config =
        |(name, value): &(&str, &str)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) };
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    }
}

pub(crate) fn create_request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest { topics, timeout_ms: 30_000, validate_only: false }
}

/// Makes a topic that must not be there.
pub(crate) fn create(client: &mut Client, name: &'static str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
    let answer = client.call(7, &create_request(vec![creatable(name, partitions, configs)]));
    let made = answer.topics.first().unwrap();
    assert_eq!(made.error_code, 0, "{:?}", made.error_message);
    Topic { name, id: made.topic_id }
}

/// A batch with one record for each value, a millisecond apart.
pub(crate) fn batch(values: &[&str]) -> Bytes {
    batch_at(Codec::None, TIME, values)
}

pub(crate) fn batch_at(codec: Codec, first: i64, values: &[&str]) -> Bytes {
    filled(BatchBuilder::new(codec), first, values)
}

pub(crate) fn batch_of(producer: i64, sequence: i32, values: &[&str]) -> Bytes {
    let builder = BatchBuilder::new(Codec::None);
    filled(builder.producer(ProducerId(producer), ProducerEpoch(0), Sequence(sequence)), TIME, values)
}

fn filled(mut builder: BatchBuilder, first: i64, values: &[&str]) -> Bytes {
    for (at, value) in (first..).zip(values) {
        builder.push(Timestamp(at), Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder.finish(Offset::ZERO, LeaderEpoch(-1))
}

pub(crate) fn produce_request(version: i16, topic: &Topic, rows: &[(i32, Option<Bytes>)]) -> ProduceRequest {
    let by_id = version >= BY_ID;
    let row = |(index, records): &(i32, Option<Bytes>)| PartitionProduceData {
        index: *index,
        records: records.clone().map(Records::from),
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: if by_id { "".into() } else { topic.name.into() },
            topic_id: if by_id { topic.id } else { TopicId::ZERO },
            partition_data: rows.iter().map(row).collect(),
        }],
        ..Default::default()
    }
}

/// Sends one batch to one partition.
pub(crate) fn produce(client: &mut Client, topic: &Topic, partition: i32, records: Bytes) -> PartitionProduceResponse {
    let answer = client.call(BY_NAME, &produce_request(BY_NAME, topic, &[(partition, Some(records))]));
    only(only(answer.responses).partition_responses)
}

/// Sends one batch, which must be taken, and gives its offset.
pub(crate) fn append(client: &mut Client, topic: &Topic, partition: i32, records: Bytes) -> i64 {
    let answer = produce(client, topic, partition, records);
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    answer.base_offset
}

/// A fetch from these partitions and offsets that does not wait.
pub(crate) fn fetch_request(version: i16, topic: &Topic, rows: &[(i32, i64)]) -> FetchRequest {
    let by_id = version >= BY_ID;
    let row = |(partition, offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![FetchTopic {
            topic: if by_id { "".into() } else { topic.name.into() },
            topic_id: if by_id { topic.id } else { TopicId::ZERO },
            partitions: rows.iter().map(row).collect(),
        }],
        ..Default::default()
    }
}

/// A fetch that must be woken.
pub(crate) fn long_poll(topic: &Topic, offset: i64, min_bytes: i32) -> FetchRequest {
    FetchRequest { max_wait_ms: LONG_POLL_MS, min_bytes, ..fetch_request(BY_NAME, topic, &[(0, offset)]) }
}

pub(crate) fn fetch(client: &mut Client, topic: &Topic, partition: i32, offset: i64) -> PartitionData {
    only(partitions(client.call(BY_NAME, &fetch_request(BY_NAME, topic, &[(partition, offset)]))))
}

pub(crate) fn partitions(answer: FetchResponse) -> Vec<PartitionData> {
    assert_eq!(answer.error_code, 0);
    answer.responses.into_iter().flat_map(|topic| topic.partitions).collect()
}

pub(crate) fn bytes_of(data: &PartitionData) -> Bytes {
    data.records.as_ref().and_then(Records::bytes).cloned().unwrap_or_default()
}

pub(crate) fn heads_of(data: &PartitionData) -> Vec<BatchHead> {
    batches(&bytes_of(data)).map(|batch| batch.unwrap().0).collect()
}

/// First and last offset of each batch.
pub(crate) fn ranges_of(data: &PartitionData) -> Vec<(i64, i64)> {
    heads_of(data).iter().map(|head| (head.base_offset.0, head.last_offset().0)).collect()
}

pub(crate) fn list_request(topic: &Topic, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.name.into(),
            partitions: vec![ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() }],
        }],
        ..Default::default()
    }
}

pub(crate) fn list(client: &mut Client, version: i16, topic: &Topic, timestamp: i64) -> ListOffsetsPartitionResponse {
    only(only(client.call(version, &list_request(topic, 0, timestamp)).topics).partitions)
}

pub(crate) fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    use broker_wire::messages::join_group_request::JoinGroupRequestProtocol;
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"subscription"),
        }],
        ..Default::default()
    }
}

/// Asks for a member id, which is all that the first join gives.
pub(crate) fn member_id(client: &mut Client, group: &str) -> String {
    let refused = client.call(9, &join_request(group, ""));
    assert_eq!(refused.error_code, 79, "MEMBER_ID_REQUIRED");
    assert!(!refused.member_id.is_empty());
    refused.member_id.to_string()
}

/// The only member of a group, in its first generation, without an assignment yet.
pub(crate) fn only_member(client: &mut Client, group: &str) -> (String, i32) {
    let member = member_id(client, group);
    let joined = client.call(9, &join_request(group, &member));
    assert_eq!((joined.error_code, &*joined.leader), (0, member.as_str()));
    (member, joined.generation_id)
}

pub(crate) fn sync_request(
    version: i16,
    group: &str,
    (member, generation): (&str, i32),
    assignments: &[(&str, &'static [u8])],
) -> SyncGroupRequest {
    use broker_wire::messages::sync_group_request::SyncGroupRequestAssignment;
    let assignment = |(member, bytes): &(&str, &'static [u8])| SyncGroupRequestAssignment {
        member_id: (*member).into(),
        assignment: Bytes::from_static(bytes),
    };
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        protocol_type: (version >= 5).then(|| "consumer".into()),
        protocol_name: (version >= 5).then(|| "range".into()),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

/// The element of a list that must have one.
pub(crate) fn only<T: std::fmt::Debug>(list: Vec<T>) -> T {
    assert_eq!(list.len(), 1, "{list:?}");
    list.into_iter().next().unwrap()
}
