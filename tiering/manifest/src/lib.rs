//! The bucket format: names, object footers, manifest roots, groups and table roots. `tiering/FORMAT.md` specifies every
//! byte; the golden files in `golden/` hold it fast.
//!
//! The manifest of a partition is one mutable object, its **root**, and immutable ones that the root names. A root is
//! never edited in place: [`Root::draft`] and [`Root::take_over`] give a [`Draft`], its methods make one change each, and
//! [`Draft::finish`] checks the invariants and hands out the root to swap in. One swap is one sequence number.
//!
//! Here is no IO, no clock and no policy: what to cut, expire or collect is decided in `tiering/plan`, and requests are
//! made in `tiering/tier`. Decoders take bytes from outside: they are bounded, never panic, and say what is wrong.
//!
//! Start reading at [`Root`] and [`Draft`], then [`footer`], [`keys`] and [`invariants`].

pub mod bucket;
pub mod draft;
pub mod entry;
pub mod error;
pub mod footer;
pub mod group;
pub mod invariants;
mod json;
pub mod keys;
pub mod limits;
pub mod root;
pub mod table;
mod table_json;
pub mod writer;

pub use bucket::{BucketFile, TopicFile};
pub use draft::{Draft, NewObject, StoredGroup};
pub use entry::{Condemned, Doom, Entry, GroupRef, Occupied, Registered, StorageClass};
pub use error::{ChangeError, ChangeErrorKind, DecodeError, DecodeErrorKind};
pub use footer::{
    AbortedTxn, BatchFacts, Block, BlockCodec, BlockCutter, BlockTable, EncodedFooter, EpochStart, Footer, FooterError,
    Index, Info, RawBlock,
};
pub use group::Group;
pub use invariants::Violation;
pub use keys::{Key, KeyError, ObjectKind, ObjectName, PartitionPrefix};
pub use root::{Conflict, Root, State, Succession, SwapOutcome};
pub use table::{Intent, TableDraft, TableFile, TablePartition, TableRoot};
pub use writer::{Generation, ObjectId, Writer};

/// CRC32C (Castagnoli), the checksum of every part of the format.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let wide = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(wide).expect("a 32-bit checksum fits 32 bits")
}

#[cfg(test)]
mod tests;
