//! Topic configs. The default of each is its broker synonym's value.

use super::def::{Synonym, configs};

const CODECS: &[&str] = &["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
const NO_CLEANER: &str = "Strata does not compact yet: compacted topics keep every record";
const ONE_NODE: &str = "Strata is one node so far";
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

const fn same(name: &'static str) -> Synonym {
    scaled(name, 1)
}

const fn scaled(name: &'static str, scale: i64) -> Synonym {
    Synonym { name, scale }
}

configs! { TopicKey, Topic;
    /// What happens to old records: delete them by time and size, or compact them by key.
    CLEANUP_POLICY: Vec<String> = "cleanup.policy", Some("delete"), one_of(&["delete", "compact"]),
        synonyms(&[same("log.cleanup.policy")]);
    /// Records are kept so long over both tiers, -1 for ever.
    RETENTION_MS: i64 = "retention.ms", Some("604800000"), at_least(-1),
        synonyms(&[same("log.retention.ms"), scaled("log.retention.minutes", MINUTE_MS), scaled("log.retention.hours", HOUR_MS)]);
    /// A partition keeps so many bytes over both tiers, -1 without limit.
    RETENTION_BYTES: i64 = "retention.bytes", Some("-1"), synonyms(&[same("log.retention.bytes")]);
    /// Records that are in the bucket stay so long on the local disk too; -2 as long as retention.ms.
    LOCAL_RETENTION_MS: i64 = "local.retention.ms", Some("-2"), at_least(-2), synonyms(&[same("log.local.retention.ms")]);
    /// A partition keeps so many bytes on the local disk of what is in the bucket; -2 as many as retention.bytes.
    LOCAL_RETENTION_BYTES: i64 = "local.retention.bytes", Some("-2"), at_least(-2),
        synonyms(&[same("log.local.retention.bytes")]);
    /// The topic is tiered: its records go to the bucket.
    REMOTE_STORAGE_ENABLE: bool = "remote.storage.enable", Some("true"),
        synonyms(&[same("strata.remote.storage.enable.default")]);
    /// A tiered topic ships nothing more; what is in the bucket stays readable.
    REMOTE_LOG_COPY_DISABLE: bool = "remote.log.copy.disable", Some("false");
    /// When tiering is switched off, what is in the bucket may be deleted.
    REMOTE_LOG_DELETE_ON_DISABLE: bool = "remote.log.delete.on.disable", Some("false");
    /// The topic is exported to Parquet as its records are shipped.
    EXPORT_ENABLE: bool = "strata.export.enable", Some("false"), synonyms(&[same("strata.export.enable.default")]);

    /// A segment is closed when it would grow beyond this many bytes.
    SEGMENT_BYTES: i32 = "segment.bytes", Some("1073741824"), at_least(1 << 20), synonyms(&[same("log.segment.bytes")]);
    /// A segment is closed when its first record is this old.
    SEGMENT_MS: i64 = "segment.ms", Some("604800000"), at_least(1),
        synonyms(&[same("log.roll.ms"), scaled("log.roll.hours", HOUR_MS)]);
    /// Segments roll up to so much earlier, at random.
    SEGMENT_JITTER_MS: i64 = "segment.jitter.ms", Some("0"), at_least(0),
        synonyms(&[same("log.roll.jitter.ms"), scaled("log.roll.jitter.hours", HOUR_MS)]);
    /// The largest index of a segment in bytes; a full one closes the segment.
    SEGMENT_INDEX_BYTES: i32 = "segment.index.bytes", Some("10485760"), at_least(4),
        synonyms(&[same("log.index.size.max.bytes")]);
    /// Bytes between two entries of an index.
    INDEX_INTERVAL_BYTES: i32 = "index.interval.bytes", Some("4096"), at_least(0),
        synonyms(&[same("log.index.interval.bytes")]);
    /// How long a deleted segment's files stay under another name before they go.
    FILE_DELETE_DELAY_MS: i64 = "file.delete.delay.ms", Some("60000"), at_least(0),
        synonyms(&[same("log.segment.delete.delay.ms")]);
    /// Records between two forced flushes. With 1 each acknowledgement waits for the disk.
    FLUSH_MESSAGES: i64 = "flush.messages", Some("9223372036854775807"), at_least(1),
        synonyms(&[same("log.flush.interval.messages")]);
    /// The longest time that a record is not flushed.
    FLUSH_MS: i64 = "flush.ms", Some("9223372036854775807"), at_least(0),
        synonyms(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]);
    /// Segment files take their full size when they are made.
    PREALLOCATE: bool = "preallocate", Some("false"), synonyms(&[same("log.preallocate")]);

    /// The largest record batch in bytes, as it is sent.
    MAX_MESSAGE_BYTES: i32 = "max.message.bytes", Some("1048588"), at_least(0), synonyms(&[same("message.max.bytes")]);
    /// Whether a record's timestamp is its producer's or the time of the append.
    MESSAGE_TIMESTAMP_TYPE: String = "message.timestamp.type", Some("CreateTime"), one_of(&["CreateTime", "LogAppendTime"]),
        synonyms(&[same("log.message.timestamp.type")]);
    /// How far a record's timestamp may lie before the broker's clock.
    MESSAGE_TIMESTAMP_BEFORE_MAX_MS: i64 = "message.timestamp.before.max.ms", Some("9223372036854775807"), at_least(0),
        synonyms(&[same("log.message.timestamp.before.max.ms")]);
    /// How far a record's timestamp may lie after the broker's clock.
    MESSAGE_TIMESTAMP_AFTER_MAX_MS: i64 = "message.timestamp.after.max.ms", Some("3600000"), at_least(0),
        synonyms(&[same("log.message.timestamp.after.max.ms")]);
    /// Replicas that must have a record before acks=all is answered.
    MIN_INSYNC_REPLICAS: i32 = "min.insync.replicas", Some("1"), at_least(1), synonyms(&[same("min.insync.replicas")]);
    /// A replica that is not in sync may become leader when no other is left.
    UNCLEAN_LEADER_ELECTION_ENABLE: bool = "unclean.leader.election.enable", Some("false"),
        synonyms(&[same("unclean.leader.election.enable")]), noted(ONE_NODE);

    /// The codec that the topic is kept in.
    COMPRESSION_TYPE: String = "compression.type", Some("producer"), one_of(CODECS), synonyms(&[same("compression.type")]),
        noted("batches are kept as the producer compressed them");
    /// The level of gzip.
    COMPRESSION_GZIP_LEVEL: i32 = "compression.gzip.level", Some("-1"), or_range(-1, 1, 9),
        synonyms(&[same("compression.gzip.level")]), noted("batches are kept as the producer compressed them");
    /// The level of lz4.
    COMPRESSION_LZ4_LEVEL: i32 = "compression.lz4.level", Some("9"), range(1, 17),
        synonyms(&[same("compression.lz4.level")]), noted("batches are kept as the producer compressed them");
    /// The level of zstd.
    COMPRESSION_ZSTD_LEVEL: i32 = "compression.zstd.level", Some("3"), range(-131_072, 22),
        synonyms(&[same("compression.zstd.level")]), noted("batches are kept as the producer compressed them");
    /// How dirty a compacted log may be.
    MIN_CLEANABLE_DIRTY_RATIO: f64 = "min.cleanable.dirty.ratio", Some("0.5"), share(),
        synonyms(&[same("log.cleaner.min.cleanable.ratio")]), noted(NO_CLEANER);
    /// How young a record is never compacted away.
    MIN_COMPACTION_LAG_MS: i64 = "min.compaction.lag.ms", Some("0"), at_least(0),
        synonyms(&[same("log.cleaner.min.compaction.lag.ms")]), noted(NO_CLEANER);
    /// How old a record is compacted at last.
    MAX_COMPACTION_LAG_MS: i64 = "max.compaction.lag.ms", Some("9223372036854775807"), at_least(1),
        synonyms(&[same("log.cleaner.max.compaction.lag.ms")]), noted(NO_CLEANER);
    /// How long a tombstone is kept.
    DELETE_RETENTION_MS: i64 = "delete.retention.ms", Some("86400000"), at_least(0),
        synonyms(&[same("log.cleaner.delete.retention.ms")]), noted(NO_CLEANER);
    /// Leaders whose replication is throttled.
    LEADER_THROTTLED_REPLICAS: Vec<String> = "leader.replication.throttled.replicas", Some(""), replicas(),
        noted(ONE_NODE);
    /// Followers whose replication is throttled.
    FOLLOWER_THROTTLED_REPLICAS: Vec<String> = "follower.replication.throttled.replicas", Some(""), replicas(),
        noted(ONE_NODE);
}
