//! The range assignor, as every Kafka client has it, and the bytes in which members tell what they want and get.
//!
//! For each topic its subscribers, in the order of their ids, get stretches of partitions that follow one another; the
//! first ones get one more where it does not come out even.

use std::collections::{BTreeMap, BTreeSet};

use broker_wire::messages::consumer_protocol_assignment::TopicPartition;
use broker_wire::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use broker_wire::{DecodeError, Decoder, EncodeError, Str};
use bytes::Bytes;

use crate::Place;

/// The name by which groups agree on it.
pub(crate) const RANGE: &str = "range";
/// The plain subscription: topics only.
const VERSION: i16 = 0;

/// What a member tells the leader.
pub(crate) fn subscription(topics: &[String]) -> Result<Bytes, EncodeError> {
    let topics = topics.iter().map(Str::from).collect();
    ConsumerProtocolSubscription { topics, ..Default::default() }.encode_prefixed(VERSION)
}

/// The topics that a member wants.
pub(crate) fn read_subscription(metadata: Bytes) -> Result<Vec<String>, DecodeError> {
    let mut input = Decoder::new(metadata);
    // A newer version begins like the ones that are known, and what follows is not looked at.
    let version = input.i16()?.clamp(0, 1);
    let read = ConsumerProtocolSubscription::decode(&mut input, version)?;
    Ok(read.topics.iter().map(ToString::to_string).collect())
}

/// What the leader gives a member.
pub(crate) fn assignment(places: &[Place]) -> Result<Bytes, EncodeError> {
    let topics = crate::offsets::by_topic(places.iter().map(|place| (place, place.partition)));
    let row = |(topic, partitions): (&String, Vec<i32>)| TopicPartition { topic: Str::from(topic), partitions };
    let assigned_partitions = topics.into_iter().map(row).collect();
    ConsumerProtocolAssignment { assigned_partitions, ..Default::default() }.encode_prefixed(VERSION)
}

/// What a member was given. No bytes are no partitions.
pub(crate) fn read_assignment(bytes: Bytes) -> Result<Vec<Place>, DecodeError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut input = Decoder::new(bytes);
    let version = input.i16()?.clamp(0, ConsumerProtocolAssignment::VERSION_LAST);
    let read = ConsumerProtocolAssignment::decode(&mut input, version)?;
    let rows = read.assigned_partitions.iter();
    let places = rows.flat_map(|row| {
        row.partitions.iter().map(|partition| Place { topic: row.topic.to_string(), partition: *partition })
    });
    Ok(places.collect())
}

/// Who gets what: members with their topics, and the number of partitions of each topic.
pub(crate) fn range(
    members: &BTreeMap<String, Vec<String>>,
    partitions: &BTreeMap<String, i32>,
) -> BTreeMap<String, Vec<Place>> {
    let mut given: BTreeMap<String, Vec<Place>> = members.keys().map(|id| (id.clone(), Vec::new())).collect();
    let topics: BTreeSet<&String> = members.values().flatten().collect();
    for topic in topics {
        let subscribers: Vec<&String> =
            members.iter().filter(|(_, topics)| topics.contains(topic)).map(|(id, _)| id).collect();
        let count = partitions.get(topic).copied().unwrap_or(0);
        let members = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        let (each, more) = (count / members, count % members);
        let mut next = 0;
        for (number, id) in (0..).zip(subscribers) {
            let until = next + each + i32::from(number < more);
            let places = (next..until).map(|partition| Place { topic: topic.clone(), partition });
            given.entry(id.clone()).or_default().extend(places);
            next = until;
        }
    }
    given
}
