//! Offsets of partitions by time, and offsets that groups committed.
//!
//! Partitions are asked of their leaders, together; what a leader refuses for a moment is asked again.

use std::collections::BTreeMap;
use std::fmt;

use broker_wire::Str;
use broker_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use broker_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use broker_wire::messages::{ListOffsetsRequest, OffsetCommitRequest, OffsetFetchRequest};

use crate::client::Nature;
use crate::{Client, ClientError, Node};

/// A partition by the name of its topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSpec {
    /// The first that may be read.
    Start,
    /// The one after the last that may be read.
    End,
    /// The first record at or after this time, in milliseconds since 1970.
    At(i64),
}

impl TimeSpec {
    fn wire(self) -> i64 {
        match self {
            TimeSpec::Start => -2,
            TimeSpec::End => -1,
            TimeSpec::At(ms) => ms.max(0),
        }
    }
}

/// What a group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The next offset that the group reads.
    pub offset: i64,
    /// What the consumer wrote beside it.
    pub metadata: String,
}

/// As whom offsets are committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The member's generation; none for an administrator, whom only a group without members lets commit.
    pub(crate) member: Option<(String, i32)>,
}

impl Client {
    /// An offset of each partition. A partition without a record at or after the time is absent.
    ///
    /// # Errors
    /// There is no such partition, its leader refuses, or nobody answers.
    pub async fn list_offsets(
        &mut self,
        places: &[Place],
        which: TimeSpec,
    ) -> Result<BTreeMap<Place, i64>, ClientError> {
        self.retry(Nature::Idempotent, async |client| {
            let mut by_leader: BTreeMap<Node, Vec<&Place>> = BTreeMap::new();
            for place in places {
                by_leader.entry(client.leader(&place.topic, place.partition).await?).or_default().push(place);
            }
            let mut offsets = BTreeMap::new();
            for (node, places) in by_leader {
                let request = list_request(&places, which);
                for topic in client.ask(node, &request).await?.topics {
                    for found in topic.partitions {
                        let place = Place { topic: topic.name.to_string(), partition: found.partition_index };
                        let what = || format!("the offsets of {place}");
                        ClientError::check(found.error_code, None, what)?;
                        if found.offset >= 0 {
                            offsets.insert(place, found.offset);
                        }
                    }
                }
            }
            Ok(offsets)
        })
        .await
    }

    /// What a group committed: for these partitions, or for all that it committed.
    ///
    /// # Errors
    /// The coordinator refuses, or nobody answers.
    pub async fn committed(
        &mut self,
        group: &str,
        places: Option<&[Place]>,
    ) -> Result<BTreeMap<Place, Committed>, ClientError> {
        let request = OffsetFetchRequest {
            group_id: Str::from(group),
            topics: places.map(|places| {
                let topics = by_topic(places.iter().map(|place| (place, place.partition)));
                let topic = |(name, partition_indexes): (&String, Vec<i32>)| {
                    broker_wire::messages::offset_fetch_request::OffsetFetchRequestTopic {
                        name: Str::from(name),
                        partition_indexes,
                    }
                };
                topics.into_iter().map(topic).collect()
            }),
            ..OffsetFetchRequest::default()
        };
        self.retry(Nature::Idempotent, async |client| {
            let node = client.coordinator(group).await?;
            let answer = client.ask(node, &request).await?;
            let what = || format!("the offsets of group {group}");
            ClientError::check(answer.error_code, None, what)?;
            let mut committed = BTreeMap::new();
            for topic in answer.topics {
                for found in topic.partitions {
                    ClientError::check(found.error_code, None, what)?;
                    let place = Place { topic: topic.name.to_string(), partition: found.partition_index };
                    let metadata = found.metadata.as_deref().unwrap_or_default().to_owned();
                    if found.committed_offset >= 0 {
                        committed.insert(place, Committed { offset: found.committed_offset, metadata });
                    }
                }
            }
            Ok(committed)
        })
        .await
    }

    /// Commits offsets of a group that has no members.
    ///
    /// # Errors
    /// The group has members, a partition is not there, or nobody answers.
    pub async fn commit(&mut self, group: &str, offsets: &BTreeMap<Place, i64>) -> Result<(), ClientError> {
        self.commit_as(group, &Standing::default(), offsets).await
    }

    pub(crate) async fn commit_as(
        &mut self,
        group: &str,
        standing: &Standing,
        offsets: &BTreeMap<Place, i64>,
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let partition = |(partition_index, committed_offset): (i32, i64)| OffsetCommitRequestPartition {
            partition_index,
            committed_offset,
            ..OffsetCommitRequestPartition::default()
        };
        let topics = by_topic(offsets.iter().map(|(place, offset)| (place, (place.partition, *offset))));
        let topic = |(name, rows): (&String, Vec<(i32, i64)>)| OffsetCommitRequestTopic {
            name: Str::from(name),
            partitions: rows.into_iter().map(partition).collect(),
            ..OffsetCommitRequestTopic::default()
        };
        let (member_id, generation) = standing.member.clone().unwrap_or((String::new(), -1));
        let request = OffsetCommitRequest {
            group_id: Str::from(group),
            generation_id_or_member_epoch: generation,
            member_id: Str::from(member_id),
            topics: topics.into_iter().map(topic).collect(),
            ..OffsetCommitRequest::default()
        };
        self.retry(Nature::Idempotent, async |client| {
            let node = client.coordinator(group).await?;
            for topic in client.ask(node, &request).await?.topics {
                for row in &topic.partitions {
                    let what = || format!("offsets of group {group} for {}-{}", topic.name, row.partition_index);
                    ClientError::check(row.error_code, None, what)?;
                }
            }
            Ok(())
        })
        .await
    }
}

fn list_request(places: &[&Place], which: TimeSpec) -> ListOffsetsRequest {
    let partition = |partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: which.wire(),
        ..ListOffsetsPartition::default()
    };
    let topics = by_topic(places.iter().map(|place| (*place, place.partition)));
    let topic = |(name, partitions): (&String, Vec<i32>)| ListOffsetsTopic {
        name: Str::from(name),
        partitions: partitions.into_iter().map(partition).collect(),
    };
    ListOffsetsRequest { replica_id: -1, topics: topics.into_iter().map(topic).collect(), ..Default::default() }
}

/// Rows of partitions, by topic as requests have them.
pub(crate) fn by_topic<'a, T>(rows: impl IntoIterator<Item = (&'a Place, T)>) -> BTreeMap<&'a String, Vec<T>> {
    let mut topics: BTreeMap<&String, Vec<T>> = BTreeMap::new();
    for (place, row) in rows {
        topics.entry(&place.topic).or_default().push(row);
    }
    topics
}
