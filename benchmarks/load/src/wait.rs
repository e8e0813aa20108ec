//! The command `wait`: how long a server takes from its start until it answers, and until it serves an offset.

use std::process::{Command, Stdio};

use broker_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use broker_wire::messages::{FetchRequest, FetchResponse};
use broker_wire::{ApiKey, Str};
use clap::Args;
use serde_json::json;

use crate::Finished;
use crate::client::{Client, resolve};
use crate::clock;
use crate::cluster::Cluster;
use crate::error::LoadError;
use crate::fetch::lane::VERSION;

const RETRY: u64 = clock::MILLISECOND;

/// Measures the time until a server answers.
#[derive(Clone, Debug, Args)]
pub(crate) struct WaitArgs {
    #[arg(long)]
    bootstrap: String,
    /// Also waits until this topic can be fetched.
    #[arg(long)]
    topic: Option<String>,
    #[arg(long, default_value_t = 0)]
    partition: i32,
    #[arg(long, default_value_t = 0)]
    offset: i64,
    #[arg(long, default_value_t = 120.0)]
    timeout_seconds: f64,
    /// Started first, and left running; its output goes to standard error.
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &WaitArgs) -> Result<Finished, LoadError> {
    let since = clock::monotonic();
    let until = since + clock::from_seconds(args.timeout_seconds);
    let pid = args.command.split_first().map(|(program, arguments)| start(program, arguments)).transpose()?;
    let address = resolve(&args.bootstrap)?;
    let mut tries = 0;
    retry(until, "an answer to ApiVersions", || {
        tries += 1;
        Client::connect(address).map(|_| ())
    })?;
    let first_answer = clock::seconds(clock::monotonic() - since);
    let mut first_fetch = None;
    if let Some(topic) = &args.topic {
        let mut bytes = 0;
        retry(until, "an answer to Fetch", || {
            bytes = fetch_once(args, topic)?;
            Ok(())
        })?;
        first_fetch = Some((clock::seconds(clock::monotonic() - since), bytes));
    }
    let report = json!({
        "command": "wait",
        "pid": pid,
        "tries": tries,
        "first_answer_seconds": first_answer,
        "first_fetch_seconds": first_fetch.map(|(seconds, _)| seconds),
        "first_fetch_bytes": first_fetch.map(|(_, bytes)| bytes),
    });
    let line = format!("wait: first answer after {first_answer:.3} s, first fetch {first_fetch:?}");
    Finished::new(&report, line, 0)
}

fn start(program: &str, arguments: &[String]) -> Result<u32, LoadError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(std::io::stderr());
    Ok(command.spawn().map_err(LoadError::io(format!("cannot start {program}")))?.id())
}

fn retry(until: u64, what: &str, mut attempt: impl FnMut() -> Result<(), LoadError>) -> Result<(), LoadError> {
    while let Err(error) = attempt() {
        if clock::monotonic() > until {
            return Err(LoadError::Late(format!("{what} ({error})")));
        }
        clock::pause(RETRY);
    }
    Ok(())
}

/// Fetches what stands at the offset; gives its bytes.
fn fetch_once(args: &WaitArgs, topic: &str) -> Result<usize, LoadError> {
    let leaders = Cluster::connect(&args.bootstrap)?.leaders(topic, None)?;
    let leader = leaders.0.iter().find(|(_, partitions)| partitions.contains(&args.partition));
    let (address, _) = leader.ok_or_else(|| LoadError::Unusable(format!("{topic} has no such partition")))?;
    let partition = FetchPartition {
        partition: args.partition,
        fetch_offset: args.offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic { topic: Str::from(topic), partitions: vec![partition], ..FetchTopic::default() }];
    let request = FetchRequest { session_epoch: -1, max_bytes: 1 << 20, topics, ..FetchRequest::default() };
    let mut input = Client::connect(*address)?.ask(ApiKey::Fetch, VERSION, |out| request.encode(out, VERSION))?;
    let answer = FetchResponse::decode(&mut input, VERSION)?;
    let found = answer.responses.first().and_then(|topic| topic.partitions.first());
    let found = found.ok_or_else(|| LoadError::Unusable("an answer without the partition".to_owned()))?;
    match [answer.error_code, found.error_code].into_iter().find(|code| *code != 0) {
        Some(code) => Err(LoadError::Refused { what: format!("a fetch of {topic}"), code }),
        None => Ok(found.records.as_ref().map_or(0, |records| records.len())),
    }
}
