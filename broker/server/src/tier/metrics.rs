//! What `/metrics` shows of the tier.

use std::sync::atomic::{AtomicU64, Ordering};

use gateway_http::Family;
use tiering_tier::invariants::{self, Promise};

use super::{Standing, Tier};
use crate::clock;

impl Tier {
    /// The tier's metrics: backlog, age of the oldest unshipped byte, requests, cache.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let stats = self.uploader.stats();
        let lag_ms = stats.oldest_unshipped.map_or(0, |oldest| clock::now().0.saturating_sub(oldest.0).max(0));
        let is_good = matches!(*self.standing.read(), Standing::Good(_)) && self.failing().is_none();
        let counter = |name: &str, help: &str, value: u64| Family::counter(name, help).with(&[], value as f64);
        let gauge = |name: &str, help: &str, value: f64| Family::gauge(name, help).with(&[], value);
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let mut families = vec![
            gauge(
                "strata_tier_up",
                "1 when the store is safe and the last request of each archive succeeded.",
                f64::from(u8::from(is_good)),
            ),
            gauge("strata_tier_partitions", "Partitions that are archived.", stats.partitions as f64),
            gauge("strata_tier_backlog_bytes", "Local bytes that are not in the bucket.", stats.backlog_bytes as f64),
            gauge(
                "strata_tier_oldest_unshipped_seconds",
                "Age of the oldest byte that is not in the bucket.",
                lag_ms as f64 / 1000.0,
            ),
            gauge("strata_tier_bytes", "Bytes that roots name.", stats.tiered_bytes as f64),
            gauge("strata_tier_halted_partitions", "Archives that halted: a human must look.", stats.halted as f64),
            counter("strata_tier_shipped_bytes_total", "Bytes committed to the bucket.", stats.shipped_bytes),
            counter("strata_tier_shipped_objects_total", "Objects committed to the bucket.", stats.shipped_objects),
            counter("strata_tier_swaps_total", "Swaps of manifest roots.", stats.swaps),
            counter("strata_tier_errors_total", "Steps that failed.", stats.errors),
            counter("strata_export_files_total", "Parquet files committed.", count(&self.exports.files)),
            counter("strata_export_rows_total", "Rows exported.", count(&self.exports.rows)),
            counter("strata_export_bytes_total", "Bytes of Parquet files.", count(&self.exports.bytes)),
            counter("strata_export_failures_total", "Export runs that failed.", count(&self.exports.failures)),
            gauge("strata_export_lag_offsets", "Shipped, not exported.", count(&self.exports.lag_offsets) as f64),
        ];
        families.push(promises());
        families.extend(self.request_families());
        families.extend(self.cache_families());
        families
    }

    fn request_families(&self) -> Vec<Family> {
        let mut requests = Family::counter("strata_store_requests_total", "Requests to the store.");
        let mut bytes = Family::counter("strata_store_bytes_total", "Bytes to and from the store.");
        let mut errors = Family::counter("strata_store_errors_total", "Requests to the store that failed.");
        for (operation, class, count) in self.meter.counts() {
            let labels = [("operation", operation.word()), ("class", class.word())];
            requests.push(&labels, count.requests as f64);
            bytes.push(&labels, count.bytes as f64);
            errors.push(&labels, count.errors as f64);
        }
        vec![requests, bytes, errors]
    }

    fn cache_families(&self) -> Vec<Family> {
        let Some(stats) = self.cache.get().map(tiering_tier::BlockCache::stats) else { return Vec::new() };
        let counter = |name: &str, help: &str, value: u64| Family::counter(name, help).with(&[], value as f64);
        vec![
            counter("strata_cache_hits_total", "Blocks found in the cache.", stats.hits),
            counter("strata_cache_misses_total", "Blocks that had to be fetched.", stats.misses),
            counter("strata_cache_failed_fills_total", "Fetches of blocks that failed.", stats.failed_fills),
            counter("strata_cache_filled_bytes_total", "Bytes fetched into the cache.", stats.filled_bytes),
        ]
    }
}

/// How often each promise was found broken since the process began: all must stay 0.
fn promises() -> Family {
    let mut family = Family::gauge("strata_promise_violations", "Times that a promise was found broken; must stay 0.");
    for promise in Promise::ALL {
        family.push(&[("promise", promise.id())], invariants::violations(promise) as f64);
    }
    family
}
