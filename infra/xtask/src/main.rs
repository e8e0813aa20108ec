//! The workspace's own tasks, run as `cargo xtask <task>`: code generation and the checks of the tidy test.
//!
//! `codegen` writes the protocol's messages from the public schemas; what it writes is committed, so that a build needs
//! neither the schemas nor this program. `tidy` checks what no compiler does. Each task lives in a module of its own and
//! takes its arguments as text; this file only chooses.

mod codegen;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask codegen --jars DIR | tidy [--update]";

#[expect(clippy::print_stderr, reason = "a command-line program talks to its user")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("", &[] as &[String]),
    };
    let outcome = match task {
        "codegen" => codegen::run(rest).map_err(|error| error.to_string()),
        "tidy" => tidy::run(rest).map_err(|error| error.to_string()),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(report) => {
            eprintln!("{report}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
