//! Indexes and blocks of data objects, through the cache. What comes from the store is verified before it enters the
//! cache; a checksum that fails is asked for once more, because the way may have damaged what the store has right.

use broker_model::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use broker_model::{Offset, Timestamp};
use bytes::Bytes;
use tiering_manifest::{Block, BlockCodec, Entry, Footer, Index, crc32c};
use tiering_store::{Class, Store, StoreError, StoreErrorKind};

use super::TimeHit;
use crate::{BlockCache, BlockKey};

/// What stands in the bucket is not what it should be.
pub(super) fn wrong(key: &str, detail: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, "read", key, detail)
}

/// Fetches through the cache.
#[derive(Clone, Debug)]
pub(super) struct Fetcher {
    pub(super) store: Store,
    pub(super) cache: BlockCache,
}

impl Fetcher {
    /// The object's block table and aborted transactions.
    pub(super) async fn index(&self, key: &str, entry: &Entry) -> Result<Index, StoreError> {
        let (store, name) = (self.store.clone(), key.to_owned());
        let range = entry.index_position..entry.index_position + u64::from(entry.index_length);
        let fill = move || async move {
            let check = |bytes: &Bytes| Index::decode(bytes).map(|_| ()).map_err(|error| error.to_string());
            verified(&store, &name, range, check).await
        };
        let at = BlockKey::new(key, BlockKey::INDEX);
        let bytes = self.cache.get(at, u64::from(entry.index_length), fill).await?;
        Index::decode(&bytes).map_err(|error| wrong(key, &error.to_string()))
    }

    /// The object's whole footer, from the store.
    pub(super) async fn footer(&self, key: &str, entry: &Entry) -> Result<Footer, StoreError> {
        let size = self.store.size(key, Class::ColdRead).await?;
        let size = size.ok_or_else(|| StoreError::new(StoreErrorKind::NotFound, "head", key, "it is gone"))?;
        let blocks_end = entry.position.saturating_add(entry.length).min(size);
        let tail = self.store.read(key, blocks_end..size, Class::ColdRead).await?;
        Footer::decode(&tail, size).map_err(|error| wrong(key, &error.to_string()))
    }

    /// A block's batches.
    pub(super) async fn block(&self, key: &str, number: usize, block: &Block) -> Result<Bytes, StoreError> {
        let bytes = self.cache.get(at(key, number), u64::from(block.raw_length), self.filler(key, block)).await?;
        if bytes.len() == block.raw_length as usize {
            return Ok(bytes);
        }
        Err(wrong(key, "a block has the wrong length"))
    }

    /// Begins to fetch a block.
    pub(super) fn prefetch(&self, key: &str, number: usize, block: &Block) {
        self.cache.prefetch(at(key, number), u64::from(block.raw_length), self.filler(key, block));
    }

    fn filler(
        &self,
        key: &str,
        block: &Block,
    ) -> impl FnOnce() -> futures::future::BoxFuture<'static, Result<Bytes, StoreError>> + Send + 'static {
        let (store, name, block) = (self.store.clone(), key.to_owned(), *block);
        move || {
            Box::pin(async move {
                let range = block.position..block.position + u64::from(block.stored_length);
                let check = |bytes: &Bytes| match crc32c(bytes) == block.crc {
                    true => Ok(()),
                    false => Err("the checksum of a block does not hold".to_owned()),
                };
                let stored = verified(&store, &name, range, check).await?;
                unpack(&name, &block, stored)
            })
        }
    }
}

fn at(key: &str, number: usize) -> BlockKey {
    BlockKey::new(key, u32::try_from(number).unwrap_or(BlockKey::INDEX - 1))
}

async fn verified(
    store: &Store,
    key: &str,
    range: std::ops::Range<u64>,
    check: impl Fn(&Bytes) -> Result<(), String>,
) -> Result<Bytes, StoreError> {
    let first = store.read(key, range.clone(), Class::ColdRead).await?;
    if check(&first).is_ok() {
        return Ok(first);
    }
    let second = store.read(key, range, Class::ColdRead).await?;
    match check(&second) {
        Ok(()) => Ok(second),
        Err(detail) => Err(wrong(key, &detail)),
    }
}

fn unpack(key: &str, block: &Block, stored: Bytes) -> Result<Bytes, StoreError> {
    match block.codec {
        BlockCodec::None => Ok(stored),
        BlockCodec::Zstd => {
            let raw = block.raw_length as usize;
            if raw > DECOMPRESSED_BATCH_BYTES_MAX {
                return Err(wrong(key, "a block is too large"));
            }
            let unpacked = zstd::bulk::decompress(&stored, raw).map_err(|error| wrong(key, &error.to_string()))?;
            Ok(Bytes::from(unpacked))
        }
    }
}

/// The first record of these batches at or after the offset and the time.
pub(super) fn first_at(content: &Bytes, key: &str, at: Offset, time: Timestamp) -> Result<Option<TimeHit>, StoreError> {
    let failed = |error: broker_records::BatchError| wrong(key, &error.to_string());
    for batch in broker_records::batches(content) {
        let (head, bytes) = batch.map_err(failed)?;
        if head.max_timestamp < time || head.next_offset() <= at || head.is_control() {
            continue;
        }
        let decoded = broker_records::decode(bytes, DECOMPRESSED_BATCH_BYTES_MAX).map_err(failed)?;
        for record in decoded.records() {
            let record = record.map_err(failed)?;
            if record.offset >= at && record.timestamp >= time {
                let leader_epoch = head.leader_epoch;
                return Ok(Some(TimeHit { offset: record.offset, timestamp: record.timestamp, leader_epoch }));
            }
        }
    }
    Ok(None)
}

/// The largest timestamp of these batches' records from one offset on and below another; -1 where there is none.
pub(super) fn largest_time(
    content: &Bytes,
    key: &str,
    (from, until): (Offset, Offset),
) -> Result<Timestamp, StoreError> {
    let failed = |error: broker_records::BatchError| wrong(key, &error.to_string());
    let mut largest = Timestamp::NONE;
    for batch in broker_records::batches(content) {
        let (head, bytes) = batch.map_err(failed)?;
        let is_outside = head.next_offset() <= from || head.base_offset >= until;
        if is_outside || head.max_timestamp <= largest || head.is_control() {
            continue;
        }
        let decoded = broker_records::decode(bytes, DECOMPRESSED_BATCH_BYTES_MAX).map_err(failed)?;
        for record in decoded.records() {
            let record = record.map_err(failed)?;
            if record.offset >= from && record.offset < until {
                largest = largest.max(record.timestamp);
            }
        }
    }
    Ok(largest)
}
