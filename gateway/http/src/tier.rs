//! The cold source of the real tier, and a bucket without a broker.
//!
//! [`TierReader`] is the cold source: straight from the bucket through the block cache. [`ColdOnly`] is a hot source with
//! nothing hot in it: the high watermark of each partition is the end of its archive.

use std::sync::Arc;

use async_trait::async_trait;
use broker_model::{Offset, TopicPartition};
use broker_records::BatchHead;
use tiering_tier::{ColdError, ColdErrorKind, TierReader};

use crate::replay::Sources;
use crate::source::{Aborted, Bounds, ColdBounds, ColdSource, HotSource, Slice, SourceError, TimeWindow, TopicInfo};

#[async_trait]
impl ColdSource for TierReader {
    async fn cold_bounds(&self, partition: TopicPartition) -> Result<Option<ColdBounds>, SourceError> {
        match self.bounds(&partition).await {
            Ok(bounds) => Ok(Some(ColdBounds { start: bounds.log_start, end: bounds.end })),
            Err(error) if error.kind() == ColdErrorKind::Unknown => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn read_cold(&self, partition: TopicPartition, from: Offset, bytes_max: usize) -> Result<Slice, SourceError> {
        let read = self.read(&partition, from, bytes_max).await.map_err(|error| failed(&error))?;
        let transactional = |batch| BatchHead::parse(batch).is_ok_and(|head| head.is_transactional());
        let mut slice = Slice { batches: read.batches, next: read.next, aborted: Vec::new() };
        if slice.batches.iter().any(|batch| transactional(batch)) {
            let aborted = self.aborted(&partition, from, slice.next).await.map_err(|error| failed(&error))?;
            let known = aborted.iter();
            slice.aborted =
                known.map(|txn| Aborted { producer: txn.producer, first: txn.first, last: txn.last }).collect();
        }
        Ok(slice)
    }

    async fn seek_cold(
        &self,
        partition: TopicPartition,
        from: Offset,
        window: TimeWindow,
    ) -> Result<Offset, SourceError> {
        self.seek(&partition, from, window.from..window.to).await.map_err(|error| failed(&error))
    }
}

fn failed(error: &ColdError) -> SourceError {
    match error {
        ColdError::BelowStart { log_start } => SourceError::Deleted { log_start: *log_start },
        // What is not local lies in the tier: beyond its end is a hole, and no reader may step over it.
        ColdError::BeyondEnd { .. } | ColdError::Lost { .. } => SourceError::Damaged(error.to_string()),
        _ if error.kind() == ColdErrorKind::Lost => SourceError::Damaged(error.to_string()),
        _ => SourceError::Unavailable(error.to_string()),
    }
}

/// Topics that are only read from their bucket, for a replay beside the broker or without one.
pub struct ColdOnly {
    topics: Vec<TopicInfo>,
    cold: Arc<dyn ColdSource>,
}

impl ColdOnly {
    /// Serves these topics.
    #[must_use]
    pub fn new(topics: Vec<TopicInfo>, cold: Arc<dyn ColdSource>) -> ColdOnly {
        ColdOnly { topics, cold }
    }

    /// The sources of a replay straight from a bucket, with every topic that the reader has found there.
    #[must_use]
    pub fn of_bucket(reader: &TierReader) -> Sources {
        let info = |topic: tiering_manifest::TopicFile| TopicInfo {
            name: topic.name,
            id: topic.id,
            partitions: i32::try_from(topic.partitions).unwrap_or(i32::MAX),
        };
        let topics = reader.topics().into_iter().map(info).collect();
        let cold: Arc<dyn ColdSource> = Arc::new(reader.clone());
        Sources { hot: Arc::new(ColdOnly::new(topics, Arc::clone(&cold))), cold: Some(cold) }
    }
}

#[async_trait]
impl HotSource for ColdOnly {
    fn topics(&self) -> Vec<TopicInfo> {
        self.topics.clone()
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.topics.iter().find(|topic| topic.name == name).cloned()
    }

    async fn bounds(&self, partition: TopicPartition) -> Result<Bounds, SourceError> {
        let cold = self.cold.cold_bounds(partition).await?;
        let (start, end) = cold.map_or((Offset::ZERO, Offset::ZERO), |cold| (cold.start, cold.end));
        Ok(Bounds { log_start: start, local_start: end, high_watermark: end })
    }

    async fn read_hot(
        &self,
        partition: TopicPartition,
        _from: Offset,
        _up_to: Offset,
        _bytes_max: usize,
    ) -> Result<Slice, SourceError> {
        let bounds = self.bounds(partition).await?;
        Err(SourceError::NotLocal { local_start: bounds.local_start })
    }
}
