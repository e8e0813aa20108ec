//! Our batches against the public crate `kafka-protocol`: what one writes the other reads, for every codec.

use broker_model::{LeaderEpoch, Offset, Timestamp};
use broker_records::{BatchBuilder, Codec, decode};
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

const CODECS: [(Codec, Compression); 5] = [
    (Codec::None, Compression::None),
    (Codec::Gzip, Compression::Gzip),
    (Codec::Snappy, Compression::Snappy),
    (Codec::Lz4, Compression::Lz4),
    (Codec::Zstd, Compression::Zstd),
];

fn theirs(count: i64) -> Vec<Record> {
    let record = |n: i64| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 100 + n,
        sequence: n as i32,
        timestamp: 5_000 + 7 * n,
        key: (n % 2 == 0).then(|| Bytes::from(format!("key {n}"))),
        value: (n % 5 != 0).then(|| Bytes::from(format!("value {n}").repeat(n as usize % 40))),
        headers: IndexMap::from([(StrBytes::from_static_str("h"), (n % 3 == 0).then(|| Bytes::from_static(b"x")))]),
    };
    (0..count).map(record).collect()
}

#[test]
fn we_read_what_they_write() {
    for (codec, compression) in CODECS {
        let records = theirs(200);
        let mut out = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression };
        RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
        let batch = decode(&out, 1 << 20).unwrap();
        assert_eq!(batch.head().codec(), Ok(codec));
        assert_eq!(batch.records().count(), records.len());
        for (ours, theirs) in batch.records().map(Result::unwrap).zip(&records) {
            assert_eq!((ours.offset.0, ours.timestamp.0), (theirs.offset, theirs.timestamp));
            assert_eq!((ours.key, ours.value), (theirs.key.as_deref(), theirs.value.as_deref()));
            let headers: Vec<_> = ours.headers.iter().map(Result::unwrap).collect();
            let expected: Vec<_> = theirs.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref())).collect();
            assert_eq!(headers, expected);
        }
    }
}

#[test]
fn they_read_what_we_write() {
    for (codec, compression) in CODECS {
        let mut builder = BatchBuilder::new(codec);
        for record in theirs(200) {
            let headers: Vec<_> = record.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref())).collect();
            builder.push(Timestamp(record.timestamp), record.key.as_deref(), record.value.as_deref(), &headers);
        }
        let mut batch = builder.finish(Offset(100), LeaderEpoch(3));
        let set = RecordBatchDecoder::decode(&mut batch).unwrap();
        assert_eq!(set.compression, compression);
        let fields = |r: &Record| (r.offset, r.timestamp, r.key.clone(), r.value.clone(), r.headers.clone());
        assert!(set.records.iter().map(fields).eq(theirs(200).iter().map(fields)), "{codec:?}");
    }
}
