//! What can be wrong with a batch, and what that means for the caller.
//!
//! One enum serves parsing, validating and decoding, because each of the later ones begins with the earlier. The
//! [`kind`](BatchError::kind) is what callers branch on; the variants carry what a message needs. Which Kafka error
//! code a kind becomes is decided in the server.

use thiserror::Error;

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end inside of a batch.
    #[error("the batch needs {needed} bytes, {left} are there")]
    Truncated {
        /// Bytes that the batch needs from its start, as far as that is known.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// Bytes follow after the one batch that was expected.
    #[error("{0} bytes follow after the batch")]
    Trailing(usize),
    /// The batch length field is impossible.
    #[error("batch length {0} is impossible")]
    Length(i32),
    /// A format before version 2 (removed by KIP-724), or one that is not known.
    #[error("record format {0} is not supported, only 2 is")]
    Magic(i8),
    /// The checksum does not match.
    #[error("CRC-32C is {computed:#010x}, the batch says {stored:#010x}")]
    Crc {
        /// The CRC in the head.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// Attributes name a codec that does not exist.
    #[error("compression codec {0} is not known")]
    Codec(u8),
    /// The rules do not take this codec here.
    #[error("compression {0:?} is not taken here")]
    CodecRefused(crate::Codec),
    /// Compressed bytes could not be decompressed.
    #[error("the records do not decompress")]
    Decompress,
    /// Decompressed, the records are larger than the caller allows.
    #[error("the records decompress to more than {0} bytes")]
    Bomb(usize),
    /// The batch is larger than the rules allow.
    #[error("the batch has {bytes} bytes, {max} are allowed")]
    TooLarge {
        /// The bytes of the batch.
        bytes: usize,
        /// What the rules allow.
        max: usize,
    },
    /// Record count and last offset delta do not belong together, or there is no record.
    #[error("{count} records, but last offset delta {last_offset_delta}")]
    Count {
        /// The record count of the head.
        count: i32,
        /// The last offset delta of the head.
        last_offset_delta: i32,
    },
    /// The head has a field that a producer must not send this way.
    #[error("{0}")]
    Head(&'static str),
    /// A record is malformed.
    #[error("record {index}: {what}")]
    Record {
        /// Which record of the batch, from 0.
        index: i32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A record has no key, where the topic needs one.
    #[error("record {index} has no key, which a compacted topic needs")]
    NullKey {
        /// Which record of the batch, from 0.
        index: i32,
    },
    /// A timestamp is outside of what the topic takes, or of the wrong type.
    #[error("timestamp {timestamp} of {} is not taken", name(*index))]
    Timestamp {
        /// Which record of the batch, from 0; none where only the head was looked at.
        index: Option<i32>,
        /// The timestamp, in milliseconds.
        timestamp: i64,
    },
}

fn name(record: Option<i32>) -> String {
    record.map_or_else(|| "the batch's head".to_owned(), |index| format!("record {index}"))
}

/// What the caller does about a [`BatchError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchErrorKind {
    /// More bytes are needed: a cut tail.
    Truncated,
    /// The bytes are damaged.
    Corrupt,
    /// A record format that is not version 2.
    UnsupportedMagic,
    /// A codec that is not known or not taken here.
    UnsupportedCodec,
    /// Larger than allowed, as stored or decompressed.
    TooLarge,
    /// Well transported, but breaks the rules of the format or of the topic.
    Invalid,
    /// A timestamp that the topic does not take.
    InvalidTimestamp,
}

impl BatchError {
    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> BatchErrorKind {
        match self {
            BatchError::Truncated { .. } => BatchErrorKind::Truncated,
            BatchError::Length(_) | BatchError::Crc { .. } | BatchError::Decompress => BatchErrorKind::Corrupt,
            BatchError::Magic(_) => BatchErrorKind::UnsupportedMagic,
            BatchError::Codec(_) | BatchError::CodecRefused(_) => BatchErrorKind::UnsupportedCodec,
            BatchError::Bomb(_) | BatchError::TooLarge { .. } => BatchErrorKind::TooLarge,
            BatchError::Timestamp { .. } => BatchErrorKind::InvalidTimestamp,
            BatchError::Trailing(_)
            | BatchError::Count { .. }
            | BatchError::Head(_)
            | BatchError::Record { .. }
            | BatchError::NullKey { .. } => BatchErrorKind::Invalid,
        }
    }
}
