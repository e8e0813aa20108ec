//! Every codec both ways, each rule of validation, the walk over a run of batches, and random damage.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use bytes::Bytes;
use proptest::prelude::*;

use crate::*;

type OwnedHeaders = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>, OwnedHeaders);

fn build(codec: Codec, rows: &[Row]) -> Bytes {
    let mut builder = BatchBuilder::new(codec).producer(ProducerId(7), ProducerEpoch(1), Sequence(3));
    for (timestamp, key, value, headers) in rows {
        let headers: Vec<(&[u8], Option<&[u8]>)> = headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect();
        builder.push(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &headers);
    }
    builder.finish(Offset::ZERO, LeaderEpoch(-1))
}

fn rows_of(batch: &DecodedBatch<'_>) -> Vec<Row> {
    let row = |record: Result<Record<'_>, BatchError>| {
        let record = record.unwrap();
        let headers =
            record.headers.iter().map(|h| h.map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))).unwrap()).collect();
        (record.timestamp.0, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers)
    };
    batch.records().map(row).collect()
}

fn some_rows(count: usize) -> Vec<Row> {
    let headers = vec![(b"h".to_vec(), None), (b"h".to_vec(), Some(b"2".to_vec())), (vec![0xff, 0xfe], Some(vec![]))];
    let row = |n: usize| {
        (
            1_000 + n as i64,
            (!n.is_multiple_of(3)).then(|| vec![n as u8; n % 5]),
            Some(vec![b'v'; n * 37 % 900]),
            headers.clone(),
        )
    };
    (0..count).map(row).collect()
}

fn reseal(batch: &mut [u8], change: impl FnOnce(&mut BatchHead)) {
    let mut head = BatchHead::parse(batch).unwrap();
    change(&mut head);
    head.seal(&batch[BATCH_HEAD_BYTES..]);
    batch[..BATCH_HEAD_BYTES].copy_from_slice(&head.encode());
}

#[test]
fn crc_is_castagnoli() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c_of_two(b"1234", b"56789"), 0xe306_9283);
}

#[test]
fn every_codec_gives_back_what_was_pushed() {
    for codec in Codec::ALL {
        for count in [1, 2, 500] {
            let rows = some_rows(count);
            let batch = build(codec, &rows);
            let head = validate(&batch, &Rules::permissive(batch.len())).unwrap();
            assert_eq!(head.codec(), Ok(codec));
            assert_eq!((head.total_bytes(), head.next_offset()), (batch.len(), Offset(count as i64)));
            assert_eq!(rows_of(&decode(&batch, 1 << 20).unwrap()), rows, "{codec:?}");
        }
    }
}

#[test]
fn raw_snappy_is_read() {
    let plain = build(Codec::None, &some_rows(50));
    let body = snap::raw::Encoder::new().compress_vec(&plain[BATCH_HEAD_BYTES..]).unwrap();
    let mut head = BatchHead::parse(&plain).unwrap();
    head.attributes |= Codec::Snappy as i16;
    head.batch_length = (body.len() + BATCH_HEAD_BYTES - 12) as i32;
    head.seal(&body);
    let batch = [head.encode().as_slice(), &body].concat();
    assert_eq!(rows_of(&decode(&batch, 1 << 20).unwrap()), some_rows(50));
}

#[test]
fn bombs_are_refused() {
    let rows = vec![(0, None, Some(vec![0; 4 << 20]), vec![])];
    for codec in Codec::ALL {
        let batch = build(codec, &rows);
        let error = decode(&batch, 1 << 20).map(|_| ()).unwrap_err();
        assert_eq!((error, error.kind()), (BatchError::Bomb(1 << 20), BatchErrorKind::TooLarge), "{codec:?}");
    }
}

#[test]
fn each_rule_refuses_with_its_kind() {
    let rules = Rules {
        timestamps: Timestamp(900)..=Timestamp(2_000),
        null_keys: NullKeys::Refused,
        ..Rules::permissive(1 << 20)
    };
    let keyed: Vec<Row> = some_rows(3)
        .into_iter()
        .map(|mut row| {
            row.1 = Some(vec![1]);
            row
        })
        .collect();
    let good = build(Codec::None, &keyed);
    assert!(validate(&good, &rules).is_ok());
    let check = |batch: &[u8], kind| assert_eq!(validate(batch, &rules).map_err(|e| e.kind()), Err(kind));
    let changed = |change: fn(&mut BatchHead)| {
        let mut batch = good.to_vec();
        reseal(&mut batch, change);
        batch
    };

    check(&good[..good.len() - 1], BatchErrorKind::Truncated);
    check(&good[..20], BatchErrorKind::Truncated);
    check(&[good.as_ref(), b"x"].concat(), BatchErrorKind::Invalid);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    check(&flipped, BatchErrorKind::Corrupt);
    for magic in [0, 1, 3] {
        let mut other = good.to_vec();
        other[16] = magic;
        check(&other, BatchErrorKind::UnsupportedMagic);
    }
    check(&changed(|head| head.record_count = 2), BatchErrorKind::Invalid);
    check(&changed(|head| head.last_offset_delta = 9), BatchErrorKind::Invalid);
    check(
        &changed(|head| {
            head.record_count = 4;
            head.last_offset_delta = 3;
        }),
        BatchErrorKind::Invalid,
    );
    check(
        &changed(|head| {
            head.record_count = 2;
            head.last_offset_delta = 1;
        }),
        BatchErrorKind::Invalid,
    );
    check(&changed(|head| head.base_offset = Offset(1)), BatchErrorKind::Invalid);
    check(&changed(|head| head.base_sequence = Sequence(-1)), BatchErrorKind::Invalid);
    check(&changed(|head| head.attributes |= 1 << 5), BatchErrorKind::Invalid);
    check(&changed(|head| head.attributes |= 1 << 6), BatchErrorKind::Invalid);
    check(
        &changed(|head| {
            head.attributes |= 1 << 4;
            head.producer_id = ProducerId::NONE;
        }),
        BatchErrorKind::Invalid,
    );
    check(&changed(|head| head.attributes |= 1 << 3), BatchErrorKind::InvalidTimestamp);
    check(&changed(|head| head.attributes |= 7), BatchErrorKind::UnsupportedCodec);
    check(&changed(|head| head.base_timestamp = Timestamp(1_999)), BatchErrorKind::InvalidTimestamp);
    for codec in Codec::ALL {
        check(&build(codec, &some_rows(3)), BatchErrorKind::Invalid);
        check(&build(codec, &[(3_000, Some(vec![]), None, vec![])]), BatchErrorKind::InvalidTimestamp);
        assert!(validate(&build(codec, &[(-1, Some(vec![]), None, vec![])]), &rules).is_ok(), "-1 is no timestamp");
    }
}

#[test]
fn size_and_codec_are_refused_where_the_rules_say_so() {
    let good = build(Codec::None, &some_rows(3));
    let small = Rules::permissive(good.len() - 1);
    assert_eq!(validate(&good, &small).map_err(|e| e.kind()), Err(BatchErrorKind::TooLarge));
    let no_zstd = Rules { codecs: Codecs::WITHOUT_ZSTD, ..Rules::permissive(1 << 20) };
    let zstd = build(Codec::Zstd, &some_rows(1));
    assert_eq!(validate(&zstd, &no_zstd), Err(BatchError::CodecRefused(Codec::Zstd)));
}

#[test]
fn a_wrong_maximum_timestamp_is_corrected() {
    let mut batch = build(Codec::None, &some_rows(4)).to_vec();
    reseal(&mut batch, |head| head.max_timestamp = Timestamp(5));
    let head = validate(&batch, &Rules::permissive(1 << 20)).unwrap();
    assert_eq!(head.max_timestamp, Timestamp(1_003));
    batch[..BATCH_HEAD_BYTES].copy_from_slice(&head.encode());
    assert_eq!(verify(&batch), Ok(head));
}

#[test]
fn append_time_is_stamped_under_a_new_checksum() {
    let mut batch = build(Codec::Lz4, &some_rows(3)).to_vec();
    let mut head = BatchHead::parse(&batch).unwrap();
    head.stamp_append_time(Timestamp(77), &batch[BATCH_HEAD_BYTES..]);
    batch[..BATCH_HEAD_BYTES].copy_from_slice(&head.encode());
    let decoded = decode(&batch, 1 << 20).unwrap();
    assert!(decoded.head().is_log_append_time());
    assert!(decoded.records().all(|record| record.unwrap().timestamp == Timestamp(77)));
}

#[test]
fn offset_and_epoch_lie_outside_of_the_checksum() {
    let mut batch = build(Codec::None, &some_rows(3)).to_vec();
    let mut head = BatchHead::parse(&batch).unwrap();
    (head.base_offset, head.leader_epoch) = (Offset(42), LeaderEpoch(9));
    batch[..BATCH_HEAD_BYTES].copy_from_slice(&head.encode());
    let decoded = decode(&batch, 1 << 20).unwrap();
    let offsets: Vec<i64> = decoded.records().map(|r| r.unwrap().offset.0).collect();
    assert_eq!(offsets, [42, 43, 44]);
}

#[test]
fn the_walk_gives_whole_batches_and_names_a_cut_tail() {
    let run: Vec<u8> = Codec::ALL.iter().flat_map(|codec| build(*codec, &some_rows(9))).collect();
    assert_eq!(batches(&run).filter(Result::is_ok).count(), 5);
    let total: usize = batches(&run).map(|b| b.unwrap().1.len()).sum();
    assert_eq!(total, run.len());
    let cut: Vec<_> = batches(&run[..run.len() - 1]).collect();
    assert_eq!(cut.len(), 5);
    assert_eq!(cut[4].as_ref().map(|_| ()).map_err(BatchError::kind), Err(BatchErrorKind::Truncated));
}

#[test]
fn markers_are_read_back() {
    for outcome in [Outcome::Abort, Outcome::Commit] {
        let marker = EndTransaction { outcome, coordinator_epoch: 12 };
        let batch = marker.batch(ProducerId(5), ProducerEpoch(2), Timestamp(1));
        let decoded = decode(&batch, 1024).unwrap();
        assert!(decoded.head().is_control() && decoded.head().is_transactional());
        assert_eq!(EndTransaction::parse(&decoded), Ok(Some(marker)));
    }
    let data = build(Codec::None, &some_rows(1));
    assert_eq!(EndTransaction::parse(&decode(&data, 1024).unwrap()), Ok(None));
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
    let header = (proptest::collection::vec(any::<u8>(), 0..5), bytes());
    let row = (any::<i64>().prop_map(|t| t / 4), bytes(), bytes(), proptest::collection::vec(header, 0..4));
    proptest::collection::vec(row, 1..30)
}

fn any_codec() -> impl Strategy<Value = Codec> {
    (0..Codec::ALL.len()).prop_map(|n| Codec::ALL[n])
}

/// Reads everything there is to read; the test is that nothing panics.
fn read_all(bytes: &[u8]) {
    let _ = validate(bytes, &Rules { null_keys: NullKeys::Refused, ..Rules::permissive(1 << 20) });
    for (_, batch) in batches(bytes).flatten() {
        if let Ok(batch) = decode(batch, 1 << 20) {
            let _ = EndTransaction::parse(&batch);
            batch.records().flatten().for_each(|record| assert!(record.headers.iter().count() <= record.headers.len()));
        }
    }
}

proptest! {
    #[test]
    fn any_rows_come_back(rows in any_rows(), codec in any_codec()) {
        let batch = build(codec, &rows);
        prop_assert!(validate(&batch, &Rules::permissive(1 << 20)).is_ok());
        prop_assert_eq!(rows_of(&decode(&batch, 1 << 20).unwrap()), rows);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
    }

    #[test]
    fn damaged_batches_with_a_right_checksum_never_panic(
        rows in any_rows(), codec in any_codec(), flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6),
    ) {
        let mut batch = build(codec, &rows).to_vec();
        for (at, bits) in flips {
            // Magic and length stay, so that the damage reaches the code behind them.
            let at = 17 + at as usize % (batch.len() - 17);
            batch[at] ^= bits;
        }
        reseal(&mut batch, |_| ());
        read_all(&batch);
    }
}
