//! What the program counts. Plain atomics, read by the gateway when it is asked for `/metrics`.
//!
//! A metric is a field; its name, kind and help stand in [`crate::http::families`]. Nothing here is looked up by a string on
//! the way of a request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that goes up, or up and down.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Takes away; only for gauges.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of one process.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections that are open.
    pub connections: Number,
    /// Connections that ended by an error.
    pub connections_failed: Number,
    /// Requests that were started.
    pub requests: Number,
    /// Bytes of replies.
    pub bytes_out: Number,
    /// Record bytes that producers appended.
    pub produced_bytes: Number,
    /// Records that producers appended.
    pub produced_records: Number,
    /// Record bytes that fetches were given from local segments.
    pub fetched_hot_bytes: Number,
    /// Record bytes that fetches were given from the tier.
    pub fetched_cold_bytes: Number,
    /// Cold reads that ended with an error.
    pub fetched_cold_errors: Number,
    /// Cold fetches whose wait ran out before the block was there (TIER-3: they answer empty, and are counted).
    pub fetched_cold_timeouts: Number,
    /// Bytes of local batches that the scrub checked.
    pub scrubbed_bytes: Number,
    /// Ranges of local records that the scrub found damaged and marked.
    pub scrub_damaged: Number,
    /// Damaged ranges that were written anew from the tier.
    pub scrub_healed: Number,
}
