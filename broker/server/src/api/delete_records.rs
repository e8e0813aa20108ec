//! DeleteRecords: a partition begins later, on the local disk and in the bucket.
//!
//! Who fetches or lists offsets sees the new start at once. The answer comes when a restart cannot take it back: the log
//! start stands in the directory's checkpoint, and where the partition has an archive also in its root, unless the store
//! is away; the archive brings it there as soon as it can. What lies below in the bucket is condemned by the same swap and
//! freed after its grace; local segments go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker_model::{ErrorCode, Offset, PartitionIndex};
use broker_wire::Str;
use broker_wire::messages::delete_records_request::DeleteRecordsRequest;
use broker_wire::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use futures::future::join_all;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::replica::{Disk, Partition};

/// Told with an error.
const NO_LOW_WATERMARK: i64 = -1;
/// The longest time that an answer waits for the archive. The store may hang, and the client has patience of its own.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(15);

/// What is asked of one partition, and then what became of it.
struct Row {
    topic: Str,
    index: i32,
    partition: Result<Arc<Partition>, ErrorCode>,
    offset: i64,
}

/// Moves the starts, makes that last, and answers.
pub(super) fn start(call: Call, request: DeleteRecordsRequest) -> Pending {
    let half = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)) / 2;
    let patience = half.min(ARCHIVE_PATIENCE);
    let rows = rows(&call, request);
    Pending::wait(async move {
        let asked: Vec<_> = rows.iter().map(|row| (row.partition.clone(), row.offset)).collect();
        let moved = spawn_blocking(move || asked.into_iter().map(|(partition, to)| advance(partition?, to)).collect());
        let moved: Vec<Result<Moved, ErrorCode>> = match moved.await {
            Ok(moved) => moved,
            Err(_) => rows.iter().map(|_| Err(ErrorCode::UnknownServerError)).collect(),
        };
        let partitions: Vec<_> = moved.iter().flatten().map(|moved| moved.partition.clone()).collect();
        let recorded = spawn_blocking(move || record(&partitions));
        let reached = join_all(moved.iter().map(|moved| reaches_archive(moved.as_ref().ok(), patience)));
        let (recorded, reached) = tokio::join!(recorded, reached);
        // Where the recording itself broke down, nothing counts as recorded.
        let failed = recorded.ok();
        let answers = moved.into_iter().zip(reached).map(|(moved, reached)| {
            let moved = moved?;
            let has_failed = |disk| is_same(disk, moved.partition.disk());
            let is_recorded = failed.as_ref().is_some_and(|failed| !failed.iter().any(has_failed));
            if is_recorded || reached {
                Ok(moved.partition.ends().log_start)
            } else {
                Err(ErrorCode::KafkaStorageError)
            }
        });
        call.reply(&response(&call, rows.into_iter().zip(answers)))
    })
}

/// Of a partition that is named twice the last row holds, as in Kafka.
fn rows(call: &Call, request: DeleteRecordsRequest) -> Vec<Row> {
    let topics = call.broker.topics.load();
    let mut rows = BTreeMap::new();
    for topic in request.topics {
        let is_allowed = call.context.is_allowed(Resource::Topic, Operation::Delete, &topic.name);
        let found = topics.by_name(&topic.name);
        for asked in topic.partitions {
            let index = PartitionIndex(asked.partition_index);
            let partition = match found {
                _ if !is_allowed => Err(ErrorCode::TopicAuthorizationFailed),
                Some(topic) => match topic.partition(index) {
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                    Some(_) if topic.is_internal() => Err(ErrorCode::InvalidTopicException),
                    Some(partition) => Ok(partition.clone()),
                },
                None => Err(ErrorCode::UnknownTopicOrPartition),
            };
            let row = Row { topic: topic.name.clone(), index: index.0, partition, offset: asked.offset };
            rows.insert((topic.name.to_string(), index), row);
        }
    }
    rows.into_values().collect()
}

/// A partition that begins where it was asked to, or later.
struct Moved {
    partition: Arc<Partition>,
    start: Offset,
}

fn advance(partition: Arc<Partition>, to: i64) -> Result<Moved, ErrorCode> {
    let before = partition.ends().log_start;
    let start = partition.delete_records_before(to)?;
    if start > before {
        info!(%partition, %start, "records before an offset are deleted");
    }
    Ok(Moved { partition, start })
}

/// Notes in each directory where its partitions begin. Gives the directories that could not be written.
fn record(partitions: &[Arc<Partition>]) -> Vec<Arc<dyn Disk>> {
    let (mut seen, mut failed) = (Vec::<Arc<dyn Disk>>::new(), Vec::new());
    for disk in partitions.iter().map(|partition| partition.disk()) {
        if seen.iter().any(|known| is_same(known, disk)) {
            continue;
        }
        seen.push(disk.clone());
        if let Err(error) = disk.record(partitions) {
            warn!(directory = %disk.root().display(), %error, "log starts cannot be recorded");
            failed.push(disk.clone());
        }
    }
    failed
}

fn is_same(one: &Arc<dyn Disk>, other: &Arc<dyn Disk>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// Waits until the archive's root says it too; false where there is no archive, or it cannot say so in time.
async fn reaches_archive(moved: Option<&Moved>, patience: Duration) -> bool {
    let Some(moved) = moved else { return false };
    tokio::time::timeout(patience, moved.partition.archive_begins_at(moved.start)).await.unwrap_or(false)
}

fn response(call: &Call, rows: impl Iterator<Item = (Row, Result<Offset, ErrorCode>)>) -> DeleteRecordsResponse {
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
    for (row, answer) in rows {
        let (error, low_watermark) = match answer {
            Ok(start) => (ErrorCode::None, start.0),
            Err(error) => (error, NO_LOW_WATERMARK),
        };
        let result =
            DeleteRecordsPartitionResult { partition_index: row.index, low_watermark, error_code: error.code() };
        match topics.last_mut().filter(|topic| topic.name == row.topic) {
            Some(topic) => topic.partitions.push(result),
            None => topics.push(DeleteRecordsTopicResult { name: row.topic, partitions: vec![result] }),
        }
    }
    DeleteRecordsResponse { throttle_time_ms: call.context.throttle_ms(), topics }
}
