//! ListOffsets: the offset that a timestamp means, on hot and cold data alike.
//!
//! Sentinels (kafka-requirements, section 3): -1 the high watermark, -2 the log start, -3 the record with the largest
//! timestamp, -4 the first local offset, -5 the last tiered offset, -6 the first offset that waits for its upload. Any
//! other timestamp is searched in the tier first and then in the local log: what lies only in the bucket is older in
//! offset. Of two records with the largest timestamp the older one is told.
//!
//! The local log is asked on a thread that may wait for the disk, and once for all partitions of a request; only ends that
//! are in memory are answered at once. What asks the store has the client's patience (KIP-1075), and all partitions at the
//! same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use broker_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp};
use broker_wire::Str;
use broker_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use broker_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use futures::future::join_all;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::replica::{ColdOffset, Partition};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The replica id of a consumer, who sees what is below the high watermark.
const CONSUMER: i32 = -1;
/// From here an answer says the leader epoch of what was found.
const VERSION_LEADER_EPOCH: i16 = 4;
/// From here clients know OFFSET_NOT_AVAILABLE.
const VERSION_NOT_AVAILABLE: i16 = 5;
/// The patience of a client that does not say it (`remote.list.offsets.request.timeout.ms`).
const PATIENCE: Duration = Duration::from_secs(30);

/// A tier that cannot answer yet is asked again for so long, and after this pause.
const TIER_MAY_OPEN: Duration = Duration::from_secs(5);
const TIER_ASKED_AGAIN: Duration = Duration::from_millis(100);

/// The version that brought a sentinel; `None` for what is none.
fn version_of(sentinel: i64) -> Option<i16> {
    match sentinel {
        LATEST | EARLIEST => Some(1),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        EARLIEST_PENDING_UPLOAD => Some(11),
        _ => None,
    }
}

/// What was found.
#[derive(Clone, Copy)]
struct Found {
    offset: Offset,
    timestamp: Timestamp,
    epoch: LeaderEpoch,
}

/// What is asked of a partition.
#[derive(Clone, Copy)]
struct Question {
    timestamp: i64,
    replica: i32,
}

/// The answer for a partition, as far as it is known.
enum Row {
    /// It is known.
    Told(Result<Option<Found>, ErrorCode>),
    /// The log has to be asked.
    Local(Arc<Partition>, Question),
    /// The tier has to be asked for the first record at or after a time, and the log where the tier has none.
    ColdFirst(Arc<Partition>, Question),
    /// The tier has to be asked for the largest timestamp; this is the log's.
    ColdLargest(Arc<Partition>, Option<Found>),
}

/// Looks all of them up.
pub(super) fn start(call: Call, request: ListOffsetsRequest) -> Pending {
    let patience = match u64::try_from(request.timeout_ms) {
        Ok(ms @ 1..) => Duration::from_millis(ms),
        _ => PATIENCE,
    };
    let (places, mut rows) = rows(&call, request);
    rows.iter_mut().for_each(at_hand);
    if rows.iter().all(|row| matches!(row, Row::Told(_))) {
        return call.ready(&response(&call, places, rows));
    }
    Pending::wait(async move {
        let rows = join_all(look(rows).await.into_iter().map(|row| ask_tier(row, patience))).await;
        call.reply(&response(&call, places, rows))
    })
}

/// Topic and number of each row.
type Places = Vec<(Str, i32)>;

/// A partition that is named twice has one row, which says so.
fn rows(call: &Call, request: ListOffsetsRequest) -> (Places, Vec<Row>) {
    let topics = call.broker.topics.load();
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        for asked in &topic.partitions {
            if !seen.insert((&*topic.name, asked.partition_index)) {
                twice.insert((topic.name.clone(), asked.partition_index));
            }
        }
    }
    let (mut places, mut rows) = (Places::new(), Vec::new());
    for topic in &request.topics {
        let is_allowed = call.context.is_allowed(Resource::Topic, Operation::Describe, &topic.name);
        for asked in &topic.partitions {
            let place = (topic.name.clone(), asked.partition_index);
            if twice.contains(&place) {
                if !places.contains(&place) {
                    rows.push(Row::Told(Err(ErrorCode::InvalidRequest)));
                    places.push(place);
                }
                continue;
            }
            let partition = topics.by_name(&topic.name);
            let partition = partition.and_then(|topic| topic.partition(PartitionIndex(asked.partition_index)));
            let row = match partition {
                _ if !is_allowed => Err(ErrorCode::TopicAuthorizationFailed),
                partition => check(call, partition, asked).map(|partition| {
                    let question = Question { timestamp: asked.timestamp, replica: request.replica_id };
                    Row::Local(partition.clone(), question)
                }),
            };
            rows.push(row.unwrap_or_else(|error| Row::Told(Err(error))));
            places.push(place);
        }
    }
    (places, rows)
}

fn check<'a>(
    call: &Call,
    partition: Option<&'a Arc<Partition>>,
    asked: &ListOffsetsPartition,
) -> Result<&'a Arc<Partition>, ErrorCode> {
    let is_known = version_of(asked.timestamp).is_some_and(|version| version <= call.context.version);
    if asked.timestamp < 0 && !is_known {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if partition.is_offline() {
        return Err(ErrorCode::KafkaStorageError);
    }
    partition.check_epoch(LeaderEpoch(asked.current_leader_epoch))?;
    Ok(partition)
}

/// Answers what memory knows: the end of a log that is open.
fn at_hand(row: &mut Row) {
    if let Row::Local(partition, question) = row
        && question.timestamp == LATEST
        && partition.is_open()
    {
        *row = Row::Told(latest(partition, *question));
    }
}

fn latest(partition: &Partition, question: Question) -> Result<Option<Found>, ErrorCode> {
    let ends = partition.open_ends()?;
    let offset = if question.replica == CONSUMER { ends.high_watermark } else { ends.end };
    Ok(Some(Found { offset, timestamp: Timestamp::NONE, epoch: partition.leader_epoch() }))
}

/// Asks the local logs.
async fn look(rows: Vec<Row>) -> Vec<Row> {
    if !rows.iter().any(|row| matches!(row, Row::Local(..))) {
        return rows;
    }
    let count = rows.len();
    let looked = spawn_blocking(move || rows.into_iter().map(look_at).collect()).await;
    looked.unwrap_or_else(|_| (0..count).map(|_| Row::Told(Err(ErrorCode::UnknownServerError))).collect())
}

fn look_at(row: Row) -> Row {
    let Row::Local(partition, question) = row else { return row };
    look_up(&partition, question).unwrap_or_else(|error| Row::Told(Err(error)))
}

fn look_up(partition: &Arc<Partition>, question: Question) -> Result<Row, ErrorCode> {
    let ends = partition.open_ends()?;
    let epoch = partition.leader_epoch();
    let (nothing, is_cold) = (Offset(-1), ends.log_start < ends.local_start);
    let at = |offset, epoch| Ok(Row::Told(Ok(Some(Found { offset, timestamp: Timestamp::NONE, epoch }))));
    match question.timestamp {
        LATEST => Ok(Row::Told(latest(partition, question))),
        EARLIEST => at(ends.log_start, partition.epoch_of(ends.log_start)?),
        EARLIEST_LOCAL => {
            let start = ends.local_start.max(ends.log_start);
            at(start, partition.epoch_of(start)?)
        }
        LATEST_TIERED => match partition.tiered_end() {
            Some(end) if end > ends.log_start => at(end.plus(-1), partition.epoch_of(end.plus(-1))?),
            _ => at(nothing, LeaderEpoch(-1)),
        },
        EARLIEST_PENDING_UPLOAD => match partition.tiered_end() {
            Some(end) => at(end.max(ends.log_start), epoch),
            // Nothing is in the bucket yet, so that all of it waits.
            None if partition.config().tiered && !is_cold => at(ends.log_start, epoch),
            None => at(nothing, LeaderEpoch(-1)),
        },
        MAX_TIMESTAMP => {
            let local = visible(partition.max_timestamp()?, ends.high_watermark);
            Ok(if is_cold { Row::ColdLargest(partition.clone(), local) } else { Row::Told(Ok(local)) })
        }
        _ if is_cold => Ok(Row::ColdFirst(partition.clone(), question)),
        timestamp => Ok(Row::Told(partition.offset_for_time(Timestamp(timestamp)).map(|found| found.map(from_time)))),
    }
}

fn visible(found: Option<ColdOffset>, high_watermark: Offset) -> Option<Found> {
    found.map(from_time).filter(|found| found.offset < high_watermark)
}

fn from_time((offset, timestamp, epoch): ColdOffset) -> Found {
    Found { offset, timestamp, epoch }
}

/// Asks the tier, where that is needed, and the log for what is not there. A tier that cannot say it now is asked again for
/// a while: after a start it opens a moment later than the listeners.
async fn ask_tier(row: Row, patience: Duration) -> Row {
    if matches!(row, Row::Told(_) | Row::Local(..)) {
        return row;
    }
    let until = Instant::now() + patience.min(TIER_MAY_OPEN);
    let answer = async {
        loop {
            match ask_once(&row).await {
                Err(ErrorCode::OffsetNotAvailable) if Instant::now() < until => sleep(TIER_ASKED_AGAIN).await,
                answer => return answer,
            }
        }
    };
    Row::Told(timeout(patience, answer).await.unwrap_or(Err(ErrorCode::RequestTimedOut)))
}

async fn ask_once(row: &Row) -> Result<Option<Found>, ErrorCode> {
    match row {
        Row::ColdFirst(partition, question) => {
            match partition.cold_offset_for_time(Timestamp(question.timestamp)).await? {
                Some(found) => Ok(Some(from_time(found))),
                None => local_first(partition.clone(), *question).await,
            }
        }
        Row::ColdLargest(partition, local) => {
            let cold = partition.cold_max_timestamp().await?.map(from_time);
            let is_larger = |cold: &Found| local.is_none_or(|local| cold.timestamp >= local.timestamp);
            Ok(cold.filter(is_larger).or(*local))
        }
        Row::Told(told) => *told,
        Row::Local(..) => Err(ErrorCode::UnknownServerError),
    }
}

async fn local_first(partition: Arc<Partition>, question: Question) -> Result<Option<Found>, ErrorCode> {
    let found = spawn_blocking(move || partition.offset_for_time(Timestamp(question.timestamp))).await;
    found.unwrap_or(Err(ErrorCode::UnknownServerError)).map(|found| found.map(from_time))
}

fn response(call: &Call, places: Places, rows: Vec<Row>) -> ListOffsetsResponse {
    let mut topics: Vec<ListOffsetsTopicResponse> = Vec::new();
    let mut known = BTreeMap::new();
    for ((topic, index), row) in places.into_iter().zip(rows) {
        let found = if let Row::Told(found) = row { found } else { Err(ErrorCode::UnknownServerError) };
        let at = *known.entry(topic.to_string()).or_insert_with(|| {
            topics.push(ListOffsetsTopicResponse { name: topic, partitions: Vec::new() });
            topics.len() - 1
        });
        if let Some(topic) = topics.get_mut(at) {
            topic.partitions.push(answer_of(call, index, found));
        }
    }
    ListOffsetsResponse { throttle_time_ms: call.context.throttle_ms(), topics }
}

fn answer_of(call: &Call, index: i32, found: Result<Option<Found>, ErrorCode>) -> ListOffsetsPartitionResponse {
    let version = call.context.version;
    let mut answer = ListOffsetsPartitionResponse { partition_index: index, ..Default::default() };
    match found {
        Ok(Some(found)) => {
            (answer.timestamp, answer.offset) = (found.timestamp.0, found.offset.0);
            if version >= VERSION_LEADER_EPOCH {
                answer.leader_epoch = found.epoch.0;
            }
        }
        Ok(None) => {}
        Err(ErrorCode::OffsetNotAvailable) if version < VERSION_NOT_AVAILABLE => {
            answer.error_code = ErrorCode::LeaderNotAvailable.code();
        }
        Err(error) => answer.error_code = error.code(),
    }
    answer
}
