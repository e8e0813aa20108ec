//! Broker configs: topics and logs. Most `log.*` configs are the defaults of topic configs.

use super::def::configs;

const CODECS: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
const AS_PRODUCED: &str = "batches are kept as the producer compressed them";

configs! { BrokerKey, Broker;
    /// A topic that a client asks metadata or produces for is created when it does not exist.
    AUTO_CREATE_TOPICS_ENABLE: bool = "auto.create.topics.enable", Some("true");
    /// Topics can be deleted.
    DELETE_TOPIC_ENABLE: bool = "delete.topic.enable", Some("true");
    /// Partitions of a topic for which no number is given.
    NUM_PARTITIONS: i32 = "num.partitions", Some("1"), range(1, 10_000);
    /// Replicas of a topic for which no number is given.
    DEFAULT_REPLICATION_FACTOR: i32 = "default.replication.factor", Some("1"), range(1, 32767);
    /// Replicas that must have a record before acks=all is answered.
    MIN_INSYNC_REPLICAS: i32 = "min.insync.replicas", Some("1"), at_least(1), dynamic();
    /// A replica that is not in sync may become leader when no other is left. Data may be lost then.
    UNCLEAN_LEADER_ELECTION_ENABLE: bool = "unclean.leader.election.enable", Some("false"), dynamic(),
        noted("Strata is one node so far");
    /// The largest record batch in bytes, as it is sent.
    MESSAGE_MAX_BYTES: i32 = "message.max.bytes", Some("1048588"), at_least(0), dynamic();
    /// The codec that topics are kept in.
    COMPRESSION_TYPE: String = "compression.type", Some("producer"), one_of(CODECS), dynamic(), noted(AS_PRODUCED);
    /// The level of gzip.
    COMPRESSION_GZIP_LEVEL: i32 = "compression.gzip.level", Some("-1"), or_range(-1, 1, 9), dynamic(), noted(AS_PRODUCED);
    /// The level of lz4.
    COMPRESSION_LZ4_LEVEL: i32 = "compression.lz4.level", Some("9"), range(1, 17), dynamic(), noted(AS_PRODUCED);
    /// The level of zstd.
    COMPRESSION_ZSTD_LEVEL: i32 = "compression.zstd.level", Some("3"), range(-131_072, 22), dynamic(), noted(AS_PRODUCED);

    /// The directories of the logs, separated by commas; used where log.dirs is absent.
    LOG_DIR: String = "log.dir", Some("./strata-data"), not_empty();
    /// The directories of the logs, separated by commas: best one for each disk. A new partition goes to the one with
    /// the fewest. One that fails takes its own partitions offline, and no others.
    LOG_DIRS: Option<Vec<String>> = "log.dirs", None, not_empty();
    /// The directory of the metadata log. Absent means the first of log.dirs. The broker ends when it fails.
    METADATA_LOG_DIR: Option<String> = "metadata.log.dir", None, not_empty();
    /// Threads for each directory that check logs in the background after a stop that was not clean. A log that a
    /// client asks for is checked at once, whatever they do.
    NUM_RECOVERY_THREADS: i32 = "num.recovery.threads.per.data.dir", Some("2"), at_least(1), dynamic();
    /// Files of all logs that are open at once; the others open when they are used. Absent means half of what the system
    /// lets the process open.
    LOG_OPEN_FILES_MAX: Option<i32> = "strata.log.open.files.max", None, at_least(64);
    /// Bytes a second of local logs that are read again to find what rotted, 0 for none. What is damaged is written anew
    /// from the bucket, where that has it.
    LOG_SCRUB_BYTES_PER_SECOND: i64 = "strata.log.scrub.bytes.per.second", Some("4194304"), at_least(0);
    /// A segment is closed when it would grow beyond this many bytes.
    LOG_SEGMENT_BYTES: i32 = "log.segment.bytes", Some("1073741824"), at_least(1 << 20), dynamic();
    /// A segment is closed when its first record is this old. It stands before log.roll.hours.
    LOG_ROLL_MS: Option<i64> = "log.roll.ms", None, at_least(1), dynamic();
    /// A segment is closed when its first record is this old.
    LOG_ROLL_HOURS: i32 = "log.roll.hours", Some("168"), at_least(1);
    /// Segments roll up to so much earlier, at random. It stands before log.roll.jitter.hours.
    LOG_ROLL_JITTER_MS: Option<i64> = "log.roll.jitter.ms", None, at_least(0), dynamic();
    /// Segments roll up to so much earlier, at random.
    LOG_ROLL_JITTER_HOURS: i32 = "log.roll.jitter.hours", Some("0"), at_least(0);
    /// Records are kept so long, -1 for ever. It stands before log.retention.minutes.
    LOG_RETENTION_MS: Option<i64> = "log.retention.ms", None, at_least(-1), dynamic();
    /// Records are kept so long, -1 for ever. It stands before log.retention.hours.
    LOG_RETENTION_MINUTES: Option<i32> = "log.retention.minutes", None, at_least(-1);
    /// Records are kept so long, -1 for ever.
    LOG_RETENTION_HOURS: i32 = "log.retention.hours", Some("168"), at_least(-1);
    /// A partition keeps so many bytes over both tiers, -1 without limit.
    LOG_RETENTION_BYTES: i64 = "log.retention.bytes", Some("-1"), dynamic();
    /// How often retention looks for segments to delete.
    LOG_RETENTION_CHECK_INTERVAL_MS: i64 = "log.retention.check.interval.ms", Some("300000"), at_least(1);
    /// Records that are in the bucket stay so long on the local disk too; -1 as long as the topic's retention has no
    /// bound, -2 as long as the topic's retention. Without a configuration file it is one hour.
    LOG_LOCAL_RETENTION_MS: i64 = "log.local.retention.ms", Some("-2"), at_least(-2), dynamic();
    /// A partition keeps so many bytes on the local disk of what is in the bucket; -2 as many as the topic's retention.
    LOG_LOCAL_RETENTION_BYTES: i64 = "log.local.retention.bytes", Some("-2"), at_least(-2), dynamic();
    /// What happens to old records.
    LOG_CLEANUP_POLICY: Vec<String> = "log.cleanup.policy", Some("delete"), one_of(&["delete", "compact"]), dynamic();
    /// Bytes between two entries of an index.
    LOG_INDEX_INTERVAL_BYTES: i32 = "log.index.interval.bytes", Some("4096"), at_least(0), dynamic();
    /// The largest index of a segment in bytes; a full one closes the segment.
    LOG_INDEX_SIZE_MAX_BYTES: i32 = "log.index.size.max.bytes", Some("10485760"), at_least(4), dynamic();
    /// Records between two forced flushes. With 1 each acknowledgement waits for the disk.
    LOG_FLUSH_INTERVAL_MESSAGES: i64 = "log.flush.interval.messages", Some("9223372036854775807"), at_least(1), dynamic();
    /// The longest time that a record is not flushed. It stands before log.flush.scheduler.interval.ms.
    LOG_FLUSH_INTERVAL_MS: Option<i64> = "log.flush.interval.ms", None, at_least(0), dynamic();
    /// How often is looked for logs to flush.
    LOG_FLUSH_SCHEDULER_INTERVAL_MS: i64 = "log.flush.scheduler.interval.ms", Some("9223372036854775807"), at_least(1);
    /// How often the points from which recovery starts are written.
    LOG_FLUSH_OFFSET_CHECKPOINT_INTERVAL_MS: i32 = "log.flush.offset.checkpoint.interval.ms", Some("60000"), at_least(1);
    /// How often the first offsets of the logs are written.
    LOG_FLUSH_START_OFFSET_CHECKPOINT_INTERVAL_MS: i32 = "log.flush.start.offset.checkpoint.interval.ms", Some("60000"),
        at_least(1);
    /// How long a deleted segment's files stay under another name before they go.
    LOG_SEGMENT_DELETE_DELAY_MS: i64 = "log.segment.delete.delay.ms", Some("60000"), at_least(0), dynamic();
    /// Segment files take their full size when they are made.
    LOG_PREALLOCATE: bool = "log.preallocate", Some("false"), dynamic();
    /// Whether a record's timestamp is its producer's or the time of the append.
    LOG_MESSAGE_TIMESTAMP_TYPE: String = "log.message.timestamp.type", Some("CreateTime"),
        one_of(&["CreateTime", "LogAppendTime"]), dynamic();
    /// How far a record's timestamp may lie before the broker's clock.
    LOG_MESSAGE_TIMESTAMP_BEFORE_MAX_MS: i64 = "log.message.timestamp.before.max.ms", Some("9223372036854775807"),
        at_least(0), dynamic();
    /// How far a record's timestamp may lie after the broker's clock.
    LOG_MESSAGE_TIMESTAMP_AFTER_MAX_MS: i64 = "log.message.timestamp.after.max.ms", Some("3600000"), at_least(0), dynamic();
    /// The state of an idempotent producer is forgotten after so long without a batch.
    PRODUCER_ID_EXPIRATION_MS: i32 = "producer.id.expiration.ms", Some("86400000"), at_least(1), dynamic();
}
