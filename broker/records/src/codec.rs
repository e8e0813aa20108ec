//! The compression codecs of a batch: gzip, snappy, lz4 frames, zstd.
//!
//! Compression takes and gives whole blocks, because a batch is compressed as one. Decompression never gives more
//! than it is allowed to, and asks for memory as the data comes, not as a header announces it. Snappy is read raw and
//! in the framing of the xerial library, which the Java client writes; we write that framing, as every client reads
//! it.

use std::io::{Read, Write};

use crate::BatchError;
use crate::cursor::Cursor;

/// How a batch's records are compressed. The numbers are Kafka's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy, in the xerial framing or raw.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// RFC 8878 (KIP-110).
    Zstd = 4,
}

impl Codec {
    /// All codecs.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this number.
    ///
    /// # Errors
    /// `Codec` for a number that none has.
    pub fn from_id(id: u8) -> Result<Codec, BatchError> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == id).ok_or(BatchError::Codec(id))
    }

    /// The name in Kafka's configurations (`compression.type`).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// A set of codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codecs(u8);

impl Codecs {
    /// Every codec.
    pub const ALL: Codecs = Codecs(0b1_1111);
    /// Every codec but zstd, which Produce takes from version 7 on.
    pub const WITHOUT_ZSTD: Codecs = Codecs(0b0_1111);
    /// No compression.
    pub const UNCOMPRESSED: Codecs = Codecs(0b0_0001);

    /// True where the codec is in the set.
    #[must_use]
    pub fn contains(self, codec: Codec) -> bool {
        self.0 & (1 << codec as u8) != 0
    }
}

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_VERSION: i32 = 1;
const XERIAL_CHUNK_BYTES: usize = 32 << 10;

pub(crate) fn compress(codec: Codec, records: &[u8]) -> Vec<u8> {
    const WHY: &str = "memory takes every write";
    match codec {
        Codec::None => records.to_vec(),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(records).expect(WHY);
            encoder.finish().expect(WHY)
        }
        Codec::Snappy => compress_xerial(records),
        Codec::Lz4 => {
            let mut builder = lz4::EncoderBuilder::new();
            builder.block_mode(lz4::BlockMode::Independent).checksum(lz4::ContentChecksum::NoChecksum);
            let mut encoder = builder.block_size(lz4::BlockSize::Max64KB).build(Vec::new()).expect(WHY);
            encoder.write_all(records).expect(WHY);
            let (out, result) = encoder.finish();
            result.expect(WHY);
            out
        }
        Codec::Zstd => zstd::bulk::compress(records, zstd::DEFAULT_COMPRESSION_LEVEL).expect(WHY),
    }
}

fn compress_xerial(records: &[u8]) -> Vec<u8> {
    let mut out = Vec::from(XERIAL_MAGIC);
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    out.extend_from_slice(&XERIAL_VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in records.chunks(XERIAL_CHUNK_BYTES) {
        let block = encoder.compress_vec(chunk).expect("a chunk is far below snappy's limit");
        out.extend_from_slice(&(block.len() as i32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}

pub(crate) fn decompress(codec: Codec, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
    let broken = |_| BatchError::Decompress;
    match codec {
        Codec::None if body.len() > bytes_max => Err(BatchError::Bomb(bytes_max)),
        Codec::None => Ok(body.to_vec()),
        Codec::Gzip => read_bounded(flate2::read::MultiGzDecoder::new(body), bytes_max),
        Codec::Snappy => decompress_snappy(body, bytes_max),
        Codec::Lz4 => read_bounded(lz4::Decoder::new(body).map_err(broken)?, bytes_max),
        Codec::Zstd => read_bounded(zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?, bytes_max),
    }
}

fn read_bounded(reader: impl Read, bytes_max: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut out).map_err(|_| BatchError::Decompress)?;
    if out.len() > bytes_max { Err(BatchError::Bomb(bytes_max)) } else { Ok(out) }
}

fn decompress_snappy(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    let mut cursor = Cursor::new(body);
    if !body.starts_with(XERIAL_MAGIC) {
        snappy_block(body, &mut out, bytes_max)?;
        return Ok(out);
    }
    // Magic, version, oldest compatible version.
    cursor.take(XERIAL_MAGIC.len() + 8).ok_or(BatchError::Decompress)?;
    while !cursor.is_empty() {
        if cursor.rest().starts_with(XERIAL_MAGIC) {
            // Streams may be concatenated.
            cursor.take(XERIAL_MAGIC.len() + 8).ok_or(BatchError::Decompress)?;
            continue;
        }
        let length = cursor.i32().and_then(|length| usize::try_from(length).ok()).ok_or(BatchError::Decompress)?;
        let block = cursor.take(length).ok_or(BatchError::Decompress)?;
        snappy_block(block, &mut out, bytes_max)?;
    }
    Ok(out)
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), BatchError> {
    let length = snap::raw::decompress_len(block).map_err(|_| BatchError::Decompress)?;
    // Snappy makes at most 64 bytes of 3: what announces more is broken, and is not given the memory.
    if length > block.len().saturating_mul(22) {
        return Err(BatchError::Decompress);
    }
    let start = out.len();
    let end = start.saturating_add(length);
    if end > bytes_max {
        return Err(BatchError::Bomb(bytes_max));
    }
    out.resize(end, 0);
    let (_, room) = out.split_at_mut(start);
    snap::raw::Decoder::new().decompress(block, room).map_err(|_| BatchError::Decompress)?;
    Ok(())
}
