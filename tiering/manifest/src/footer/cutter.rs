//! Cuts a run of batches into blocks: whole batches, up to a target size, a batch beyond the target alone. Works on heads
//! only; positions are of the raw bytes, counted from the first batch.

use broker_model::limits::TIER_BLOCK_BYTES;
use broker_model::{Offset, Timestamp};

use super::block::{Block, BlockCodec};

/// What the cutter must know of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchFacts {
    /// The batch's base offset.
    pub base: Offset,
    /// The batch's last offset.
    pub last: Offset,
    /// The batch's max timestamp.
    pub max_timestamp: Timestamp,
    /// Bytes of the whole batch.
    pub bytes: u32,
}

/// A block before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawBlock {
    /// The base offset of the first batch.
    pub base: Offset,
    /// The last offset of the last batch.
    pub last: Offset,
    /// The largest max timestamp of the batches.
    pub max_timestamp: Timestamp,
    /// Where the block's batches begin among the raw bytes.
    pub raw_position: u64,
    /// Bytes of the batches.
    pub raw_length: u32,
}

impl RawBlock {
    /// The row of a block that is stored as it is, when the object's blocks begin at byte `blocks_position`.
    #[must_use]
    pub fn verbatim(&self, blocks_position: u64, crc: u32) -> Block {
        self.stored(BlockCodec::None, blocks_position + self.raw_position, (self.raw_length, crc))
    }

    /// The row of a block that is stored at `position`, with the length and CRC32C of its stored bytes.
    #[must_use]
    pub fn stored(&self, codec: BlockCodec, position: u64, (stored_length, crc): (u32, u32)) -> Block {
        Block {
            base: self.base,
            last: self.last,
            max_timestamp: self.max_timestamp,
            position,
            stored_length,
            raw_length: self.raw_length,
            crc,
            codec,
            key_id: 0,
        }
    }
}

/// Cuts batches into blocks, one batch at a time.
#[derive(Clone, Debug)]
pub struct BlockCutter {
    target_bytes: u32,
    position: u64,
    open: Option<RawBlock>,
}

impl Default for BlockCutter {
    fn default() -> BlockCutter {
        BlockCutter::new(u32::try_from(TIER_BLOCK_BYTES).expect("the block target fits 32 bits"))
    }
}

impl BlockCutter {
    /// A cutter for blocks of about this many raw bytes.
    #[must_use]
    pub fn new(target_bytes: u32) -> BlockCutter {
        BlockCutter { target_bytes, position: 0, open: None }
    }

    /// Takes the next batch. Returns the block before it where the batch begins a new one.
    pub fn push(&mut self, batch: &BatchFacts) -> Option<RawBlock> {
        let grown = self.open.and_then(|open| {
            let raw_length = open.raw_length.checked_add(batch.bytes)?;
            (raw_length <= self.target_bytes).then_some(RawBlock {
                last: batch.last,
                max_timestamp: open.max_timestamp.max(batch.max_timestamp),
                raw_length,
                ..open
            })
        });
        let begun = RawBlock {
            base: batch.base,
            last: batch.last,
            max_timestamp: batch.max_timestamp,
            raw_position: self.position,
            raw_length: batch.bytes,
        };
        self.position += u64::from(batch.bytes);
        match grown {
            Some(grown) => {
                self.open = Some(grown);
                None
            }
            None => self.open.replace(begun),
        }
    }

    /// The last block.
    #[must_use]
    pub fn finish(self) -> Option<RawBlock> {
        self.open
    }
}
