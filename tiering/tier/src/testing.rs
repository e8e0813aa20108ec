//! One partition on a faulty store, for unit tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicPartition};
use broker_records::{BatchBuilder, Codec};
use bytes::Bytes;
use object_store::memory::InMemory;
use tiering_manifest::{Generation, PartitionPrefix, Writer};
use tiering_plan::Rules;
use tiering_store::{Faulty, Meter, Metered, Store};

use crate::*;

pub(crate) const TOPIC: TopicId = TopicId([7; 16]);

pub(crate) struct World {
    pub(crate) faulty: Faulty,
    pub(crate) store: Store,
    pub(crate) meter: Arc<Meter>,
    pub(crate) log: Arc<MemLog>,
    pub(crate) time: Arc<AtomicI64>,
    pub(crate) rules: Rules,
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition { topic: TOPIC, partition: PartitionIndex(0) }
}

impl World {
    pub(crate) fn new() -> World {
        let faulty = Faulty::new(Arc::new(InMemory::new()));
        let meter = Arc::new(Meter::default());
        let metered = Metered::new(faulty.clone(), Arc::clone(&meter));
        let rules = Rules {
            object_bytes: 4096,
            rpo_ms: None,
            retention_ms: None,
            retention_bytes: None,
            id_life_ms: 3_600_000,
            grace_ms: 60_000,
            copies: true,
            spare_ids: 1,
        };
        let store = Store::new(Arc::new(metered), "prefix");
        let time = Arc::new(AtomicI64::new(1_000_000));
        World { faulty, store, meter, log: Arc::new(MemLog::new()), time, rules }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.time.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.time.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> Clock {
        let time = Arc::clone(&self.time);
        Arc::new(move || Timestamp(time.load(Ordering::Relaxed)))
    }

    pub(crate) fn config(&self, epoch: i32, nonce: u64) -> ArchiveConfig {
        ArchiveConfig {
            store: self.store.clone(),
            prefix: PartitionPrefix::new("flights", TOPIC, PartitionIndex(0)).unwrap(),
            writer: Writer { generation: Generation(0), epoch: LeaderEpoch(epoch), nonce },
            copy: None,
            clock: self.clock(),
            rules: self.rules,
            puts_in_flight: 2,
            hooks: Hooks::default(),
        }
    }

    pub(crate) fn archive(&self, epoch: i32) -> PartitionArchive<MemLog> {
        let config = self.config(epoch, u64::try_from(epoch).unwrap() + 100);
        PartitionArchive::open(config, Arc::clone(&self.log)).0
    }

    /// Appends a batch of about 1 KiB.
    pub(crate) fn append(&self) {
        let base = self.log.bounds().end;
        let mut batch = BatchBuilder::new(Codec::None);
        for record in 0..4i64 {
            let value = format!("{:0>240}", base.0 + record);
            batch.push(Timestamp(10 * (base.0 + record)), None, Some(value.as_bytes()), &[]);
        }
        self.log.append(batch.finish(base, LeaderEpoch(1)), self.now());
    }

    /// Appends batches of about 1 KiB and closes the segment.
    pub(crate) fn produce(&self, batches: i64) {
        (0..batches).for_each(|_| self.append());
        self.log.roll();
    }

    pub(crate) async fn reader(&self) -> TierReader {
        let cache = BlockCache::open(&CacheConfig::default()).await.unwrap();
        TierReader::new(self.store.clone(), cache, ReaderConfig::default())
    }

    /// Reads the tier from its start to its end, and gives the batches.
    pub(crate) async fn read_all(&self, handle: &ArchiveHandle) -> Vec<Bytes> {
        let reader = self.reader().await;
        reader.attach(handle);
        let bounds = reader.bounds(&partition()).await.unwrap();
        let (mut at, mut batches) = (bounds.log_start, Vec::new());
        while at < bounds.end {
            let read = reader.read(&partition(), at, 3000).await.unwrap();
            assert!(read.next > at && !read.batches.is_empty());
            at = read.next;
            batches.extend(read.batches);
        }
        batches
    }

    pub(crate) async fn verified(&self) -> VerifyReport {
        let report = verify(&self.store, VerifyDepth::Blocks).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        report
    }
}

/// Takes steps until there is nothing to do.
pub(crate) async fn drive(archive: &mut PartitionArchive<MemLog>) -> Result<(), ShipError> {
    for _ in 0..200 {
        match archive.step().await? {
            Step::Worked => {}
            Step::Idle | Step::Purged => return Ok(()),
        }
    }
    panic!("the archive never comes to rest");
}

pub(crate) fn end(handle: &ArchiveHandle) -> Offset {
    handle.durable_end().unwrap()
}
