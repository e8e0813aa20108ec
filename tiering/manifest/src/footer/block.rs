//! The block table: one row for each block of whole batches. It is the offset index and the time index at once.
//!
//! Rows are in the order of their offsets and positions. Offsets between blocks may be missing (compaction leaves such
//! gaps); a position is never inside two blocks.

use broker_model::{Offset, Timestamp};

use super::cursor::{Cursor, Put, length_u32};
use super::{FooterError, damaged};

const PART: &str = "block table";
const ROW_BYTES: usize = 48;

/// How a block's bytes are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BlockCodec {
    /// As they are in the leader's log.
    None = 0,
    /// As one zstd frame.
    Zstd = 1,
}

/// One block of whole batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The base offset of the first batch.
    pub base: Offset,
    /// The last offset of the last batch.
    pub last: Offset,
    /// The largest max timestamp of the batches.
    pub max_timestamp: Timestamp,
    /// Where the block begins in the object, in bytes.
    pub position: u64,
    /// Bytes as stored.
    pub stored_length: u32,
    /// Bytes of the batches.
    pub raw_length: u32,
    /// CRC32C of the bytes as stored.
    pub crc: u32,
    /// How the bytes are stored.
    pub codec: BlockCodec,
    /// Reserved for encryption: 0.
    pub key_id: u16,
}

/// The blocks of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockTable {
    blocks: Vec<Block>,
}

impl BlockTable {
    /// A table of these blocks.
    ///
    /// # Errors
    /// They are not in order, overlap, or are empty.
    pub fn new(blocks: Vec<Block>) -> Result<BlockTable, FooterError> {
        let mut before: Option<&Block> = None;
        for block in &blocks {
            let follows = before.is_none_or(|before| {
                before.last < block.base
                    && before
                        .position
                        .checked_add(u64::from(before.stored_length))
                        .is_some_and(|end| end <= block.position)
            });
            let sound = block.base <= block.last && block.base >= Offset::ZERO;
            let lengths = block.stored_length > 0 && block.raw_length > 0;
            let plain = block.codec != BlockCodec::None || block.stored_length == block.raw_length;
            let ends = block.position.checked_add(u64::from(block.stored_length)).is_some();
            if !(follows && sound && lengths && plain && ends) {
                return Err(damaged(PART));
            }
            before = Some(block);
        }
        Ok(BlockTable { blocks })
    }

    /// The blocks, in the order of their offsets.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The index of the block from which a read at `offset` begins: the first whose last offset is not below it.
    #[must_use]
    pub fn find_offset(&self, offset: Offset) -> Option<usize> {
        let index = self.blocks.partition_point(|block| block.last < offset);
        (index < self.blocks.len()).then_some(index)
    }

    /// The index of the first block whose max timestamp is at or after `time`. Timestamps need not rise from block to
    /// block: the first record at or after the time is in this block, and in no earlier one.
    #[must_use]
    pub fn find_time(&self, time: Timestamp) -> Option<usize> {
        self.blocks.iter().position(|block| block.max_timestamp >= time)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, FooterError> {
        let mut bytes = Vec::with_capacity(4 + self.blocks.len() * ROW_BYTES);
        bytes.u32(length_u32(self.blocks.len(), PART)?);
        for block in &self.blocks {
            bytes.i64(block.base.0);
            bytes.i64(block.last.0);
            bytes.i64(block.max_timestamp.0);
            bytes.u64(block.position);
            bytes.u32(block.stored_length);
            bytes.u32(block.raw_length);
            bytes.u32(block.crc);
            bytes.u8(block.codec as u8);
            bytes.u8(0);
            bytes.u16(block.key_id);
        }
        Ok(bytes)
    }

    pub(super) fn decode(payload: &[u8]) -> Result<BlockTable, FooterError> {
        let mut cursor = Cursor::new(payload, PART);
        let count = cursor.count(ROW_BYTES)?;
        let mut blocks = Vec::with_capacity(count);
        for _ in 0..count {
            blocks.push(row(&mut cursor)?);
        }
        cursor.end()?;
        BlockTable::new(blocks)
    }
}

fn row(cursor: &mut Cursor<'_>) -> Result<Block, FooterError> {
    let (base, last) = (Offset(cursor.i64()?), Offset(cursor.i64()?));
    let max_timestamp = Timestamp(cursor.i64()?);
    let position = cursor.u64()?;
    let (stored_length, raw_length, crc) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let codec = match cursor.u8()? {
        0 => BlockCodec::None,
        1 => BlockCodec::Zstd,
        _ => return Err(damaged(PART)),
    };
    if cursor.u8()? != 0 {
        return Err(damaged(PART));
    }
    let key_id = cursor.u16()?;
    if key_id != 0 {
        return Err(damaged(PART));
    }
    Ok(Block { base, last, max_timestamp, position, stored_length, raw_length, crc, codec, key_id })
}
