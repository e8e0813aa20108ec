//! The program `strata`. It reads what it was told and hands over to one of its subcommands.

use std::io::IsTerminal;
use std::process::ExitCode;

use broker_server::cli::{Cli, Command};
use broker_server::settings::{Environment, Settings};
use broker_server::{serve, storage, tools};
use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    let settings = match Settings::load(&cli.sources(Environment::of_process())) {
        Ok(settings) => settings,
        Err(error) => return fail(&error),
    };
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let done = match cli.chosen() {
        Command::Serve => serve::run(settings).map_err(Into::into),
        Command::Replay(arguments) => tools::replay(&settings, arguments),
        Command::Export(arguments) => tools::export(&settings, arguments),
        Command::Tier(command) => tools::tier(&settings, command),
        Command::Storage(command) => storage::run(&settings, command).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
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
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("strata: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    ExitCode::FAILURE
}
