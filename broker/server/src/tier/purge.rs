//! Empties the bucket of deleted topics.
//!
//! The metadata log keeps a purge record until the bucket is empty of the topic, so a crash in between loses nothing. Each
//! partition's root is swapped to deleted first, then its objects go, the root last; then the topic's description.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_metadata::{ClusterImage, Purge, Request};
use broker_model::{LeaderEpoch, PartitionIndex, TopicId, TopicPartition};
use futures::{StreamExt, TryStreamExt};
use tiering_manifest::{Generation, PartitionPrefix};
use tiering_plan::Rules;
use tiering_tier::{ArchiveConfig, Hooks, MemLog, PartitionArchive, ShipErrorKind, Step, bucket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{LOOK_INTERVAL, Tier};
use crate::broker::Broker;
use crate::clock;

const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);
/// Partitions of one topic that are purged at the same time.
const PARTITIONS_AT_ONCE: usize = 16;

/// Purges what the image says until `stop`. Each topic has a task of its own: one that must wait (a dead writer's late
/// writes are waited out) holds up no other.
pub(super) async fn run(
    (tier, broker): (Arc<Tier>, Arc<Broker>),
    generation: Generation,
    (mut images, stop): (watch::Receiver<Arc<ClusterImage>>, CancellationToken),
) {
    let mut running: JoinSet<TopicId> = JoinSet::new();
    let mut known = BTreeSet::new();
    loop {
        let image = images.borrow_and_update().clone();
        for (id, purge) in image.purges().filter(|(id, _)| known.insert(*id)) {
            let job = until_purged((tier.clone(), broker.clone()), (id, purge.clone()), generation, epoch(&image));
            running.spawn(job);
        }
        tokio::select! {
            changed = images.changed() => if changed.is_err() { return },
            Some(done) = running.join_next(), if !running.is_empty() => match done {
                Ok(id) => drop(known.remove(&id)),
                Err(error) => error!(%error, "a purge died"),
            },
            () = stop.cancelled() => return,
        }
    }
}

async fn until_purged(
    (tier, broker): (Arc<Tier>, Arc<Broker>),
    (id, purge): (TopicId, Purge),
    generation: Generation,
    epoch: LeaderEpoch,
) -> TopicId {
    loop {
        match purge_topic(&tier, (id, &purge), generation, epoch).await {
            Ok(()) => break,
            Err(why) => {
                warn!(topic = %purge.name, why, "deleted topic cannot be purged from the bucket, will try again");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    info!(topic = %purge.name, "bucket is empty of the deleted topic");
    // A refusal is met again at the next start: the record is still there, and nothing is left to do for it.
    drop(broker.metadata.ask(Request::PurgeFinished(id)).answer().await);
    id
}

/// This process's epoch: beyond that of any leader of an earlier one.
fn epoch(image: &ClusterImage) -> LeaderEpoch {
    let newest = image.brokers().map(|(_, broker)| broker.epoch).max().unwrap_or(0);
    LeaderEpoch(i32::try_from(newest).unwrap_or(i32::MAX))
}

async fn purge_topic(
    tier: &Tier,
    (id, purge): (TopicId, &Purge),
    generation: Generation,
    epoch: LeaderEpoch,
) -> Result<(), String> {
    let partitions = (0..purge.partition_count).map(PartitionIndex);
    let purges = partitions.map(|partition| async move {
        let at = TopicPartition { topic: id, partition };
        tier.uploader.remove(&at).await;
        let prefix = PartitionPrefix::new(&purge.name, id, partition).map_err(|error| error.to_string())?;
        purge_partition(tier, prefix, generation, epoch).await?;
        match std::fs::remove_file(super::archives::copy_of(&tier.settings.cache_dir, at)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    });
    // In any order, for some wait long; the first that fails ends this attempt.
    futures::stream::iter(purges).buffer_unordered(PARTITIONS_AT_ONCE).try_collect::<Vec<()>>().await?;
    bucket::forget_topic(&tier.store, &purge.name, &id).await.map_err(|error| error.to_string())
}

async fn purge_partition(
    tier: &Tier,
    prefix: PartitionPrefix,
    generation: Generation,
    epoch: LeaderEpoch,
) -> Result<(), String> {
    let rules = Rules {
        object_bytes: u64::MAX,
        rpo_ms: None,
        retention_ms: None,
        retention_bytes: None,
        id_life_ms: 0,
        grace_ms: 0,
        copies: true,
        spare_ids: 0,
    };
    let config = ArchiveConfig {
        store: tier.store.clone(),
        prefix,
        writer: tier.writer(generation, epoch),
        copy: None,
        clock: Arc::new(clock::now),
        rules,
        puts_in_flight: 1,
        hooks: Hooks::default(),
    };
    let (mut archive, handle) = PartitionArchive::open(config, Arc::new(MemLog::new()));
    handle.delete();
    loop {
        match archive.step().await {
            Ok(Step::Purged) => return Ok(()),
            Ok(Step::Worked) => {}
            Ok(Step::Idle) => tokio::time::sleep(LOOK_INTERVAL).await,
            Err(error) if error.kind() == ShipErrorKind::Halted => return Err(error.to_string()),
            Err(error) => {
                warn!(partition = %handle.partition(), %error, "purge waits");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}
