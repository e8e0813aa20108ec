//! A bucket without a broker.
//!
//! [`ColdOnly`] is a hot source with nothing hot in it: the high watermark of each partition is the end of its archive.

use std::sync::Arc;

use async_trait::async_trait;
use broker_model::{Offset, TopicPartition};

use crate::source::{Bounds, ColdSource, HotSource, Slice, SourceError, TopicInfo};

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
