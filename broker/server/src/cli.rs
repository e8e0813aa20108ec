//! The command line of `strata`.
//!
//! Without a subcommand it serves, so that `cargo run --release` is enough. `--config` and `--set` stand before the subcommand
//! or after those that look at them, and mean the same for each: the tools find the bucket as the broker does. This file only describes and
//! reads the words; what they do is wired in `main`.

use std::path::PathBuf;

use broker_cli::Style;
use broker_cli::args::SettingWords;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::settings::{Environment, Sources};
use crate::storage::StorageCommand;

/// A Kafka broker whose archive is an open bucket.
#[derive(Clone, Debug, Parser)]
#[command(name = "strata", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// Configuration file with Kafka's keys and Strata's own (server.properties)
    // An id of its own: clap would take the words behind a command for these.
    #[arg(id = "config before", long = "config", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// One setting; stands above the file, and may be repeated
    #[arg(id = "set before", long = "set", visible_alias = "override", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do; absent means serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the broker, the gateway and the tier (this is what happens without a command)
    Serve(SettingWords),
    /// What talks to a cluster
    #[command(flatten)]
    Cluster(broker_cli::Command),
    /// Bring the Parquet tables of topics up to the end of the bucket
    Export(ExportArgs),
    /// Look at the bucket
    #[command(after_help = TIER_EXAMPLES)]
    Tier(TierWords),
    /// Give log directories a cluster id, and look at them, as kafka-storage.sh does
    Storage(StorageWords),
    /// Print a script that completes these words in a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
        shell: Shell,
    },
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(strata completions bash)
  strata completions zsh > \"${fpath[1]}/_strata\"
  strata completions fish > ~/.config/fish/completions/strata.fish";

const TIER_EXAMPLES: &str = "\
Examples:
  strata tier ls
  strata --config server.properties tier ls orders
  strata --set strata.tier.url=s3://my-bucket/prefix tier ls --price-storage 0.0125
  strata tier verify --data

They read the bucket that --config and --set name, and need no broker.";

/// `strata tier`.
#[derive(Clone, Debug, Args)]
pub struct TierWords {
    /// Where the bucket is.
    #[command(flatten)]
    pub settings: SettingWords,
    /// What to do with it.
    #[command(subcommand)]
    pub command: TierCommand,
}

/// `strata storage`.
#[derive(Clone, Debug, Args)]
pub struct StorageWords {
    /// Where the log directories are.
    #[command(flatten)]
    pub settings: SettingWords,
    /// What to do with them.
    #[command(subcommand)]
    pub command: StorageCommand,
}

/// What to export.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Where the bucket is.
    #[command(flatten)]
    pub settings: SettingWords,
    /// The topics; absent means those with strata.export.enable=true
    pub topics: Vec<String>,
}

/// How to look at the bucket.
#[derive(Clone, Debug, Subcommand)]
pub enum TierCommand {
    /// Show what the bucket holds: ranges, sizes, times, and what it costs
    Ls(TierLsArgs),
    /// Check that ranges are whole, objects are there, and no object is without a name
    Verify(TierVerifyArgs),
}

/// What to list.
#[derive(Clone, Debug, Args)]
pub struct TierLsArgs {
    /// Only this topic, with each of its ranges
    pub topic: Option<String>,
    /// Dollars for one GB that is stored for a month [default: 0.023, S3 Standard in us-east-1; 0 for a directory]
    #[arg(long, value_name = "DOLLARS", value_parser = price)]
    pub price_storage: Option<f64>,
    /// Dollars for a thousand GET requests [default: 0.0004; 0 for a directory]
    #[arg(long, value_name = "DOLLARS", value_parser = price)]
    pub price_get: Option<f64>,
    /// Dollars for one GB that leaves the region [default: 0.09; 0 for a directory]
    #[arg(long, value_name = "DOLLARS", value_parser = price)]
    pub price_transfer: Option<f64>,
}

/// What to check.
#[derive(Clone, Debug, Args)]
pub struct TierVerifyArgs {
    /// Read every object and check its bytes too, not only manifests and footers
    #[arg(long)]
    pub data: bool,
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "expected is a number of dollars from 0".to_owned())
}

impl Cli {
    /// What results look like.
    #[must_use]
    pub fn style(&self) -> Style {
        if self.json { Style::Json } else { Style::Text }
    }

    /// The command, with the default filled in.
    #[must_use]
    pub fn chosen(&self) -> Command {
        self.command.clone().unwrap_or_else(|| Command::Serve(SettingWords::default()))
    }

    /// The sources of the settings that the words name.
    #[must_use]
    pub fn sources(&self, environment: Environment) -> Sources {
        let none = SettingWords::default();
        let (own, kafkas) = match &self.command {
            Some(Command::Serve(words)) => (words, None),
            Some(Command::Cluster(broker_cli::Command::Replay(words))) => (&words.settings, None),
            Some(Command::Export(words)) => (&words.settings, None),
            Some(Command::Tier(words)) => (&words.settings, None),
            Some(Command::Storage(words)) => (&words.settings, words.command.file()),
            _ => (&none, None),
        };
        let file = own.config.clone().or_else(|| self.config.clone()).or_else(|| kafkas.map(PathBuf::from));
        Sources { file, sets: self.set.iter().chain(&own.set).cloned().collect(), environment }
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
        assert!(matches!(parse(&[]).chosen(), Command::Serve(_)));
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
        let words = ["replay", "flights", "--partition", "1", "--from-time", "0", "--from-bucket", "--json"];
        let cli = parse(&words);
        let Command::Cluster(broker_cli::Command::Replay(replay)) = cli.chosen() else {
            panic!("replay is a command");
        };
        assert_eq!((replay.topic.as_str(), replay.partition, replay.from_bucket), ("flights", vec![1], true));
        assert_eq!(cli.style(), Style::Json);
        let verify = parse(&["tier", "verify", "--data"]).chosen();
        assert!(matches!(
            verify,
            Command::Tier(TierWords { command: TierCommand::Verify(TierVerifyArgs { data: true }), .. })
        ));
        let settings = parse(&["--set", "a=1", "tier", "ls", "flights", "--set", "a=2", "--config", "f"]);
        assert!(matches!(settings.chosen(), Command::Tier(TierWords { command: TierCommand::Ls(_), .. })));
        let sources = settings.sources(Environment::default());
        assert_eq!((sources.file, sources.sets), (Some(PathBuf::from("f")), vec!["a=1".to_owned(), "a=2".to_owned()]));
        assert!(matches!(parse(&["export"]).chosen(), Command::Export(_)));
        let both = Cli::try_parse_from(["strata", "replay", "t", "--from-offset", "1", "--from-time", "0"]);
        assert!(both.is_err());
        for words in [
            &["topic", "create", "t", "--config", "novalue"][..],
            &["topic", "alter", "t"],
            &["topic", "describe"],
            &["consume", "t", "--from", "yesterday"],
            &["consume", "t", "--group", "g", "--partition", "0"],
            &["group", "reset", "g", "--to", "start"],
            &["tier", "ls", "--price-get", "-1"],
        ] {
            let refused = Cli::try_parse_from(std::iter::once(&"strata").chain(words)).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{words:?}");
        }
        for words in [
            &["consume", "t", "--from", "-10", "-n", "3"][..],
            &["topic", "alter", "t", "--partitions", "3"],
            &["group", "reset", "g", "--topic", "t:0,1", "--to", "-5", "--dry-run"],
            &["topic", "list", "--bootstrap-server", "a:1", "--json"],
            &["completions", "zsh"],
        ] {
            parse(words);
        }
        let version = Cli::try_parse_from(["strata", "--version"]).unwrap_err();
        assert_eq!(version.kind(), clap::error::ErrorKind::DisplayVersion);
    }
}
