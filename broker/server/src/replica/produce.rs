//! The way into a partition: a producer's batch is checked, gets its offsets, and is written.
//!
//! The bytes of the records are not copied: the log writes the patched head and the rest of the receive buffer with one
//! call. An idempotent producer's retry is answered with what its first send got (HOT-3).

use std::sync::Arc;

use broker_log::{AppendError, Appended as Outcome, ErrorKind, PreparedBatch, Refusal};
use broker_model::config::{TimestampType, TopicConfig};
use broker_model::{ErrorCode, Offset, Timestamp};
use broker_partition::{Durability, SequenceError};
use broker_records::{BATCH_HEAD_BYTES, BatchError, BatchErrorKind, BatchHead, NullKeys, Rules, validate};
use bytes::Bytes;
use tokio::sync::Notify;
use tracing::warn;

use super::partition::Partition;

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
    /// Which record of the batch, where one is to blame.
    pub record: Option<i32>,
    /// What is wrong and what is expected.
    pub message: Option<String>,
}

impl From<ErrorCode> for ProduceError {
    fn from(code: ErrorCode) -> ProduceError {
        ProduceError { code, record: None, message: None }
    }
}

impl From<BatchError> for ProduceError {
    fn from(error: BatchError) -> ProduceError {
        let code = match error.kind() {
            BatchErrorKind::Truncated | BatchErrorKind::Corrupt => ErrorCode::CorruptMessage,
            BatchErrorKind::UnsupportedMagic => ErrorCode::UnsupportedForMessageFormat,
            BatchErrorKind::UnsupportedCodec => ErrorCode::UnsupportedCompressionType,
            BatchErrorKind::TooLarge => ErrorCode::MessageTooLarge,
            BatchErrorKind::Invalid => ErrorCode::InvalidRecord,
            BatchErrorKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
        };
        let record = match error {
            BatchError::Record { index, .. } | BatchError::NullKey { index } | BatchError::Timestamp { index, .. } => {
                Some(index)
            }
            _ => None,
        };
        ProduceError { code, record: record.filter(|index| *index >= 0), message: Some(error.to_string()) }
    }
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
    ProduceError { code, record: None, message: Some(refusal.to_string()) }
}

impl Partition {
    /// Appends the one batch in `records`.
    ///
    /// # Errors
    /// [`ProduceError`] with the code for the client. Nothing was stored, unless the disk failed.
    pub fn append(&self, records: &Bytes, now: Timestamp) -> Result<Appended, ProduceError> {
        let open = self.open()?;
        let head = validate(records, &rules(&self.config.load(), now))?;
        check_producer(&head)?;
        let body = records.get(BATCH_HEAD_BYTES..).unwrap_or_default();
        let outcome = {
            let mut log = open.writer.lock();
            log.append(&[PreparedBatch { head, body }], now)
        };
        let outcome = outcome.map_err(|error| self.append_failed(&error))?;
        let count = i64::from(head.record_count);
        let (base, timestamp, records) = match outcome.into_iter().next() {
            Some(Outcome::Stored { base_offset, timestamp }) => {
                (base_offset, timestamp, head.record_count.unsigned_abs())
            }
            Some(Outcome::Duplicate { base_offset, timestamp }) => (base_offset, timestamp, 0),
            Some(Outcome::Refused(refusal)) => return Err(refused(refusal)),
            None => unreachable!("one batch was given, none was answered"),
        };
        self.append_times.lock().note(base, now);
        self.flush_if_due()?;
        self.waiters.wake();
        Ok(Appended { base, next: base.plus(count), records: u64::from(records), append_time: timestamp })
    }

    fn append_failed(&self, error: &AppendError) -> ProduceError {
        match error.kind() {
            ErrorKind::Invalid => ErrorCode::InvalidRecord.into(),
            ErrorKind::Full | ErrorKind::Offline | ErrorKind::Damaged | ErrorKind::OutOfRange => {
                warn!(partition = %self, %error, "append failed");
                ErrorCode::KafkaStorageError.into()
            }
        }
    }

    /// Syncs when `flush.messages` records wait for it. With 1 the acknowledgement asks for the sync, see
    /// [`Partition::committed`].
    fn flush_if_due(&self) -> Result<(), ErrorCode> {
        let wanted = self.config.load().flush_messages;
        if wanted <= 1 || wanted == i64::MAX {
            return Ok(());
        }
        let ends = self.ends();
        if ends.end.0 - ends.flushed_end.0 >= wanted { self.sync() } else { Ok(()) }
    }

    /// True where nothing is acknowledged before it is synced (`flush.messages=1`).
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.config.load().flush_messages == 1
    }

    /// True when everything below `until` is committed.
    #[must_use]
    pub fn is_committed(&self, until: Offset) -> bool {
        self.ends().high_watermark >= until
    }

    /// Ends when everything below `until` is committed. With `flush.messages=1` it asks for the sync itself; all who wait
    /// on one file share it.
    ///
    /// # Errors
    /// The disk failed, or the topic is gone.
    pub async fn committed(self: &Arc<Self>, until: Offset) -> Result<(), ErrorCode> {
        let notify = Arc::new(Notify::new());
        loop {
            self.waiters.register(&notify);
            if self.open_ends()?.high_watermark >= until {
                self.waiters.forget(&notify);
                return Ok(());
            }
            if self.is_durable() {
                let partition = self.clone();
                let flushed = tokio::task::spawn_blocking(move || partition.sync()).await;
                flushed.map_err(|_| ErrorCode::KafkaStorageError)??;
                continue;
            }
            notify.notified().await;
        }
    }

    fn sync(&self) -> Result<(), ErrorCode> {
        let flushed = self.reader()?.flush();
        self.waiters.wake();
        flushed.map(|_| ()).map_err(|error| {
            warn!(partition = %self, %error, "sync failed");
            ErrorCode::KafkaStorageError
        })
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
        return Err(ProduceError { code: ErrorCode::InvalidTxnState, record: None, message });
    }
    Ok(())
}
