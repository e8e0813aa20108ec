//! Topics in memory with a model beside them, served over 127.0.0.1.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};
use broker_records::{BatchBuilder, BatchHead, Codec};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::app::{GatewayState, app};
use crate::memory::MemorySource;
use crate::replay::Sources;
use crate::serve::serve;

pub(super) const TOPIC: TopicId = TopicId([7; 16]);

/// Numbers from a seed (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, end: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }
}

/// What a record is.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Row {
    pub(super) fn plain(offset: i64) -> Row {
        let value = Some(format!("v{offset}").into_bytes());
        Row { partition: 0, offset, timestamp: 1000 + offset, key: None, value, headers: Vec::new() }
    }

    pub(super) fn json(&self, base64: bool) -> Value {
        let bytes = |bytes: &Option<Vec<u8>>| match bytes {
            None => Value::Null,
            Some(bytes) => {
                let coded = base64::engine::general_purpose::STANDARD.encode(bytes);
                match std::str::from_utf8(bytes) {
                    _ if base64 => coded.into(),
                    Ok(text) => text.into(),
                    Err(_) => json!({ "base64": coded }),
                }
            }
        };
        let header = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| json!({"key": bytes(&Some(key.clone())), "value": bytes(value)});
        json!({
            "topic": "flights", "partition": self.partition, "offset": self.offset, "timestamp": self.timestamp,
            "key": bytes(&self.key), "value": bytes(&self.value),
            "headers": self.headers.iter().map(header).collect::<Vec<_>>(),
        })
    }
}

/// The topic `flights` with all its rows.
pub(super) struct World {
    pub(super) source: Arc<MemorySource>,
    pub(super) rows: Vec<Row>,
    pub(super) partitions: i32,
}

pub(super) fn place(partition: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC, partition: PartitionIndex(partition) }
}

impl World {
    pub(super) fn new(partitions: i32) -> World {
        let source = Arc::new(MemorySource::new());
        source.create("flights", TOPIC, partitions);
        World { source, rows: Vec::new(), partitions }
    }

    /// One partition with plain rows, `size` of them in each batch.
    pub(super) fn plain(batches: i64, size: i64) -> World {
        let mut world = World::new(1);
        for batch in 0..batches {
            let rows: Vec<Row> = (batch * size..(batch + 1) * size).map(Row::plain).collect();
            world.append(Codec::None, rows);
        }
        world
    }

    pub(super) fn append(&mut self, codec: Codec, rows: Vec<Row>) {
        let batch = build(BatchBuilder::new(codec), &rows);
        let head = BatchHead::parse(&batch).unwrap();
        self.source.append(place(rows[0].partition), head, batch);
        self.rows.extend(rows);
    }

    pub(super) fn sources(&self) -> Sources {
        Sources { hot: self.source.clone(), cold: Some(self.source.clone()) }
    }

    pub(super) fn state(&self) -> Arc<GatewayState> {
        Arc::new(GatewayState::new(self.sources()))
    }

    pub(super) async fn serve(&self) -> SocketAddr {
        serve_state(self.state()).await
    }

    /// A random topic: codecs, sizes, times that go back, nulls, bytes that are no text, gaps, and a cold part.
    pub(super) fn random(random: &mut Random) -> World {
        let mut world = World::new(1 + i32::try_from(random.below(4)).unwrap());
        for partition in 0..world.partitions {
            let mut offset = if random.below(3) == 0 { random.below(20) } else { 0 };
            let start = offset;
            for _ in 0..random.below(12) {
                let count = 1 + random.below(9);
                let rows: Vec<Row> = (0..count).map(|at| random_row(random, partition, offset + at)).collect();
                let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
                world.append(codecs[usize::try_from(random.below(5)).unwrap()], rows);
                offset += count;
            }
            let tiered = start + random.below(offset - start + 1);
            let local = start + random.below(tiered - start + 1);
            world.source.tier(place(partition), Offset(tiered), Offset(local));
            let log_start = start + random.below(local - start + 1);
            world.source.delete_below(place(partition), Offset(log_start));
            world.rows.retain(|row| row.partition != partition || row.offset >= log_start);
        }
        world.rows.sort_by_key(|row| (row.partition, row.offset));
        world
    }
}

fn random_row(random: &mut Random, partition: i32, offset: i64) -> Row {
    let mut bytes = |choices: &[&[u8]]| -> Option<Vec<u8>> {
        let at = usize::try_from(random.below(i64::try_from(choices.len()).unwrap() + 1)).unwrap();
        choices.get(at).map(|chosen| chosen.to_vec())
    };
    let key = bytes(&[b"UA", b"B6", b"", b"\xff\xfe"]);
    let value = bytes(&[b"{\"a\":\"\\u0001\"}", "gr\u{fc}\u{df}e\n\u{1f6eb}".as_bytes(), b"\x80", b"x"]);
    let header = bytes(&[b"h", b"\xc3\x28"]);
    let inner = bytes(&[b"1", b"\xff"]);
    let headers = header.map(|name| vec![(name.clone(), inner.clone()), (name, None)]).unwrap_or_default();
    Row { partition, offset, timestamp: 1000 + offset * 3 + random.below(40) - 20, key, value, headers }
}

/// A batch of these rows.
pub(super) fn build(mut builder: BatchBuilder, rows: &[Row]) -> bytes::Bytes {
    for row in rows {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            row.headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        builder.push(Timestamp(row.timestamp), row.key.as_deref(), row.value.as_deref(), &headers);
    }
    builder.finish(Offset(rows[0].offset), LeaderEpoch(0))
}

pub(super) async fn serve_state(state: Arc<GatewayState>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, app(state), std::future::pending()));
    server
}
