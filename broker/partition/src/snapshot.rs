//! The `.snapshot` file of Kafka: producer state as bytes, version 1, with a CRC-32C over the entries.
//!
//! Kafka writes one entry per producer, its last batch. We write the last five, oldest first, as entries of the same
//! producer: Kafka's reader keeps the last one, ours keeps all, so that a retry of any of them is still recognised
//! after a clean restart.

use broker_model::limits::{PRODUCER_BATCHES_MAX, PRODUCERS_PER_PARTITION_MAX};
use broker_model::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

use crate::producers::{ProducerState, ProducerStates, StoredBatch};

const VERSION: i16 = 1;
const ENTRIES_AT: usize = 6;
const ENTRY_BYTES: usize = 46;

/// The bytes are not a snapshot of producer state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Another version.
    #[error("version {0} is not known, only 1 is")]
    Version(i16),
    /// The bytes end too early, or go on too long.
    #[error("the length does not fit the entries")]
    Length,
    /// The checksum does not match.
    #[error("the checksum does not match")]
    Crc,
}

impl ProducerStates {
    /// The snapshot as bytes.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<u8> {
        let rows = self.producers.values().map(|state| state.batches().len().max(1)).sum::<usize>();
        let mut out = Vec::with_capacity(ENTRIES_AT + 4 + rows * ENTRY_BYTES);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(rows as i32).to_be_bytes());
        for (id, state) in &self.producers {
            if state.batches().is_empty() {
                let none = StoredBatch {
                    last_sequence: Sequence(-1),
                    last_offset: Offset(-1),
                    offset_delta: 0,
                    timestamp: state.last_seen,
                };
                put_entry(&mut out, *id, state, &none);
            }
            for batch in state.batches() {
                put_entry(&mut out, *id, state, batch);
            }
        }
        let (head, entries) = out.split_at_mut(ENTRIES_AT);
        let (_, crc) = head.split_at_mut(2);
        crc.copy_from_slice(&broker_records::crc32c(entries).to_be_bytes());
        out
    }

    /// Reads a snapshot. All its producers count as seen at `now`.
    ///
    /// # Errors
    /// Where the bytes are not such a snapshot; an older one or a scan of the log serves then.
    pub fn from_snapshot(bytes: &[u8], now: Timestamp, expiration_ms: i64) -> Result<ProducerStates, SnapshotError> {
        let (version, rest) = bytes.split_first_chunk::<2>().ok_or(SnapshotError::Length)?;
        let version = i16::from_be_bytes(*version);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let (crc, entries) = rest.split_first_chunk::<4>().ok_or(SnapshotError::Length)?;
        if u32::from_be_bytes(*crc) != broker_records::crc32c(entries) {
            return Err(SnapshotError::Crc);
        }
        let (count, rows) = entries.split_first_chunk::<4>().ok_or(SnapshotError::Length)?;
        let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| SnapshotError::Length)?;
        let (rows, rest) = rows.as_chunks::<ENTRY_BYTES>();
        if rows.len() != count || !rest.is_empty() || count > PRODUCERS_PER_PARTITION_MAX * PRODUCER_BATCHES_MAX {
            return Err(SnapshotError::Length);
        }
        let mut states = ProducerStates::new(expiration_ms);
        for row in rows {
            states.load_entry(row, now).ok_or(SnapshotError::Length)?;
        }
        Ok(states)
    }

    fn load_entry(&mut self, row: &[u8; ENTRY_BYTES], now: Timestamp) -> Option<()> {
        let (id, rest) = row.split_first_chunk::<8>()?;
        let (epoch, rest) = rest.split_first_chunk::<2>()?;
        let (last_sequence, rest) = rest.split_first_chunk::<4>()?;
        let (last_offset, rest) = rest.split_first_chunk::<8>()?;
        let (offset_delta, rest) = rest.split_first_chunk::<4>()?;
        let (timestamp, rest) = rest.split_first_chunk::<8>()?;
        let (coordinator_epoch, rest) = rest.split_first_chunk::<4>()?;
        let (transaction, _) = rest.split_first_chunk::<8>()?;
        let epoch = ProducerEpoch(i16::from_be_bytes(*epoch));
        let batch = StoredBatch {
            last_sequence: Sequence(i32::from_be_bytes(*last_sequence)),
            last_offset: Offset(i64::from_be_bytes(*last_offset)),
            offset_delta: i32::from_be_bytes(*offset_delta),
            timestamp: Timestamp(i64::from_be_bytes(*timestamp)),
        };
        let id = ProducerId(i64::from_be_bytes(*id));
        let state = self.producers.entry(id).or_insert_with(|| Box::new(ProducerState::new(epoch, now)));
        state.begin_epoch(epoch);
        state.coordinator_epoch = i32::from_be_bytes(*coordinator_epoch);
        let transaction = i64::from_be_bytes(*transaction);
        state.transaction_start = (transaction >= 0).then_some(Offset(transaction));
        if batch.last_sequence.0 >= 0 {
            state.push(batch);
        }
        Some(())
    }
}

fn put_entry(out: &mut Vec<u8>, id: ProducerId, state: &ProducerState, batch: &StoredBatch) {
    let start = out.len();
    out.extend_from_slice(&id.0.to_be_bytes());
    out.extend_from_slice(&state.epoch.0.to_be_bytes());
    out.extend_from_slice(&batch.last_sequence.0.to_be_bytes());
    out.extend_from_slice(&batch.last_offset.0.to_be_bytes());
    out.extend_from_slice(&batch.offset_delta.to_be_bytes());
    out.extend_from_slice(&batch.timestamp.0.to_be_bytes());
    out.extend_from_slice(&state.coordinator_epoch.to_be_bytes());
    out.extend_from_slice(&state.transaction_start.map_or(-1, |offset| offset.0).to_be_bytes());
    assert_eq!(out.len() - start, ENTRY_BYTES, "the fields of an entry fill it");
}
