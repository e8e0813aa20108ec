//! The command `end-to-end`: how long a record takes from the moment at which it should have been sent until a
//! consumer has it.
//!
//! One connection produces at a fixed rate, round robin over the partitions; consumers in another thread tail them.
//! Nobody else writes to the topic, so the offset of a batch tells which request it was, and that tells its intended
//! moment: nothing has to be looked up or to stand in the records.
//!
//! All partitions must be led by one broker. A record that is not received in time after the end is missing, and the
//! run is not good.

use std::collections::BTreeMap;
use std::thread;

use broker_records::BatchHead;
use clap::Args;
use serde::Serialize;

use crate::clock;
use crate::cluster::{Cluster, LATEST};
use crate::error::LoadError;
use crate::fetch::engine::{Plan as FetchPlan, Until};
use crate::fetch::fetch;
use crate::fetch::lane::{Asking, Sessions};
use crate::fetch::reply::Treatment;
use crate::produce::engine::{Amount, OnError, Pace, Plan as ProducePlan};
use crate::produce::{BatchArgs, material, produce};
use crate::report::{Errors, Latency, LatencySummary, Measured, Meter, Tally};
use crate::{Common, Finished};

/// Until the first record is sent, all is connected.
const HEADSTART: u64 = 500 * clock::MILLISECOND;
/// A record that is later than this after the end is missing.
const PATIENCE: u64 = 15 * clock::SECOND;

/// Measures from the intended moment of sending to the consumer.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct EndToEndArgs {
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    #[arg(long)]
    topic: String,
    /// The first so many partitions instead of all.
    #[arg(long)]
    partitions: Option<usize>,
    /// Records a second. A batch has 1 record unless --batch-records says else.
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    #[arg(long, default_value_t = 2.0)]
    warmup_seconds: f64,
    #[command(flatten)]
    #[serde(flatten)]
    batch: BatchArgs,
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    #[arg(long, default_value_t = 500)]
    max_wait_ms: i32,
    /// Consumers with incremental fetch sessions (KIP-227).
    #[arg(long)]
    sessions: bool,
}

#[derive(Debug, Serialize)]
struct EndToEndReport<'a> {
    command: &'static str,
    settings: &'a EndToEndArgs,
    /// After the warm-up, that were received.
    records: u64,
    missing_records: u64,
    #[serde(flatten)]
    measured: Measured,
    latency_us: Option<LatencySummary>,
    produce_latency_us: Option<LatencySummary>,
    errors: Errors,
}

/// Which request a batch was, and when it should have been sent.
#[derive(Clone, Debug)]
struct Schedule {
    start: u64,
    interval: u64,
    records_per_request: i64,
    requests: u64,
    warm_up: u64,
    /// Of each partition: its place in the round, and the offset of its first record.
    partitions: BTreeMap<i32, (u64, i64)>,
}

impl Schedule {
    /// The number of the request that a batch was; none for what is not ours.
    fn request(&self, partition: i32, head: &BatchHead) -> Option<u64> {
        let (place, first) = self.partitions.get(&partition)?;
        let round = u64::try_from(head.base_offset.0 - first).ok()? / self.records_per_request.unsigned_abs();
        Some(round * self.partitions.len() as u64 + place)
    }

    fn moment(&self, request: u64) -> u64 {
        self.start + request * self.interval
    }

    /// The offsets after the last record of each partition.
    fn ends(&self) -> BTreeMap<i32, i64> {
        let all = self.partitions.len() as u64;
        let end = |(place, first): &(u64, i64)| {
            let requests = (self.requests + all - 1 - place) / all;
            first + requests.cast_signed() * self.records_per_request
        };
        self.partitions.iter().map(|(partition, known)| (*partition, end(known))).collect()
    }
}

impl EndToEndArgs {
    fn fetch_plan(&self, schedule: &Schedule) -> FetchPlan {
        FetchPlan {
            bootstrap: self.common.bootstrap.clone(),
            partitions: self.partitions,
            consumers: self.consumers.max(1),
            asking: Asking {
                topic: self.topic.clone(),
                max_wait_ms: self.max_wait_ms,
                min_bytes: 1,
                request_bytes: 50 << 20,
                partition_bytes: 1 << 20,
                sessions: if self.sessions { Sessions::On } else { Sessions::Off },
                treatment: Treatment::Drain,
            },
            starts: schedule.partitions.iter().map(|(partition, (_, first))| (*partition, *first)).collect(),
            ends: Some(schedule.ends()),
            until: Until { records: None, moment: Some(schedule.moment(schedule.requests) + PATIENCE) },
            on_error: OnError::End,
        }
    }

    fn produce_plan(&self, schedule: &Schedule) -> ProducePlan {
        ProducePlan {
            bootstrap: self.common.bootstrap.clone(),
            topic: self.topic.clone(),
            partitions: self.partitions,
            idempotence: self.batch.idempotence(),
            connections: 1,
            in_flight: self.in_flight.max(1),
            pace: Pace::Open { start: schedule.start, interval: schedule.interval },
            amount: Amount::Requests(schedule.requests - schedule.warm_up),
            warm_up: schedule.warm_up,
            on_error: OnError::End,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &EndToEndArgs) -> Result<Finished, LoadError> {
    let mut cluster = Cluster::connect(&args.common.bootstrap)?;
    let leaders = cluster.leaders(&args.topic, args.partitions)?;
    if leaders.0.len() != 1 {
        return Err(LoadError::Unusable("end-to-end wants all partitions led by one broker".to_owned()));
    }
    let firsts = cluster.offsets(&args.topic, &leaders, LATEST)?;
    let material = material(&args.topic, &args.batch, (Some(1), 1), cluster.versions())?;
    let records = material.templates.records as f64;
    let requests = |seconds: f64| (seconds * args.rate / records).ceil() as u64;
    let warm_up = requests(args.warmup_seconds);
    let schedule = Schedule {
        start: clock::monotonic() + HEADSTART,
        interval: clock::from_seconds(records / args.rate.max(1e-6)).max(1),
        records_per_request: material.templates.records as i64,
        requests: warm_up + requests(args.seconds).max(1),
        warm_up,
        partitions: firsts.iter().zip(0..).map(|((partition, first), place)| (*partition, (place, *first))).collect(),
    };
    let (plan, consuming) = (args.produce_plan(&schedule), args.fetch_plan(&schedule));
    let meter = Meter::begin(&args.common.server_pid)?;
    let (produced, consumed) = thread::scope(|scope| {
        let consumers = scope.spawn(|| consume(&consuming, &schedule));
        let produced = produce(&plan, &material, meter);
        (produced, consumers.join().expect("a consumer does not panic"))
    });
    let ((produced, meter), (consumed, latency)) = (produced?, consumed?);
    report(args, &schedule, (&produced, &consumed, &latency), meter.end(clock::monotonic())?)
}

fn consume(plan: &FetchPlan, schedule: &Schedule) -> Result<(Tally, Latency), LoadError> {
    let mut latency = Latency::new();
    let tally = fetch(plan, &mut |partition, head, now| {
        let request = schedule.request(partition, head).filter(|request| *request >= schedule.warm_up);
        if let Some(request) = request {
            latency.add(now.saturating_sub(schedule.moment(request)), u64::from(head.record_count.unsigned_abs()));
        }
    })?;
    Ok((tally, latency))
}

fn report(
    args: &EndToEndArgs,
    schedule: &Schedule,
    (produced, consumed, latency): (&Tally, &Tally, &Latency),
    measured: Measured,
) -> Result<Finished, LoadError> {
    let mut errors = produced.errors.clone();
    errors.merge(&consumed.errors);
    // Where there are more consumers than partitions, some read the same, in turn.
    let ends = schedule.ends();
    let of_each = schedule.partitions.iter().map(|(partition, (_, first))| ends[partition] - first);
    let readings = args.consumers.max(schedule.partitions.len());
    let expected = of_each.cycle().take(readings).sum::<i64>().unsigned_abs();
    let missing_records = expected.saturating_sub(consumed.records);
    let summary = latency.summary();
    let shown = summary.as_ref();
    let line = format!(
        "end-to-end: p50 {:.0} us, p99 {:.0} us, {missing_records} missing, {} errors",
        shown.map_or(0.0, |latency| latency.p50),
        shown.map_or(0.0, |latency| latency.p99),
        errors.total,
    );
    let failed = errors.total + missing_records;
    let report = EndToEndReport {
        command: "end-to-end",
        settings: args,
        records: shown.map_or(0, |latency| latency.count),
        missing_records,
        measured,
        latency_us: summary.clone(),
        produce_latency_us: produced.latency.summary(),
        errors,
    };
    Finished::new(&report, line, failed)
}

#[cfg(test)]
mod tests {
    use broker_model::Offset;

    use super::*;

    #[test]
    fn a_batch_is_the_request_that_its_offset_says() {
        let partitions = BTreeMap::from([(0, (0, 100)), (1, (1, 7)), (2, (2, 0))]);
        let schedule =
            Schedule { start: 1_000, interval: 10, records_per_request: 4, requests: 8, warm_up: 0, partitions };
        let template = crate::template::Templates::new(&crate::template::Shape {
            codec: broker_records::Codec::None,
            value_bytes: 1,
            size: crate::template::Size::Records(4),
        });
        let stamp = crate::template::Stamp { timestamp: 0, producer_id: -1, producer_epoch: -1, sequence: -1 };
        let at = |partition, offset| {
            let mut head = BatchHead::parse(&template.get(0).head(&stamp)).unwrap();
            head.base_offset = Offset(offset);
            schedule.request(partition, &head)
        };
        assert_eq!([at(0, 100), at(1, 7), at(2, 0), at(0, 104), at(1, 15)], [0, 1, 2, 3, 7].map(Some));
        assert_eq!([at(0, 99), at(3, 0)], [None, None]);
        assert_eq!(schedule.moment(3), 1_030);
        assert_eq!(schedule.ends(), BTreeMap::from([(0, 112), (1, 19), (2, 8)]));
    }
}
