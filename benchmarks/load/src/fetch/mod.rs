//! The command `fetch`.
//!
//! Start reading at [`engine`]; answers are read in `reply`, sessions are kept in [`lane`].

pub(crate) mod engine;
pub(crate) mod lane;
pub(crate) mod reply;

use broker_wire::ApiKey;
use clap::{Args, ValueEnum};
use serde::Serialize;

use self::engine::{Engine, Plan, Until};
use self::lane::{Asking, Sessions, Sink};
use self::reply::Treatment;
use crate::clock;
use crate::cluster::{Cluster, EARLIEST, LATEST};
use crate::error::LoadError;
use crate::report::{Meter, Report, Tally};
use crate::{Common, Finished};

/// Where consumers begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum From {
    Earliest,
    Latest,
}

/// Fetches records and measures how long each request takes.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    #[serde(flatten)]
    common: Common,
    #[arg(long)]
    topic: String,
    /// The first so many partitions instead of all.
    #[arg(long)]
    partitions: Option<usize>,
    /// Consumers: partitions are spread over them; where there are more consumers, some read the same.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, value_enum, default_value = "earliest")]
    from: From,
    /// Bytes of each partition in an answer.
    #[arg(long, default_value_t = 1 << 20)]
    bytes: i32,
    /// Bytes of an answer.
    #[arg(long, default_value_t = 50 << 20)]
    request_bytes: i32,
    /// Records, of all consumers together, after which the run ends. Without this and --seconds: at the end of each log.
    #[arg(long)]
    records: Option<u64>,
    /// Seconds after which the run ends.
    #[arg(long)]
    seconds: Option<f64>,
    #[arg(long, default_value_t = 500)]
    max_wait_ms: i32,
    #[arg(long, default_value_t = 1)]
    min_bytes: i32,
    /// With incremental fetch sessions (KIP-227).
    #[arg(long)]
    sessions: bool,
    /// Checks the checksum of each batch.
    #[arg(long, conflicts_with = "discard")]
    verify: bool,
    /// Lets the kernel drop the records; wants batches that are all alike, as `produce` makes them without compression.
    #[arg(long)]
    discard: bool,
}

impl FetchArgs {
    pub(crate) fn allow_errors(&self) -> bool {
        self.common.allow_errors
    }

    fn treatment(&self) -> Treatment {
        match (self.verify, self.discard) {
            (true, _) => Treatment::Verify,
            (_, true) => Treatment::Discard,
            _ => Treatment::Drain,
        }
    }

    fn asking(&self) -> Asking {
        Asking {
            topic: self.topic.clone(),
            max_wait_ms: self.max_wait_ms,
            min_bytes: self.min_bytes,
            request_bytes: self.request_bytes,
            partition_bytes: self.bytes,
            sessions: if self.sessions { Sessions::On } else { Sessions::Off },
            treatment: self.treatment(),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &FetchArgs) -> Result<Finished, LoadError> {
    if args.connections == 0 {
        return Err(LoadError::Unusable("there is at least 1 connection".to_owned()));
    }
    let mut cluster = Cluster::connect(&args.common.bootstrap)?;
    cluster.versions().highest(ApiKey::Fetch, lane::VERSION).and_then(|version| match version {
        lane::VERSION => Ok(()),
        older => Err(LoadError::Unusable(format!("the server has Fetch up to version {older} only"))),
    })?;
    let leaders = cluster.leaders(&args.topic, args.partitions)?;
    let latest = cluster.offsets(&args.topic, &leaders, LATEST)?;
    let starts = match args.from {
        From::Earliest => cluster.offsets(&args.topic, &leaders, EARLIEST)?,
        From::Latest => latest.clone(),
    };
    drop(cluster);
    let is_catch_up = args.records.is_none() && args.seconds.is_none();
    let meter = Meter::begin(&args.common.server_pid)?;
    let moment = args.seconds.map(|seconds| clock::monotonic() + clock::from_seconds(seconds));
    let plan = Plan {
        bootstrap: args.common.bootstrap.clone(),
        partitions: args.partitions,
        consumers: args.connections,
        asking: args.asking(),
        starts,
        ends: is_catch_up.then_some(latest),
        until: Until { records: args.records, moment },
        on_error: args.common.on_error(),
    };
    let tally = fetch(&plan, &mut |_, _, _| {})?;
    let measured = meter.end(clock::monotonic())?;
    let report = Report::new("fetch", args, &tally, measured);
    Finished::new(&report, report.line(), report.errors.total)
}

/// Fetches by a plan, in this thread; the sink is told of each batch.
pub(crate) fn fetch(plan: &Plan, sink: &mut Sink<'_>) -> Result<Tally, LoadError> {
    Engine::new(plan)?.run(sink)
}
