//! The body of a data object: mapped ranges of the local log as they are, and a footer behind them. One pass over the
//! batches finds the blocks, their checksums, and whether the range is what the log promised; nothing is copied.
//!
//! A batch whose own checksum does not hold, or that does not follow the one before it, is not shipped: a damaged local
//! disk must not become a damaged archive (TIER-6).

use broker_model::{Offset, Timestamp};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use object_store::PutPayload;
use tiering_manifest::{BatchFacts, Block, BlockCutter, BlockTable, EncodedFooter, Entry, Footer, Info, StorageClass};
use tiering_manifest::{Registered, Root};
use tiering_plan::Cut;

use crate::{LocalLog, LocalLogError};

/// An object that is ready to be put.
pub(crate) struct Body {
    /// What the PUT sends.
    pub(crate) payload: PutPayload,
    /// The row that commits it.
    pub(crate) entry: Entry,
    /// Its footer, and where that lies.
    pub(crate) footer: EncodedFooter,
}

/// Reads the range from the log and makes the object of it.
pub(crate) fn build(log: &dyn LocalLog, root: &Root, cut: &Cut, id: &Registered) -> Result<Body, LocalLogError> {
    let parts = log.map(cut.base, cut.end)?;
    let scan = Scan::of(&parts, cut)?;
    let info = Info {
        topic: root.topic,
        partition: root.partition,
        base: cut.base,
        end: cut.end,
        min_timestamp: if scan.log_append_time { scan.min_timestamp } else { Timestamp::NONE },
        max_timestamp: scan.max_timestamp,
        append_time: log.append_time(cut.end),
        writer: root.writer,
    };
    let footer = Footer {
        info,
        blocks: BlockTable::new(scan.blocks).map_err(wrong)?,
        epochs: log.epochs().into_iter().filter(|epoch| epoch.start < cut.end).collect(),
        aborted: log.aborted(cut.base, cut.end),
        producers: log.producer_snapshot(cut.end),
    };
    let encoded = footer.encode(scan.bytes).map_err(wrong)?;
    let entry = footer.entry(id.name().to_string(), &encoded, StorageClass::STANDARD);
    let payload = parts.into_iter().chain(std::iter::once(encoded.bytes.clone())).collect();
    Ok(Body { payload, entry, footer: encoded })
}

fn wrong(error: impl std::fmt::Display) -> LocalLogError {
    LocalLogError(error.to_string())
}

/// What one pass over the batches finds.
struct Scan {
    blocks: Vec<Block>,
    bytes: u64,
    max_timestamp: Timestamp,
    min_timestamp: Timestamp,
    log_append_time: bool,
}

impl Scan {
    fn of(parts: &[Bytes], cut: &Cut) -> Result<Scan, LocalLogError> {
        let mut scan = Scan {
            blocks: Vec::new(),
            bytes: 0,
            max_timestamp: Timestamp::NONE,
            min_timestamp: Timestamp(i64::MAX),
            log_append_time: true,
        };
        let mut cutter = BlockCutter::default();
        let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
        let mut expected: Option<Offset> = None;
        for batch in parts.iter().flat_map(|part| broker_records::batches(part)) {
            let (head, bytes) = batch.map_err(wrong)?;
            broker_records::verify(bytes).map_err(wrong)?;
            let follows = expected
                .map_or(head.base_offset <= cut.base && cut.base < head.next_offset(), |end| end == head.base_offset);
            if !follows {
                return Err(LocalLogError(format!("a batch at {} does not follow {expected:?}", head.base_offset)));
            }
            let facts = BatchFacts {
                base: head.base_offset,
                last: head.last_offset(),
                max_timestamp: head.max_timestamp,
                bytes: u32::try_from(bytes.len()).map_err(wrong)?,
            };
            if let Some(block) = cutter.push(&facts) {
                let whole = std::mem::replace(&mut crc, Digest::new(CrcAlgorithm::Crc32Iscsi));
                scan.blocks.push(block.verbatim(0, checksum(&whole)));
            }
            crc.update(bytes);
            scan.bytes += bytes.len() as u64;
            scan.max_timestamp = scan.max_timestamp.max(head.max_timestamp);
            scan.min_timestamp = scan.min_timestamp.min(head.max_timestamp);
            scan.log_append_time &= head.is_log_append_time();
            expected = Some(head.next_offset());
        }
        if let Some(block) = cutter.finish() {
            scan.blocks.push(block.verbatim(0, checksum(&crc)));
        }
        if expected != Some(cut.end) {
            return Err(LocalLogError(format!("the range ends at {expected:?}, not at {}", cut.end)));
        }
        Ok(scan)
    }
}

fn checksum(digest: &Digest) -> u32 {
    u32::try_from(digest.finalize()).expect("a 32-bit checksum fits 32 bits")
}
