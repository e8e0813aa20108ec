//! The program `strata`. It reads what it was told and hands over to one of its subcommands.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use broker_cli::{Failure, ReadProperties, Surroundings};
use broker_server::cli::{Cli, Command};
use broker_server::settings::{Environment, Properties, Settings};
use broker_server::{clock, serve, storage, tools};
use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    let surroundings = Surroundings { now: clock::now, read_properties, style: cli.style() };
    // What talks to a cluster needs an address and no settings.
    let done = match cli.chosen() {
        Command::Completions { shell } => completions(shell),
        Command::Cluster(broker_cli::Command::Replay(words)) if words.from_bucket => {
            with_settings(&cli, |settings| tools::replay(settings, &words))
        }
        Command::Cluster(command) => broker_cli::run(command, &surroundings).map_err(Into::into),
        Command::Serve(_) => with_settings(&cli, |settings| serve::run(settings.clone()).map_err(Into::into)),
        Command::Export(words) => with_settings(&cli, |settings| tools::export(settings, words, cli.style())),
        Command::Tier(words) => with_settings(&cli, |settings| tools::tier(settings, words.command, cli.style())),
        Command::Storage(words) => {
            with_settings(&cli, |settings| storage::run(settings, words.command).map_err(Into::into))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn with_settings(cli: &Cli, work: impl FnOnce(&Settings) -> Done) -> Done {
    let settings = Settings::load(&cli.sources(Environment::of_process()))?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    work(&settings)
}

fn completions(shell: clap_complete::Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "strata", &mut script);
    Ok(std::io::stdout().write_all(&script).map_err(Failure::from)?)
}

fn read_properties(path: &Path) -> ReadProperties {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let pairs = Properties::parse(&text).map_err(|error| error.to_string())?.0;
    Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
}

/// Logs go to standard error; `RUST_LOG` says how much.
fn start_logging() {
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,foyer=warn,object_store=warn"));
    let is_terminal = std::io::stderr().is_terminal();
    let output = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_ansi(is_terminal);
    output.with_env_filter(filter).init();
}

#[expect(clippy::print_stderr, reason = "this is what the person who started the program reads")]
fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        if !failure.is_quiet() {
            eprintln!("strata: {failure}");
        }
        return ExitCode::from(failure.exit_code());
    }
    eprintln!("strata: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}
