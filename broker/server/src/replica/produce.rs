//! The way into a partition: a producer's batch is checked, gets its offsets, and is written.
//!
//! The bytes of the records are not copied: the log writes the patched head and the rest of the receive buffer with one
//! call. An idempotent producer's retry is answered with what its first send got (HOT-3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker_log::{AppendError, Appended as Outcome, ErrorKind, Refusal};
use broker_model::config::{TimestampType, TopicConfig};
use broker_model::{ErrorCode, Offset, Timestamp};
use broker_partition::{Durability, SequenceError};
use broker_records::{BatchError, BatchErrorKind, BatchHead, NullKeys, Rules, faults, validate};
use bytes::Bytes;
use tracing::warn;

use super::flusher::{SyncState, Syncs};
use super::open::Open;
use super::partition::Partition;
use super::queue::Submitted;
use super::waiters::Caller;

/// What an append answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base: Offset,
    /// The offset after the last record.
    pub next: Offset,
    /// How many records were stored; 0 for a duplicate.
    pub records: u64,
    /// The append time, or -1 where the producer's timestamps hold.
    pub append_time: Timestamp,
}

/// Why a batch was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// The records of the batch that are to blame, and what is wrong with each (KIP-467).
    pub records: Vec<(i32, String)>,
    /// What is wrong and what is expected.
    pub message: Option<String>,
}

impl From<ErrorCode> for ProduceError {
    fn from(code: ErrorCode) -> ProduceError {
        ProduceError { code, records: Vec::new(), message: None }
    }
}

impl From<BatchError> for ProduceError {
    fn from(error: BatchError) -> ProduceError {
        let code = match error.kind() {
            BatchErrorKind::Corrupt => ErrorCode::CorruptMessage,
            // Kafka: the formats before 2 are known and not taken any more, others are no batches.
            BatchErrorKind::UnsupportedMagic if matches!(error, BatchError::Magic(0 | 1)) => ErrorCode::InvalidRecord,
            BatchErrorKind::UnsupportedMagic => ErrorCode::CorruptMessage,
            BatchErrorKind::UnsupportedCodec => ErrorCode::UnsupportedCompressionType,
            BatchErrorKind::TooLarge => ErrorCode::MessageTooLarge,
            // What is cut short is no batch at all, and there has to be one.
            BatchErrorKind::Invalid | BatchErrorKind::Truncated => ErrorCode::InvalidRecord,
            BatchErrorKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        };
        let records = index_of(&error).map(|index| (index, error.to_string()));
        ProduceError { code, records: records.into_iter().collect(), message: Some(error.to_string()) }
    }
}

fn index_of(error: &BatchError) -> Option<i32> {
    match error {
        BatchError::Record { index, .. } | BatchError::NullKey { index } => Some(*index),
        BatchError::Timestamp { index, .. } => *index,
        _ => None,
    }
}

/// A batch that was refused. What the topic does not take is told of each record, and not only of the first one.
fn invalid(error: BatchError, batch: &[u8], rules: &Rules) -> ProduceError {
    let mut refused = ProduceError::from(error);
    if matches!(error, BatchError::NullKey { .. } | BatchError::Timestamp { .. }) {
        let named = |fault: BatchError| Some((index_of(&fault)?, fault.to_string()));
        refused.records = faults(batch, rules).into_iter().filter_map(named).collect();
    }
    refused
}

fn refused(refusal: Refusal) -> ProduceError {
    let code = match &refusal {
        Refusal::Sequence(error) => match error {
            SequenceError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            SequenceError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            SequenceError::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
        },
        Refusal::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
    };
    ProduceError { code, records: Vec::new(), message: Some(refusal.to_string()) }
}

impl Partition {
    /// Takes the one batch in `records`. Calls of one thread are written in their order.
    ///
    /// # Errors
    /// [`ProduceError`] with the code for the client. Nothing was stored, unless the disk failed.
    pub fn append(
        self: &Arc<Self>,
        records: &Bytes,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Submitted, ProduceError> {
        let open = self.open()?;
        let rules = rules(&self.config.load(), now);
        let head = validate(records, &rules).map_err(|error| invalid(error, records, &rules))?;
        check_producer(&head)?;
        self.submit(open, (head, records), caller, now)
    }

    /// A batch went through the log: tells those who wait. The caller asks for the sync that it needs, by
    /// [`wants_sync`](Self::wants_sync).
    pub(super) fn appended(
        self: &Arc<Self>,
        open: &Open,
        head: &BatchHead,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Appended, ProduceError> {
        let (base, append_time, records) = match outcome {
            Outcome::Stored { base_offset, timestamp } => (base_offset, timestamp, head.record_count.unsigned_abs()),
            Outcome::Duplicate { base_offset, timestamp } => (base_offset, timestamp, 0),
            Outcome::Refused(refusal) => return Err(refused(refusal)),
        };
        self.append_times.lock().note(base, now);
        let bytes = head.total_bytes() as u64;
        if self.is_durable() {
            // Nobody sees it, and nobody hears of it, before it is synced.
            self.unsynced_bytes.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.waiters.moved(open.reader.high_watermark(), bytes);
        }
        let next = base.plus(i64::from(head.record_count));
        Ok(Appended { base, next, records: u64::from(records), append_time })
    }

    /// Whether so much was written since the last sync that the next one is due (`flush.messages`), or was synced already
    /// by one that did not tell of it.
    pub(super) fn wants_sync(&self, open: &Open) -> bool {
        if self.unsynced_bytes.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let ends = open.reader.ends();
        ends.end().0 - ends.flushed_end().0 >= self.config.load().flush_messages
    }

    pub(super) fn append_failed(&self, error: &AppendError) -> ProduceError {
        match error.kind() {
            ErrorKind::Invalid => ErrorCode::InvalidRecord.into(),
            ErrorKind::Full => {
                self.disk.no_room();
                ErrorCode::KafkaStorageError.into()
            }
            // The directory says once that it failed.
            ErrorKind::Offline => ErrorCode::KafkaStorageError.into(),
            ErrorKind::Damaged | ErrorKind::OutOfRange | ErrorKind::NotResident => {
                warn!(partition = %self, %error, "append failed");
                ErrorCode::KafkaStorageError.into()
            }
        }
    }

    /// True where nothing is acknowledged before it is synced (`flush.messages=1`).
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.config.load().flush_messages == 1
    }

    /// Whether everything below `until` is committed.
    ///
    /// # Errors
    /// The disk failed, or the topic is gone: it never will be.
    pub fn is_committed(&self, until: Offset) -> Result<bool, ErrorCode> {
        Ok(self.open_ends()?.high_watermark >= until)
    }

    /// Asks for a sync of what is written now. All who ask before it begins share it.
    pub fn ask_for_sync(self: &Arc<Self>) {
        self.disk.flusher().ask(self);
    }
}

impl Syncs for Partition {
    fn sync_state(&self) -> &SyncState {
        &self.sync_state
    }

    /// An error is final: the log is offline, and those who wait hear that.
    fn sync(&self) {
        let bytes = self.unsynced_bytes.swap(0, Ordering::Relaxed);
        let Some(open) = self.opened() else { return };
        match open.reader.flush() {
            Ok(_) => self.waiters.moved(open.reader.high_watermark(), bytes),
            Err(error) => {
                warn!(partition = %self, %error, "sync failed");
                self.waiters.disturb();
            }
        }
    }
}

/// The durability that the config asks for.
pub(super) fn durability(config: &TopicConfig) -> Durability {
    if config.flush_messages == 1 { Durability::Disk } else { Durability::PageCache }
}

fn rules(config: &TopicConfig, now: Timestamp) -> Rules {
    let mut rules = Rules::permissive(usize::try_from(config.max_message_bytes).unwrap_or(0));
    if config.timestamp_type == TimestampType::CreateTime {
        let from = now.plus_ms(config.timestamp_before_max_ms.saturating_neg());
        rules.timestamps = from..=now.plus_ms(config.timestamp_after_max_ms);
    }
    if config.cleanup.compact {
        rules.null_keys = NullKeys::Refused;
    }
    rules
}

/// What only brokers and transactions send is refused until there are transactions.
fn check_producer(head: &BatchHead) -> Result<(), ProduceError> {
    if head.is_control() || head.is_transactional() {
        let message = Some("transactional and control batches are not taken here".to_owned());
        return Err(ProduceError { code: ErrorCode::InvalidTxnState, records: Vec::new(), message });
    }
    Ok(())
}
