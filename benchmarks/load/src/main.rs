//! `strata-load`: load for any Kafka cluster, by a process that costs next to nothing itself.
//!
//! Every command prints one JSON object on standard output and a line for the eye on standard error. It ends with 1
//! where the server answered errors that were not allowed, or where the run could not be made.
//!
//! Invariants: what is sent are valid requests with valid batches; latencies in an open loop count from the moment at
//! which a request should have been sent; a run is not counted as good when an answer was an error or an offset is
//! missing. Deliberately absent: groups, transactions, TLS, and everything else that is not the hot path.
//!
//! Start reading at [`produce`], then [`template`] for why it is cheap.

mod client;
mod clock;
mod cluster;
mod connections;
mod end_to_end;
mod error;
mod fetch;
mod limits;
mod net;
mod payload;
mod produce;
mod report;
mod server;
mod template;
mod topic;
mod wait;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::error::LoadError;
use crate::produce::engine::OnError;

/// Load for any Kafka cluster, and what it costs.
#[derive(Debug, Parser)]
#[command(name = "strata-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes or deletes a topic.
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Produces records.
    Produce(produce::ProduceArgs),
    /// Fetches records.
    Fetch(fetch::FetchArgs),
    /// Measures from the moment at which a record should have been sent until a consumer has it.
    EndToEnd(end_to_end::EndToEndArgs),
    /// Holds many connections.
    Connections(connections::ConnectionsArgs),
    /// Measures the time until a server answers.
    Wait(wait::WaitArgs),
    /// Measures what the kernel gives with no broker in between.
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
}

/// What every run takes.
#[derive(Clone, Debug, Args, Serialize)]
struct Common {
    /// A broker, `HOST:PORT`.
    #[arg(long)]
    bootstrap: String,
    /// A server's process, whose use of the machine is measured; may be repeated.
    #[arg(long)]
    server_pid: Vec<i32>,
    /// Goes on after errors, and ends well.
    #[arg(long)]
    allow_errors: bool,
}

impl Common {
    fn on_error(&self) -> OnError {
        if self.allow_errors { OnError::GoOn } else { OnError::End }
    }
}

/// What a command has to say.
#[derive(Clone, Debug)]
struct Finished {
    json: String,
    line: String,
    errors: u64,
}

impl Finished {
    fn new(report: &impl Serialize, line: String, errors: u64) -> Result<Finished, LoadError> {
        let json = serde_json::to_string(report)
            .map_err(|error| LoadError::Unusable(format!("the report cannot be written: {error}")))?;
        Ok(Finished { json, line, errors })
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (outcome, allow_errors) = match &cli.command {
        Command::Topic(command) => (topic::run(command), false),
        Command::Produce(args) => (produce::run(args), args.allow_errors()),
        Command::Fetch(args) => (fetch::run(args), args.allow_errors()),
        Command::EndToEnd(args) => (end_to_end::run(args), false),
        Command::Connections(args) => (connections::run(args), args.allow_errors()),
        Command::Wait(args) => (wait::run(args), false),
        Command::Limits(command) => (limits::run(command), false),
    };
    match outcome {
        Ok(finished) => {
            say(&mut std::io::stdout(), &finished.json);
            say(&mut std::io::stderr(), &finished.line);
            if finished.errors == 0 || allow_errors { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            say(&mut std::io::stderr(), &format!("strata-load: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Nobody is left to tell where this fails.
fn say(to: &mut impl Write, line: &str) {
    _ = writeln!(to, "{line}");
}
