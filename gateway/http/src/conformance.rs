//! What every source must do, as a suite: an implementation fills itself with known records and runs it.
//!
//! The suite reads each partition from every offset, with several sizes, and compares what the batches hold with what
//! was written. It panics with a message, as a test does.

use broker_model::{Offset, Timestamp, TopicPartition};
use broker_records::{batches, decode};

use crate::source::{ColdSource, HotSource, Slice, SourceError, TimeWindow};

/// A record that the source must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
}

/// Runs the suite for the local part of a partition; `known` has all its records from the local start on, ascending.
///
/// # Panics
/// When the source breaks the contract.
pub async fn hot(source: &dyn HotSource, place: TopicPartition, known: &[Known]) {
    let bounds = source.bounds(place).await.expect("the bounds of a partition that exists");
    assert!(bounds.log_start <= bounds.local_start, "{bounds:?}");
    assert!(bounds.local_start <= bounds.high_watermark, "{bounds:?}");
    let end = bounds.high_watermark;
    for from in bounds.local_start.0..end.0 {
        for bytes_max in [1, 300, 1 << 20] {
            let slice = source.read_hot(place, Offset(from), end, bytes_max).await.expect("a read of local records");
            check(&slice, Offset(from), known);
        }
    }
    if bounds.log_start < bounds.local_start {
        let below = source.read_hot(place, bounds.log_start, end, 1).await;
        assert!(matches!(below, Err(SourceError::NotLocal { .. })), "below the local start: {below:?}");
    }
    for record in known {
        let window = TimeWindow { from: record.timestamp, to: record.timestamp.plus_ms(1) };
        let found = source.seek(place, bounds.local_start, window).await.expect("a seek");
        sought(found, window, bounds.local_start, known);
    }
    let stranger = TopicPartition { topic: broker_model::TopicId([0xee; 16]), ..place };
    assert_eq!(source.bounds(stranger).await, Err(SourceError::Unknown));
}

/// Runs the suite for the part in the bucket; `known` has all its records, ascending.
///
/// # Panics
/// When the source breaks the contract.
pub async fn cold(source: &dyn ColdSource, place: TopicPartition, known: &[Known]) {
    let bounds = source.cold_bounds(place).await.expect("the bounds").expect("a partition with a cold part");
    for from in bounds.start.0..bounds.end.0 {
        for bytes_max in [1, 300, 1 << 20] {
            let slice = source.read_cold(place, Offset(from), bytes_max).await.expect("a read of cold records");
            check(&slice, Offset(from), known);
        }
    }
    let beyond = source.read_cold(place, bounds.end, 1).await;
    assert!(beyond.is_err(), "a read beyond the end is an error, not emptiness: {beyond:?}");
    for record in known {
        let window = TimeWindow { from: record.timestamp, to: record.timestamp.plus_ms(1) };
        let found = source.seek_cold(place, bounds.start, window).await.expect("a seek");
        sought(found, window, bounds.start, known);
    }
}

fn check(slice: &Slice, from: Offset, known: &[Known]) {
    assert!(slice.next > from, "a read at {from} must move on, not to {}", slice.next);
    let mut held = Vec::new();
    for bytes in &slice.batches {
        for batch in batches(bytes) {
            let (_, batch) = batch.expect("whole batches");
            let decoded = decode(batch, 64 << 20).expect("a sound batch");
            for record in decoded.records() {
                let record = record.expect("a sound record");
                held.push(Known { offset: record.offset, timestamp: record.timestamp });
            }
        }
    }
    let range = |record: &&Known| record.offset >= from && record.offset < slice.next;
    let held: Vec<Known> = held.iter().filter(range).copied().collect();
    let expect: Vec<Known> = known.iter().filter(range).copied().collect();
    assert_eq!(held, expect, "a read at {from} up to {}", slice.next);
}

fn sought(found: Offset, window: TimeWindow, from: Offset, known: &[Known]) {
    assert!(found >= from, "a seek from {from} went back to {found}");
    let missed = known.iter().find(|record| record.offset < found && window.holds(record.timestamp));
    assert_eq!(missed, None, "a seek of {window:?} went to {found} and missed a record");
}
