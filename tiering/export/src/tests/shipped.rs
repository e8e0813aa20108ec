//! The whole way: a log is shipped to the bucket, and the bucket is exported.

use std::sync::Arc;

use broker_model::{LeaderEpoch, PartitionIndex, Timestamp};
use broker_records::{BatchBuilder, Codec};
use tiering_manifest::PartitionPrefix;
use tiering_plan::Rules;
use tiering_tier::{
    ArchiveConfig, BlockCache, CacheConfig, Hooks, MemLog, PartitionArchive, ReaderConfig, Step, TierReader,
};

use super::world::{NOW, Row, SMALL, Stopping, TOPIC, build, read_table, row, table_prefix, topic, writer};
use crate::Exporter;

#[tokio::test]
async fn what_is_shipped_is_exported() {
    let store = Stopping::new().store();
    let log = Arc::new(MemLog::new());
    let mut rows: Vec<Row> = Vec::new();
    for base in (0..300).step_by(10) {
        let batch: Vec<Row> = (base..base + 10).map(|offset| row(0, offset)).collect();
        log.append(build(BatchBuilder::new(Codec::Zstd), &batch), NOW);
        rows.extend(batch);
    }
    log.roll();
    let config = ArchiveConfig {
        store: store.clone(),
        prefix: PartitionPrefix::new("flights", TOPIC, PartitionIndex(0)).unwrap(),
        writer: tiering_manifest::Writer { epoch: LeaderEpoch(1), ..writer(1) },
        copy: None,
        clock: Arc::new(|| Timestamp(NOW.0)),
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
    let (mut archive, handle) = PartitionArchive::open(config, log);
    while archive.step().await.unwrap() == Step::Worked {}
    let cache = BlockCache::open(&CacheConfig { memory_bytes: 1 << 20, ..CacheConfig::default() }).await.unwrap();
    let reader = TierReader::new(store.clone(), cache, ReaderConfig::default());
    reader.attach(&handle);
    let mut exporter = Exporter::new(store.clone(), Arc::new(reader), writer(1), SMALL);
    let progress = exporter.run_once(&topic(), &[PartitionIndex(0), PartitionIndex(1)], NOW).await.unwrap();
    assert_eq!((progress.rows, progress.lag_offsets), (300, 0));
    assert_eq!(read_table(&store, &table_prefix()).await, rows);
}
