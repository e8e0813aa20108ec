//! OffsetCommit, OffsetFetch and OffsetDelete.
//!
//! A commit is one batch: all partitions without an error, or none. Members commit in their generation; a generation
//! below 0 is a simple consumer or a tool, and commits only while the group has no members. What is fetched is what is
//! committed (the driver lets the answer wait for commits in flight).

use std::collections::BTreeSet;

use broker_model::limits::TOPIC_NAME_BYTES_MAX;
use broker_model::machine::CallId;
use broker_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};

use crate::live::{Live, LiveGroup, Phase};
use crate::member::check_commit;
use crate::rebalance::keep;
use crate::records;
use crate::request::{
    CommitOffsets, CommitPartition, CommitTopic, CommittedOffset, CommittedTopic, DeleteOffsets, DeletedTopic,
    FetchOffsets, FetchTopic, FetchedGroup, KeptOffset, Output, UnknownGroup,
};
use crate::settings::{GROUPS_MAX, NAME_BYTES_MAX, OFFSETS_PER_GROUP_MAX};
use crate::state::KeptGroup;
use crate::subscription::CONSUMER;
use crate::turn::Turn;

const METADATA_BYTES_MAX: usize = i16::MAX as usize;

/// OffsetCommit.
pub(crate) fn commit(turn: &mut Turn<'_>, live: &mut Live, call: CallId, request: CommitOffsets) {
    let expires = request.retention_ms.map(|retention_ms| turn.now.plus_ms(retention_ms));
    let whole = check_committer(turn, live, &request).err();
    let mut room = OFFSETS_PER_GROUP_MAX;
    let kept = turn.hard.get(&request.who.group);
    room -= kept.map_or(0, |kept| kept.offsets.len()).min(room);
    let mut topics = Vec::new();
    for CommitTopic { topic, id, error, partitions } in request.topics {
        let mut results = Vec::new();
        for partition in partitions {
            let at = partition.partition;
            let known = [error, partition.error, whole.unwrap_or(ErrorCode::None)];
            let known = known.into_iter().find(|error| *error != ErrorCode::None);
            let error = known.map_or_else(|| check_partition(turn, &topic, &partition), Err);
            let error = error.and_then(|()| take_room(kept, (&topic, at), &mut room));
            if error.is_ok() {
                let kept = KeptOffset { committed: partition.offset, at: turn.now, expires, topic_id: id };
                turn.write(records::offset(&request.who.group, &topic, at, Some(&kept)));
            }
            results.push((at, error.err().unwrap_or(ErrorCode::None)));
        }
        topics.push(CommittedTopic { topic, id, partitions: results });
    }
    turn.reply(call, Output::Committed(topics));
}

fn check_committer(turn: &Turn<'_>, live: &mut Live, request: &CommitOffsets) -> Result<(), ErrorCode> {
    let who = &request.who;
    if who.group.len() > NAME_BYTES_MAX {
        return Err(ErrorCode::InvalidGroupId);
    }
    let is_known = turn.hard.get(&who.group).is_some();
    match live.groups.get_mut(&who.group) {
        Some(group) if group.phase != Phase::Empty || who.generation >= 0 => check_commit(turn, group, who),
        None if who.generation >= 0 && is_known => Err(ErrorCode::UnknownMemberId),
        None if who.generation >= 0 => Err(match request.unknown_group {
            UnknownGroup::NotFound => ErrorCode::GroupIdNotFound,
            UnknownGroup::IllegalGeneration => ErrorCode::IllegalGeneration,
        }),
        _ if !is_known && turn.hard.groups.len() >= GROUPS_MAX => Err(ErrorCode::PolicyViolation),
        Some(_) | None => Ok(()),
    }
}

fn check_partition(turn: &Turn<'_>, topic: &str, partition: &CommitPartition) -> Result<(), ErrorCode> {
    if topic.is_empty() || topic.len() > TOPIC_NAME_BYTES_MAX {
        return Err(ErrorCode::InvalidTopicException);
    }
    if partition.partition.0 < 0 {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    // The setting is called bytes, and Kafka counts Java's characters.
    let metadata = &partition.offset.metadata;
    if metadata.len() > METADATA_BYTES_MAX || metadata.encode_utf16().count() > turn.settings.offset_metadata_bytes_max
    {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(())
}

fn take_room(kept: Option<&KeptGroup>, (topic, at): (&str, PartitionIndex), room: &mut usize) -> Result<(), ErrorCode> {
    if kept.is_some_and(|kept| kept.offsets.contains_key(&(topic.to_owned(), at))) {
        return Ok(());
    }
    *room = room.checked_sub(1).ok_or(ErrorCode::InvalidCommitOffsetSize)?;
    Ok(())
}

/// OffsetFetch.
pub(crate) fn fetch(turn: &mut Turn<'_>, call: CallId, groups: Vec<FetchOffsets>) {
    let hard = turn.hard;
    let fetched = groups.into_iter().map(|FetchOffsets { group, topics }| {
        let kept = hard.get(&group);
        let topics = match topics {
            Some(topics) => topics.into_iter().map(|topic| fetch_topic(kept, topic)).collect(),
            None => kept.map_or_else(Vec::new, fetch_all),
        };
        FetchedGroup { group, topics }
    });
    let output = Output::Fetched(fetched.collect());
    turn.reply(call, output);
}

/// OffsetDelete: of a group without consumers anything, else what no member subscribes to.
pub(crate) fn delete(turn: &mut Turn<'_>, live: &Live, call: CallId, request: DeleteOffsets) {
    let results = delete_in(turn, live, request);
    turn.reply(call, Output::OffsetsDeleted(results));
}

fn delete_in(turn: &mut Turn<'_>, live: &Live, request: DeleteOffsets) -> Result<Vec<DeletedTopic>, ErrorCode> {
    let DeleteOffsets { group: id, topics } = request;
    let (group, kept) = (live.groups.get(&id), turn.hard.get(&id));
    match (group, kept) {
        _ if id.is_empty() => return Err(ErrorCode::InvalidGroupId),
        (None, None) => return Err(ErrorCode::GroupIdNotFound),
        (Some(group), _) if group.phase != Phase::Empty && group.protocol_type != CONSUMER => {
            return Err(ErrorCode::NonEmptyGroup);
        }
        _ => {}
    }
    let mut gone = BTreeSet::new();
    let mut results = Vec::new();
    for (topic, partitions) in topics {
        let is_used = group.is_some_and(|group| group.uses(&topic));
        let error = if is_used { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
        for partition in partitions.iter().filter(|_| !is_used) {
            let at = (topic.clone(), *partition);
            if kept.is_some_and(|kept| kept.offsets.contains_key(&at)) && gone.insert(at) {
                turn.write(records::offset(&id, &topic, *partition, None));
            }
        }
        results.push((topic, partitions.into_iter().map(|partition| (partition, error)).collect()));
    }
    if !gone.is_empty() && kept.is_some_and(|kept| kept.meta.is_none() && kept.offsets.len() == gone.len()) {
        // The group stands without offsets until housekeeping takes it, as a simple group of Kafka does.
        let empty = LiveGroup::new(None);
        turn.write(records::group(&id, Some(&keep(turn, &empty))));
    }
    Ok(results)
}

type FetchedTopic = (String, Vec<(PartitionIndex, CommittedOffset)>);

fn fetch_topic(kept: Option<&KeptGroup>, wanted: FetchTopic) -> FetchedTopic {
    let FetchTopic { topic, id, partitions } = wanted;
    // An offset of a topic that was deleted and created again is none of the topic that stands.
    let is_other = |kept: &KeptOffset| id != TopicId::ZERO && !kept.topic_id.is_zero() && kept.topic_id != id;
    let find = |partition| {
        let kept = kept.and_then(|kept| kept.offsets.get(&(topic.clone(), partition))).filter(|kept| !is_other(kept));
        kept.map_or_else(nothing, |kept| kept.committed.clone())
    };
    let partitions = partitions.into_iter().map(|partition| (partition, find(partition))).collect();
    (topic, partitions)
}

fn nothing() -> CommittedOffset {
    CommittedOffset { offset: Offset(-1), leader_epoch: LeaderEpoch(-1), metadata: String::new() }
}

fn fetch_all(kept: &KeptGroup) -> Vec<FetchedTopic> {
    let mut topics: Vec<FetchedTopic> = Vec::new();
    for ((topic, partition), kept) in &kept.offsets {
        let entry = (*partition, kept.committed.clone());
        match topics.last_mut() {
            Some((last, partitions)) if last == topic => partitions.push(entry),
            _ => topics.push((topic.clone(), vec![entry])),
        }
    }
    topics
}
