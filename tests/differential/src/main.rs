//! `strata-differential`: the same random sequences of requests go to Strata and to Apache Kafka, and every field of the
//! answers is compared.
//!
//! Invariants: a sequence depends on its seed and on the advertised versions only; what is not the same is excused by a
//! row of [`differences`] or fails the run; ids that a broker hands out are bound to the other broker's and not
//! ignored. Deliberately absent: load, time, transactions, and anything that waits for minutes.
//!
//! Start reading at [`generate`] for what is asked, [`attempt`] for how, [`compare`] and [`differences`] for what may
//! differ. `tests/differential/run` starts both brokers and this program.

mod attempt;
mod batches;
mod compare;
mod dice;
mod differences;
mod generate;
mod learn;
mod link;
mod open;
mod report;
mod rule;
mod run;
mod settle;
mod shapes;
mod show;
mod shrink;
mod step;
mod versions;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Compares Strata with Apache Kafka by random sequences of requests.
#[derive(Debug, Parser)]
#[command(name = "strata-differential", version)]
struct Cli {
    /// Where Strata listens: host:port.
    #[arg(long)]
    strata: String,
    /// Where Apache Kafka listens: host:port.
    #[arg(long)]
    kafka: String,
    /// The seed of the first sequence; the next one has the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many sequences.
    #[arg(long, default_value_t = 100)]
    sequences: u64,
    /// How many sequences run at the same time.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Stops after differences of this many kinds.
    #[arg(long, default_value_t = 50)]
    findings: usize,
    /// No sequence begins after so many seconds.
    #[arg(long, default_value_t = 86_400)]
    seconds: u32,
    /// Where to write the counts as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let wanted = run::Wanted {
        addresses: [cli.strata, cli.kafka],
        seed: cli.seed,
        sequences: cli.sequences,
        workers: cli.workers,
        findings_max: cli.findings,
        budget_ms: i64::from(cli.seconds) * 1_000,
    };
    let (text, is_good) = match run::run(&wanted) {
        Ok(report) => {
            let counts = format!("{:#}\n", report.json());
            let written = cli.report.map_or(Ok(()), |path| std::fs::write(path, counts));
            let trouble =
                written.err().map(|error| format!("the report was not written: {error}\n")).unwrap_or_default();
            (report.text() + &trouble, report.is_good() && trouble.is_empty())
        }
        Err(error) => (format!("error: {error}\n"), false),
    };
    let is_told = std::io::stdout().lock().write_all(text.as_bytes()).is_ok();
    if is_good && is_told { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
