//! Continuous export of the topics that ask for it (`strata.export.enable`).
//!
//! Each topic has an exporter of its own, whose writer is beyond the one that the table root names, so that a newcomer
//! fences who was before. A topic whose export stops for good does not stop the others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker_model::{LeaderEpoch, PartitionIndex, TopicId};
use tiering_export::{ExportError, ExportErrorKind, ExportTopic, Exporter, Options, Progress};
use tiering_manifest::{Generation, TableRoot, Writer, keys};
use tiering_store::{Class, Store};
use tiering_tier::TierReader;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::Tier;
use crate::broker::Broker;
use crate::clock;

/// Between two looks at all exported topics.
const ROUND: Duration = Duration::from_secs(1);

/// What exports did.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) files: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) lag_offsets: AtomicU64,
}

impl Counters {
    fn add(&self, progress: &Progress) {
        self.files.fetch_add(progress.files, Ordering::Relaxed);
        self.rows.fetch_add(progress.rows, Ordering::Relaxed);
        self.bytes.fetch_add(progress.bytes, Ordering::Relaxed);
    }
}

/// An exporter, until it stops for good.
enum Job {
    Runs(Box<Exporter>),
    Stopped,
}

/// Runs until `stop`.
pub(super) async fn run((tier, broker): (Arc<Tier>, Arc<Broker>), generation: Generation, stop: CancellationToken) {
    let mut jobs: BTreeMap<TopicId, Job> = BTreeMap::new();
    loop {
        tokio::select! {
            () = round(&tier, &broker, generation, &mut jobs) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn round(tier: &Arc<Tier>, broker: &Broker, generation: Generation, jobs: &mut BTreeMap<TopicId, Job>) {
    let Some(reader) = tier.reader.get() else { return };
    let topics = broker.topics.load_full();
    jobs.retain(|id, _| topics.by_id(*id).is_some_and(|topic| topic.config.exported));
    let mut lag = 0;
    for topic in topics.iter().filter(|topic| topic.config.exported) {
        let wanted = ExportTopic { name: topic.name.to_string(), id: topic.id };
        let job = match jobs.entry(topic.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let source = (&tier.store, reader.clone());
                let options = Options { interval_ms: tier.settings.export_interval_ms, ..Options::default() };
                match exporter(source, &wanted, (generation, tier.nonce), options).await {
                    Ok(exporter) => place.insert(Job::Runs(Box::new(exporter))),
                    Err(error) => {
                        warn!(topic = %topic.name, %error, "export cannot begin, will try again");
                        continue;
                    }
                }
            }
        };
        let Job::Runs(exporter) = job else { continue };
        let partitions: Vec<PartitionIndex> = topic.partitions().map(|partition| partition.id.partition).collect();
        match exporter.run_once(&wanted, &partitions, clock::now()).await {
            Ok(progress) => {
                tier.exports.add(&progress);
                lag += progress.lag_offsets;
            }
            Err(error) => {
                tier.exports.failures.fetch_add(1, Ordering::Relaxed);
                if matches!(error.kind(), ExportErrorKind::Retry) {
                    warn!(topic = %topic.name, %error, "export waits");
                } else {
                    error!(topic = %topic.name, %error, "export stopped");
                    *job = Job::Stopped;
                }
            }
        }
    }
    tier.exports.lag_offsets.store(lag, Ordering::Relaxed);
}

/// An exporter whose writer is beyond the one that wrote the table's root last.
///
/// # Errors
/// The store fails, or the root is damaged.
pub(crate) async fn exporter(
    (store, source): (&Store, TierReader),
    topic: &ExportTopic,
    (generation, nonce): (Generation, u64),
    options: Options,
) -> Result<Exporter, ExportError> {
    let key = format!("{}{}", keys::table_prefix(&topic.name, &topic.id)?, keys::TABLE_FILE);
    let epoch = match store.load(&key, Class::Background).await? {
        Some(found) => LeaderEpoch(TableRoot::decode(&found.bytes)?.writer.epoch.0.saturating_add(1)),
        None => LeaderEpoch(0),
    };
    let writer = Writer { generation, epoch, nonce };
    Ok(Exporter::new(store.clone(), Arc::new(source), writer, options))
}
