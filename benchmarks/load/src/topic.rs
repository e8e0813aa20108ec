//! The command `topic`: makes one and waits until it can be used, or deletes one and waits until it is gone.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::Finished;
use crate::clock;
use crate::cluster::{Cluster, NewTopic};
use crate::error::LoadError;

/// Makes or deletes a topic.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Makes a topic and waits until each partition has a leader that answers.
    Create(CreateArgs),
    /// Deletes a topic and waits until nobody knows it.
    Delete(DeleteArgs),
}

/// See [`TopicCommand::Create`].
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    #[arg(long, default_value_t = 1)]
    replication_factor: i16,
    /// `NAME=VALUE`; may be repeated.
    #[arg(long, value_parser = pair)]
    config: Vec<(String, String)>,
}

/// See [`TopicCommand::Delete`].
#[derive(Clone, Debug, Args)]
pub(crate) struct DeleteArgs {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs the command.
pub(crate) fn run(command: &TopicCommand) -> Result<Finished, LoadError> {
    let since = clock::monotonic();
    let (name, topic) = match command {
        TopicCommand::Create(args) => {
            let topic = NewTopic {
                name: &args.topic,
                partitions: args.partitions,
                replication_factor: args.replication_factor,
                configs: args.config.clone(),
            };
            Cluster::connect(&args.bootstrap)?.create_topic(&topic)?;
            ("topic create", &args.topic)
        }
        TopicCommand::Delete(args) => {
            Cluster::connect(&args.bootstrap)?.delete_topic(&args.topic)?;
            ("topic delete", &args.topic)
        }
    };
    let seconds = clock::seconds(clock::monotonic() - since);
    let line = format!("{name}: {topic} in {seconds:.3} s");
    Finished::new(&json!({ "command": name, "topic": topic, "seconds": seconds }), line, 0)
}
