//! Which partition lies where, and what a directory that fails takes with it.

use std::ops::Range;
use std::os::unix::fs::MetadataExt;

use async_trait::async_trait;
use broker_model::config::{ConfigValues, TopicClass, TopicConfig};
use broker_model::{ErrorCode, LeaderEpoch, Offset, TopicId};
use broker_partition::EpochStart;
use broker_records::{BatchBuilder, Codec};
use bytes::Bytes;

use super::*;
use crate::clock;
use crate::replica::{ColdOffset, ColdReader};
use crate::topics::Topic;

/// Nothing is in the bucket.
#[derive(Debug)]
struct NoBucket;

#[async_trait]
impl ColdReader for NoBucket {
    async fn read(&self, _: TopicPartition, _: Offset, _: usize) -> Result<Vec<Bytes>, ErrorCode> {
        Err(ErrorCode::OffsetOutOfRange)
    }

    async fn offset_for_time(
        &self,
        _: TopicPartition,
        _: Range<Offset>,
        _: Timestamp,
    ) -> Result<Option<ColdOffset>, ErrorCode> {
        Ok(None)
    }

    async fn max_timestamp(&self, _: TopicPartition, _: Range<Offset>) -> Result<Option<ColdOffset>, ErrorCode> {
        Ok(None)
    }

    async fn epochs(&self, _: TopicPartition, _: Offset) -> Result<Vec<EpochStart>, ErrorCode> {
        Ok(Vec::new())
    }

    async fn begins_at(&self, _: TopicPartition, _: Offset) -> bool {
        false
    }

    fn covers(&self, _: TopicPartition, _: Offset, _: Offset) -> bool {
        false
    }

    fn tiered_start(&self, _: TopicPartition) -> Option<Offset> {
        None
    }

    fn tiered_end(&self, _: TopicPartition) -> Option<Offset> {
        None
    }
}

/// A machine with some disks.
struct Machine {
    root: tempfile::TempDir,
    settings: DirSettings,
}

impl Machine {
    fn with(names: &[&str]) -> Machine {
        let root = tempfile::tempdir().unwrap();
        let logs: Vec<_> = names.iter().map(|name| root.path().join(name)).collect();
        let metadata = logs[0].clone();
        Machine { root, settings: DirSettings { logs, metadata, recovery_threads: 2, open_files_max: None } }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn start(&self) -> Result<LogDirs, String> {
        LogDirs::open(&self.settings, NodeId(1)).map(|(dirs, _)| dirs).map_err(|error| error.to_string())
    }

    /// A directory of which nothing can be read any more: a file stands in its place.
    fn break_disk(&self, name: &str) {
        std::fs::rename(self.path(name), self.path(&format!("{name}.away"))).unwrap();
        std::fs::write(self.path(name), b"").unwrap();
    }

    fn mend_disk(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
        std::fs::rename(self.path(&format!("{name}.away")), self.path(name)).unwrap();
    }
}

/// Ids that differ as random ones do.
fn topic_id(number: u8) -> TopicId {
    TopicId([number.wrapping_mul(0x55); 16])
}

fn flipped_id() -> TopicId {
    let mut id = topic_id(1);
    id.0[3] ^= 4;
    id.0[7] ^= 4;
    id
}

fn config(own: &[(&str, &str)]) -> Arc<TopicConfig> {
    let own = own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Arc::new(TopicConfig::resolve(&own, &ConfigValues::default(), TopicClass::User).unwrap())
}

/// A topic that is not tiered, with these partitions placed.
fn topic(dirs: &LogDirs, name: &str, number: u8, partitions: i32) -> Arc<Topic> {
    topic_of(dirs, (name, number), partitions, &config(&[("remote.storage.enable", "false")]))
}

fn topic_of(dirs: &LogDirs, (name, number): (&str, u8), partitions: i32, config: &Arc<TopicConfig>) -> Arc<Topic> {
    let made = (0..partitions).map(|index| {
        let id = TopicPartition { topic: topic_id(number), partition: PartitionIndex(index) };
        let places = (dirs.place(name, id), Arc::new(NoBucket) as Arc<dyn ColdReader>);
        Arc::new(Partition::new((id, name.into(), LeaderEpoch(1)), config.clone(), places))
    });
    let made = made.collect();
    Arc::new(Topic::new((name.into(), topic_id(number)), (Arc::default(), config.clone()), made))
}

fn table(topics: &[&Arc<Topic>]) -> ArcSwap<TopicTable> {
    ArcSwap::from_pointee(TopicTable::new(topics.iter().map(|topic| Arc::clone(topic))))
}

fn partition(topic: &Topic, index: i32) -> &Arc<Partition> {
    topic.partition(PartitionIndex(index)).unwrap()
}

/// The name of the directory of each partition.
fn places(topic: &Topic) -> Vec<String> {
    let name =
        |partition: &Arc<Partition>| partition.disk().root().file_name().map(|name| name.to_string_lossy().into());
    topic.partitions().map(|partition| name(partition).unwrap_or_default()).collect()
}

fn append(partition: &Partition) -> Result<(), ErrorCode> {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(Timestamp(1), None, Some(b"value"), &[]);
    let bytes = batch.finish(Offset(0), LeaderEpoch(1));
    let head = broker_records::BatchHead::parse(&bytes).unwrap();
    let body = &bytes[broker_records::BATCH_HEAD_BYTES..];
    let log = partition.shared_log()?;
    let appended = log.lock().append(&[broker_log::PreparedBatch { head, body }], clock::now());
    appended.map(|_| ()).map_err(|_| ErrorCode::KafkaStorageError)
}

#[test]
fn a_new_partition_goes_where_the_fewest_are_and_an_old_one_is_found_where_it_lies() {
    let machine = Machine::with(&["a", "b", "c"]);
    let dirs = machine.start().unwrap();
    dirs.settle(&TopicTable::default());
    let first = topic(&dirs, "t", 1, 5);
    assert_eq!(places(&first), ["a", "b", "c", "a", "b"]);
    first.partitions().for_each(|partition| append(partition).unwrap());
    assert_eq!(places(&topic(&dirs, "u", 2, 2)), ["c", "a"]);
    dirs.close(&table(&[&first]), clock::now());
    drop(dirs);

    let dirs = machine.start().unwrap();
    assert_eq!(dirs.left_to_recover(), 0);
    let found = topic(&dirs, "t", 1, 6);
    assert_eq!(places(&found), ["a", "b", "c", "a", "b", "c"], "the sixth is new");
    let last = partition(&found, 4);
    assert_eq!(last.open_ends().unwrap().end, Offset(1));
    dirs.forget(partition(&found, 0));
    dirs.settle(&TopicTable::default());
    assert_eq!(places(&topic(&dirs, "u", 2, 1)), ["a"], "a deleted partition counts no more");
}

#[test]
fn a_directory_that_cannot_be_opened_is_offline_with_what_may_lie_in_it_and_nothing_else() {
    let machine = Machine::with(&["a", "b"]);
    let dirs = machine.start().unwrap();
    dirs.settle(&TopicTable::default());
    let before = topic(&dirs, "t", 1, 4);
    before.partitions().for_each(|partition| append(partition).unwrap());
    dirs.close(&table(&[&before]), clock::now());
    drop(dirs);

    machine.break_disk("b");
    let dirs = machine.start().unwrap();
    assert_eq!(dirs.offline_count(), 1);
    let after = topic(&dirs, "t", 1, 4);
    dirs.settle(&TopicTable::default());
    assert_eq!(places(&after), ["a", "b", "a", "b"]);
    for (index, partition) in after.partitions().enumerate() {
        let is_lost = index % 2 == 1;
        assert_eq!(partition.is_offline(), is_lost, "{partition}");
        assert_eq!(partition.open_ends().err(), is_lost.then_some(ErrorCode::KafkaStorageError), "{partition}");
    }
    assert_eq!(places(&topic(&dirs, "new", 2, 2)), ["a", "a"], "new partitions avoid it");
    dirs.close(&table(&[&after]), clock::now());
    drop(dirs);

    machine.mend_disk("b");
    let dirs = machine.start().unwrap();
    assert_eq!(dirs.offline_count(), 0);
    let mended = topic(&dirs, "t", 1, 4);
    assert!(mended.partitions().all(|partition| partition.open_ends().unwrap().end == Offset(1)));
}

#[test]
fn a_failure_takes_the_whole_directory_offline_once_and_leaves_it_unclean() {
    let machine = Machine::with(&["a", "b"]);
    let dirs = machine.start().unwrap();
    dirs.settle(&TopicTable::default());
    let topic = topic(&dirs, "t", 1, 6);
    (0..4).for_each(|index| append(partition(&topic, index)).unwrap());
    let failed = &dirs.directories()[1];
    failed.place().health.fail(&std::io::Error::from_raw_os_error(5));
    for (index, partition) in topic.partitions().enumerate() {
        // Also those whose logs were never opened.
        let lost = index % 2 == 1;
        assert_eq!(partition.is_offline(), lost, "{partition}");
        assert_eq!(append(partition).err(), lost.then_some(ErrorCode::KafkaStorageError), "{partition}");
        assert_eq!(partition.open_ends().is_err(), lost, "{partition}");
    }
    assert!(failed.newly_failed().is_some() && failed.newly_failed().is_none(), "it is told once");
    assert_eq!(dirs.offline_count(), 1);
    let topics = table(&[&topic]);
    dirs.checkpoint(&topics);
    let checkpoint = "recovery-point-offset-checkpoint";
    assert!(machine.path("a").join(checkpoint).exists() && !machine.path("b").join(checkpoint).exists());
    dirs.close(&topics, clock::now());
    let clean = ".kafka_cleanshutdown";
    assert!(machine.path("a").join(clean).exists() && !machine.path("b").join(clean).exists());
}

#[tokio::test]
async fn without_its_metadata_or_any_directory_the_broker_ends() {
    let machine = Machine::with(&["a", "b"]);
    let dirs = machine.start().unwrap();
    let why = std::io::Error::from_raw_os_error(5);
    dirs.directories()[0].place().health.fail(&why);
    let fatal = dirs.watch().await.to_string();
    assert!(fatal.contains("metadata directory") && fatal.contains("/a failed"), "{fatal}");

    let mut apart = Machine::with(&["a", "b"]);
    apart.settings.metadata = apart.path("m");
    let dirs = apart.start().unwrap();
    assert_eq!(dirs.metadata().root(), apart.path("m"));
    dirs.directories().iter().for_each(|directory| directory.place().health.fail(&why));
    let fatal = dirs.watch().await.to_string();
    assert!(fatal.contains("none of the log directories"), "{fatal}");
}

#[test]
fn what_must_be_put_right_before_a_start_is_said() {
    let both = Machine::with(&["a", "b"]);
    drop(both.start().unwrap());
    for name in ["a", "b"] {
        std::fs::create_dir(both.path(name).join("x")).unwrap();
    }
    std::fs::create_dir(both.path("a").join("__cluster_metadata-0")).unwrap();
    let in_use = both.start().unwrap();
    assert!(both.start().unwrap_err().contains("in use by another process"));
    drop(in_use);

    let mut turned = Machine { root: both.root, settings: both.settings };
    turned.settings.metadata = turned.path("b");
    let message = turned.start().unwrap_err();
    assert!(message.contains("set metadata.log.dir to the directory that holds"), "{message}");
    turned.settings.metadata = turned.path("new");
    let message = turned.start().unwrap_err();
    assert!(message.contains("/new is new") && !turned.path("new").exists(), "{message}");

    turned.settings.metadata = turned.path("a");
    turned.break_disk("a");
    let message = turned.start().unwrap_err();
    assert!(message.contains("metadata directory") && message.contains("cannot be used"), "{message}");
    turned.mend_disk("a");
    std::fs::copy(turned.path("a/meta.properties"), turned.path("b/meta.properties")).unwrap();
    let message = turned.start().unwrap_err();
    assert!(message.contains("the same directory.id"), "{message}");
}

#[test]
fn a_partition_that_is_found_twice_is_the_one_of_its_topic_or_offline() {
    let machine = Machine::with(&["a", "b"]);
    let dirs = machine.start().unwrap();
    dirs.settle(&TopicTable::default());
    let topics = [topic(&dirs, "t", 1, 1), topic(&dirs, "t", 9, 1)];
    assert_eq!((places(&topics[0]), places(&topics[1])), (vec!["a".to_owned()], vec!["b".to_owned()]));
    topics.iter().for_each(|topic| append(partition(topic, 0)).unwrap());
    drop(dirs);
    drop(topics);

    let dirs = machine.start().unwrap();
    assert_eq!(places(&topic(&dirs, "t", 9, 1)), ["b"]);
    drop(dirs);
    std::fs::copy(machine.path("a/t-0/partition.metadata"), machine.path("b/t-0/partition.metadata")).unwrap();
    let dirs = machine.start().unwrap();
    let both = topic(&dirs, "t", 1, 1);
    assert!(partition(&both, 0).is_offline());
    assert_eq!(append(partition(&both, 0)), Err(ErrorCode::KafkaStorageError));
    assert_eq!(dirs.offline_count(), 0, "the directories are not at fault");
}

#[test]
fn a_log_of_an_earlier_topic_of_that_name_is_set_aside() {
    let machine = Machine::with(&["a"]);
    let dirs = machine.start().unwrap();
    append(partition(&topic(&dirs, "t", 1, 1), 0)).unwrap();
    drop(dirs);
    let dirs = machine.start().unwrap();
    let now = topic(&dirs, "t", 2, 1);
    assert_eq!(partition(&now, 0).open_ends().unwrap().end, Offset(0));
    assert!(machine.path("a").join(format!("t-0.{}-stray", topic_id(1))).is_dir());
}

#[test]
fn a_topic_id_that_differs_in_two_bits_is_damage_and_no_earlier_topic() {
    let machine = Machine::with(&["a"]);
    let dirs = machine.start().unwrap();
    append(partition(&topic(&dirs, "t", 1, 1), 0)).unwrap();
    let path = machine.path("a/t-0/partition.metadata");
    let (flipped, mut text) = (flipped_id(), String::new());
    for line in std::fs::read_to_string(&path).unwrap().lines() {
        text += &line.replace(&topic_id(1).to_string(), &flipped.to_string());
        text += "\n";
    }
    std::fs::write(&path, text).unwrap();
    drop(dirs);
    let dirs = machine.start().unwrap();
    let damaged = topic(&dirs, "t", 1, 1);
    assert_eq!(append(partition(&damaged, 0)), Err(ErrorCode::KafkaStorageError));
    assert!(partition(&damaged, 0).is_offline() && dirs.offline_count() == 0);
    assert!(machine.path("a/t-0/00000000000000000000.log").exists());
}

#[test]
fn what_hinders_opening_for_the_moment_is_tried_again() {
    let machine = Machine::with(&["a"]);
    let dirs = machine.start().unwrap();
    let topic = topic(&dirs, "t", 1, 1);
    let log = partition(&topic, 0);
    std::fs::write(machine.path("a").join("t-0"), b"in the way").unwrap();
    assert_eq!(append(log), Err(ErrorCode::KafkaStorageError));
    assert!(!log.is_offline() && !log.is_open() && dirs.offline_count() == 0);
    std::fs::remove_file(machine.path("a").join("t-0")).unwrap();
    log.retry_opening_now();
    append(log).unwrap();
    assert!(log.is_open());
}

#[test]
fn checkpoints_are_written_when_something_changed() {
    let machine = Machine::with(&["a"]);
    let dirs = machine.start().unwrap();
    let topic = topic(&dirs, "t", 1, 2);
    let topics = table(&[&topic]);
    let path = machine.path("a").join("replication-offset-checkpoint");
    dirs.checkpoint(&topics);
    assert!(!path.exists(), "no log is open");
    append(partition(&topic, 1)).unwrap();
    dirs.checkpoint(&topics);
    let first = std::fs::metadata(&path).unwrap().ino();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\nt 1 1\n");
    dirs.checkpoint(&topics);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), first, "the same file");
    append(partition(&topic, 1)).unwrap();
    dirs.checkpoint(&topics);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\nt 1 2\n");
    dirs.forget(partition(&topic, 1));
    dirs.checkpoint(&table(&[]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n0\n");
}

#[test]
fn room_is_kept_back_for_the_next_start() {
    let machine = Machine::with(&["a"]);
    let dirs = machine.start().unwrap();
    let reserve = machine.path("a").join("strata-reserve");
    assert!(!reserve.exists(), "what the start must write goes first");
    dirs.keep_room();
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), reserve::RESERVE_BYTES);
    reserve::release(&machine.path("a")).unwrap();
    reserve::release(&machine.path("a")).unwrap();
    assert!(!reserve.exists());
}

#[test]
fn a_directory_is_clean_only_when_all_that_lay_in_it_is_recovered() {
    let machine = Machine::with(&["a"]);
    let clean = machine.path("a").join(".kafka_cleanshutdown");
    let dirs = machine.start().unwrap();
    topic(&dirs, "t", 1, 3).partitions().for_each(|partition| append(partition).unwrap());
    drop(dirs);
    let end_after = |open: i32| {
        let dirs = machine.start().unwrap();
        let topic = topic(&dirs, "t", 1, 3);
        let topics = table(&[&topic]);
        dirs.settle(&topics.load());
        (0..open).for_each(|index| assert_eq!(partition(&topic, index).open_ends().unwrap().end, Offset(1)));
        dirs.close(&topics, clock::now());
        clean.exists()
    };
    assert!(!end_after(2), "one was never looked at");
    assert!(end_after(3));
    assert!(end_after(0), "it was clean, and nothing was touched");
}

#[tokio::test]
async fn what_lies_in_an_unclean_directory_is_recovered_without_being_asked_for() {
    let machine = Machine::with(&["a", "b"]);
    let dirs = machine.start().unwrap();
    dirs.settle(&TopicTable::default());
    let killed = topic(&dirs, "t", 1, 20);
    killed.partitions().for_each(|partition| append(partition).unwrap());
    drop((dirs, killed));

    let dirs = machine.start().unwrap();
    let topic = topic(&dirs, "t", 1, 21);
    let topics = table(&[&topic]);
    let (stop, recovered) = (tokio_util::sync::CancellationToken::new(), |topic: &Topic| {
        topic.partitions().filter(|partition| partition.is_open()).count()
    });
    assert_eq!(recovered(&topic), 0);
    dirs.recover(&topics.load(), 2, &stop);
    while dirs.left_to_recover() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(recovered(&topic), 20, "the new one was not there");
    dirs.close(&topics, clock::now());
    drop(dirs);
    let dirs = machine.start().unwrap();
    dirs.recover(&topics.load(), 2, &stop);
    assert_eq!(dirs.left_to_recover(), 0, "a clean start opens nothing");
}

#[test]
fn after_a_disk_was_replaced_a_tiered_partition_asks_its_archive_first() {
    let mut machine = Machine::with(&["a", "b"]);
    machine.settings.metadata = machine.path("m");
    let tiered = config(&[]);
    let dirs = machine.start().unwrap();
    dirs.settle(&TopicTable::default());
    let made = topic_of(&dirs, ("t", 1), 2, &tiered);
    assert!(made.partitions().all(|partition| !partition.waits_for_archive()), "a new topic has no archive");
    made.partitions().for_each(|partition| append(partition).unwrap());
    drop((dirs, made));
    std::fs::remove_dir_all(machine.path("b")).unwrap();
    let dirs = machine.start().unwrap();
    let found = topic_of(&dirs, ("t", 1), 2, &tiered);
    let waits: Vec<_> = found.partitions().map(|partition| partition.waits_for_archive()).collect();
    assert_eq!(waits, [false, true]);
    assert_eq!(partition(&found, 1).open_ends(), Err(ErrorCode::NotLeaderOrFollower));
}
