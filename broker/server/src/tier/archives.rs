//! An archive for each led partition of a tiered topic, as topics come, change and go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_metadata::ClusterImage;
use broker_model::config::TopicConfig;
use broker_model::{TopicId, TopicPartition};
use futures::StreamExt;
use rustix::process::{Pid, Signal, getpid, kill_process};
use tiering_manifest::{Generation, PartitionPrefix, TopicFile};
use tiering_plan::Rules;
use tiering_tier::{ArchiveConfig, ColdError, Hooks, PartitionArchive, Point, TierReader, bucket};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{LOOK_INTERVAL, Tier};
use crate::broker::Broker;
use crate::clock;
use crate::replica::{Partition, ShippedLog};
use crate::topics::Topic;

/// How long an id may be used after it was registered, in milliseconds: a day, so that an idle partition asks nothing.
const ID_LIFE_MS: i64 = 24 * 60 * 60 * 1000;
/// How long an object stays after no root refers to it, for readers with an older root, in milliseconds.
const GRACE_MS: i64 = 60 * 1000;
/// Ids that an idle partition keeps registered, so that the next object needs no swap before it.
const SPARE_IDS: usize = 2;
/// Objects of one partition that are put at the same time.
const PUTS_IN_FLIGHT: usize = 2;
/// Topics, and partitions of one topic, that are begun at the same time: each may wait for the store.
const AT_ONCE: usize = 8;
/// Where the local copies of roots lie, in the log directory.
const COPIES: &str = "tier-roots";

/// Makes the directory of the local copies.
pub(super) fn prepare(tier: &Tier) {
    let directory = copies(&tier.settings.cache_dir);
    if let Err(error) = std::fs::create_dir_all(&directory) {
        warn!(directory = %directory.display(), %error, "local copies of roots cannot be kept");
    }
}

/// Follows the image until `stop`.
pub(super) async fn run(
    tier: &Arc<Tier>,
    broker: &Arc<Broker>,
    generation: Generation,
    (mut images, stop): (watch::Receiver<Arc<ClusterImage>>, CancellationToken),
) {
    let mut settled = BTreeMap::new();
    loop {
        images.mark_unchanged();
        let complete = reconcile((tier, broker), generation, &mut settled).await;
        tokio::select! {
            changed = images.changed() => if changed.is_err() { return },
            // A topic that could not be described is tried again.
            () = tokio::time::sleep(LOOK_INTERVAL), if !complete => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Starts and stops archives of topics that changed. False where something has to be tried again.
async fn reconcile(
    (tier, broker): (&Tier, &Broker),
    generation: Generation,
    settled: &mut BTreeMap<TopicId, Arc<Topic>>,
) -> bool {
    let topics = broker.topics.load_full();
    settled.retain(|id, _| topics.by_id(*id).is_some_and(|topic| topic.config.tiered));
    let changed = topics.iter().filter(|topic| topic.config.tiered);
    let changed = changed.filter(|topic| !settled.get(&topic.id).is_some_and(|known| Arc::ptr_eq(known, topic)));
    let changed = changed.cloned().map(|topic| async move {
        let complete = settle((tier, broker), &topic, generation).await;
        (topic, complete)
    });
    // Collected, so that nothing borrows the table while the store is waited for.
    let changed: Vec<_> = changed.collect();
    let mut changed = futures::stream::iter(changed).buffer_unordered(AT_ONCE);
    let mut all_complete = true;
    while let Some((topic, complete)) = changed.next().await {
        all_complete &= complete;
        if complete {
            settled.insert(topic.id, topic);
        }
    }
    for handle in tier.uploader.handles() {
        let at: TopicPartition = handle.partition();
        let is_served = topics.by_id(at.topic).is_some_and(|topic| topic.config.tiered);
        if !is_served {
            forget(tier, &at).await;
        }
    }
    all_complete
}

async fn forget(tier: &Tier, at: &TopicPartition) {
    tier.uploader.remove(at).await;
    if let Some(reader) = tier.reader.get() {
        reader.detach(at);
    }
}

/// Brings the archives of one topic to its configuration.
async fn settle((tier, broker): (&Tier, &Broker), topic: &Topic, generation: Generation) -> bool {
    let is_new = topic.partitions().any(|partition| tier.uploader.handle(&partition.id).is_none());
    if is_new && let Err(error) = describe(tier, topic).await {
        warn!(topic = %topic.name, %error, "topic cannot be described in the bucket, will try again");
        return false;
    }
    let partitions: Vec<_> = topic.partitions().cloned().collect();
    let opened = partitions.into_iter().map(|partition| async move {
        match tier.uploader.handle(&partition.id) {
            Some(handle) => handle.set_rules(rules(tier, &topic.config)),
            None if !open(tier, &partition, generation).await => return false,
            None => {}
        }
        // Purges begin when the topic is gone from the table, and remove what they find: what came after that goes here.
        if broker.topics.load().by_id(partition.id.topic).is_none() {
            forget(tier, &partition.id).await;
        }
        tokio::task::yield_now().await;
        true
    });
    let opened: Vec<_> = opened.collect();
    futures::stream::iter(opened).buffer_unordered(AT_ONCE).fold(true, async |all, one| all && one).await
}

async fn describe(tier: &Tier, topic: &Topic) -> Result<(), bucket::BucketError> {
    let file = TopicFile {
        name: topic.name.to_string(),
        id: topic.id,
        partitions: u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX),
        configs: topic.overrides.as_ref().clone(),
    };
    bucket::describe_topic(&tier.store, &file).await
}

/// Begins a partition's archive. False where the bucket has to be asked again before the partition may lead.
async fn open(tier: &Tier, partition: &Arc<Partition>, generation: Generation) -> bool {
    let prefix = match PartitionPrefix::new(&partition.topic, partition.id.topic, partition.id.partition) {
        Ok(prefix) => prefix,
        Err(error) => {
            warn!(%partition, %error, "partition cannot be archived");
            return true;
        }
    };
    let config = ArchiveConfig {
        store: tier.store.clone(),
        prefix,
        writer: tier.writer(generation, partition.leader_epoch()),
        copy: Some(copy_of(&tier.settings.cache_dir, partition.id)),
        clock: Arc::new(clock::now),
        rules: rules(tier, &partition.config()),
        puts_in_flight: PUTS_IN_FLIGHT,
        hooks: hooks(tier.crash_point.as_deref()),
    };
    let (archive, handle) = PartitionArchive::open(config, Arc::new(ShippedLog(partition.clone())));
    if let Some(reader) = tier.reader.get() {
        reader.attach(&handle);
        if partition.waits_for_archive() && !compare(reader, partition).await {
            return false;
        }
    }
    partition.is_archived_by(handle);
    tier.uploader.add(archive);
    true
}

/// The archive wins: a log that a power cut left shorter than its archive begins at the archive's end. False where the
/// bucket does not answer.
async fn compare(reader: &TierReader, partition: &Arc<Partition>) -> bool {
    let tail = match reader.tail(&partition.id).await {
        Ok(tail) => Some(tail),
        Err(ColdError::Unknown(_)) => None,
        Err(error) => {
            warn!(%partition, %error, "partition waits for its archive: its log was not shut down cleanly");
            return false;
        }
    };
    let partition = partition.clone();
    let compared = tokio::task::spawn_blocking(move || partition.archive_is(tail)).await;
    compared.is_ok_and(|compared| compared.is_ok())
}

/// Where the local copy of a partition's root lies.
pub(super) fn copy_of(cache_dir: &Path, at: TopicPartition) -> PathBuf {
    copies(cache_dir).join(format!("{at}.json"))
}

/// Beside the cache's directory, which nothing else may use.
fn copies(cache_dir: &Path) -> PathBuf {
    cache_dir.parent().unwrap_or(cache_dir).join(COPIES)
}

/// What the planner goes by.
pub(super) fn rules(tier: &Tier, config: &TopicConfig) -> Rules {
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    Rules {
        object_bytes: size(tier.settings.object_bytes),
        rpo_ms: tier.settings.rpo_ms,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes.map(size),
        id_life_ms: ID_LIFE_MS,
        grace_ms: GRACE_MS,
        copies: !config.copy_disabled,
        spare_ids: SPARE_IDS,
    }
}

/// The fail points of `strata.test.crash.point`: the process kills itself, as a power cut would.
fn hooks(crash_point: Option<&str>) -> Hooks {
    let at = match crash_point {
        Some("after-register") => Point::AfterRegister,
        Some("after-put-before-swap") => Point::AfterPut,
        Some("after-swap-before-local-delete") => Point::AfterSwap,
        _ => return Hooks::default(),
    };
    Hooks::new(move |point| {
        if point == at {
            die();
        }
    })
}

fn die() {
    let own: Pid = getpid();
    if let Err(error) = kill_process(own, Signal::KILL) {
        warn!(%error, "this process could not kill itself");
    }
}
