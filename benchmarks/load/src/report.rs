//! What a run counted, and how it is printed: one JSON object.
//!
//! Latencies are kept in nanoseconds with three significant digits, printed in microseconds. A [`Meter`] holds what
//! is measured from the moment that counting begins: time, this process's CPU, the servers' use.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock;
use crate::error::{LoadError, code_name};
use crate::server::{Counters, ServerUse};

/// The longest latency that is told from longer ones.
const LATENCY_MAX: u64 = 600 * clock::SECOND;

/// Latencies.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    /// None yet.
    pub(crate) fn new() -> Latency {
        Latency(Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("the bounds are in order"))
    }

    /// Counts one that many times.
    pub(crate) fn add(&mut self, nanoseconds: u64, times: u64) {
        self.0.saturating_record_n(nanoseconds.max(1), times);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Those of another too.
    pub(crate) fn merge(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// In microseconds.
    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1_000.0;
        let at = |quantile: f64| us(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| LatencySummary {
            count: self.0.len(),
            min: us(self.0.min()),
            mean: self.0.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: us(self.0.max()),
        })
    }
}

/// Percentiles, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    min: f64,
    mean: f64,
    pub(crate) p50: f64,
    p90: f64,
    pub(crate) p99: f64,
    p99_9: f64,
    p99_99: f64,
    max: f64,
}

/// What went wrong within a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Errors {
    /// All of them.
    pub(crate) total: u64,
    /// Answers of the server, by the name of the code.
    codes: BTreeMap<String, u64>,
    /// Connections that broke.
    io: u64,
    /// Offsets that do not follow each other.
    gaps: u64,
    /// Fetch sessions that the server forgot; not an error.
    pub(crate) session_resets: u64,
}

impl Errors {
    /// An answer with this code.
    pub(crate) fn code(&mut self, code: i16) {
        self.total += 1;
        *self.codes.entry(code_name(code)).or_default() += 1;
    }

    /// A connection that broke.
    pub(crate) fn broken(&mut self) {
        self.total += 1;
        self.io += 1;
    }

    /// An offset that does not follow.
    pub(crate) fn gap(&mut self) {
        self.total += 1;
        self.gaps += 1;
    }

    /// Those of another too.
    pub(crate) fn merge(&mut self, other: &Errors) {
        self.total += other.total;
        self.io += other.io;
        self.gaps += other.gaps;
        self.session_resets += other.session_resets;
        for (code, count) in &other.codes {
            *self.codes.entry(code.clone()).or_default() += count;
        }
    }
}

/// What a run counted.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// That were acknowledged, or received.
    pub(crate) records: u64,
    /// Of values that were produced, or of batches that were fetched.
    pub(crate) bytes: u64,
    /// Of whole requests that were produced, or of answers that were fetched.
    pub(crate) wire_bytes: u64,
    /// That were answered.
    pub(crate) requests: u64,
    /// Of requests.
    pub(crate) latency: Latency,
    /// What went wrong; not forgotten with the warm-up.
    pub(crate) errors: Errors,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Tally {
        Tally { records: 0, bytes: 0, wire_bytes: 0, requests: 0, latency: Latency::new(), errors: Errors::default() }
    }

    /// Forgets what was warm-up.
    pub(crate) fn warmed_up(&mut self) {
        (self.records, self.bytes, self.wire_bytes, self.requests) = (0, 0, 0, 0);
        self.latency.clear();
    }
}

/// What is measured around what is counted.
#[derive(Debug)]
pub(crate) struct Meter {
    pids: Vec<i32>,
    since: u64,
    cpu_since: u64,
    servers: Counters,
}

/// What a [`Meter`] says at the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    /// Of wall clock.
    pub(crate) seconds: f64,
    /// Of this process.
    pub(crate) client_cpu_seconds: f64,
    /// Of the servers that were named; none where none was.
    pub(crate) server: Option<ServerUse>,
}

impl Meter {
    /// Begins now.
    pub(crate) fn begin(pids: &[i32]) -> Result<Meter, LoadError> {
        let servers = Counters::read(pids)?;
        Ok(Meter { pids: pids.to_vec(), since: clock::monotonic(), cpu_since: clock::process_cpu(), servers })
    }

    /// Begins anew: what was so far was warm-up.
    pub(crate) fn restart(&mut self) -> Result<(), LoadError> {
        *self = Meter::begin(&self.pids)?;
        Ok(())
    }

    /// Ends at this moment, which [`clock::monotonic`] told.
    pub(crate) fn end(&self, until: u64) -> Result<Measured, LoadError> {
        let client_cpu_seconds = clock::seconds(clock::process_cpu().saturating_sub(self.cpu_since));
        let server = match self.pids.is_empty() {
            true => None,
            false => Some(Counters::read(&self.pids)?.since(&self.servers, &self.pids)),
        };
        Ok(Measured { seconds: clock::seconds(until.saturating_sub(self.since)), client_cpu_seconds, server })
    }
}

/// The JSON object of a run that moves records.
#[derive(Debug, Serialize)]
pub(crate) struct Report<S: Serialize> {
    command: &'static str,
    settings: S,
    records: u64,
    bytes: u64,
    wire_bytes: u64,
    requests: u64,
    #[serde(flatten)]
    measured: Measured,
    records_per_second: f64,
    bytes_per_second: f64,
    /// What this program itself costs: the bar is 1.
    client_cpu_seconds_per_2_million_records: f64,
    latency_us: Option<LatencySummary>,
    pub(crate) errors: Errors,
}

impl<S: Serialize> Report<S> {
    /// From what was counted and measured.
    pub(crate) fn new(command: &'static str, settings: S, tally: &Tally, measured: Measured) -> Report<S> {
        let per_second = |count: u64| count as f64 / measured.seconds.max(1e-9);
        Report {
            command,
            settings,
            records: tally.records,
            bytes: tally.bytes,
            wire_bytes: tally.wire_bytes,
            requests: tally.requests,
            records_per_second: per_second(tally.records),
            bytes_per_second: per_second(tally.bytes),
            client_cpu_seconds_per_2_million_records: measured.client_cpu_seconds * 2e6 / tally.records.max(1) as f64,
            measured,
            latency_us: tally.latency.summary(),
            errors: tally.errors.clone(),
        }
    }

    /// For the eye.
    pub(crate) fn line(&self) -> String {
        let latency = self.latency_us.as_ref();
        format!(
            "{}: {} records in {:.3} s, {:.0} records/s, {:.1} MB/s, p50 {:.0} us, p99 {:.0} us, own CPU {:.2} s, {} errors",
            self.command,
            self.records,
            self.measured.seconds,
            self.records_per_second,
            self.bytes_per_second / 1e6,
            latency.map_or(0.0, |latency| latency.p50),
            latency.map_or(0.0, |latency| latency.p99),
            self.measured.client_cpu_seconds,
            self.errors.total,
        )
    }
}
