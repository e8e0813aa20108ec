//! The footer of a data object: sections behind the blocks, a directory of the sections, and a trailer of fixed size at
//! the very end. All numbers are big-endian, as in Kafka's batches.
//!
//! A section is framed: kind, version, payload length, payload, CRC32C of all that. So any run of sections can be read
//! and verified alone. What a fetch needs (aborted transactions and block table, together the **index**) lies in one run
//! whose position stands in the manifest's entry: a cold read takes one request for it.
//!
//! Decoding never panics: every length and count is checked against the bytes that are there, before anything is
//! allocated. Start reading at [`Footer`], then [`Index`] and [`BlockTable`].

mod block;
mod cursor;
mod cutter;
mod sections;

pub use block::{Block, BlockCodec, BlockTable};
pub use cutter::{BatchFacts, BlockCutter, RawBlock};
pub use sections::{AbortedTxn, EpochStart, Info};

use bytes::Bytes;

use crate::crc32c;
use crate::entry::{Entry, StorageClass};
use crate::limits::SECTIONS_MAX;
use cursor::{Cursor, Put, length_u32};

/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 36;
/// The last eight bytes of every data object.
pub const MAGIC: [u8; 8] = *b"STRATOBJ";
/// The newest format of the trailer and directory.
pub const FORMAT: u16 = 1;
/// Bytes of a section beside its payload.
pub(crate) const FRAME_BYTES: usize = 12;

const DIRECTORY: u16 = 0;
const INFO: u16 = 1;
const BLOCKS: u16 = 2;
const EPOCHS: u16 = 3;
const ABORTED: u16 = 4;
const PRODUCERS: u16 = 5;
const SECTION_VERSION: u16 = 1;
const DIRECTORY_ROW_BYTES: usize = 16;

/// The footer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FooterError {
    /// More of the object is needed: everything from this position on, in bytes.
    #[error("the footer begins at byte {position}: read from there")]
    NeedMore {
        /// Where the bytes must begin.
        position: u64,
    },
    /// A later version of the program wrote it.
    #[error("{part} version {found} is newer than this version of strata knows")]
    Newer {
        /// Which part.
        part: &'static str,
        /// Its version.
        found: u16,
    },
    /// The checksum does not hold.
    #[error("the checksum of {part} does not hold")]
    Checksum {
        /// Which part.
        part: &'static str,
    },
    /// The bytes are not what the format asks for.
    #[error("{part} is damaged")]
    Damaged {
        /// Which part.
        part: &'static str,
    },
}

pub(crate) const fn damaged(part: &'static str) -> FooterError {
    FooterError::Damaged { part }
}

/// Everything that stands behind the blocks of a data object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// What the object is.
    pub info: Info,
    /// The block table.
    pub blocks: BlockTable,
    /// The leader epochs up to the end of the range, oldest first.
    pub epochs: Vec<EpochStart>,
    /// All aborted transactions that overlap the range, wherever their marker lies, by first offset.
    pub aborted: Vec<AbortedTxn>,
    /// The state of the partition's producers at the end of the range, as Kafka's producer snapshot file; empty where it is
    /// not known. Read only when a log is begun at the end of the tier.
    pub producers: Bytes,
}

/// A footer's bytes, and where its index came to lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedFooter {
    /// What follows the blocks, to the end of the object.
    pub bytes: Bytes,
    /// Where the index begins in the object.
    pub index_position: u64,
    /// Bytes of the index.
    pub index_length: u32,
    /// Bytes of the whole object.
    pub object_length: u64,
}

impl Footer {
    /// The footer's bytes for an object whose blocks end at byte `blocks_end`.
    ///
    /// # Errors
    /// A section would pass 4 GiB, or the block table does not describe blocks that end there.
    pub fn encode(&self, blocks_end: u64) -> Result<EncodedFooter, FooterError> {
        self.check(blocks_end)?;
        let mut bytes = Vec::new();
        let mut directory = Vec::new();
        let mut section = |bytes: &mut Vec<u8>, kind: u16, payload: &[u8]| {
            let position = blocks_end + bytes.len() as u64;
            let length = put_section(bytes, kind, payload)?;
            directory.push((kind, length, position));
            Ok::<(u64, u32), FooterError>((position, length))
        };
        section(&mut bytes, PRODUCERS, &self.producers)?;
        section(&mut bytes, EPOCHS, &sections::encode_epochs(&self.epochs)?)?;
        let (index_position, aborted) = section(&mut bytes, ABORTED, &sections::encode_aborted(&self.aborted)?)?;
        let (_, table) = section(&mut bytes, BLOCKS, &self.blocks.encode()?)?;
        section(&mut bytes, INFO, &self.info.encode())?;
        let index_length = aborted.checked_add(table).ok_or(damaged("block table"))?;

        let mut payload = Vec::new();
        payload.u32(length_u32(directory.len(), "directory")?);
        for (kind, length, position) in &directory {
            payload.u16(*kind);
            payload.u16(SECTION_VERSION);
            payload.u32(*length);
            payload.u64(*position);
        }
        let directory_length = put_section(&mut bytes, DIRECTORY, &payload)?;
        let object_length = blocks_end + (bytes.len() + TRAILER_BYTES) as u64;
        let trailer_at = bytes.len();
        bytes.u64(blocks_end);
        bytes.u64(object_length);
        bytes.u32(directory_length);
        bytes.u16(FORMAT);
        bytes.u16(0);
        let crc = crc32c(bytes.get(trailer_at..).unwrap_or_default());
        bytes.u32(crc);
        bytes.extend_from_slice(&MAGIC);
        Ok(EncodedFooter { bytes: Bytes::from(bytes), index_position, index_length, object_length })
    }

    /// Reads a footer from the last bytes of an object of `object_length` bytes. A good first guess is the last 64 KiB.
    ///
    /// # Errors
    /// [`FooterError::NeedMore`] where the bytes begin behind the footer; else the bytes are damaged or too new.
    pub fn decode(tail: &[u8], object_length: u64) -> Result<Footer, FooterError> {
        let trailer = Trailer::decode(tail, object_length)?;
        let tail_position = object_length.checked_sub(tail.len() as u64).ok_or(damaged("trailer"))?;
        let from = trailer
            .blocks_end
            .checked_sub(tail_position)
            .ok_or(FooterError::NeedMore { position: trailer.blocks_end })?;
        let from = usize::try_from(from).map_err(|_| damaged("trailer"))?;
        let to = tail.len().checked_sub(TRAILER_BYTES).ok_or(damaged("trailer"))?;
        let body = tail.get(from..to).ok_or(damaged("trailer"))?;
        let rows = directory(body, &trailer)?;
        let find = |kind: u16, part: &'static str| {
            let row = rows.iter().find(|row| row.kind == kind).ok_or(damaged(part))?;
            let at = row.position.checked_sub(trailer.blocks_end).and_then(|at| usize::try_from(at).ok());
            let framed = at.and_then(|at| body.get(at..)?.get(..row.length as usize)).ok_or(damaged(part))?;
            let (payload, rest) = take_section(framed, kind, part)?;
            if rest.is_empty() { Ok(payload) } else { Err(damaged(part)) }
        };
        let footer = Footer {
            info: Info::decode(find(INFO, "info")?)?,
            blocks: BlockTable::decode(find(BLOCKS, "block table")?)?,
            epochs: sections::decode_epochs(find(EPOCHS, "leader epochs")?)?,
            aborted: sections::decode_aborted(find(ABORTED, "aborted transactions")?)?,
            producers: Bytes::copy_from_slice(find(PRODUCERS, "producers")?),
        };
        footer.check(trailer.blocks_end)?;
        Ok(footer)
    }

    /// The manifest entry for an object with this footer.
    #[must_use]
    pub fn entry(&self, key: String, encoded: &EncodedFooter, class: StorageClass) -> Entry {
        let blocks = self.blocks.blocks();
        let position = blocks.first().map_or(0, |block| block.position);
        let length = blocks.last().map_or(0, |block| block.position + u64::from(block.stored_length)) - position;
        Entry {
            store: 0,
            key,
            position,
            length,
            index_position: encoded.index_position,
            index_length: encoded.index_length,
            base: self.info.base,
            end: self.info.end,
            min_timestamp: self.info.min_timestamp,
            max_timestamp: self.info.max_timestamp,
            append_time: self.info.append_time,
            class,
        }
    }

    /// Holds the parts against one another: blocks end where the footer begins, and cover the range.
    fn check(&self, blocks_end: u64) -> Result<(), FooterError> {
        let blocks = self.blocks.blocks();
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Err(damaged("block table")) };
        let ends_right = last.position.checked_add(u64::from(last.stored_length)) == Some(blocks_end);
        let covers = first.base <= self.info.base && self.info.base <= first.last && last.last < self.info.end;
        if ends_right && covers && self.info.base < self.info.end { Ok(()) } else { Err(damaged("block table")) }
    }
}

/// What a fetch needs of an object: the aborted transactions and the block table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The aborted transactions that overlap the object's range.
    pub aborted: Vec<AbortedTxn>,
    /// The block table.
    pub blocks: BlockTable,
}

impl Index {
    /// Reads the run of sections that an entry points at with `index_position` and `index_length`.
    ///
    /// # Errors
    /// The bytes are damaged or too new.
    pub fn decode(bytes: &[u8]) -> Result<Index, FooterError> {
        let (aborted, rest) = take_section(bytes, ABORTED, "aborted transactions")?;
        let (blocks, rest) = take_section(rest, BLOCKS, "block table")?;
        if !rest.is_empty() {
            return Err(damaged("index"));
        }
        Ok(Index { aborted: sections::decode_aborted(aborted)?, blocks: BlockTable::decode(blocks)? })
    }
}

struct Trailer {
    blocks_end: u64,
    directory_length: u32,
}

impl Trailer {
    fn decode(tail: &[u8], object_length: u64) -> Result<Trailer, FooterError> {
        let at = tail
            .len()
            .checked_sub(TRAILER_BYTES)
            .ok_or_else(|| FooterError::NeedMore { position: object_length.saturating_sub(TRAILER_BYTES as u64) });
        if object_length < TRAILER_BYTES as u64 {
            return Err(damaged("trailer"));
        }
        let bytes = tail.get(at?..).ok_or(damaged("trailer"))?;
        let mut cursor = Cursor::new(bytes, "trailer");
        let checked = bytes.get(..TRAILER_BYTES - 12).ok_or(damaged("trailer"))?;
        let (blocks_end, length) = (cursor.u64()?, cursor.u64()?);
        let directory_length = cursor.u32()?;
        let format = cursor.u16()?;
        cursor.u16()?;
        let crc = cursor.u32()?;
        if cursor.rest() != MAGIC {
            return Err(damaged("trailer"));
        }
        if crc != crc32c(checked) {
            return Err(FooterError::Checksum { part: "trailer" });
        }
        if format > FORMAT {
            return Err(FooterError::Newer { part: "footer", found: format });
        }
        let room = object_length.saturating_sub(TRAILER_BYTES as u64 + u64::from(directory_length));
        if format == 0 || length != object_length || blocks_end > room {
            return Err(damaged("trailer"));
        }
        Ok(Trailer { blocks_end, directory_length })
    }
}

struct DirectoryRow {
    kind: u16,
    length: u32,
    position: u64,
}

/// The rows of the directory, which ends the body. Kinds that this version does not know are passed over.
fn directory(body: &[u8], trailer: &Trailer) -> Result<Vec<DirectoryRow>, FooterError> {
    const PART: &str = "directory";
    let at = body.len().checked_sub(trailer.directory_length as usize).ok_or(damaged(PART))?;
    let (payload, rest) = take_section(body.get(at..).ok_or(damaged(PART))?, DIRECTORY, PART)?;
    if !rest.is_empty() {
        return Err(damaged(PART));
    }
    let mut cursor = Cursor::new(payload, PART);
    let count = cursor.count(DIRECTORY_ROW_BYTES)?;
    if count > SECTIONS_MAX {
        return Err(damaged(PART));
    }
    let mut rows: Vec<DirectoryRow> = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = cursor.u16()?;
        cursor.u16()?;
        let row = DirectoryRow { kind, length: cursor.u32()?, position: cursor.u64()? };
        if rows.iter().any(|other| other.kind == kind) {
            return Err(damaged(PART));
        }
        rows.push(row);
    }
    cursor.end()?;
    Ok(rows)
}

fn put_section(bytes: &mut Vec<u8>, kind: u16, payload: &[u8]) -> Result<u32, FooterError> {
    let from = bytes.len();
    bytes.u16(kind);
    bytes.u16(SECTION_VERSION);
    bytes.u32(length_u32(payload.len(), "section")?);
    bytes.extend_from_slice(payload);
    let crc = crc32c(bytes.get(from..).unwrap_or_default());
    bytes.u32(crc);
    length_u32(bytes.len() - from, "section")
}

/// Takes one framed section of this kind from the front: its payload, and what follows it.
fn take_section<'a>(bytes: &'a [u8], kind: u16, part: &'static str) -> Result<(&'a [u8], &'a [u8]), FooterError> {
    let mut cursor = Cursor::new(bytes, part);
    let (found, version) = (cursor.u16()?, cursor.u16()?);
    let length = cursor.u32()? as usize;
    let payload = cursor.take(length)?;
    let crc = cursor.u32()?;
    let framed = bytes.get(..length + FRAME_BYTES - 4).ok_or(damaged(part))?;
    if crc != crc32c(framed) {
        return Err(FooterError::Checksum { part });
    }
    if found != kind || version == 0 {
        return Err(damaged(part));
    }
    if version > SECTION_VERSION {
        return Err(FooterError::Newer { part, found: version });
    }
    Ok((payload, cursor.rest()))
}
