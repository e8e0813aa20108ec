//! Control batches: the markers that end a transaction (KIP-98).
//!
//! A marker is a batch of one record whose key says commit or abort and whose value has the coordinator's epoch.
//! Other control records (leader change, snapshot head and foot, quorum records) are recognised as such and not read.

use broker_model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use bytes::Bytes;

use crate::cursor::Cursor;
use crate::{BatchBuilder, BatchError, Codec, DecodedBatch};

/// How a transaction ended. The numbers are Kafka's control record types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Outcome {
    /// Its records are void.
    Abort = 0,
    /// Its records hold.
    Commit = 1,
}

/// The marker that ends a transaction in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransaction {
    /// Commit or abort.
    pub outcome: Outcome,
    /// The epoch of the transaction coordinator, which fences older ones.
    pub coordinator_epoch: i32,
}

const VERSION: i16 = 0;

impl EndTransaction {
    /// The marker as a batch of one record. Offset and leader epoch are set by whoever appends it.
    #[must_use]
    pub fn batch(&self, producer: ProducerId, epoch: ProducerEpoch, now: Timestamp) -> Bytes {
        let mut builder =
            BatchBuilder::new(Codec::None).producer(producer, epoch, Sequence(-1)).transactional().control();
        let [k0, k1] = VERSION.to_be_bytes();
        let [k2, k3] = (self.outcome as i16).to_be_bytes();
        let [c0, c1, c2, c3] = self.coordinator_epoch.to_be_bytes();
        builder.push(now, Some(&[k0, k1, k2, k3]), Some(&[k0, k1, c0, c1, c2, c3]), &[]);
        builder.finish(Offset::ZERO, LeaderEpoch(-1))
    }

    /// Reads the marker in a batch. `None` for a batch that is no control batch, or a control record of another type.
    ///
    /// # Errors
    /// `Record` where the marker is malformed.
    pub fn parse(batch: &DecodedBatch<'_>) -> Result<Option<EndTransaction>, BatchError> {
        if !batch.head().is_control() {
            return Ok(None);
        }
        let malformed = BatchError::Record { index: 0, what: "the control record is malformed" };
        let record = batch.records().next().ok_or(malformed)??;
        let mut key = Cursor::new(record.key.ok_or(malformed)?);
        let (_version, kind) = key.i16().zip(key.i16()).ok_or(malformed)?;
        let outcome = match kind {
            0 => Outcome::Abort,
            1 => Outcome::Commit,
            _ => return Ok(None),
        };
        let mut value = Cursor::new(record.value.ok_or(malformed)?);
        let (_version, coordinator_epoch) = value.i16().zip(value.i32()).ok_or(malformed)?;
        Ok(Some(EndTransaction { outcome, coordinator_epoch }))
    }
}
