//! The coordinator's records in Kafka's own formats, so that Kafka's tools read `__consumer_offsets`.
//!
//! Offset commits: key type 1, value version 4 where the topic's id is known (it is a tagged field), else 3; version 1, which
//! has neither id nor leader epoch, where the client said when it expires. Groups: key type 2, value version 3. Older versions are read; key types of other coordinators (consumer, share and streams
//! groups) are skipped, so that a log that a newer broker wrote can be read.

use broker_model::machine::{Record, RecordError};
use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use broker_wire::coordinator::CoordinatorKey;
use broker_wire::messages::group_metadata_value::MemberMetadata;
use broker_wire::messages::{GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};
use bytes::Bytes;
use uuid::Uuid;

use crate::request::{CommittedOffset, KeptOffset};
use crate::state::{KeptMember, KeptMeta};

const GROUP_VALUE_VERSION: i16 = 3;
const OFFSET_VALUE_VERSION_EXPIRING: i16 = 1;
const OFFSET_VALUE_VERSION: i16 = 3;
const OFFSET_VALUE_VERSION_WITH_ID: i16 = 4;
const BOUNDED: &str = "names and metadata are bounded when they come in";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An offset of a group, or its end.
    Offset(String, (String, PartitionIndex), Option<KeptOffset>),
    /// A group, or its end.
    Group(String, Option<KeptMeta>),
    /// A type of record that is not the classic coordinator's.
    Unknown,
}

/// Writes a committed offset, or with `None` its tombstone.
#[must_use]
pub fn offset(group: &str, topic: &str, partition: PartitionIndex, kept: Option<&KeptOffset>) -> Record {
    let key = OffsetCommitKey { group: group.into(), topic: topic.into(), partition: partition.0 };
    let value = kept.map(|kept| {
        let value = OffsetCommitValue {
            offset: kept.committed.offset.0,
            metadata: kept.committed.metadata.as_str().into(),
            commit_timestamp: kept.at.0,
            ..OffsetCommitValue::default()
        };
        let (leader_epoch, topic_id) = (kept.committed.leader_epoch.0, Uuid::from_bytes(kept.topic_id.0));
        let (version, value) = match kept.expires {
            Some(Timestamp(expire_timestamp)) => {
                (OFFSET_VALUE_VERSION_EXPIRING, OffsetCommitValue { expire_timestamp, ..value })
            }
            None if kept.topic_id.is_zero() => (OFFSET_VALUE_VERSION, OffsetCommitValue { leader_epoch, ..value }),
            None => (OFFSET_VALUE_VERSION_WITH_ID, OffsetCommitValue { leader_epoch, topic_id, ..value }),
        };
        value.encode_prefixed(version).expect(BOUNDED).to_vec()
    });
    Record { key: key.encode_prefixed().expect(BOUNDED).to_vec(), value }
}

/// Writes a group, or with `None` its tombstone.
#[must_use]
pub fn group(group: &str, meta: Option<&KeptMeta>) -> Record {
    let key = GroupMetadataKey { group: group.into() };
    let value = meta.map(|meta| {
        let value = GroupMetadataValue {
            protocol_type: meta.protocol_type.as_str().into(),
            generation: meta.generation,
            protocol: meta.protocol.as_deref().map(Into::into),
            leader: meta.leader.as_deref().map(Into::into),
            current_state_timestamp: meta.state_at.0,
            members: meta.members.iter().map(member).collect(),
        };
        value.encode_prefixed(GROUP_VALUE_VERSION).expect(BOUNDED).to_vec()
    });
    Record { key: key.encode_prefixed().expect(BOUNDED).to_vec(), value }
}

fn member(kept: &KeptMember) -> MemberMetadata {
    MemberMetadata {
        member_id: kept.member.as_str().into(),
        group_instance_id: kept.instance.as_deref().map(Into::into),
        client_id: kept.client_id.as_str().into(),
        client_host: kept.client_host.as_str().into(),
        rebalance_timeout: kept.rebalance_timeout_ms,
        session_timeout: kept.session_timeout_ms,
        subscription: kept.subscription.clone().into(),
        assignment: kept.assignment.clone().into(),
    }
}

/// Reads a record.
///
/// # Errors
/// A type that is known, in a form that is not.
pub fn read(record: &Record) -> Result<Change, RecordError> {
    let key = CoordinatorKey::decode(Bytes::copy_from_slice(&record.key));
    let value = record.value.as_ref().map(|value| Bytes::copy_from_slice(value));
    match key.map_err(|_| RecordError { kind: -1, what: "the key is cut" })? {
        CoordinatorKey::OffsetCommit(key) => {
            let at = (key.topic.to_string(), PartitionIndex(key.partition));
            Ok(Change::Offset(key.group.to_string(), at, value.map(read_offset).transpose()?))
        }
        CoordinatorKey::GroupMetadata(key) => {
            Ok(Change::Group(key.group.to_string(), value.map(read_group).transpose()?))
        }
        CoordinatorKey::Unknown(_) => Ok(Change::Unknown),
    }
}

fn read_offset(value: Bytes) -> Result<KeptOffset, RecordError> {
    let kind = OffsetCommitKey::RECORD_TYPE;
    let read = OffsetCommitValue::decode_prefixed(value);
    let (value, _) =
        read.map_err(|_| RecordError { kind, what: "an offset's value is cut or of an unknown version" })?;
    Ok(KeptOffset {
        committed: CommittedOffset {
            offset: Offset(value.offset),
            leader_epoch: LeaderEpoch(value.leader_epoch),
            metadata: value.metadata.to_string(),
        },
        at: Timestamp(value.commit_timestamp),
        expires: (value.expire_timestamp >= 0).then_some(Timestamp(value.expire_timestamp)),
        topic_id: TopicId(value.topic_id.into_bytes()),
    })
}

fn read_group(value: Bytes) -> Result<KeptMeta, RecordError> {
    let kind = GroupMetadataKey::RECORD_TYPE;
    let read = GroupMetadataValue::decode_prefixed(value);
    let (value, _) = read.map_err(|_| RecordError { kind, what: "a group's value is cut or of an unknown version" })?;
    let mut members: Vec<KeptMember> = value.members.into_iter().map(read_member).collect();
    members.sort_by(|one, other| one.member.cmp(&other.member));
    Ok(KeptMeta {
        protocol_type: value.protocol_type.to_string(),
        generation: value.generation,
        protocol: value.protocol.map(Into::into),
        leader: value.leader.map(Into::into),
        state_at: Timestamp(value.current_state_timestamp),
        members,
    })
}

fn read_member(member: MemberMetadata) -> KeptMember {
    // Below version 1 a rebalance waited as long as a session.
    let rebalance_timeout_ms =
        if member.rebalance_timeout < 0 { member.session_timeout } else { member.rebalance_timeout };
    KeptMember {
        member: member.member_id.to_string(),
        instance: member.group_instance_id.map(Into::into),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout,
        subscription: member.subscription.to_vec(),
        assignment: member.assignment.to_vec(),
    }
}
