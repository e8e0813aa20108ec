//! The subcommands that need no broker: they open the bucket and read, export or check it.
//!
//! They take the same settings as `strata serve`, so that the same words find the same bucket. What they print goes to
//! standard output, one thing a line; an error goes to standard error and ends the program with failure.

use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

use broker_model::{PartitionIndex, config::TopicConfig};
use futures::TryStreamExt;
use gateway_http::{Problem, Query, Replay, ReplayError};
use tiering_export::{ExportTopic, Options, Progress};
use tiering_manifest::{State, TopicFile};
use tiering_store::{Listed, Store};
use tiering_tier::{PartitionReport, ReaderConfig, TierReader, VerifyDepth, VerifyReport, bucket, verify};

use crate::cli::{Encoding, ExportArgs, ReplayArgs, TierCommand};
use crate::clock;
use crate::random;
use crate::settings::Settings;
use crate::tier::{exporter, memory_cache, store_config};
use crate::topics::class_of;

type Done = Result<(), Box<dyn Error>>;

/// Something that the person who asked must know.
#[derive(Debug, thiserror::Error)]
enum ToolError {
    /// The bucket says nothing of whose it is.
    #[error("{0} holds no Strata bucket: name another with --set strata.tier.url=…")]
    NoBucket(String),
    /// The topic is not in the bucket.
    #[error("the bucket knows no topic {name}; it has: {known}")]
    NoTopic {
        /// As it was asked.
        name: String,
        /// The topics that are there.
        known: String,
    },
    /// A parameter does not fit.
    #[error("{0}")]
    Problem(String),
    /// The bucket breaks a promise.
    #[error("the bucket breaks {0} promises, see above")]
    Broken(usize),
}

fn problem(problem: &Problem) -> ToolError {
    ToolError::Problem(problem.to_string())
}

/// Runs to its end on a runtime of its own.
fn block_on(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

async fn open(settings: &Settings) -> Result<(Store, TierReader), Box<dyn Error>> {
    let config = store_config(&settings.tier);
    let (store, _) = tiering_store::open(&config)?;
    if bucket::owner(&store).await?.is_none() {
        return Err(ToolError::NoBucket(config.url).into());
    }
    let reader = TierReader::open_bucket(store.clone(), memory_cache(&settings.tier).await?, ReaderConfig::default());
    Ok((store, reader.await?))
}

/// Prints the records of a range, straight from the bucket, in the lines of the gateway.
///
/// # Errors
/// A parameter that does not fit, or a bucket that cannot be read.
pub fn replay(settings: &Settings, arguments: ReplayArgs) -> Done {
    let query = Query::parse(&pairs(&arguments)).map_err(|error| problem(&error))?;
    block_on(async {
        let (_, reader) = open(settings).await?;
        let sources = gateway_http::ColdOnly::of_bucket(&reader);
        let failed = |error: ReplayError| problem(&error.problem(None));
        let plan = Replay::plan(sources, &arguments.topic, query, Arc::default()).await.map_err(failed)?;
        let (mut lines, mut output) = (plan.lines(), io::BufWriter::new(io::stdout().lock()));
        while let Some(chunk) = lines.next().await {
            match chunk.map_err(failed) {
                Ok(chunk) => output.write_all(&chunk)?,
                Err(error) => {
                    output.flush()?;
                    return Err(error.into());
                }
            }
        }
        Ok(output.flush()?)
    })
}

/// The arguments as the gateway's parameters: one place knows what fits.
fn pairs(arguments: &ReplayArgs) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: Option<String>| pairs.extend(value.map(|value| (name.to_owned(), value)));
    for partition in &arguments.partition {
        add("partition", Some(partition.to_string()));
    }
    add("from_offset", arguments.from_offset.map(|offset| offset.to_string()));
    add("to_offset", arguments.to_offset.map(|offset| offset.to_string()));
    add("from_time", arguments.from_time.clone());
    add("to_time", arguments.to_time.clone());
    add("limit", arguments.limit.map(|limit| limit.to_string()));
    add("key", arguments.key.clone());
    let encoding = match arguments.encoding {
        Encoding::Text => "text",
        Encoding::Base64 => "base64",
    };
    add("encoding", Some(encoding.to_owned()));
    pairs
}

/// Exports what is shipped and not exported yet into the topics' tables.
///
/// # Errors
/// The bucket cannot be read or written, or a topic is not in it.
pub fn export(settings: &Settings, arguments: ExportArgs) -> Done {
    block_on(async {
        let (store, reader) = open(settings).await?;
        let owner = bucket::owner(&store).await?;
        let generation = owner.map(|file| file.generation).unwrap_or_default();
        let at_once = Options { interval_ms: 0, ..Options::default() };
        for topic in chosen(settings, &reader.topics(), &arguments.topics)? {
            let wanted = ExportTopic { name: topic.name.clone(), id: topic.id };
            let mut exporter =
                exporter((&store, reader.clone()), &wanted, (generation, random::number()), at_once).await?;
            let count = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            let partitions: Vec<PartitionIndex> = (0..count).map(PartitionIndex).collect();
            let Progress { files, rows, bytes, .. } = exporter.run_once(&wanted, &partitions, clock::now()).await?;
            say(&format!("{}: {rows} rows, {files} files, {bytes} bytes", topic.name))?;
        }
        Ok(())
    })
}

fn chosen(settings: &Settings, known: &[TopicFile], names: &[String]) -> Result<Vec<TopicFile>, Box<dyn Error>> {
    if names.is_empty() {
        let is_exported = |topic: &&TopicFile| {
            let config = TopicConfig::resolve(&topic.configs, &settings.values, class_of(&topic.name));
            config.is_ok_and(|config| config.exported)
        };
        return Ok(known.iter().filter(is_exported).cloned().collect());
    }
    let find = |name: &String| {
        known.iter().find(|topic| topic.name == *name).cloned().ok_or_else(|| {
            let known = known.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>().join(", ");
            ToolError::NoTopic { name: name.clone(), known }.into()
        })
    };
    names.iter().map(find).collect()
}

/// Lists or checks the bucket.
///
/// # Errors
/// The bucket cannot be read, or it breaks a promise.
pub fn tier(settings: &Settings, command: TierCommand) -> Done {
    block_on(async {
        let (store, _) = open(settings).await?;
        match command {
            TierCommand::Ls(arguments) => {
                let report = verify(&store, VerifyDepth::Footers).await?;
                let wanted = |partition: &&PartitionReport| {
                    arguments.topic.as_ref().is_none_or(|topic| partition.prefix.topic_name() == topic)
                };
                for partition in report.partitions.iter().filter(wanted) {
                    say(&line(partition))?;
                    if arguments.topic.is_some() {
                        list_objects(&store, &partition.prefix.join("")).await?;
                    }
                }
                say(&format!("{} objects, {} bytes", report.objects, report.bytes))?;
                Ok(())
            }
            TierCommand::Verify(arguments) => {
                let depth = if arguments.data { VerifyDepth::Blocks } else { VerifyDepth::Footers };
                judge(&verify(&store, depth).await?)
            }
        }
    })
}

/// The objects of one partition, a line each.
async fn list_objects(store: &Store, directory: &str) -> Done {
    let mut objects: Vec<Listed> = store.list(directory)?.try_collect().await?;
    objects.sort_by(|one, other| one.key.cmp(&other.key));
    for object in objects {
        say(&format!("  {} {} bytes", object.key, object.bytes))?;
    }
    Ok(())
}

fn line(partition: &PartitionReport) -> String {
    let PartitionReport { prefix, state, log_start, end, objects, bytes, .. } = partition;
    let state = if *state == State::Deleted { " (deleted)" } else { "" };
    format!(
        "{}-{}{state}: offsets {log_start} to {end}, {objects} objects, {bytes} bytes",
        prefix.topic_name(),
        prefix.partition()
    )
}

fn judge(report: &VerifyReport) -> Done {
    for damage in &report.damage {
        say(&format!("broken: {damage}"))?;
    }
    for key in &report.unreferenced {
        say(&format!("unreferenced: {key}"))?;
    }
    let partitions = report.partitions.len();
    say(&format!(
        "{} objects, {} bytes, {partitions} partitions, {} blocks checked, {} unreferenced, {} broken",
        report.objects,
        report.bytes,
        report.blocks_checked,
        report.unreferenced.len(),
        report.damage.len()
    ))?;
    match report.is_clean() {
        true => Ok(()),
        false => Err(ToolError::Broken(report.damage.len() + report.unreferenced.len()).into()),
    }
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}
