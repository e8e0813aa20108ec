//! The tier's reader as fetches and the gateway of this process ask for it: there from the start, open a moment later.

use std::sync::Arc;

use async_trait::async_trait;
use broker_model::{ErrorCode, Offset, Timestamp, TopicPartition};
use bytes::Bytes;
use gateway_http::{ColdBounds, ColdSource, Slice, SourceError, TimeWindow};
use tiering_tier::{ColdError, ColdErrorKind, TierReader, invariants};

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

#[async_trait]
impl ColdReader for Tier {
    async fn read(&self, partition: TopicPartition, from: Offset, bytes: usize) -> Result<Vec<Bytes>, ErrorCode> {
        let reader = self.reader.get().ok_or(ErrorCode::OffsetNotAvailable)?;
        let read = reader.read(&partition, from, bytes).await;
        read.map(|read| read.batches).map_err(|error| {
            tracing::debug!(%partition, %from, %error, "cold read failed");
            code(&error)
        })
    }

    async fn offset_for_time(
        &self,
        partition: TopicPartition,
        from: Timestamp,
    ) -> Result<Option<ColdOffset>, ErrorCode> {
        let reader = self.reader.get().ok_or(ErrorCode::OffsetNotAvailable)?;
        let found = reader.offset_for_time(&partition, from).await.map_err(|error| code(&error))?;
        Ok(found.map(|hit| (hit.offset, hit.timestamp, hit.leader_epoch)))
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
