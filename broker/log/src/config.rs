//! What a log is told: its topic's settings, and at opening what the directory's checkpoints say.
//!
//! The settings are those of Kafka's topic configuration that the log itself needs; the caller maps names to fields.

use broker_model::{Offset, Timestamp, TopicId};
use broker_partition::Durability;

/// Whose time a record carries (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendTime {
    /// The producer's: `CreateTime`.
    #[default]
    Producer,
    /// The broker's at the append: `LogAppendTime`.
    Broker,
}

/// The settings of one log. `Default` has Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `Disk` where `flush.messages=1`: what is not synced is not committed.
    pub durability: Durability,
    /// `message.timestamp.type`.
    pub append_time: AppendTime,
    /// `preallocate` (`log.preallocate`): room for a whole segment is reserved when one is begun.
    pub preallocate: bool,
    /// `segment.jitter.ms`: a segment is rolled by time up to so much earlier, so that not all roll at once.
    pub segment_jitter_ms: i64,
    /// `file.delete.delay.ms`: so long the files of a segment stay that retention took out of the log.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 604_800_000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            durability: Durability::PageCache,
            append_time: AppendTime::Producer,
            preallocate: false,
            segment_jitter_ms: 0,
            file_delete_delay_ms: 60_000,
            producer_expiration_ms: 86_400_000,
        }
    }
}

/// What the caller knows when a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHints {
    /// The topic; a directory of another topic is refused.
    pub topic: TopicId,
    /// The directory was shut down cleanly: nothing need be checked.
    pub clean: bool,
    /// The machine has not restarted since: the page cache survived.
    pub same_boot: bool,
    /// Everything below was synced.
    pub recovery_point: Offset,
    /// Where the partition began.
    pub log_start: Offset,
    /// The time.
    pub now: Timestamp,
}

impl OpenHints {
    /// Nothing is known: everything is checked.
    #[must_use]
    pub fn unknown(topic: TopicId, now: Timestamp) -> OpenHints {
        OpenHints { topic, clean: false, same_boot: false, recovery_point: Offset::ZERO, log_start: Offset::ZERO, now }
    }
}
