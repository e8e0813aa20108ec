//! What the gateway asks of this process: the hot end of each partition, whether it is ready, and what it counted.
//!
//! Reads of local segments may wait for a disk, so they run on blocking threads; the gateway itself runs beside the
//! coordinators and never on the data plane's threads (ISO-1).

use std::sync::Arc;

use async_trait::async_trait;
use broker_model::{ErrorCode, Offset, Timestamp, TopicPartition};
use gateway_http::{Bounds, Family, HotSource, Slice, SourceError, TimeWindow, TopicInfo};

use crate::broker::Broker;
use crate::replica::Partition;
use crate::topics::Topic;

/// The broker as the gateway's hot source.
#[derive(Clone, Debug)]
pub struct HotEnd {
    broker: Arc<Broker>,
}

impl HotEnd {
    /// The hot end of this broker.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> HotEnd {
        HotEnd { broker }
    }

    fn partition(&self, at: TopicPartition) -> Result<Arc<Partition>, SourceError> {
        let topics = self.broker.topics.load();
        let topic = topics.by_id(at.topic).ok_or(SourceError::Unknown)?;
        topic.partition(at.partition).cloned().ok_or(SourceError::Unknown)
    }
}

fn info(topic: &Arc<Topic>) -> TopicInfo {
    let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
    TopicInfo { name: topic.name.to_string(), id: topic.id, partitions }
}

fn unavailable(error: ErrorCode) -> SourceError {
    SourceError::Unavailable(format!("{error:?}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| SourceError::Unavailable(error.to_string()))?
}

#[async_trait]
impl HotSource for HotEnd {
    fn topics(&self) -> Vec<TopicInfo> {
        self.broker.topics.load().iter().filter(|topic| !topic.is_internal()).map(info).collect()
    }

    fn topic(&self, name: &str) -> Option<TopicInfo> {
        self.broker.topics.load().by_name(name).map(info)
    }

    async fn bounds(&self, at: TopicPartition) -> Result<Bounds, SourceError> {
        let partition = self.partition(at)?;
        blocking(move || {
            let ends = partition.open_ends().map_err(unavailable)?;
            Ok(Bounds {
                log_start: ends.log_start,
                local_start: ends.local_start.min(ends.high_watermark),
                high_watermark: ends.high_watermark,
            })
        })
        .await
    }

    async fn read_hot(
        &self,
        at: TopicPartition,
        from: Offset,
        up_to: Offset,
        bytes_max: usize,
    ) -> Result<Slice, SourceError> {
        let partition = self.partition(at)?;
        blocking(move || {
            let ends = partition.open_ends().map_err(unavailable)?;
            if from < ends.log_start {
                return Err(SourceError::Deleted { log_start: ends.log_start });
            }
            if from < ends.local_start {
                return Err(SourceError::NotLocal { local_start: ends.local_start });
            }
            let (batches, next) = partition.read_local(from, up_to, bytes_max)?;
            Ok(Slice { batches, next, aborted: Vec::new() })
        })
        .await
    }

    async fn seek(&self, at: TopicPartition, from: Offset, window: TimeWindow) -> Result<Offset, SourceError> {
        let partition = self.partition(at)?;
        if window.from <= Timestamp(0) {
            return Ok(from);
        }
        blocking(move || {
            // No record before the first one at or after `from` of the window is inside it.
            let found = partition.offset_for_time(window.from).map_err(unavailable)?;
            let end = partition.open_ends().map_err(unavailable)?.high_watermark;
            Ok(from.max(found.map_or(end, |(offset, ..)| offset)))
        })
        .await
    }
}

/// Everything that is counted, for `/metrics`.
#[must_use]
pub fn families(broker: &Broker) -> Vec<Family> {
    let metrics = &broker.metrics;
    let counter = |name: &str, help: &str, value: u64| Family::counter(name, help).with(&[], value as f64);
    let gauge = |name: &str, help: &str, value: u64| Family::gauge(name, help).with(&[], value as f64);
    let topics = broker.topics.load();
    let partitions = topics.iter().map(|topic| topic.partitions().len() as u64).sum();
    let mut families = vec![
        gauge("strata_connections", "Kafka connections that are open.", metrics.connections.get()),
        counter(
            "strata_connections_failed_total",
            "Kafka connections ended by an error.",
            metrics.connections_failed.get(),
        ),
        counter("strata_requests_total", "Kafka requests that were started.", metrics.requests.get()),
        gauge("strata_request_memory_available_bytes", "Memory left for requests.", broker.budget.available() as u64),
        counter("strata_bytes_out_total", "Bytes of replies.", metrics.bytes_out.get()),
        counter("strata_produced_bytes_total", "Bytes of record batches appended.", metrics.produced_bytes.get()),
        counter("strata_produced_records_total", "Records appended.", metrics.produced_records.get()),
        counter("strata_fetched_hot_bytes_total", "Bytes fetched from segments.", metrics.fetched_hot_bytes.get()),
        counter("strata_fetched_cold_bytes_total", "Bytes fetched from the tier.", metrics.fetched_cold_bytes.get()),
        counter("strata_fetched_cold_errors_total", "Cold reads that failed.", metrics.fetched_cold_errors.get()),
        counter(
            "strata_fetched_cold_timeouts_total",
            "Cold fetches answered empty because the block was not there in time.",
            metrics.fetched_cold_timeouts.get(),
        ),
        counter("strata_scrubbed_bytes_total", "Local bytes that the scrub checked.", metrics.scrubbed_bytes.get()),
        counter("strata_scrub_damaged_total", "Damaged ranges that the scrub found.", metrics.scrub_damaged.get()),
        counter("strata_scrub_healed_total", "Damaged ranges healed from the tier.", metrics.scrub_healed.get()),
        gauge("strata_partitions", "Partitions that this broker leads.", partitions),
    ];
    families.push(broker.lags.family());
    families.extend(partition_families(broker));
    families
}

fn partition_families(broker: &Broker) -> Vec<Family> {
    let mut end = Family::gauge("strata_partition_high_watermark", "First offset that is not committed.");
    let mut start = Family::gauge("strata_partition_log_start_offset", "First offset that retention left.");
    let mut local = Family::gauge("strata_partition_local_start_offset", "First offset on the local disk.");
    let mut tiered = Family::gauge("strata_partition_tiered_end_offset", "First offset that is not in the bucket.");
    for topic in broker.topics.load().iter() {
        for partition in topic.partitions().filter(|partition| partition.is_open()) {
            let index = partition.id.partition.to_string();
            let labels = [("topic", &*topic.name), ("partition", index.as_str())];
            let ends = partition.ends();
            end.push(&labels, ends.high_watermark.0 as f64);
            start.push(&labels, ends.log_start.0 as f64);
            local.push(&labels, ends.local_start.0 as f64);
            if let Some(offset) = partition.tiered_end() {
                tiered.push(&labels, offset.0 as f64);
            }
        }
    }
    vec![end, start, local, tiered]
}
