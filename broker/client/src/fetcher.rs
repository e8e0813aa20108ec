//! Reading partitions: positions, one fetch to each leader at a time, batches in order.
//!
//! A fetch has no session, so that each says all that it wants. Fetches to several brokers wait side by side. A poll that is
//! dropped loses nothing: positions move only by [`Fetcher::advance`], after the owner has done with the records.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_model::{ErrorCode, limits};
use broker_records::{BatchError, Record, batches, decode};
use broker_wire::Str;
use broker_wire::messages::FetchRequest;
use broker_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use bytes::Bytes;
use futures::future::join_all;

use crate::client::Nature;
use crate::offsets::by_topic;
use crate::{Client, ClientError, Node, Place};

const PARTITION_BYTES_MAX: i32 = 1 << 20;
const FETCH_BYTES_MAX: i32 = 16 << 20;
/// A leader that has nothing is asked again after this time.
const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);

/// What came of one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The partition.
    pub place: Place,
    /// Where the read began; batches may begin earlier.
    pub from: i64,
    /// The offset after the last that may be read.
    pub high_watermark: i64,
    batches: Bytes,
}

/// What became of a position.
#[derive(Clone, Debug)]
pub enum Read {
    /// Records, or none: then the high watermark tells whether there will be.
    Some(Fetched),
    /// The partition does not hold the offset: it lies before what retention left, or behind the end.
    OutOfRange(Place),
}

/// Reads partitions from their positions on.
#[derive(Clone, Debug, Default)]
pub struct Fetcher {
    positions: BTreeMap<Place, i64>,
}

impl Fetcher {
    /// Reads from these offsets on.
    #[must_use]
    pub fn new(positions: BTreeMap<Place, i64>) -> Fetcher {
        Fetcher { positions }
    }

    /// The next offset of each partition.
    #[must_use]
    pub fn positions(&self) -> &BTreeMap<Place, i64> {
        &self.positions
    }

    /// The owner has done with everything before this offset.
    pub fn advance(&mut self, place: &Place, next: i64) {
        if let Some(position) = self.positions.get_mut(place) {
            *position = next;
        }
    }

    /// The owner wants no more of this partition.
    pub fn finish(&mut self, place: &Place) {
        self.positions.remove(place);
    }

    /// Asks each leader once, and gives what came. It waits a moment where there is nothing.
    ///
    /// # Errors
    /// A leader refuses, or does not answer for as long as the client's patience.
    pub async fn poll(&self, client: &mut Client) -> Result<Vec<Read>, ClientError> {
        client.retry(Nature::Idempotent, async |client| self.try_poll(client).await).await
    }

    async fn try_poll(&self, client: &mut Client) -> Result<Vec<Read>, ClientError> {
        let mut by_leader: BTreeMap<Node, Vec<(&Place, i64)>> = BTreeMap::new();
        for (place, position) in &self.positions {
            let leader = client.leader(&place.topic, place.partition).await?;
            by_leader.entry(leader).or_default().push((place, *position));
        }
        let wait = client.settings().request_timeout + FETCH_WAIT_MAX;
        let mut fetches = Vec::new();
        for (node, rows) in by_leader {
            let mut link = client.take(node).await?;
            fetches.push(async move {
                let answer = link.ask(&fetch_request(&rows), wait).await;
                (node, link, answer)
            });
        }
        let mut read = Vec::new();
        for (node, link, answer) in join_all(fetches).await {
            let answer = answer?;
            client.put(node, link);
            ClientError::check(answer.error_code, None, || "a fetch".to_owned())?;
            for topic in answer.responses {
                for found in topic.partitions {
                    let place = Place { topic: topic.topic.to_string(), partition: found.partition_index };
                    let Some(from) = self.positions.get(&place).copied() else { continue };
                    if found.error_code == ErrorCode::OffsetOutOfRange.code() {
                        read.push(Read::OutOfRange(place));
                        continue;
                    }
                    ClientError::check(found.error_code, None, || format!("a fetch of {place}"))?;
                    let batches = found.records.and_then(|records| records.bytes().cloned()).unwrap_or_default();
                    read.push(Read::Some(Fetched { place, from, high_watermark: found.high_watermark, batches }));
                }
            }
        }
        Ok(read)
    }
}

impl Fetched {
    /// Gives the records from the position on, in order, until `take` says that it has enough; then the next offset to
    /// read. Control batches are left out, and so is a batch that the answer cut off.
    ///
    /// # Errors
    /// A batch is damaged, or `take` fails.
    pub fn each<E: From<ClientError>>(
        &self,
        mut take: impl FnMut(&Record<'_>) -> Result<std::ops::ControlFlow<()>, E>,
    ) -> Result<i64, E> {
        let damaged = |source| ClientError::Batch {
            topic: self.place.topic.clone(),
            partition: self.place.partition,
            offset: self.from,
            source,
        };
        let mut next = self.from;
        for batch in batches(&self.batches) {
            let (head, bytes) = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => return Err(damaged(error).into()),
            };
            if head.next_offset().0 <= self.from {
                continue;
            }
            if !head.is_control() {
                let decoded = decode(bytes, limits::DECOMPRESSED_BATCH_BYTES_MAX).map_err(damaged)?;
                for record in decoded.records() {
                    let record = record.map_err(damaged)?;
                    if record.offset.0 < self.from {
                        continue;
                    }
                    next = record.offset.0 + 1;
                    if take(&record)?.is_break() {
                        return Ok(next);
                    }
                }
            }
            next = head.next_offset().0;
        }
        Ok(next)
    }
}

fn fetch_request(rows: &[(&Place, i64)]) -> FetchRequest {
    let partition = |(partition, fetch_offset): (i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: PARTITION_BYTES_MAX,
        ..FetchPartition::default()
    };
    let topics = by_topic(rows.iter().map(|(place, offset)| (*place, (place.partition, *offset))));
    let topic = |(name, rows): (&String, Vec<(i32, i64)>)| FetchTopic {
        topic: Str::from(name),
        partitions: rows.into_iter().map(partition).collect(),
        ..FetchTopic::default()
    };
    FetchRequest {
        replica_id: -1,
        max_wait_ms: i32::try_from(FETCH_WAIT_MAX.as_millis()).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: FETCH_BYTES_MAX,
        session_id: 0,
        session_epoch: -1,
        topics: topics.into_iter().map(topic).collect(),
        ..FetchRequest::default()
    }
}
