//! Cold reads: whole batches by offset, from objects that the root names, through the block cache.
//!
//! TIER-3 rules here: a read gives batches from the one that contains the offset, without a gap, or an error that says
//! what to do. A failing store is an error to retry, a damaged or missing object is a loss that a human must look at, and
//! an offset outside of the tier is its own answer. Nothing is ever an empty success.
//!
//! A root may be older than the bucket: an object that is gone is looked for once more with a fresh root before it is
//! called lost. A read that is dropped loses nothing: its fills go on in the cache, and the next read finds them.
//!
//! Start reading at [`TierReader::read`]; `source.rs` finds the entry of an offset, `object.rs` fetches, `by_time.rs` finds
//! records by their time.

mod by_time;
mod object;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicPartition};
use bytes::Bytes;
use parking_lot::RwLock;
use tiering_manifest::{AbortedTxn, EpochStart, PartitionPrefix, Root, TopicFile};
use tiering_store::{Store, StoreError, StoreErrorKind};

use crate::bucket::{self, BucketError};
use crate::invariants;
use crate::{ArchiveHandle, BlockCache};
use object::Fetcher;
use source::Source;

/// How cold reads are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// Blocks that are fetched ahead of a read.
    pub readahead_blocks: usize,
}

impl Default for ReaderConfig {
    fn default() -> ReaderConfig {
        ReaderConfig { readahead_blocks: 4 }
    }
}

/// What a cold read gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColdRead {
    /// Whole batches in order, at least one; the first contains the offset that was asked for.
    pub batches: Vec<Bytes>,
    /// The offset after the last batch.
    pub next: Offset,
}

/// The offsets of a partition that are in the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdBounds {
    /// The first offset that may be read.
    pub log_start: Offset,
    /// The first offset that is not in the tier.
    pub end: Offset,
    /// Bytes in the tier.
    pub bytes: u64,
}

/// Where the tier ends, and what a log that begins there must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierTail {
    /// The first offset that is not in the tier.
    pub end: Offset,
    /// The leader epochs up to there, oldest first.
    pub epochs: Vec<EpochStart>,
    /// The producers' state there, as Kafka's snapshot file; empty where it is not known.
    pub producers: Bytes,
}

/// A record found by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeHit {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// A cold read failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ColdError {
    /// A request failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The offset is below the log start offset.
    #[error("the tier begins at offset {log_start}")]
    BelowStart {
        /// The first offset that may be read.
        log_start: Offset,
    },
    /// The offset is not in the tier yet: it is local, or in the future.
    #[error("the tier ends at offset {end}")]
    BeyondEnd {
        /// The first offset that is not in the tier.
        end: Offset,
    },
    /// Nothing is known of the partition yet.
    #[error("partition {0} has no root in the tier, or none was read yet")]
    Unknown(TopicPartition),
    /// What the root names is damaged or gone.
    #[error("offset {offset} of {partition} is lost: {detail}")]
    Lost {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
        /// What is wrong.
        detail: String,
    },
}

/// What to do about a [`ColdError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColdErrorKind {
    /// The same read may succeed later.
    Retry,
    /// The offset is below the first one.
    BelowStart,
    /// The offset is not in the tier: ask the local log.
    BeyondEnd,
    /// The partition is not in the tier.
    Unknown,
    /// The data cannot be had: KAFKA_STORAGE_ERROR.
    Lost,
}

impl ColdError {
    /// What to do.
    #[must_use]
    pub fn kind(&self) -> ColdErrorKind {
        match self {
            ColdError::Store(error) => match error.kind() {
                StoreErrorKind::Corrupt | StoreErrorKind::NotFound | StoreErrorKind::Invalid => ColdErrorKind::Lost,
                _ => ColdErrorKind::Retry,
            },
            ColdError::BelowStart { .. } => ColdErrorKind::BelowStart,
            ColdError::BeyondEnd { .. } => ColdErrorKind::BeyondEnd,
            ColdError::Unknown(_) => ColdErrorKind::Unknown,
            ColdError::Lost { .. } => ColdErrorKind::Lost,
        }
    }
}

/// Reads the tier. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TierReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fetcher: Fetcher,
    config: ReaderConfig,
    sources: RwLock<BTreeMap<TopicPartition, Arc<Source>>>,
    topics: RwLock<Vec<TopicFile>>,
}

impl TierReader {
    /// A reader that knows no partition yet. Makes no request.
    #[must_use]
    pub fn new(store: Store, cache: BlockCache, config: ReaderConfig) -> TierReader {
        let fetcher = Fetcher { store, cache };
        TierReader {
            shared: Arc::new(Shared { fetcher, config, sources: RwLock::default(), topics: RwLock::default() }),
        }
    }

    /// A reader of everything that the bucket describes.
    ///
    /// # Errors
    /// The store fails, or a description is damaged.
    pub async fn open_bucket(store: Store, cache: BlockCache, config: ReaderConfig) -> Result<TierReader, BucketError> {
        let reader = TierReader::new(store, cache, config);
        reader.discover().await?;
        Ok(reader)
    }

    /// Looks for topics in the bucket that are not known yet.
    ///
    /// # Errors
    /// The store fails, or a description is damaged.
    pub async fn discover(&self) -> Result<(), BucketError> {
        let topics = bucket::topics(&self.shared.fetcher.store).await?;
        for topic in &topics {
            for number in 0..topic.partitions {
                let partition = PartitionIndex(i32::try_from(number).unwrap_or(i32::MAX));
                let prefix = PartitionPrefix::new(&topic.name, topic.id, partition)?;
                let key = TopicPartition { topic: topic.id, partition };
                let mut sources = self.shared.sources.write();
                sources.entry(key).or_insert_with(|| Arc::new(Source::bucket(prefix)));
            }
        }
        *self.shared.topics.write() = topics;
        Ok(())
    }

    /// The topics that [`TierReader::discover`] found.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicFile> {
        self.shared.topics.read().clone()
    }

    /// Reads this partition from now on with the root that its archive holds.
    pub fn attach(&self, handle: &ArchiveHandle) {
        self.shared.sources.write().insert(handle.partition(), Arc::new(Source::archive(handle.clone())));
    }

    /// Forgets a partition.
    pub fn detach(&self, partition: &TopicPartition) {
        self.shared.sources.write().remove(partition);
    }

    /// The partitions that can be read, in order.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.shared.sources.read().keys().copied().collect()
    }

    /// Reads the partition's root again from the bucket. No-op for one whose archive is in this process.
    ///
    /// # Errors
    /// The store fails, the root is damaged, or it does not succeed the one that was known.
    pub async fn refresh(&self, partition: &TopicPartition) -> Result<(), ColdError> {
        let source = self.source(partition)?;
        source.reload(&self.shared.fetcher).await.map(|_| ())
    }

    /// What of the partition is in the tier.
    ///
    /// # Errors
    /// The partition is unknown, or its root cannot be read.
    pub async fn bounds(&self, partition: &TopicPartition) -> Result<ColdBounds, ColdError> {
        let root = self.source(partition)?.root(&self.shared.fetcher).await?;
        Ok(ColdBounds { log_start: root.log_start, end: root.end, bytes: root.bytes() })
    }

    /// Whole batches from the one that contains `from`, up to `bytes_max` bytes, but at least one.
    ///
    /// # Errors
    /// See [`ColdErrorKind`].
    pub async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<ColdRead, ColdError> {
        let source = self.source(partition)?;
        let root = source.root(&self.shared.fetcher).await?;
        let result = self.read_with(&source, &root, from, bytes_max).await;
        let Err(error) = &result else { return result };
        if !matches!(error, ColdError::Store(store) if store.kind() == StoreErrorKind::NotFound) {
            return result.map_err(|error| self.lost(partition, from, error));
        }
        // The object may have gone since this root was read: once more, with the newest one.
        let fresh = source.reload(&self.shared.fetcher).await?;
        let result = self.read_with(&source, &fresh, from, bytes_max).await;
        result.map_err(|error| self.lost(partition, from, error))
    }

    /// Names the offset that is lost, where one is.
    fn lost(&self, partition: &TopicPartition, offset: Offset, error: ColdError) -> ColdError {
        if error.kind() != ColdErrorKind::Lost {
            return error;
        }
        tracing::error!(%partition, %offset, %error, "what the tier holds cannot be read");
        match error {
            ColdError::Store(store) => ColdError::Lost { partition: *partition, offset, detail: store.to_string() },
            other => other,
        }
    }

    async fn read_with(
        &self,
        source: &Source,
        root: &Arc<Root>,
        from: Offset,
        bytes_max: usize,
    ) -> Result<ColdRead, ColdError> {
        inside(root, from)?;
        let fetcher = &self.shared.fetcher;
        let mut read = ColdRead { batches: Vec::new(), next: from };
        let (mut bytes, mut heads) = (0, Vec::new());
        'objects: while read.next < root.end && (bytes < bytes_max || read.batches.is_empty()) {
            let entry = source.entry(fetcher, root, read.next).await?;
            let key = source.prefix().join(&entry.key);
            let index = fetcher.index(&key, &entry).await?;
            let first =
                index.blocks.find_offset(read.next).ok_or_else(|| object::wrong(&key, "offset not in its table"))?;
            let blocks = index.blocks.blocks();
            self.read_ahead(source, root, &key, (blocks, first));
            for (number, block) in blocks.iter().enumerate().skip(first) {
                let content = fetcher.block(&key, number, block).await?;
                for batch in broker_records::batches(&content) {
                    let (head, slice) = batch.map_err(|error| object::wrong(&key, &error.to_string()))?;
                    if head.next_offset() <= read.next {
                        continue;
                    }
                    if !read.batches.is_empty() && bytes + slice.len() > bytes_max {
                        break 'objects;
                    }
                    bytes += slice.len();
                    read.next = head.next_offset();
                    heads.push((head.base_offset, read.next));
                    read.batches.push(content.slice_ref(slice));
                }
            }
            if read.next < entry.end {
                return Err(object::wrong(&key, "its blocks end before its range").into());
            }
        }
        invariants::read_is_gapless(from, read.next, &heads)
            .map_err(|broken| object::wrong(&source.prefix().root(), &broken.to_string()))?;
        Ok(read)
    }

    /// Begins to fetch the blocks after this one, also across the end of the object.
    fn read_ahead(
        &self,
        source: &Source,
        root: &Arc<Root>,
        key: &str,
        (blocks, at): (&[tiering_manifest::Block], usize),
    ) {
        let ahead = self.shared.config.readahead_blocks;
        let fetcher = &self.shared.fetcher;
        for (number, block) in blocks.iter().enumerate().skip(at + 1).take(ahead) {
            fetcher.prefetch(key, number, block);
        }
        let left = (at + 1 + ahead).saturating_sub(blocks.len());
        let next = blocks.last().map(|last| last.last.next());
        let Some(entry) = next.filter(|_| left > 0).and_then(|next| source.entry_in_memory(root, next)) else { return };
        let (fetcher, key) = (fetcher.clone(), source.prefix().join(&entry.key));
        tokio::spawn(async move {
            // A failure is met again, and reported, by the read that needs the block.
            if let Ok(index) = fetcher.index(&key, &entry).await {
                for (number, block) in index.blocks.blocks().iter().enumerate().take(left) {
                    fetcher.prefetch(&key, number, block);
                }
            }
        });
    }

    /// The leader epoch of the batch that contains this offset.
    ///
    /// # Errors
    /// See [`ColdErrorKind`].
    pub async fn leader_epoch_for(&self, partition: &TopicPartition, offset: Offset) -> Result<LeaderEpoch, ColdError> {
        let read = self.read(partition, offset, 1).await?;
        let first = read.batches.first().and_then(|batch| broker_records::BatchHead::parse(batch).ok());
        first.map(|head| head.leader_epoch).ok_or_else(|| ColdError::Lost {
            partition: *partition,
            offset,
            detail: "the batch has no head".to_owned(),
        })
    }

    /// What a log that is to begin at the tier's end must know: the archive wins over a log that ends before it.
    ///
    /// # Errors
    /// See [`ColdErrorKind`].
    pub async fn tail(&self, partition: &TopicPartition) -> Result<TierTail, ColdError> {
        let source = self.source(partition)?;
        let fetcher = &self.shared.fetcher;
        let root = source.reload(fetcher).await?;
        let mut tail = TierTail { end: root.end, epochs: Vec::new(), producers: Bytes::new() };
        if root.start == root.end {
            return Ok(tail);
        }
        let entry = source.entry(fetcher, &root, Offset(root.end.0 - 1)).await?;
        let footer = fetcher.footer(&source.prefix().join(&entry.key), &entry).await?;
        tail.epochs = footer.epochs;
        tail.producers = footer.producers;
        Ok(tail)
    }

    /// The aborted transactions that overlap the range, for readers of committed records.
    ///
    /// # Errors
    /// See [`ColdErrorKind`].
    pub async fn aborted(
        &self,
        partition: &TopicPartition,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTxn>, ColdError> {
        let source = self.source(partition)?;
        let fetcher = &self.shared.fetcher;
        let root = source.root(fetcher).await?;
        inside(&root, from)?;
        let (mut at, mut found) = (from, Vec::new());
        while at < to.min(root.end) {
            let entry = source.entry(fetcher, &root, at).await?;
            let index = fetcher.index(&source.prefix().join(&entry.key), &entry).await?;
            let overlapping = index.aborted.into_iter().filter(|txn| txn.first < to && txn.last >= from);
            found.extend(overlapping.filter(|txn| !found.contains(txn)).collect::<Vec<_>>());
            at = entry.end;
        }
        Ok(found)
    }

    fn source(&self, partition: &TopicPartition) -> Result<Arc<Source>, ColdError> {
        self.shared.sources.read().get(partition).cloned().ok_or(ColdError::Unknown(*partition))
    }
}

fn inside(root: &Root, offset: Offset) -> Result<(), ColdError> {
    if offset < root.log_start {
        return Err(ColdError::BelowStart { log_start: root.log_start });
    }
    if offset >= root.end { Err(ColdError::BeyondEnd { end: root.end }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
