//! The commands of `strata` that talk to a cluster: `topic`, `group`, `produce`, `consume`, `replay`.
//!
//! They need an address and nothing of a broker's inside, so that they work against any Kafka cluster (`replay` needs the
//! gateway of Strata). What is printed for people is aligned text, with `--json` one JSON document, or one object a line
//! where there is no end. Standard output carries results only; bars and notes go to standard error, bars only to a terminal.
//!
//! A command ends with [`Failure`], which says what to do and which exit code it is: 1 for what failed, 2 for words that
//! cannot be understood. The clock, and how a properties file is read, come from the program ([`Surroundings`]).
//!
//! Start reading at [`run`]; [`args`] has the words.

pub mod args;
pub mod connect;
mod ends;
pub mod failure;
pub mod output;
pub mod position;
pub mod progress;
pub mod text;

mod consume;
mod follow;
mod format;
mod gateway;
mod group;
mod produce;
mod replay;
mod reset;
mod topic;

use std::path::Path;

use broker_model::Timestamp;

pub use args::Command;
pub use failure::Failure;
pub use output::{Align, Screen, Table};

/// Keys and values in the order of their file, or what is wrong with it.
pub type ReadProperties = Result<Vec<(String, String)>, String>;

/// What the commands take from the program around them.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// The time.
    pub now: fn() -> Timestamp,
    /// Reads a file of Java properties into keys and values; an error says what is wrong with the file.
    pub read_properties: fn(&Path) -> ReadProperties,
    /// What results look like.
    pub style: Style,
}

/// What results look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Aligned text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// Runs a command to its end.
///
/// # Errors
/// What failed, and what to do.
pub fn run(command: Command, surroundings: &Surroundings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let done = runtime.block_on(async {
        match command {
            Command::Topic(words) => topic::run(words, surroundings).await,
            Command::Group(words) => group::run(words, surroundings).await,
            Command::Produce(words) => produce::run(words, surroundings).await,
            Command::Consume(words) => consume::run(words, surroundings).await,
            Command::Replay(words) => replay::run(words, surroundings).await,
        }
    });
    // A thread may still wait for standard input; the process ends anyway.
    runtime.shutdown_background();
    done
}
