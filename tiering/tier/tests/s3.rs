//! The whole path against a real S3 server: ship, take over, read, verify, delete. `STRATA_TEST_S3` names the endpoint,
//! as in the tests of `tiering/store`; without it the test says that it is skipped. A local directory is always tried.
#![expect(clippy::disallowed_methods, reason = "the server is named by the environment, and the probe compares clocks")]
#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};
use broker_records::{BatchBuilder, Codec};
use tiering_manifest::{Generation, PartitionPrefix, TopicFile, Writer};
use tiering_plan::Rules;
use tiering_store::probe::MissingBucket;
use tiering_store::{S3Config, Store, StoreConfig};
use tiering_tier::{
    ArchiveConfig, BlockCache, CacheConfig, Hooks, LocalLog, MemLog, PartitionArchive, ReaderConfig, Step, TierReader,
    VerifyDepth, bucket, verify,
};

const TOPIC: TopicId = TopicId([9; 16]);

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("fits")
}

fn s3() -> Option<StoreConfig> {
    let Ok(endpoint) = std::env::var("STRATA_TEST_S3") else {
        eprintln!("SKIPPED the whole path on S3: STRATA_TEST_S3 names no S3 server");
        return None;
    };
    let mut config = StoreConfig::new(&format!("s3://strata-tier-tests/path-{}", now()));
    config.s3 = S3Config {
        endpoint: Some(endpoint),
        access_key: Some(std::env::var("STRATA_TEST_S3_ACCESS_KEY").unwrap_or_else(|_| "test".to_owned())),
        secret_key: Some(std::env::var("STRATA_TEST_S3_SECRET_KEY").unwrap_or_else(|_| "test".to_owned())),
        ..S3Config::default()
    };
    Some(config)
}

async fn drive(archive: &mut PartitionArchive<MemLog>) {
    while archive.step().await.expect("the store is well") == Step::Worked {}
}

/// 2,000 records in 200 batches, all closed.
fn log() -> MemLog {
    let log = MemLog::new();
    for batch in 0..200i64 {
        let base = Offset(batch * 10);
        let mut builder = BatchBuilder::new(Codec::Lz4);
        for record in 0..10 {
            let value = format!("{batch} {record}").repeat(500);
            builder.push(Timestamp(base.0 + record), None, Some(value.as_bytes()), &[]);
        }
        log.append(builder.finish(base, LeaderEpoch(1)), Timestamp(now()));
    }
    log.roll();
    log
}

async fn whole_path(config: &StoreConfig) {
    let (store, _) = tiering_store::open(config).expect("the settings are good");
    let probe = tiering_store::probe(config, &store, Timestamp(now()), 3, MissingBucket::Create).await;
    assert!(probe.is_good(), "{probe:?}");
    let log = Arc::new(log());
    let time = Arc::new(AtomicI64::new(now()));
    let open = |store: &Store, epoch: i32| {
        let time = Arc::clone(&time);
        let rules = Rules {
            object_bytes: 20_000,
            rpo_ms: None,
            retention_ms: None,
            retention_bytes: None,
            id_life_ms: 86_400_000,
            grace_ms: 1000,
            copies: true,
            spare_ids: 1,
        };
        let config = ArchiveConfig {
            store: store.clone(),
            prefix: PartitionPrefix::new("flights", TOPIC, PartitionIndex(0)).expect("a legal name"),
            writer: Writer { generation: Generation(0), epoch: LeaderEpoch(epoch), nonce: 1 },
            copy: None,
            clock: Arc::new(move || Timestamp(time.load(Ordering::Relaxed))),
            rules,
            puts_in_flight: 2,
            hooks: Hooks::default(),
        };
        PartitionArchive::open(config, Arc::clone(&log))
    };
    let (mut first, handle) = open(&store, 1);
    drive(&mut first).await;
    assert_eq!(handle.durable_end(), Some(log.bounds().end));
    let file = TopicFile { name: "flights".to_owned(), id: TOPIC, partitions: 1, configs: BTreeMap::new() };
    bucket::describe_topic(&store, &file).await.expect("the store is well");
    let (mut second, handle) = open(&store, 2);
    drive(&mut second).await;

    let cache = BlockCache::open(&CacheConfig::default()).await.expect("memory only");
    let reader =
        TierReader::open_bucket(store.clone(), cache, ReaderConfig::default()).await.expect("the store is well");
    let partition = TopicPartition { topic: TOPIC, partition: PartitionIndex(0) };
    let (mut at, mut batches) = (Offset::ZERO, Vec::new());
    while at < Offset(2000) {
        let read = reader.read(&partition, at, 50_000).await.expect("the store is well");
        at = read.next;
        batches.extend(read.batches);
    }
    assert_eq!(batches, log.content());
    let hit = reader.offset_for_time(&partition, Timestamp(1234)).await.expect("the store is well");
    assert_eq!(hit.map(|hit| hit.offset), Some(Offset(1234)));
    let report = verify(&store, VerifyDepth::Blocks).await.expect("the store is well");
    assert!(report.is_clean() && report.partitions.len() == 1, "{report:?}");

    handle.delete();
    for _ in 0..4 {
        drive(&mut second).await;
        time.fetch_add(26 * 3_600_000 * 2, Ordering::Relaxed);
    }
    bucket::forget_topic(&store, "flights", &TOPIC).await.expect("the store is well");
    let report = verify(&store, VerifyDepth::Blocks).await.expect("the store is well");
    assert_eq!(report.objects, 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_path_on_a_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    whole_path(&StoreConfig::new(&format!("file://{}", directory.path().display()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_path_on_s3() {
    if let Some(config) = s3() {
        whole_path(&config).await;
    }
}
