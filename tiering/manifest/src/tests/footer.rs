//! Footers: sections, index, block table, and what a cold read needs of them.

use broker_model::ProducerId;
use proptest::prelude::*;

use super::*;

pub(super) fn info(base: i64, end: i64) -> Info {
    Info {
        topic: topic(),
        partition: PartitionIndex(3),
        base: Offset(base),
        end: Offset(end),
        min_timestamp: Timestamp(5),
        max_timestamp: Timestamp(77),
        append_time: Timestamp(80),
        writer: writer(4),
    }
}

/// A footer over blocks cut from batches of these sizes, each of `records` offsets, with timestamps as given.
fn footer_of(batches: &[(u32, i64, i64)], target: u32) -> (Footer, u64) {
    let mut cutter = BlockCutter::new(target);
    let mut raw = Vec::new();
    let mut at = 0;
    for (bytes, records, time) in batches {
        let (base, last) = (Offset(at), Offset(at + records - 1));
        raw.extend(cutter.push(&BatchFacts { base, last, max_timestamp: Timestamp(*time), bytes: *bytes }));
        at += records;
    }
    raw.extend(cutter.finish());
    let blocks: Vec<_> = raw.iter().map(|block| block.verbatim(0, block.raw_length ^ 0xabcd)).collect();
    let end = blocks.last().map_or(0, |block| block.position + u64::from(block.stored_length));
    let footer = Footer {
        info: info(0, at),
        blocks: BlockTable::new(blocks).unwrap(),
        epochs: vec![
            EpochStart { epoch: LeaderEpoch(1), start: Offset(0) },
            EpochStart { epoch: LeaderEpoch(4), start: Offset(2) },
        ],
        aborted: vec![AbortedTxn {
            producer: ProducerId(9),
            first: Offset(1),
            last: Offset(3),
            last_stable: Offset(4),
        }],
        producers: bytes::Bytes::from_static(b"\0\x01 as the log wrote it"),
    };
    (footer, end)
}

#[test]
fn a_footer_tells_from_where_it_must_be_read() {
    let (footer, end) = footer_of(&[(100, 5, 1), (100, 5, 2)], 150);
    let encoded = footer.encode(end).unwrap();
    let mut object = vec![0; usize::try_from(end).unwrap()];
    object.extend_from_slice(&encoded.bytes);
    assert_eq!(object.len() as u64, encoded.object_length);
    assert_eq!(Footer::decode(&object, encoded.object_length).unwrap(), footer);
    assert_eq!(Footer::decode(&encoded.bytes, encoded.object_length).unwrap(), footer);
    for short in [0, 10, 35] {
        let position = encoded.object_length - 36;
        let error = Footer::decode(&object[object.len() - short..], encoded.object_length).unwrap_err();
        assert_eq!(error, FooterError::NeedMore { position });
    }
    let error = Footer::decode(&object[object.len() - 40..], encoded.object_length).unwrap_err();
    assert_eq!(error, FooterError::NeedMore { position: end });
    assert!(
        Footer::decode(&object, encoded.object_length + 1).is_err(),
        "an object of another length is another object"
    );
}

#[test]
fn the_entry_points_at_an_index_that_reads_alone() {
    let (footer, end) = footer_of(&[(100, 5, 1), (100, 5, 2)], 150);
    let encoded = footer.encode(end).unwrap();
    let entry = footer.entry("objects/0-0-4.log".to_owned(), &encoded, StorageClass::STANDARD);
    let from = usize::try_from(entry.index_position - end).unwrap();
    let bytes = &encoded.bytes[from..from + entry.index_length as usize];
    let index = Index::decode(bytes).unwrap();
    assert_eq!((index.blocks, index.aborted), (footer.blocks, footer.aborted));
    assert_eq!((entry.position, entry.length, entry.base, entry.end), (0, 200, Offset(0), Offset(10)));
    assert!(Index::decode(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn a_batch_beyond_the_target_stands_alone() {
    let (footer, _) = footer_of(&[(10, 1, 0), (500, 1, 0), (10, 1, 0), (20, 1, 0), (71, 1, 0)], 100);
    let lengths: Vec<_> = footer.blocks.blocks().iter().map(|block| block.raw_length).collect();
    assert_eq!(lengths, [10, 500, 30, 71]);
}

#[test]
fn a_newer_footer_is_refused_by_name() {
    let (footer, end) = footer_of(&[(10, 1, 0)], 100);
    let encoded = footer.encode(end).unwrap();
    let mut bytes = encoded.bytes.to_vec();
    let at = bytes.len() - 36;
    bytes[at + 21] = 2;
    let crc = crc32c(&bytes[at..at + 24]);
    bytes[at + 24..at + 28].copy_from_slice(&crc.to_be_bytes());
    let error = Footer::decode(&bytes, encoded.object_length).unwrap_err();
    assert_eq!(error, FooterError::Newer { part: "footer", found: 2 });
}

proptest! {
    #[test]
    fn lookups_agree_with_a_scan(
        batches in prop::collection::vec((1..200u32, 1..5i64, -1..50i64), 1..60),
        target in 1..600u32,
        offset in -2..320i64,
        time in -2..52i64,
    ) {
        let (footer, end) = footer_of(&batches, target);
        let encoded = footer.encode(end).unwrap();
        let read = Footer::decode(&encoded.bytes, encoded.object_length).unwrap();
        prop_assert_eq!(&read, &footer);
        let blocks = read.blocks.blocks();
        // Every batch is in exactly one block, in order, and no block of several batches passes the target.
        prop_assert_eq!(blocks.iter().map(|block| u64::from(block.raw_length)).sum::<u64>(), end);
        for pair in blocks.windows(2) {
            prop_assert_eq!(pair[0].last.next(), pair[1].base);
            prop_assert!(pair[0].raw_length <= target || batches.iter().any(|batch| batch.0 == pair[0].raw_length));
        }
        let naive = blocks.iter().position(|block| block.last >= Offset(offset));
        prop_assert_eq!(read.blocks.find_offset(Offset(offset)), naive);
        // The first batch at or after the time lies in the block that is found, and in none before it.
        let mut at = 0;
        let first = batches.iter().find_map(|(_, records, stamp)| {
            let base = at;
            at += records;
            (*stamp >= time).then_some(Offset(base))
        });
        match (first, read.blocks.find_time(Timestamp(time))) {
            (Some(base), Some(found)) => prop_assert!(blocks[found].base <= base && base <= blocks[found].last),
            (None, None) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
