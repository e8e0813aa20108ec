//! The 61 bytes before the records of a batch (KIP-98), and the walk over a run of batches.
//!
//! A [`BatchHead`] is plain data: every field of the wire, in its order, big endian. `parse` checks only what is
//! needed to know where the batch ends (magic and length); [`crate::validate()`] and [`crate::verify`] check the
//! rest. Base offset, batch length and leader epoch lie before the checksum, so a broker may set offset and epoch
//! without touching it.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::cursor::Cursor;
use crate::{BatchError, Codec};

/// Bytes of a batch's head.
pub const BATCH_HEAD_BYTES: usize = 61;
/// Bytes before the batch length counts: base offset and the length itself.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// Where the bytes begin that the checksum covers.
pub const CRC_COVERS_FROM: usize = 21;
const MAGIC_AT: usize = 16;
const MAGIC: i8 = 2;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// The head of a record batch v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// Bytes after this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch; outside of the checksum.
    pub leader_epoch: LeaderEpoch,
    /// The format: always 2.
    pub magic: i8,
    /// CRC-32C of everything after it.
    pub crc: u32,
    /// Codec, timestamp type, transactional, control, delete horizon.
    pub attributes: i16,
    /// The last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// The timestamp that the records' deltas count from.
    pub base_timestamp: Timestamp,
    /// The largest timestamp, or the append time.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, or -1.
    pub base_sequence: Sequence,
    /// How many records the batch holds.
    pub record_count: i32,
}

impl BatchHead {
    /// Reads the head at the start of these bytes. Checks magic and length, not the checksum and not that the whole
    /// batch is there.
    ///
    /// # Errors
    /// `Truncated` with fewer bytes than a head, `Magic` for another format, `Length` where no batch can be that short.
    pub fn parse(bytes: &[u8]) -> Result<BatchHead, BatchError> {
        if let Some(magic) = bytes.get(MAGIC_AT)
            && *magic != MAGIC as u8
        {
            return Err(BatchError::Magic(*magic as i8));
        }
        let Some(head) = bytes.first_chunk::<BATCH_HEAD_BYTES>() else {
            return Err(BatchError::Truncated { needed: BATCH_HEAD_BYTES, left: bytes.len() });
        };
        let mut cursor = Cursor::new(head);
        let short = BatchError::Truncated { needed: BATCH_HEAD_BYTES, left: bytes.len() };
        let head = Self::read(&mut cursor).ok_or(short)?;
        if head.batch_length < (BATCH_HEAD_BYTES - LENGTH_PREFIX_BYTES) as i32 {
            return Err(BatchError::Length(head.batch_length));
        }
        Ok(head)
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<BatchHead> {
        Some(BatchHead {
            base_offset: Offset(cursor.i64()?),
            batch_length: cursor.i32()?,
            leader_epoch: LeaderEpoch(cursor.i32()?),
            magic: cursor.i8()?,
            crc: cursor.i32()? as u32,
            attributes: cursor.i16()?,
            last_offset_delta: cursor.i32()?,
            base_timestamp: Timestamp(cursor.i64()?),
            max_timestamp: Timestamp(cursor.i64()?),
            producer_id: ProducerId(cursor.i64()?),
            producer_epoch: ProducerEpoch(cursor.i16()?),
            base_sequence: Sequence(cursor.i32()?),
            record_count: cursor.i32()?,
        })
    }

    /// The head as bytes, with the checksum as it stands in the field.
    #[must_use]
    pub fn encode(&self) -> [u8; BATCH_HEAD_BYTES] {
        let mut out = [0; BATCH_HEAD_BYTES];
        let mut rest = out.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            here.copy_from_slice(bytes);
            rest = after;
        };
        put(&self.base_offset.0.to_be_bytes());
        put(&self.batch_length.to_be_bytes());
        put(&self.leader_epoch.0.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.0.to_be_bytes());
        put(&self.max_timestamp.0.to_be_bytes());
        put(&self.producer_id.0.to_be_bytes());
        put(&self.producer_epoch.0.to_be_bytes());
        put(&self.base_sequence.0.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        assert!(rest.is_empty(), "the fields of a head fill it");
        out
    }

    /// Bytes of the whole batch, head included.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        LENGTH_PREFIX_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The offset of the last record. Saturates, so that a damaged head cannot panic.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// The sequence number of the last record; meaningless without a producer id.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        self.base_sequence.plus(self.last_offset_delta)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// `Codec` for a number that no codec has.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        Codec::from_id((self.attributes & CODEC_BITS) as u8)
    }

    /// True for a batch that coordinators wrote: end of a transaction, leader change.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// True for a batch that is part of a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// True where all records have the time of the append, which is the maximum timestamp.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// True where the cleaner stamped the base timestamp with the time when tombstones may go (KIP-534).
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// True for a batch of an idempotent producer.
    #[must_use]
    pub fn has_producer(&self) -> bool {
        self.producer_id.0 >= 0
    }

    /// Stamps the append time: attribute, maximum timestamp and, over `body` (all after the head), a new checksum.
    pub fn stamp_append_time(&mut self, now: Timestamp, body: &[u8]) {
        self.attributes |= LOG_APPEND_TIME;
        self.max_timestamp = now;
        self.seal(body);
    }

    /// Computes the checksum anew over the head's fields and `body` (all after the head).
    pub fn seal(&mut self, body: &[u8]) {
        let head = self.encode();
        let (_, covered) = head.split_at(CRC_COVERS_FROM);
        self.crc = crate::crc32c_of_two(covered, body);
    }

    pub(crate) fn set_transactional(&mut self) {
        self.attributes |= TRANSACTIONAL;
    }

    pub(crate) fn set_control(&mut self) {
        self.attributes |= CONTROL;
    }
}

/// Walks whole batches, in order. An error ends the walk: a cut tail is `Truncated`, so that a caller can tell it
/// from damage. The checksum is not looked at.
#[must_use]
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHead, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let head = match BatchHead::parse(rest) {
            Ok(head) => head,
            Err(error) => return Some(Err(error)),
        };
        let Some((batch, after)) = rest.split_at_checked(head.total_bytes()) else {
            return Some(Err(BatchError::Truncated { needed: head.total_bytes(), left: rest.len() }));
        };
        self.rest = after;
        Some(Ok((head, batch)))
    }
}
