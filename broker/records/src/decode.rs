//! Reading a stored batch: checksum, bounded decompression, records.
//!
//! [`decode`] borrows uncompressed batches and owns what it had to decompress; the bound is the caller's, so that a
//! small batch cannot become a large allocation. [`verify`] checks a batch without decompressing it (recovery,
//! scrub).

use std::borrow::Cow;

use crate::head::BATCH_HEAD_BYTES;
use crate::validate::{check_crc, whole};
use crate::{BatchError, BatchHead, Codec, Records};

/// A batch whose records can be read.
#[derive(Clone, Debug)]
pub struct DecodedBatch<'a> {
    head: BatchHead,
    records: Cow<'a, [u8]>,
}

impl DecodedBatch<'_> {
    /// The head of the batch.
    #[must_use]
    pub fn head(&self) -> &BatchHead {
        &self.head
    }

    /// Bytes of the records, decompressed.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        self.records.len()
    }

    /// The records in order; an error ends the iteration.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records::new(self.head, &self.records)
    }

    /// The same, independent of the bytes it came from.
    #[must_use]
    pub fn into_owned(self) -> DecodedBatch<'static> {
        DecodedBatch { head: self.head, records: Cow::Owned(self.records.into_owned()) }
    }
}

/// Checks length, magic and checksum of exactly one batch.
///
/// # Errors
/// What is wrong; records are not looked at.
pub fn verify(batch: &[u8]) -> Result<BatchHead, BatchError> {
    let head = whole(batch)?;
    check_crc(&head, batch)?;
    if head.record_count < 0 || head.last_offset_delta < 0 {
        return Err(BatchError::Count { count: head.record_count, last_offset_delta: head.last_offset_delta });
    }
    Ok(head)
}

/// Verifies one batch and decompresses its records to at most `bytes_max` bytes.
///
/// # Errors
/// What [`verify`] finds, an unknown codec, `Decompress`, or `Bomb` beyond `bytes_max`.
pub fn decode(batch: &[u8], bytes_max: usize) -> Result<DecodedBatch<'_>, BatchError> {
    let head = verify(batch)?;
    let body = batch.get(BATCH_HEAD_BYTES..).unwrap_or_default();
    let records = match head.codec()? {
        // A batch that the cleaner emptied has no records, whatever its codec says.
        _ if body.is_empty() => Cow::Borrowed(body),
        Codec::None if body.len() > bytes_max => return Err(BatchError::Bomb(bytes_max)),
        Codec::None => Cow::Borrowed(body),
        codec => Cow::Owned(crate::codec::decompress(codec, body, bytes_max)?),
    };
    Ok(DecodedBatch { head, records })
}
