//! The block cache: memory and, where a directory is given, disk, both bounded. Keys name immutable bytes, so an entry is
//! never wrong, only absent; a cache that fails costs a request and nothing else.
//!
//! A fill belongs to the cache and not to the reader that asked first: it runs in a task of its own, all who want the same
//! block wait for it, and it ends in the cache even when every reader has given up. Bytes of running fills are bounded.
//!
//! It never verifies content: a fill does, before it hands its bytes in; the disk tier has checksums of its own.

use std::collections::HashMap;
use std::future::Future;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, Code, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy,
    RecoverMode, S3FifoConfig,
};
use parking_lot::Mutex;
use tiering_store::{StoreError, StoreErrorKind};
use tokio::sync::{Semaphore, watch};

/// Bytes are counted in units of this size.
const UNIT: u64 = 4 << 10;
/// The buffers of the disk tier: a burst of fills must fit, or it is dropped.
const DISK_BUFFER_BYTES: usize = 64 << 20;

/// Names a block: the object, and which of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockKey {
    /// A digest of the object's key in the bucket.
    pub object: u128,
    /// The block's index in the object's table, or [`BlockKey::INDEX`].
    pub block: u32,
}

impl BlockKey {
    /// Stands for the object's index.
    pub const INDEX: u32 = u32::MAX;

    /// The key of a block of the object with this key in the bucket.
    #[must_use]
    pub fn new(object: &str, block: u32) -> BlockKey {
        // Two 64-bit checksums over differently prefixed text: no adversary chooses object names.
        let half = |salt: u8| {
            let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
            digest.update(&[salt]);
            digest.update(object.as_bytes());
            digest.update(&[salt]);
            u128::from(digest.finalize())
        };
        let mut fnv: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in object.bytes() {
            fnv = (fnv ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        BlockKey { object: (half(1) << 64) | u128::from(fnv), block }
    }
}

impl Code for BlockKey {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        let mut bytes = [0u8; 20];
        bytes[..16].copy_from_slice(&self.object.to_be_bytes());
        bytes[16..].copy_from_slice(&self.block.to_be_bytes());
        writer.write_all(&bytes).map_err(foyer::Error::io_error)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<BlockKey> {
        let (mut object, mut block) = ([0u8; 16], [0u8; 4]);
        reader.read_exact(&mut object).map_err(foyer::Error::io_error)?;
        reader.read_exact(&mut block).map_err(foyer::Error::io_error)?;
        Ok(BlockKey { object: u128::from_be_bytes(object), block: u32::from_be_bytes(block) })
    }

    fn estimated_size(&self) -> usize {
        20
    }
}

/// How large the cache is.
#[derive(Clone, Debug)]
pub struct CacheConfig {
    /// Bytes of blocks in memory.
    pub memory_bytes: usize,
    /// The directory of the disk tier, of which nothing else may use; None for memory only.
    pub directory: Option<PathBuf>,
    /// Bytes of the disk tier.
    pub disk_bytes: usize,
    /// Bytes of fills that run at the same time.
    pub filling_bytes: u64,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig { memory_bytes: 64 << 20, directory: None, disk_bytes: 1 << 30, filling_bytes: 64 << 20 }
    }
}

/// The cache cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the block cache cannot be opened: {0}")]
pub struct CacheError(String);

/// Numbers of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Blocks that were found.
    pub hits: u64,
    /// Blocks that had to be fetched, or were being fetched.
    pub misses: u64,
    /// Fills that ran.
    pub fills: u64,
    /// Fills that failed.
    pub failed_fills: u64,
    /// Failures of the cache itself.
    pub cache_errors: u64,
    /// Bytes that fills brought.
    pub filled_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    fills: AtomicU64,
    failed_fills: AtomicU64,
    cache_errors: AtomicU64,
    filled_bytes: AtomicU64,
}

type Outcome = Option<Result<Bytes, StoreError>>;

struct Inner {
    blocks: HybridCache<BlockKey, Bytes>,
    flights: Mutex<HashMap<BlockKey, watch::Receiver<Outcome>>>,
    filling: Semaphore,
    units: u32,
    counters: Counters,
}

/// The block cache. Cheap to clone.
#[derive(Clone)]
pub struct BlockCache(Arc<Inner>);

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BlockCache").field(&self.stats()).finish()
    }
}

impl BlockCache {
    /// Opens the cache; what the disk tier held is found again.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub async fn open(config: &CacheConfig) -> Result<BlockCache, CacheError> {
        let failed = |error: foyer::Error| CacheError(error.to_string());
        let memory = HybridCacheBuilder::new()
            .with_name("strata-blocks")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .memory(config.memory_bytes.max(1 << 20))
            .with_shards(4)
            .with_eviction_config(S3FifoConfig::default())
            .with_weighter(|_: &BlockKey, block: &Bytes| block.len() + 64)
            .storage();
        let blocks = match &config.directory {
            None => memory.build().await.map_err(failed)?,
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(|error| CacheError(error.to_string()))?;
                let device =
                    FsDeviceBuilder::new(directory).with_capacity(config.disk_bytes).build().map_err(failed)?;
                let engine = BlockEngineConfig::new(device).with_buffer_pool_size(DISK_BUFFER_BYTES);
                memory.with_engine_config(engine).with_recover_mode(RecoverMode::Quiet).build().await.map_err(failed)?
            }
        };
        let units = u32::try_from((config.filling_bytes / UNIT).max(1)).unwrap_or(u32::MAX >> 4);
        Ok(BlockCache(Arc::new(Inner {
            blocks,
            flights: Mutex::new(HashMap::new()),
            filling: Semaphore::new(units as usize),
            units,
            counters: Counters::default(),
        })))
    }

    /// The block, from the cache or from `fill`, which is told nothing and gives verified bytes of about this many bytes.
    ///
    /// # Errors
    /// What the fill failed with. The next who asks tries again.
    pub async fn get<F, Fut>(&self, key: BlockKey, bytes: u64, fill: F) -> Result<Bytes, StoreError>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Bytes, StoreError>> + Send + 'static,
    {
        if let Some(found) = self.look_up(&key).await {
            return Ok(found);
        }
        let mut flight = self.fly(key, bytes, fill);
        loop {
            if let Some(outcome) = flight.borrow_and_update().clone() {
                return outcome;
            }
            if flight.changed().await.is_err() {
                let detail = "the task that filled the cache died";
                return Err(StoreError::new(StoreErrorKind::Unreachable, "fill", "", detail));
            }
        }
    }

    /// Begins to fetch the block where it is neither there nor on its way. Nobody waits for it.
    pub fn prefetch<F, Fut>(&self, key: BlockKey, bytes: u64, fill: F)
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Bytes, StoreError>> + Send + 'static,
    {
        if !self.0.blocks.contains(&key) {
            self.fly(key, bytes, fill);
        }
    }

    /// The numbers now.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let counters = &self.0.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheStats {
            hits: read(&counters.hits),
            misses: read(&counters.misses),
            fills: read(&counters.fills),
            failed_fills: read(&counters.failed_fills),
            cache_errors: read(&counters.cache_errors),
            filled_bytes: read(&counters.filled_bytes),
        }
    }

    /// Writes what is buffered for the disk tier, before the process ends.
    pub async fn close(&self) {
        if self.0.blocks.close().await.is_err() {
            self.0.counters.cache_errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn look_up(&self, key: &BlockKey) -> Option<Bytes> {
        let found = match self.0.blocks.get(key).await {
            Ok(found) => found.map(|entry| entry.value().clone()),
            Err(_) => {
                self.0.counters.cache_errors.fetch_add(1, Ordering::Relaxed);
                None
            }
        };
        let counter = if found.is_some() { &self.0.counters.hits } else { &self.0.counters.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Joins the fill of this block, or begins it.
    fn fly<F, Fut>(&self, key: BlockKey, bytes: u64, fill: F) -> watch::Receiver<Outcome>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Bytes, StoreError>> + Send + 'static,
    {
        let mut flights = self.0.flights.lock();
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key, receiver.clone());
        drop(flights);
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Removed also when the fill panics, so that the next reader can try.
            let landed = Landing { inner: &inner, key };
            let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(inner.units);
            let _turn = inner.filling.acquire_many(units).await.expect("the semaphore is never closed");
            inner.counters.fills.fetch_add(1, Ordering::Relaxed);
            let outcome = fill().await;
            match &outcome {
                Ok(block) => {
                    inner.counters.filled_bytes.fetch_add(block.len() as u64, Ordering::Relaxed);
                    inner.blocks.insert(key, block.clone());
                }
                Err(_) => {
                    inner.counters.failed_fills.fetch_add(1, Ordering::Relaxed);
                }
            }
            drop(landed);
            // Readers may all have given up: then nobody listens, and the block is in the cache all the same.
            let _ = sender.send(Some(outcome));
        });
        receiver
    }
}

/// Takes the flight off the list when it ends, however it ends.
struct Landing<'a> {
    inner: &'a Inner,
    key: BlockKey,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.inner.flights.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
