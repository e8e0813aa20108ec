//! Patched batches are what a broker takes, and their checksums are those of a pass over all bytes.

use broker_records::{BatchHead, Rules, decode, validate};
use proptest::prelude::*;

use super::*;

fn whole(template: &Template, stamp: &Stamp) -> Vec<u8> {
    [&template.head(stamp), &template.body()[..]].concat()
}

const IDEMPOTENT: Stamp = Stamp { timestamp: 1_777_777_777_777, producer_id: 4_711, producer_epoch: 3, sequence: 0 };

#[test]
fn batches_of_all_shapes_are_valid_and_say_what_they_were_stamped_with() {
    for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
        for size in [Size::Records(1), Size::Records(7), Size::Bytes(16_384)] {
            for value_bytes in [1, 100, 1_024] {
                let templates = Templates::new(&Shape { codec, value_bytes, size });
                for template in templates.iter() {
                    let batch = whole(template, &IDEMPOTENT);
                    let head = validate(&batch, &Rules::permissive(1 << 20)).unwrap();
                    assert_eq!(head, BatchHead::parse(&batch).unwrap(), "the broker has nothing to correct");
                    assert_eq!((head.producer_id.0, head.producer_epoch.0, head.base_sequence.0), (4_711, 3, 0));
                    assert_eq!((head.base_timestamp.0, head.max_timestamp.0), (1_777_777_777_777, 1_777_777_777_777));
                    assert_eq!(head.record_count as usize, templates.records);
                    let decoded = decode(&batch, 1 << 20).unwrap();
                    let values: usize = decoded.records().map(|record| record.unwrap().value.unwrap().len()).sum();
                    assert_eq!(values, templates.value_bytes);
                }
            }
        }
    }
}

#[test]
fn a_batch_fills_its_bytes_and_no_more() {
    for bytes in [1_500, 16_384, 131_072] {
        let templates = Templates::new(&Shape { codec: Codec::None, value_bytes: 1_024, size: Size::Bytes(bytes) });
        for template in templates.iter() {
            assert!(template.bytes() <= bytes && template.bytes() + 1_100 > bytes, "{} of {bytes}", template.bytes());
        }
    }
}

#[test]
fn values_repeat_only_in_part() {
    let templates = |codec| Templates::new(&Shape { codec, value_bytes: 1_024, size: Size::Bytes(131_072) });
    let plain = templates(Codec::None).get(0).bytes() as f64;
    for codec in [Codec::Lz4, Codec::Zstd] {
        let share = templates(codec).get(0).bytes() as f64 / plain;
        assert!((0.3..0.8).contains(&share), "{codec:?} leaves {share}");
    }
}

proptest! {
    #[test]
    fn checksums_by_contributions_are_those_of_all_bytes(
        timestamp: i64, producer_id: i64, producer_epoch: i16, sequence: i32, records in 1..20_usize,
    ) {
        let templates = Templates::new(&Shape { codec: Codec::None, value_bytes: 33, size: Size::Records(records) });
        let batch = whole(templates.get(0), &Stamp { timestamp, producer_id, producer_epoch, sequence });
        let head = BatchHead::parse(&batch).unwrap();
        prop_assert_eq!(head.crc, crc32c(&batch[CRC_COVERS_FROM..]));
    }
}
