//! The command line of `strata`.
//!
//! Without a subcommand it serves, so that `cargo run --release` is enough. `--config` and `--set` stand before or after
//! the subcommand and mean the same for each: the tools find the bucket as the broker does. This file only describes and
//! reads the words; what they do is wired in `main`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::settings::{Environment, Sources};
use crate::storage::StorageCommand;

/// A Kafka broker whose archive is an open bucket.
#[derive(Clone, Debug, Parser)]
#[command(name = "strata", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file with Kafka's keys and Strata's own (server.properties)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting; stands above the file, and may be repeated
    #[arg(long, visible_alias = "override", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// What to do; absent means serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the broker, the gateway and the tier (this is what happens without a command)
    Serve,
    /// Print the records of a topic from the bucket, one JSON object a line
    Replay(ReplayArgs),
    /// Bring the Parquet tables of topics up to the end of the bucket
    Export(ExportArgs),
    /// Look at the bucket
    #[command(subcommand)]
    Tier(TierCommand),
    /// Give log directories a cluster id, and look at them, as kafka-storage.sh does
    #[command(subcommand)]
    Storage(StorageCommand),
}

/// Which records to print.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The topic
    pub topic: String,
    /// Only this partition; may be repeated
    #[arg(long, value_name = "NUMBER")]
    pub partition: Vec<i32>,
    /// First offset
    #[arg(long, value_name = "OFFSET", conflicts_with = "from_time")]
    pub from_offset: Option<i64>,
    /// Offset to stop before
    #[arg(long, value_name = "OFFSET")]
    pub to_offset: Option<i64>,
    /// First record timestamp: RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME")]
    pub from_time: Option<String>,
    /// Record timestamp to stop before: RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME")]
    pub to_time: Option<String>,
    /// At most so many records
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Only records with this key
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
    /// How keys and values are written
    #[arg(long, value_enum, default_value_t = Encoding::Text)]
    pub encoding: Encoding,
}

/// How keys and values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// As text; what is not UTF-8 as an object with base64
    Text,
    /// As base64
    Base64,
}

/// What to export.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The topics; absent means those with strata.export.enable=true
    pub topics: Vec<String>,
}

/// How to look at the bucket.
#[derive(Clone, Debug, Subcommand)]
pub enum TierCommand {
    /// List topics, partitions, their offset ranges and objects
    Ls(TierLsArgs),
    /// Check that ranges are whole, objects are there, and no object is without a name
    Verify(TierVerifyArgs),
}

/// What to list.
#[derive(Clone, Debug, Args)]
pub struct TierLsArgs {
    /// Only this topic, with its objects
    pub topic: Option<String>,
}

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct TierVerifyArgs {
    /// Read every object and check its bytes too, not only manifests and footers
    #[arg(long)]
    pub data: bool,
}

impl Cli {
    /// The command, with the default filled in.
    #[must_use]
    pub fn chosen(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// The sources of the settings that the words name.
    #[must_use]
    pub fn sources(&self, environment: Environment) -> Sources {
        let own = match &self.command {
            Some(Command::Storage(command)) => command.file(),
            _ => None,
        };
        let file = self.config.clone().or_else(|| own.map(PathBuf::from));
        Sources { file, sets: self.set.clone(), environment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Cli {
        Cli::try_parse_from(std::iter::once("strata").chain(words.iter().copied())).unwrap()
    }

    #[test]
    fn the_description_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn no_command_means_serve_and_settings_stand_anywhere() {
        assert!(matches!(parse(&[]).chosen(), Command::Serve));
        for words in [["--config", "f", "--set", "a=1", "serve"], ["serve", "--config", "f", "--set", "a=1"]] {
            let sources = parse(&words).sources(Environment::default());
            assert_eq!((sources.file, sources.sets), (Some(PathBuf::from("f")), vec!["a=1".to_owned()]));
        }
        let cli = parse(&["--set", "a=1", "--override", "b=2"]);
        assert_eq!(cli.set, ["a=1", "b=2"]);
        let sources = parse(&["storage", "info", "-c", "f"]).sources(Environment::default());
        assert_eq!(sources.file, Some(PathBuf::from("f")));
    }

    #[test]
    fn the_tools_take_their_words() {
        let Command::Replay(replay) = parse(&["replay", "flights", "--partition", "1", "--from-time", "0"]).chosen()
        else {
            panic!("replay is a command");
        };
        assert_eq!((replay.topic.as_str(), replay.partition, replay.encoding), ("flights", vec![1], Encoding::Text));
        let verify = parse(&["tier", "verify", "--data"]).chosen();
        assert!(matches!(verify, Command::Tier(TierCommand::Verify(TierVerifyArgs { data: true }))));
        assert!(matches!(parse(&["tier", "ls", "flights"]).chosen(), Command::Tier(TierCommand::Ls(_))));
        assert!(matches!(parse(&["export"]).chosen(), Command::Export(_)));
        let both = Cli::try_parse_from(["strata", "replay", "t", "--from-offset", "1", "--from-time", "0"]);
        assert!(both.is_err());
        let version = Cli::try_parse_from(["strata", "--version"]).unwrap_err();
        assert_eq!(version.kind(), clap::error::ErrorKind::DisplayVersion);
    }
}
