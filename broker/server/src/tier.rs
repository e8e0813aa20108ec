//! The tier, wired to this broker: the store, the archives of led partitions, cold reads, exports, and the purge of deleted
//! topics.
//!
//! Listeners open before the store is asked anything. The store is then probed until it answers: an **unreachable** one
//! lets hot service run while shipping waits; with an **unsafe** one, or one that is another cluster's, shipping never starts
//! and `/ready` says why; only `strata.tier.required=true` makes either fatal.
//!
//! Local data is deleted only below the archive's durable end, the end of the newest root that the bucket confirmed (TIER-2).
//!
//! Start reading at [`start`].

mod archives;
mod exports;
mod metrics;
mod purge;
mod sources;

pub(crate) use exports::exporter;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use broker_metadata::ClusterImage;
use broker_model::{LeaderEpoch, NodeId};
use gateway_http::{ColdSource, NotReady};
use parking_lot::RwLock;
use tiering_manifest::{BucketFile, Generation, Writer};
use tiering_store::probe::MissingBucket;
use tiering_store::{Meter, OpenError, S3Config, Store, StoreConfig, StoreErrorKind, probe};
use tiering_tier::bucket::{self, BucketError};
use tiering_tier::{BlockCache, CacheConfig, ReaderConfig, TierReader, Uploader, UploaderConfig};
use tokio::runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::broker::Broker;
use crate::clock;
use crate::random;
use crate::settings::{Settings, TierPlace, TierSettings};

/// Between two probes of a store that does not answer.
const PROBE_PAUSE: Duration = Duration::from_secs(5);
/// An archive whose log moves, or a purge that waits, looks again after this time.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How the store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing is known yet, or it did not answer.
    Unreached(String),
    /// It broke promises, or belongs to another cluster: nothing is shipped until a restart.
    Unsafe(String),
    /// It answers as it must.
    Good(Generation),
}

/// The tier of this broker.
pub struct Tier {
    settings: TierSettings,
    config: StoreConfig,
    cluster_id: String,
    store: Store,
    meter: Arc<Meter>,
    reader: OnceLock<TierReader>,
    cache: OnceLock<BlockCache>,
    uploader: Uploader,
    standing: RwLock<Standing>,
    exports: exports::Counters,
    crash_point: Option<String>,
    nonce: u64,
    prober: u64,
}

impl std::fmt::Debug for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tier").field("url", &self.config.url).finish_non_exhaustive()
    }
}

impl Tier {
    /// The tier of this cluster. Makes no request.
    ///
    /// # Errors
    /// The settings give no store.
    pub fn new(settings: &Settings, cluster_id: &str) -> Result<Tier, OpenError> {
        let config = store_config(&settings.tier);
        let (store, meter) = tiering_store::open(&config)?;
        let uploads = UploaderConfig { look: LOOK_INTERVAL, ..UploaderConfig::default() };
        Ok(Tier {
            settings: settings.tier.clone(),
            config,
            cluster_id: cluster_id.to_owned(),
            store,
            meter,
            reader: OnceLock::new(),
            cache: OnceLock::new(),
            uploader: Uploader::new(uploads, Arc::new(clock::now)),
            standing: RwLock::new(Standing::Unreached("the store was not asked yet".to_owned())),
            exports: exports::Counters::default(),
            crash_point: settings.crash_point.clone(),
            prober: prober(cluster_id, settings.node.node_id),
            nonce: random::number(),
        })
    }

    /// The cold part of each partition, for the gateway.
    #[must_use]
    pub fn cold_source(self: &Arc<Self>) -> Arc<dyn ColdSource> {
        Arc::new(sources::LateColdEnd(self.clone()))
    }

    /// Why this node is not ready, as far as the tier is concerned.
    #[must_use]
    pub fn not_ready(&self) -> Vec<NotReady> {
        let reason = match &*self.standing.read() {
            Standing::Good(_) => None,
            Standing::Unreached(why) => {
                Some(format!("the store cannot be reached, shipping waits and cold records cannot be read: {why}"))
            }
            Standing::Unsafe(why) => Some(format!("the store is not safe to ship to: {why}")),
        };
        let halted = self.uploader.handles().into_iter().filter_map(|handle| {
            let why = handle.halted()?;
            Some(format!("shipping of {} halted: {why}", handle.partition()))
        });
        let failing = self.failing().map(|why| format!("the store fails, shipping waits: {why}"));
        let reasons = reason.into_iter().chain(halted).chain(failing);
        reasons.map(|detail| NotReady { component: "tier".to_owned(), detail }).collect()
    }

    /// What the last request of some archive failed with, until it succeeds.
    fn failing(&self) -> Option<String> {
        self.uploader.handles().into_iter().find_map(|handle| {
            let stats = handle.stats();
            stats.last_error.filter(|_| stats.halted.is_none())
        })
    }

    fn writer(&self, generation: Generation, epoch: LeaderEpoch) -> Writer {
        Writer { generation, epoch, nonce: self.nonce }
    }

    /// Probes the store once and claims the bucket. In a stranger's bucket nothing is written, not even to probe it.
    async fn reach(&self) -> Standing {
        match bucket::refuse_stranger(&self.store, &self.cluster_id).await {
            Err(error @ BucketError::Stranger { .. }) => return Standing::Unsafe(error.to_string()),
            Err(BucketError::Store(error)) if error.kind() == StoreErrorKind::Unreachable => {
                return Standing::Unreached(error.to_string());
            }
            // A bucket that is not there yet is made by the probe; whatever else is wrong is met and told by it.
            Ok(()) | Err(_) => {}
        }
        let found = probe(&self.config, &self.store, clock::now(), self.prober, MissingBucket::Create).await;
        if let Some(error) = found.unreachable {
            return Standing::Unreached(error.to_string());
        }
        if !found.broken.is_empty() {
            return Standing::Unsafe(found.broken.join("; "));
        }
        let name = "strata".to_owned();
        let wanted = BucketFile { cluster_id: self.cluster_id.clone(), name, generation: Generation(0) };
        match bucket::claim(&self.store, &wanted).await {
            Ok(file) => Standing::Good(file.generation),
            Err(BucketError::Store(error)) => Standing::Unreached(error.to_string()),
            Err(error) => Standing::Unsafe(error.to_string()),
        }
    }
}

/// The same for each start of a node: FNV-1a over the cluster's id and the node's number.
fn prober(cluster_id: &str, node: NodeId) -> u64 {
    let bytes = cluster_id.bytes().chain(node.0.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The store that the settings name.
#[must_use]
pub fn store_config(settings: &TierSettings) -> StoreConfig {
    let url = match &settings.place {
        // A URL has absolute paths only; where the system cannot tell, it refuses the path as it is.
        TierPlace::Directory(path) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            format!("file://{}", absolute.display())
        }
        TierPlace::S3(_) => settings.place.url(),
    };
    let mut config = StoreConfig::new(&url);
    if let TierPlace::S3(place) = &settings.place {
        config.s3 = S3Config {
            endpoint: place.endpoint.clone(),
            region: Some(place.region.clone()),
            access_key: place.credentials.as_ref().map(|keys| keys.access_key_id.clone()),
            secret_key: place.credentials.as_ref().map(|keys| keys.secret_access_key.reveal().to_owned()),
            session_token: place
                .credentials
                .as_ref()
                .and_then(|keys| keys.session_token.as_ref())
                .map(|token| token.reveal().to_owned()),
            virtual_hosted: !place.path_style,
        };
    }
    config
}

/// A cache in memory only, for tools that run beside a broker: the directory on disk is the broker's own.
///
/// # Errors
/// The cache cannot be made.
pub async fn memory_cache(settings: &TierSettings) -> Result<BlockCache, tiering_tier::CacheError> {
    open_cache(&TierSettings { cache_disk_bytes: 0, ..settings.clone() }).await
}

/// A cache in memory and, where the settings say so, on disk.
///
/// # Errors
/// The cache's directory cannot be used.
pub async fn open_cache(settings: &TierSettings) -> Result<BlockCache, tiering_tier::CacheError> {
    let size = |bytes: i64| usize::try_from(bytes).unwrap_or(0);
    let disk_bytes = size(settings.cache_disk_bytes);
    let directory = (disk_bytes > 0).then(|| settings.cache_dir.clone());
    let memory_bytes = size(settings.cache_bytes);
    BlockCache::open(&CacheConfig { memory_bytes, directory, disk_bytes, ..CacheConfig::default() }).await
}

/// Starts everything that the tier does by itself, on the runtime for cold work.
///
/// # Errors
/// Only with `strata.tier.required`: why the store cannot be used.
pub async fn start(
    tier: Arc<Tier>,
    broker: Arc<Broker>,
    images: watch::Receiver<Arc<ClusterImage>>,
    (tasks, cold, stop): (&TaskTracker, &runtime::Handle, CancellationToken),
) -> Result<(), String> {
    if tier.settings.required {
        let standing = tier.reach().await;
        let verdict = match &standing {
            Standing::Good(_) => Ok(()),
            Standing::Unreached(why) | Standing::Unsafe(why) => Err(why.clone()),
        };
        *tier.standing.write() = standing;
        verdict?;
    }
    tasks.spawn_on(run(tier, broker, images, (tasks.clone(), stop)), cold);
    Ok(())
}

async fn run(
    tier: Arc<Tier>,
    broker: Arc<Broker>,
    images: watch::Receiver<Arc<ClusterImage>>,
    (tasks, stop): (TaskTracker, CancellationToken),
) {
    match open_cache(&tier.settings).await {
        Ok(cache) => {
            let reader = TierReader::new(tier.store.clone(), cache.clone(), ReaderConfig::default());
            // Both are set once, here.
            drop((tier.reader.set(reader), tier.cache.set(cache)));
        }
        Err(error) => error!(%error, "cold records cannot be read"),
    }
    archives::prepare(&tier);
    let Some(generation) = until_good(&tier, &broker, &stop).await else { return };
    let running = (tier.clone(), broker.clone());
    tasks.spawn(exports::run(running, generation, stop.clone()));
    tasks.spawn(purge::run((tier.clone(), broker.clone()), generation, (images.clone(), stop.clone())));
    archives::run(&tier, &broker, generation, (images, stop)).await;
    tier.uploader.stop().await;
    if let Some(cache) = tier.cache.get() {
        cache.close().await;
    }
}

/// Probes until the store is good. `None` when it never will be, or the program stops.
async fn until_good(tier: &Tier, broker: &Broker, stop: &CancellationToken) -> Option<Generation> {
    let mut is_told = false;
    loop {
        let known = tier.standing.read().clone();
        let standing = if let Standing::Good(_) = known { known } else { tier.reach().await };
        *tier.standing.write() = standing.clone();
        match standing {
            Standing::Good(generation) => {
                info!(url = %tier.config.url, "the tier is reached");
                return Some(generation);
            }
            Standing::Unsafe(why) => {
                error!(url = %tier.config.url, why, "the store is not safe: nothing is shipped");
                // Hot service goes on. What an archive there may say is not to be trusted.
                broker.topics.load().iter().flat_map(|topic| topic.partitions()).for_each(|partition| partition.lead());
                return None;
            }
            Standing::Unreached(why) => {
                if !is_told {
                    warn!(url = %tier.config.url, why, "the store cannot be reached: shipping waits");
                    is_told = true;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PROBE_PAUSE) => {}
            () = stop.cancelled() => return None,
        }
    }
}
