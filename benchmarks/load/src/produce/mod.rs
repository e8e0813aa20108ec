//! The command `produce`.
//!
//! Start reading at [`engine`]; requests are made in [`request`] from the batches of [`crate::template`].

pub(crate) mod engine;
pub(crate) mod lane;
pub(crate) mod request;

use broker_records::Codec;
use broker_wire::ApiKey;
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::engine::{Amount, Engine, Idempotence, Pace, Plan};
use self::lane::Material;
use self::request::{RequestKind, RequestTemplate, VERSION_NEWEST};
use crate::client::Versions;
use crate::clock;
use crate::cluster::Cluster;
use crate::error::LoadError;
use crate::report::{Meter, Report, Tally};
use crate::template::{Shape, Size, Templates};
use crate::{Common, Finished};

/// Whom the server waits for before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Acks {
    /// Nobody; it does not answer.
    #[value(name = "0")]
    #[serde(rename = "0")]
    None,
    /// Itself.
    #[value(name = "1")]
    #[serde(rename = "1")]
    Leader,
    /// All replicas in sync.
    All,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    None,
    Lz4,
    Zstd,
}

/// What batches are made of.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct BatchArgs {
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Records of each batch.
    #[arg(long, conflicts_with = "batch_bytes")]
    batch_records: Option<usize>,
    /// Bytes that a batch may have before it is compressed.
    #[arg(long, default_value_t = 131_072)]
    batch_bytes: usize,
    #[arg(long, value_enum, default_value = "none")]
    compression: Compression,
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,
    /// With producer id and sequence numbers; each connection is a producer of its own.
    #[arg(long)]
    idempotent: bool,
}

impl BatchArgs {
    /// The batches; `records` where the number does not stand in the arguments.
    pub(crate) fn shape(&self, records: Option<usize>) -> Shape {
        let codec = match self.compression {
            Compression::None => Codec::None,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        };
        let size = self.batch_records.or(records).map_or(Size::Bytes(self.batch_bytes), Size::Records);
        Shape { codec, value_bytes: self.record_bytes, size }
    }

    /// As the protocol writes it.
    pub(crate) fn acks(&self) -> i16 {
        match self.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }

    pub(crate) fn idempotence(&self) -> Idempotence {
        if self.idempotent { Idempotence::On } else { Idempotence::Off }
    }
}

/// Produces records and measures how long each request takes.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    #[arg(long)]
    topic: String,
    /// The first so many partitions instead of all.
    #[arg(long)]
    partitions: Option<usize>,
    /// Acknowledged records after which the run ends; rounded up to whole requests.
    #[arg(long, required_unless_present = "seconds")]
    records: Option<u64>,
    /// Seconds after which the run ends.
    #[arg(long, conflicts_with = "records")]
    seconds: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    batch: BatchArgs,
    /// Batches of each request, each for another partition.
    #[arg(long, default_value_t = 1)]
    batches_per_request: usize,
    /// Connections to each broker that leads a partition.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Requests of each connection that may wait for their answers; with acks=0, to be sent.
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    /// Records a second (open loop): latency is counted from the moment at which a request should have been sent.
    #[arg(long)]
    rate: Option<f64>,
    /// Records that are sent first and not counted.
    #[arg(long, default_value_t = 0)]
    warmup_records: u64,
}

impl ProduceArgs {
    pub(crate) fn allow_errors(&self) -> bool {
        self.common.allow_errors
    }
}

/// Runs the command.
pub(crate) fn run(args: &ProduceArgs) -> Result<Finished, LoadError> {
    if args.batch.idempotent && (args.in_flight > 5 || args.batch.acks != Acks::All) {
        return Err(LoadError::Unusable("--idempotent wants --acks all and at most 5 in flight".to_owned()));
    }
    if [args.batches_per_request, args.connections, args.in_flight].contains(&0) {
        return Err(LoadError::Unusable("batches, connections and requests in flight are at least 1".to_owned()));
    }
    let material = {
        let cluster = Cluster::connect(&args.common.bootstrap)?;
        material(&args.topic, &args.batch, (None, args.batches_per_request), cluster.versions())?
    };
    let records_per_request = (material.templates.records * args.batches_per_request) as u64;
    let requests = |records: u64| records.div_ceil(records_per_request);
    let amount = match (args.records, args.seconds) {
        (Some(records), _) => Amount::Requests(requests(records)),
        (None, seconds) => Amount::Nanoseconds(clock::from_seconds(seconds.unwrap_or_default())),
    };
    let pace = args.rate.map_or(Pace::Closed, |rate| open(0, records_per_request, rate));
    let plan = Plan {
        bootstrap: args.common.bootstrap.clone(),
        topic: args.topic.clone(),
        partitions: args.partitions,
        idempotence: args.batch.idempotence(),
        connections: args.connections,
        in_flight: args.in_flight,
        pace,
        amount,
        warm_up: requests(args.warmup_records),
        on_error: args.common.on_error(),
    };
    let (tally, meter) = produce(&plan, &material, Meter::begin(&args.common.server_pid)?)?;
    let measured = meter.end(clock::monotonic())?;
    let report = Report::new("produce", args, &tally, measured);
    Finished::new(&report, report.line(), report.errors.total)
}

/// The open loop at a rate of records a second.
pub(crate) fn open(start: u64, records_per_request: u64, rate: f64) -> Pace {
    Pace::Open { start, interval: clock::from_seconds(records_per_request as f64 / rate.max(1e-6)).max(1) }
}

/// Makes what requests are made of: records of a batch where the arguments do not say, and batches of a request.
pub(crate) fn material(
    topic: &str,
    batch: &BatchArgs,
    (records, batches): (Option<usize>, usize),
    versions: &Versions,
) -> Result<Material, LoadError> {
    let version = versions.highest(ApiKey::Produce, VERSION_NEWEST)?;
    let acks = batch.acks();
    let kind = RequestKind { topic: topic.to_owned(), acks, version, batches };
    let templates = Templates::new(&batch.shape(records));
    let requests = templates.iter().map(|template| RequestTemplate::new(&kind, template));
    let requests = requests.collect::<Result<_, _>>()?;
    Ok(Material { templates, requests, version, acks, batches_per_request: batches })
}

/// Produces by a plan, in this thread.
pub(crate) fn produce(plan: &Plan, material: &Material, meter: Meter) -> Result<(Tally, Meter), LoadError> {
    Engine::new(plan, material, meter)?.run()
}
