//! The words of the commands, and help that teaches by example. What they do is elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::position::Position;

/// The commands that talk to a cluster.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Create, list, describe, alter and delete topics
    #[command(after_help = TOPIC_EXAMPLES)]
    Topic(TopicWords),
    /// Write lines to a topic as records
    #[command(after_help = PRODUCE_EXAMPLES)]
    Produce(ProduceWords),
    /// Print the records of a topic, from cold to hot
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(ConsumeWords),
    /// List, describe, reset and delete consumer groups
    #[command(after_help = GROUP_EXAMPLES)]
    Group(GroupWords),
    /// Print a range of a topic over HTTP from the gateway, or from the bucket alone, one JSON object a line
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayWords),
}

const TOPIC_EXAMPLES: &str = "\
Examples:
  strata topic create orders --partitions 6 --config retention.ms=604800000
  strata topic list
  strata topic describe orders
  strata topic alter orders --partitions 12 --config local.retention.ms=3600000 --delete-config retention.ms
  strata topic delete orders";

const PRODUCE_EXAMPLES: &str = "\
Examples:
  echo hello | strata produce greetings
  strata produce orders --file orders.tsv --format key-value --compression zstd
  strata produce orders --key-separator : --header source=import < orders.txt
  strata consume orders --json | strata produce copy --format json";

const CONSUME_EXAMPLES: &str = "\
Examples:
  strata consume orders                          everything up to now, the oldest first
  strata consume orders --from -10               the last ten of each partition
  strata consume orders --from 2h --follow       the last two hours, and then what comes
  strata consume orders --from 2026-01-31T12:00:00Z --limit 100 --json
  strata consume orders --group billing --follow as a member of a group, which remembers how far it is

Without --follow it ends where the topic ended when it began; --from end follows.";

const GROUP_EXAMPLES: &str = "\
Examples:
  strata group list
  strata group describe billing
  strata group reset billing --topic orders --to 2026-01-31T12:00:00Z --dry-run
  strata group reset billing --all-topics --to start
  strata group delete billing";

const REPLAY_EXAMPLES: &str = "\
Examples:
  strata replay orders --from-time 2026-01-31T00:00:00Z --to-time 2026-02-01T00:00:00Z > january-31.ndjson
  strata replay orders --partition 3 --from-offset 100 --limit 10 --rows-only | jq .value
  strata --config server.properties replay orders --from-bucket

A replay that breaks goes on where it was; without its last line, \"complete\":true, it is not complete.";

/// What the broker was started with, for what reads its bucket. `topic` has a `--config` of its own, as Kafka's tool: so these
/// are options of those commands that look at them, and not of all.
#[derive(Clone, Debug, Default, Args)]
pub struct SettingWords {
    /// Configuration file with Kafka's keys and Strata's own (server.properties)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting; stands above the file, and may be repeated
    #[arg(long, visible_alias = "override", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Where the cluster is.
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// Brokers to try first, with commas between [default: 127.0.0.1:9092]
    #[arg(long, global = true, value_name = "HOST:PORT", env = "STRATA_BOOTSTRAP_SERVER", hide_env_values = true)]
    pub bootstrap_server: Option<String>,
    /// Properties file as Kafka's tools take it (client.id, timeouts; PLAINTEXT only)
    #[arg(long, global = true, value_name = "FILE")]
    pub command_config: Option<PathBuf>,
}

/// `strata topic`.
#[derive(Clone, Debug, Args)]
pub struct TopicWords {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) action: TopicAction,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TopicAction {
    /// Make a topic
    Create(TopicCreate),
    /// Show all topics
    List {
        /// Also those that the cluster keeps for itself
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions, offsets and configs of topics
    Describe {
        /// The topics
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// Also configs that have their default
        #[arg(long)]
        all_configs: bool,
    },
    /// Change configs, or add partitions
    Alter(TopicAlter),
    /// Delete topics with all their records
    Delete {
        /// The topics
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// A topic that is not there is fine
        #[arg(long)]
        if_exists: bool,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TopicCreate {
    /// The topic's name
    pub(crate) topic: String,
    /// How many partitions; without it as the broker's num.partitions says
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: Option<i32>,
    /// How many replicas; without it as the broker's default.replication.factor says
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    pub(crate) replication_factor: Option<i16>,
    /// A config of the topic; may be repeated
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) configs: Vec<(String, String)>,
    /// A topic that is there already is fine
    #[arg(long)]
    pub(crate) if_not_exists: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TopicAlter {
    /// The topic
    pub(crate) topic: String,
    /// How many partitions it has then: more than now
    #[arg(long, value_name = "COUNT", required_unless_present_any = ["configs", "deleted"], value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: Option<i32>,
    /// A config to set; may be repeated
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) configs: Vec<(String, String)>,
    /// A config that falls back to its default; may be repeated
    #[arg(long = "delete-config", value_name = "KEY")]
    pub(crate) deleted: Vec<String>,
}

/// `strata produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceWords {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// The topic
    pub(crate) topic: String,
    /// Read this file instead of standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// What a line is [default: value, or key-value with --key-separator]
    #[arg(long, value_enum)]
    pub(crate) format: Option<LineFormat>,
    /// What stands between key and value [default: a tab]
    #[arg(long, short = 'k', value_name = "TEXT", value_parser = separator)]
    pub(crate) key_separator: Option<String>,
    /// A header of every record; may be repeated
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) headers: Vec<(String, String)>,
    /// All records go to this partition; without it keys decide
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: Option<i32>,
    /// How batches are compressed
    #[arg(long, value_enum, default_value_t = Compression::None)]
    pub(crate) compression: Compression,
    /// When a record counts as written: when all replicas in sync have it, or the leader alone
    #[arg(long, value_enum, default_value_t = AcksWord::All)]
    pub(crate) acks: AcksWord,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LineFormat {
    /// The value
    Value,
    /// Key, separator, value
    KeyValue,
    /// A JSON object with partition, offset, timestamp, key, value and headers
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AcksWord {
    All,
    #[value(name = "1")]
    Leader,
}

/// `strata consume`.
#[derive(Clone, Debug, Args)]
pub struct ConsumeWords {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// The topic
    pub(crate) topic: String,
    /// Where to begin: start, end, OFFSET, -COUNT before the end, a TIME, or so long ago (15m, 2h, 7d); with a group only
    /// where it has committed nothing [default: start]
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub(crate) from: Option<Position>,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Only this partition; may be repeated
    #[arg(long, value_name = "NUMBER", conflicts_with = "group", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: Vec<i32>,
    /// Read as a member of this consumer group, and commit what was printed
    #[arg(long, short, value_name = "GROUP")]
    pub(crate) group: Option<String>,
    /// How a record is printed [default: value, or json with --json]
    #[arg(long, value_enum)]
    pub(crate) format: Option<LineFormat>,
    /// What is printed between key and value [default: a tab]
    #[arg(long, short = 'k', value_name = "TEXT", value_parser = separator)]
    pub(crate) key_separator: Option<String>,
    /// How keys and values are written in JSON
    #[arg(long, value_enum, default_value_t = EncodingWord::Text)]
    pub(crate) encoding: EncodingWord,
}

/// How keys and values are written in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EncodingWord {
    /// As text; what is not UTF-8 as an object with base64
    Text,
    /// As base64
    Base64,
}

/// `strata group`.
#[derive(Clone, Debug, Args)]
pub struct GroupWords {
    #[command(flatten)]
    pub(crate) connect: Connect,
    #[command(subcommand)]
    pub(crate) action: GroupAction,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GroupAction {
    /// Show all groups
    List,
    /// Show who is in groups, and how far they lag behind
    Describe {
        /// The groups
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// Move where a group goes on; it must have no members
    Reset(GroupReset),
    /// Delete groups with their offsets; they must have no members
    Delete {
        /// The groups
        #[arg(required = true, value_name = "GROUP")]
        groups: Vec<String>,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GroupReset {
    /// The group
    pub(crate) group: String,
    /// A topic, or some of its partitions (orders:0,3); may be repeated
    #[arg(long = "topic", value_name = "TOPIC[:N,…]", required_unless_present = "all_topics")]
    pub(crate) topics: Vec<String>,
    /// All that the group has committed
    #[arg(long, conflicts_with = "topics")]
    pub(crate) all_topics: bool,
    /// Where to go on: start, end, OFFSET, -COUNT before the end, a TIME, or so long ago (15m, 2h, 7d)
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    pub(crate) to: Position,
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `strata replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayWords {
    /// With --from-bucket: where the bucket is.
    #[command(flatten)]
    pub settings: SettingWords,
    /// The topic
    pub topic: String,
    /// The gateway's address
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        env = "STRATA_GATEWAY",
        hide_env_values = true
    )]
    pub gateway: String,
    /// Read the bucket that --config and --set name instead of asking the gateway; it holds what was shipped
    #[arg(long)]
    pub from_bucket: bool,
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
    /// Go on where a replay with the same words stopped
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// How keys and values are written
    #[arg(long, value_enum, default_value_t = EncodingWord::Text)]
    pub encoding: EncodingWord,
    /// Print records only, without the lines that hold cursors
    #[arg(long)]
    pub rows_only: bool,
}

impl ReplayWords {
    /// The words as parameters of the gateway: one place knows what fits.
    #[must_use]
    pub fn parameters(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: Option<String>| pairs.extend(value.map(|value| (name.to_owned(), value)));
        for partition in &self.partition {
            add("partition", Some(partition.to_string()));
        }
        add("from_offset", self.from_offset.map(|offset| offset.to_string()));
        add("to_offset", self.to_offset.map(|offset| offset.to_string()));
        add("from_time", self.from_time.clone());
        add("to_time", self.to_time.clone());
        add("limit", self.limit.map(|limit| limit.to_string()));
        add("key", self.key.clone());
        add("cursor", self.cursor.clone());
        let encoding = match self.encoding {
            EncodingWord::Text => "text",
            EncodingWord::Base64 => "base64",
        };
        add("encoding", Some(encoding.to_owned()));
        pairs
    }
}

/// `KEY=VALUE`; the value may be empty and may have further equals signs.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected is KEY=VALUE".to_owned()),
    }
}

/// A separator, in which `\t` is a tab.
fn separator(text: &str) -> Result<String, String> {
    let text = text.replace("\\t", "\t");
    if text.is_empty() { Err("expected is at least one letter".to_owned()) } else { Ok(text) }
}
