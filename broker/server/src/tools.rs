//! The subcommands that need no broker: they open the bucket and read, export or check it.
//!
//! They take the same settings as `strata serve`, so that the same words find the same bucket. What they print goes to
//! standard output, as tables or JSON; bars and errors go to standard error.

mod ls;
mod prices;

use std::error::Error;
use std::io;
use std::sync::Arc;

use broker_cli::args::ReplayWords;
use broker_cli::progress::{Progress as Bar, Unit};
use broker_cli::{Align, Failure, Screen, Style, Table, text};
use broker_model::{PartitionIndex, config::TopicConfig, nearest};
use gateway_http::{Problem, Query, Replay, ReplayError};
use serde_json::json;
use tiering_export::{ExportTopic, Options, Progress};
use tiering_manifest::TopicFile;
use tiering_store::Store;
use tiering_tier::{ReaderConfig, TierReader, VerifyDepth, VerifyReport, bucket, verify};

use crate::cli::{ExportArgs, TierCommand};
use crate::clock;
use crate::random;
use crate::settings::Settings;
use crate::tier::{exporter, memory_cache, store_config};
use crate::topics::class_of;

type Done = Result<(), Box<dyn Error>>;

fn problem(problem: &Problem) -> Failure {
    Failure::new(problem.to_string())
}

/// Runs to its end on a runtime of its own.
fn block_on(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

async fn open(settings: &Settings) -> Result<(Store, TierReader), Box<dyn Error>> {
    let config = store_config(&settings.tier);
    let (store, _) = tiering_store::open(&config)?;
    if bucket::owner(&store).await?.is_none() {
        let hint = "name another with --config FILE or --set strata.tier.url=…, as the broker has it";
        return Err(Failure::new(format!("{} holds no Strata bucket", config.url)).hint(hint).into());
    }
    let reader = TierReader::open_bucket(store.clone(), memory_cache(&settings.tier).await?, ReaderConfig::default());
    Ok((store, reader.await?))
}

/// Prints the records of a range, straight from the bucket, in the lines of the gateway.
///
/// # Errors
/// A parameter that does not fit, or a bucket that cannot be read.
pub fn replay(settings: &Settings, arguments: &ReplayWords) -> Done {
    let query = Query::parse(&arguments.parameters()).map_err(|error| problem(&error))?;
    block_on(async {
        let (_, reader) = open(settings).await?;
        let sources = gateway_http::ColdOnly::of_bucket(&reader);
        let failed = |error: ReplayError| problem(&error.problem(None));
        let plan = Replay::plan(sources, &arguments.topic, query, Arc::default()).await.map_err(failed)?;
        let (mut lines, mut screen) = (plan.lines(), Screen::new(Style::Json));
        while let Some(chunk) = lines.next().await {
            match chunk.map_err(failed) {
                Ok(chunk) if arguments.rows_only => {
                    let mut rows =
                        chunk.split_inclusive(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"topic\""));
                    rows.try_for_each(|row| screen.bytes(row)).map_err(Failure::from)?;
                }
                Ok(chunk) => screen.bytes(&chunk).map_err(Failure::from)?,
                Err(error) => {
                    screen.flush().map_err(Failure::from)?;
                    return Err(error.into());
                }
            }
        }
        Ok(screen.flush().map_err(Failure::from)?)
    })
}

/// Exports what is shipped and not exported yet into the topics' tables.
///
/// # Errors
/// The bucket cannot be read or written, or a topic is not in it.
pub fn export(settings: &Settings, arguments: ExportArgs, style: Style) -> Done {
    block_on(async {
        let (store, reader) = open(settings).await?;
        let owner = bucket::owner(&store).await?;
        let generation = owner.map(|file| file.generation).unwrap_or_default();
        let at_once = Options { interval_ms: 0, ..Options::default() };
        let topics = chosen(settings, &reader.topics(), &arguments.topics)?;
        let bar = Bar::new("exporting", Unit::Things("topics"), Some(topics.len() as u64));
        let mut done = Vec::new();
        for topic in topics {
            let wanted = ExportTopic { name: topic.name.clone(), id: topic.id };
            let mut exporter =
                exporter((&store, reader.clone()), &wanted, (generation, random::number()), at_once).await?;
            let count = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            let partitions: Vec<PartitionIndex> = (0..count).map(PartitionIndex).collect();
            done.push((topic.name, exporter.run_once(&wanted, &partitions, clock::now()).await?));
            bar.at(done.len() as u64);
        }
        bar.end();
        Ok(exported(&mut Screen::new(style), &done).map_err(Failure::from)?)
    })
}

fn exported(screen: &mut Screen, done: &[(String, Progress)]) -> io::Result<()> {
    if screen.style() == Style::Json {
        let row = |(topic, done): &(String, Progress)| json!({"topic": topic, "rows": done.rows, "files": done.files, "bytes": done.bytes});
        screen.json(&done.iter().map(row).collect())?;
        return screen.flush();
    }
    let columns =
        [("TOPIC", Align::Left), ("NEW ROWS", Align::Right), ("NEW FILES", Align::Right), ("SIZE", Align::Right)];
    let mut table = Table::new(&columns);
    for (topic, done) in done {
        table.row([topic.clone(), done.rows.to_string(), done.files.to_string(), text::bytes(done.bytes)]);
    }
    screen.table(&table)?;
    screen.flush()
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
        known.iter().find(|topic| topic.name == *name).cloned().ok_or_else(|| unknown_topic(name, known).into())
    };
    names.iter().map(find).collect()
}

fn unknown_topic(name: &str, known: &[TopicFile]) -> Failure {
    let failure = Failure::new(format!("the bucket knows no topic {name:?}"));
    match nearest(name, known.iter().map(|topic| topic.name.as_str())) {
        Some(near) => failure.hint(format!("did you mean {near}?")),
        None => failure.hint("`strata tier ls` shows what is there"),
    }
}

/// Lists or checks the bucket.
///
/// # Errors
/// The bucket cannot be read, or it breaks a promise.
pub fn tier(settings: &Settings, command: TierCommand, style: Style) -> Done {
    block_on(async {
        let (store, reader) = open(settings).await?;
        let mut screen = Screen::new(style);
        match command {
            TierCommand::Ls(words) => ls::run(&settings.tier, &store, &reader.topics(), &words, &mut screen).await,
            TierCommand::Verify(words) => {
                let depth = if words.data { VerifyDepth::Blocks } else { VerifyDepth::Footers };
                let bar = Bar::new("verifying", Unit::None, None);
                let report = verify(&store, depth).await;
                bar.end();
                judge(&mut screen, &report?)
            }
        }
    })
}

fn judge(screen: &mut Screen, report: &VerifyReport) -> Done {
    show(screen, report).map_err(Failure::from)?;
    match report.damage.len() + report.unreferenced.len() {
        0 => Ok(()),
        broken => Err(Failure::new(format!("the bucket breaks {broken} promises, see above")).into()),
    }
}

fn show(screen: &mut Screen, report: &VerifyReport) -> io::Result<()> {
    if screen.style() == Style::Json {
        screen.json(&json!({
            "clean": report.is_clean(), "objects": report.objects, "bytes": report.bytes,
            "partitions": report.partitions.len(), "blocks_checked": report.blocks_checked,
            "broken": report.damage, "unreferenced": report.unreferenced,
        }))?;
        return screen.flush();
    }
    for damage in &report.damage {
        screen.line(&format!("broken: {damage}"))?;
    }
    for key in &report.unreferenced {
        screen.line(&format!("unreferenced: {key}"))?;
    }
    let partitions = report.partitions.len();
    screen.line(&format!(
        "{} objects, {} bytes, {partitions} partitions, {} blocks checked, {} unreferenced, {} broken",
        report.objects,
        report.bytes,
        report.blocks_checked,
        report.unreferenced.len(),
        report.damage.len()
    ))?;
    screen.flush()
}
