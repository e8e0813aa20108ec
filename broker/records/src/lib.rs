//! Record batch v2 (KIP-98): view without copy, validation, building, compression codecs, CRC-32C.
//!
//! Invariants: nothing here allocates for a batch that is only looked at or validated uncompressed; every length and
//! count of the input is checked before it is used, so that no input panics; what is decompressed is bounded by the
//! caller. A batch of another magic is refused with an error kind of its own: Strata stores version 2 only.
//!
//! Deliberately absent: files, sockets, clocks, the meaning of offsets. Bytes of a batch that is stored are never
//! rewritten here, only its 61-byte head is made anew by those who assign offsets.
//!
//! Start reading at [`head::BatchHead`], then [`validate()`] for what a producer sends and [`decode()`] for what a
//! reader takes.

pub mod build;
pub mod codec;
pub mod control;
pub mod decode;
pub mod error;
pub mod head;
pub mod record;
pub mod validate;

mod cursor;

#[cfg(test)]
mod tests;

pub use build::BatchBuilder;
pub use codec::{Codec, Codecs};
pub use control::{EndTransaction, Outcome};
pub use decode::{DecodedBatch, decode, verify};
pub use error::{BatchError, BatchErrorKind};
pub use head::{BATCH_HEAD_BYTES, BatchHead, Batches, batches};
pub use record::{Headers, Record, Records};
pub use validate::{NullKeys, Rules, faults, validate};

/// The CRC-32C (Castagnoli) of these bytes, as Kafka and RFC 3720 compute it.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC-32C of two slices as if they were one.
#[must_use]
pub fn crc32c_of_two(first: &[u8], second: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(first);
    digest.update(second);
    u32::try_from(digest.finalize()).expect("a CRC of 32 bits has 32 bits")
}
