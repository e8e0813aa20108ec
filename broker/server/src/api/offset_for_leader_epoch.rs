//! OffsetForLeaderEpoch (KIP-320): where an epoch of the log ended, so that a consumer can tell whether what it read is
//! still there.
//!
//! The epochs of the whole partition stand beside the local log, also those of records that only the bucket holds. Where
//! that file was lost, the archive's own list is asked for what is older.

use std::sync::Arc;

use broker_model::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};
use broker_partition::{EpochEnd, LeaderEpochs};
use broker_wire::messages::offset_for_leader_epoch_request::{OffsetForLeaderEpochRequest, OffsetForLeaderPartition};
use broker_wire::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use tokio::task::spawn_blocking;

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::replica::Partition;

/// Asks for no epoch.
const NO_EPOCH: i32 = -1;

/// Looks all of them up.
pub(super) fn start(call: Call, request: OffsetForLeaderEpochRequest) -> Pending {
    Pending::wait(async move {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let is_allowed = call.context.is_allowed(Resource::Topic, Operation::Describe, &topic.topic);
            let found = call.broker.topics.load().by_name(&topic.topic).cloned();
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let partition = found.as_ref().and_then(|found| found.partition(PartitionIndex(asked.partition)));
                let end = match partition {
                    _ if !is_allowed => Err(ErrorCode::TopicAuthorizationFailed),
                    Some(partition) => end_of(partition, asked).await,
                    None => Err(ErrorCode::UnknownTopicOrPartition),
                };
                partitions.push(answer_of(asked.partition, end));
            }
            topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
        }
        call.reply(&OffsetForLeaderEpochResponse { throttle_time_ms: call.context.throttle_ms(), topics })
    })
}

fn answer_of(partition: i32, end: Result<Option<EpochEnd>, ErrorCode>) -> EpochEndOffset {
    let mut answer = EpochEndOffset { partition, ..Default::default() };
    match end {
        Ok(Some(end)) => (answer.leader_epoch, answer.end_offset) = (end.epoch.0, end.end.0),
        Ok(None) => {}
        Err(error) => answer.error_code = error.code(),
    }
    answer
}

async fn end_of(partition: &Arc<Partition>, asked: &OffsetForLeaderPartition) -> Result<Option<EpochEnd>, ErrorCode> {
    if partition.is_offline() {
        return Err(ErrorCode::KafkaStorageError);
    }
    partition.check_epoch(LeaderEpoch(asked.current_leader_epoch))?;
    let epoch = LeaderEpoch(asked.leader_epoch);
    let looked = partition.clone();
    // The log may have to be opened, and an append may hold the epochs.
    let looked = spawn_blocking(move || Ok((looked.open_ends()?, looked.epochs()?)));
    let (ends, epochs): (_, LeaderEpochs) = looked.await.unwrap_or(Err(ErrorCode::UnknownServerError))?;
    let first = epochs.entries().first().copied();
    let is_older = first.is_none_or(|first| epoch < first.epoch && first.start > ends.log_start);
    let epochs = if is_older && ends.log_start < ends.local_start && epoch.0 >= 0 {
        let below = first.map_or(ends.local_start, |first| first.start);
        let older = partition.cold_epochs(below).await?;
        let mut all = LeaderEpochs::from_entries(older.into_iter().chain(epochs.entries().iter().copied()));
        all.truncate_from_start(ends.log_start);
        all
    } else {
        epochs
    };
    Ok(find(&epochs, epoch, ends.end))
}

/// As Kafka finds it: an epoch that is older than all known ones ended where the first of these begins.
fn find(epochs: &LeaderEpochs, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
    if epoch.0 < NO_EPOCH {
        return epochs.entries().first().map(|first| EpochEnd { epoch, end: first.start });
    }
    epochs.end_offset_for(epoch, log_end)
}

#[cfg(test)]
mod tests {
    use broker_partition::EpochStart;

    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let epochs = [(3, 10), (5, 20), (9, 35)];
        let entry = |(epoch, start)| EpochStart { epoch: LeaderEpoch(epoch), start: Offset(start) };
        let epochs = LeaderEpochs::from_entries(epochs.into_iter().map(entry));
        let find = |epoch| find(&epochs, LeaderEpoch(epoch), Offset(50)).map(|end| (end.epoch.0, end.end.0));
        assert_eq!(find(-1), None);
        assert_eq!(find(-7), Some((-7, 10)));
        assert_eq!(find(0), Some((0, 10)));
        assert_eq!(find(3), Some((3, 20)));
        assert_eq!(find(4), Some((3, 20)));
        assert_eq!(find(8), Some((5, 35)));
        assert_eq!(find(9), Some((9, 50)));
        assert_eq!(find(10), None);
    }
}
