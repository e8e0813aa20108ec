//! The tier's reader as fetches and the gateway of this process ask for it: there from the start, open a moment later.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use broker_model::{ErrorCode, Offset, Timestamp, TopicPartition};
use broker_partition::EpochStart;
use bytes::Bytes;
use gateway_http::{ColdBounds, ColdSource, Slice, SourceError, TimeWindow};
use tiering_tier::{ColdError, ColdErrorKind, TierReader, TimeHit, invariants};

use super::Tier;
use crate::replica::{ColdOffset, ColdReader};

/// What a Kafka client hears when a cold read fails (TIER-3).
fn code(error: &ColdError) -> ErrorCode {
    match error.kind() {
        // Clients try again by themselves. The root of a partition may not be read yet, or may be older than what was deleted.
        ColdErrorKind::Retry | ColdErrorKind::Unknown | ColdErrorKind::BeyondEnd => ErrorCode::OffsetNotAvailable,
        ColdErrorKind::BelowStart => ErrorCode::OffsetOutOfRange,
        ColdErrorKind::Lost => ErrorCode::KafkaStorageError,
    }
}

fn plain(hit: TimeHit) -> ColdOffset {
    (hit.offset, hit.timestamp, hit.leader_epoch)
}

impl Tier {
    fn cold_reader(&self) -> Result<&TierReader, ErrorCode> {
        self.reader.get().ok_or(ErrorCode::OffsetNotAvailable)
    }
}

#[async_trait]
impl ColdReader for Tier {
    async fn read(&self, partition: TopicPartition, from: Offset, bytes: usize) -> Result<Vec<Bytes>, ErrorCode> {
        let read = self.cold_reader()?.read(&partition, from, bytes).await;
        read.map(|read| read.batches).map_err(|error| {
            tracing::debug!(%partition, %from, %error, "cold read failed");
            code(&error)
        })
    }

    async fn offset_for_time(
        &self,
        partition: TopicPartition,
        within: Range<Offset>,
        from: Timestamp,
    ) -> Result<Option<ColdOffset>, ErrorCode> {
        let found = self.cold_reader()?.offset_for_time_in(&partition, from, within).await;
        found.map(|found| found.map(plain)).map_err(|error| code(&error))
    }

    async fn max_timestamp(
        &self,
        partition: TopicPartition,
        within: Range<Offset>,
    ) -> Result<Option<ColdOffset>, ErrorCode> {
        let found = self.cold_reader()?.max_timestamp_in(&partition, within).await;
        found.map(|found| found.map(plain)).map_err(|error| code(&error))
    }

    async fn epochs(&self, partition: TopicPartition, below: Offset) -> Result<Vec<EpochStart>, ErrorCode> {
        let found = self.cold_reader()?.epochs(&partition, below).await.map_err(|error| code(&error))?;
        Ok(found.into_iter().map(|entry| EpochStart { epoch: entry.epoch, start: entry.start }).collect())
    }

    async fn begins_at(&self, partition: TopicPartition, start: Offset) -> bool {
        match self.uploader.handle(&partition) {
            Some(archive) => archive.reaches_start(start).await,
            None => false,
        }
    }

    fn covers(&self, partition: TopicPartition, start: Offset, log_start: Offset) -> bool {
        let root = self.uploader.handle(&partition).and_then(|handle| handle.root());
        match invariants::local_delete_is_covered(root.as_deref(), start, log_start) {
            Ok(()) => true,
            Err(broken) => {
                tracing::error!(%partition, %broken, "local segments are kept");
                false
            }
        }
    }

    fn tiered_start(&self, partition: TopicPartition) -> Option<Offset> {
        self.uploader.handle(&partition)?.start()
    }

    fn tiered_end(&self, partition: TopicPartition) -> Option<Offset> {
        self.uploader.handle(&partition)?.durable_end()
    }
}

/// The gateway's cold source before the reader is there: everything is unavailable until then.
pub(super) struct LateColdEnd(pub(super) Arc<Tier>);

impl LateColdEnd {
    fn reader(&self) -> Result<&TierReader, SourceError> {
        self.0.reader.get().ok_or_else(|| SourceError::Unavailable("the tier is not open yet".to_owned()))
    }
}

#[async_trait]
impl ColdSource for LateColdEnd {
    async fn cold_bounds(&self, partition: TopicPartition) -> Result<Option<ColdBounds>, SourceError> {
        self.reader()?.cold_bounds(partition).await
    }

    async fn read_cold(&self, partition: TopicPartition, from: Offset, bytes_max: usize) -> Result<Slice, SourceError> {
        self.reader()?.read_cold(partition, from, bytes_max).await
    }

    async fn seek_cold(
        &self,
        partition: TopicPartition,
        from: Offset,
        window: TimeWindow,
    ) -> Result<Offset, SourceError> {
        self.reader()?.seek_cold(partition, from, window).await
    }
}
