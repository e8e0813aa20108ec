//! The whole way without a broker: a log is shipped to a bucket, and the bucket is replayed over HTTP.

use std::sync::Arc;

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp};
use broker_records::{BatchBuilder, Codec};
use object_store::memory::InMemory;
use serde_json::Value;
use tiering_manifest::{Generation, PartitionPrefix, TopicFile, Writer};
use tiering_plan::Rules;
use tiering_store::Store;
use tiering_tier::{
    ArchiveConfig, BlockCache, CacheConfig, Hooks, MemLog, PartitionArchive, ReaderConfig, Step, TierReader, bucket,
};

use super::client::get;
use super::world::{Row, TOPIC, build, place, serve_state};
use crate::conformance::{self, Known};
use crate::{ColdOnly, GatewayState};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// A bucket with one partition of 300 records, in objects of about 2,000 bytes.
async fn shipped() -> (TierReader, Vec<Row>) {
    let store = Store::new(Arc::new(InMemory::new()), "lake");
    let log = Arc::new(MemLog::new());
    let mut rows = Vec::new();
    for base in (0..300).step_by(10) {
        let batch: Vec<Row> = (base..base + 10).map(Row::plain).collect();
        log.append(build(BatchBuilder::new(Codec::Lz4), &batch), NOW);
        rows.extend(batch);
    }
    log.roll();
    let config = ArchiveConfig {
        store: store.clone(),
        prefix: PartitionPrefix::new("flights", TOPIC, PartitionIndex(0)).unwrap(),
        writer: Writer { generation: Generation(1), epoch: LeaderEpoch(1), nonce: 1 },
        copy: None,
        clock: Arc::new(|| NOW),
        rules: Rules {
            object_bytes: 2000,
            rpo_ms: None,
            retention_ms: None,
            retention_bytes: None,
            id_life_ms: 3_600_000,
            grace_ms: 3_600_000,
            copies: true,
            spare_ids: 2,
        },
        puts_in_flight: 2,
        hooks: Hooks::default(),
    };
    let (mut archive, _) = PartitionArchive::open(config, log);
    while archive.step().await.unwrap() == Step::Worked {}
    let topic = TopicFile { name: "flights".to_owned(), id: TOPIC, partitions: 1, configs: Default::default() };
    bucket::describe_topic(&store, &topic).await.unwrap();
    let cache = BlockCache::open(&CacheConfig { memory_bytes: 1 << 20, ..CacheConfig::default() }).await.unwrap();
    (TierReader::open_bucket(store, cache, ReaderConfig::default()).await.unwrap(), rows)
}

#[tokio::test]
async fn the_tier_keeps_the_contract_of_a_cold_source() {
    let (reader, rows) = shipped().await;
    let known: Vec<Known> =
        rows.iter().map(|row| Known { offset: Offset(row.offset), timestamp: Timestamp(row.timestamp) }).collect();
    conformance::cold(&reader, place(0), &known).await;
    let stranger = broker_model::TopicPartition { partition: PartitionIndex(7), ..place(0) };
    assert_eq!(crate::ColdSource::cold_bounds(&reader, stranger).await, Ok(None));
}

#[tokio::test]
async fn a_bucket_is_replayed_by_offset_and_time() {
    let (reader, rows) = shipped().await;
    let server = serve_state(Arc::new(GatewayState::new(ColdOnly::of_bucket(&reader)))).await;
    for (query, range) in
        [("", 0..300), ("?from_offset=117&to_offset=119", 117..119), ("?from_time=1150&to_time=1160", 150..160)]
    {
        let answer = get(server, &format!("/v1/topics/flights/records{query}")).await;
        let expect: Vec<Value> =
            rows.iter().filter(|row| range.contains(&row.offset)).map(|row| row.json(false)).collect();
        assert!(answer.whole, "{answer:?}");
        assert_eq!(answer.rows(), expect, "{query}");
    }
}
