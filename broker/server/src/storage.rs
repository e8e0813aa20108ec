//! `strata storage`: gives log directories their identity before the first start, and says what they are.
//!
//! It takes the words of Kafka's `kafka-storage.sh`, so that entry scripts and playbooks that call it need no change. Strata
//! needs no formatting: a start gives new directories a fresh cluster id. Whoever wants a cluster id of their own formats
//! first. A directory that has an identity is only read, so that a formatted one starts as it was left.
//!
//! SCRAM users are refused: they would not be served. Options that describe Kafka's own metadata are said to change
//! nothing.
//!
//! Start reading at [`run`].

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use broker_log::{DirError, DirState, DiskFiles, Identity, boot_id};
use clap::{Args, Subcommand};
use tracing::warn;

use crate::random;
use crate::settings::{Properties, PropertiesError, Settings};

/// The longest cluster id that is taken, in bytes.
const CLUSTER_ID_BYTES_MAX: usize = 255;

/// What to do with the log directories.
#[derive(Clone, Debug, Subcommand)]
pub enum StorageCommand {
    /// Give new log directories a cluster id and an identity
    Format(FormatArgs),
    /// Say what lies in the log directories
    Info(FileArgs),
    /// Print a random id, fit for a cluster
    RandomUuid,
}

/// The configuration file, as Kafka's tool names it.
#[derive(Clone, Debug, Args)]
pub struct FileArgs {
    /// The configuration file, as --config
    #[arg(short = 'c', value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// How to format.
#[derive(Clone, Debug, Args)]
pub struct FormatArgs {
    /// The configuration file.
    #[command(flatten)]
    pub file: FileArgs,
    /// The cluster id
    #[arg(short = 't', long, value_name = "ID", allow_hyphen_values = true)]
    pub cluster_id: String,
    /// Leave directories alone that have an identity
    #[arg(short = 'g', long)]
    pub ignore_formatted: bool,
    /// Accepted from Kafka's scripts: this node is its own controller
    #[arg(short = 's', long, hide = true)]
    pub standalone: bool,
    /// Accepted from Kafka's scripts: this node is its own controller
    #[arg(short = 'N', long, hide = true)]
    pub no_initial_controllers: bool,
    /// Accepted from Kafka's scripts, where it names one controller
    #[arg(short = 'I', long, hide = true, value_name = "CONTROLLER", value_delimiter = ',')]
    pub initial_controllers: Vec<String>,
    /// Accepted from Kafka's scripts, and changes nothing
    #[arg(short = 'r', long, hide = true, value_name = "VERSION")]
    pub release_version: Option<String>,
    /// Accepted from Kafka's scripts, and changes nothing
    #[arg(short = 'f', long, hide = true, value_name = "FEATURE=LEVEL")]
    pub feature: Vec<String>,
    /// Refused: SCRAM is not served yet
    #[arg(short = 'S', long, hide = true, value_name = "USER")]
    pub add_scram: Vec<String>,
}

impl StorageCommand {
    /// The configuration file that its own option names.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            StorageCommand::Format(arguments) => arguments.file.file.as_deref(),
            StorageCommand::Info(arguments) => arguments.file.as_deref(),
            StorageCommand::RandomUuid => None,
        }
    }
}

/// The directories cannot be formatted, or are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The cluster id cannot be one.
    #[error("--cluster-id {0:?}: expected 1 to 255 printable characters of ASCII without blanks")]
    ClusterId(String),
    /// It has an identity, and nobody said to leave it.
    #[error("log directory {} is already formatted: --ignore-formatted leaves such directories as they are", .0.display())]
    AlreadyFormatted(PathBuf),
    /// Users that could not log in.
    #[error("--add-scram: SASL is not served yet, and users that cannot log in help nobody")]
    Scram,
    /// A quorum.
    #[error("--initial-controllers names {0} controllers: Strata is one node so far")]
    Controllers(usize),
    /// A directory belongs to somebody else, or cannot be used.
    #[error(transparent)]
    Directory(#[from] DirError),
    /// Its identity cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The `meta.properties`.
        path: PathBuf,
        /// Why.
        source: PropertiesError,
    },
    /// `info` found something.
    #[error("{0} problems in the log directories, see above")]
    Problems(usize),
    /// Nothing can be printed.
    #[error("standard output failed")]
    Output(#[from] io::Error),
}

/// Does what was asked, and prints to standard output.
///
/// # Errors
/// [`StorageError`]: what must be put right.
pub fn run(settings: &Settings, command: StorageCommand) -> Result<(), StorageError> {
    let mut output = io::stdout().lock();
    match command {
        StorageCommand::Format(arguments) => format(settings, &arguments, &mut output),
        StorageCommand::Info(_) => info(settings, &mut output),
        StorageCommand::RandomUuid => Ok(writeln!(output, "{}", random_id())?),
    }
}

/// A random id that does not look like an option where a script puts it behind one.
fn random_id() -> String {
    let mut ids = std::iter::repeat_with(random::text);
    ids.find(|id| !id.starts_with('-')).expect("random ids do not all begin with the same letter")
}

fn format(settings: &Settings, arguments: &FormatArgs, output: &mut impl Write) -> Result<(), StorageError> {
    check(arguments)?;
    let node_id = settings.node.node_id.0;
    let mut new = Vec::new();
    for root in directories(settings) {
        let Some(known) = meta(&root)? else {
            new.push(root);
            continue;
        };
        for (key, expected) in [("cluster.id", &arguments.cluster_id), ("node.id", &node_id.to_string())] {
            if let Some(found) = known.get(key).filter(|found| *found != expected) {
                let (found, expected) = (found.clone(), expected.clone());
                return Err(DirError::Stranger { path: root, key, found, expected }.into());
            }
        }
        if !arguments.ignore_formatted {
            return Err(StorageError::AlreadyFormatted(root));
        }
    }
    if new.is_empty() {
        writeln!(output, "All of the log directories are already formatted.")?;
    }
    for root in new {
        let cluster_id = arguments.cluster_id.clone();
        writeln!(output, "Formatting {} with cluster.id={cluster_id}, node.id={node_id}.", root.display())?;
        let identity = Identity { cluster_id, node_id, directory_id: random::text() };
        DirState::open(DiskFiles, root, &identity, &boot_id().unwrap_or_default())?;
    }
    Ok(())
}

fn check(arguments: &FormatArgs) -> Result<(), StorageError> {
    let id = &arguments.cluster_id;
    if !(1..=CLUSTER_ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(StorageError::ClusterId(id.clone()));
    }
    if !arguments.add_scram.is_empty() {
        return Err(StorageError::Scram);
    }
    if arguments.initial_controllers.len() > 1 {
        return Err(StorageError::Controllers(arguments.initial_controllers.len()));
    }
    if arguments.release_version.is_some() || !arguments.feature.is_empty() {
        warn!("--release-version and --feature have no effect: Strata has no feature levels of Kafka's metadata");
    }
    Ok(())
}

fn info(settings: &Settings, output: &mut impl Write) -> Result<(), StorageError> {
    let (mut found, mut problems, mut first) = (Vec::new(), Vec::new(), None);
    for root in directories(settings) {
        let name = root.display().to_string();
        if !root.is_dir() {
            let what = if root.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{name} {what}"));
            continue;
        }
        found.push(name.clone());
        match meta(&root)? {
            None => problems.push(format!("{name} is not formatted.")),
            Some(meta) => match first.get_or_insert_with(|| meta.clone()) {
                first if first.get("cluster.id") != meta.get("cluster.id") => {
                    problems.push("Mismatched cluster IDs between storage directories.".to_owned());
                }
                first if first.get("node.id") != meta.get("node.id") => {
                    problems.push("Mismatched node IDs between storage directories.".to_owned());
                }
                _ => {}
            },
        }
    }
    list(output, ["Found log directory:", "Found log directories:"], &found)?;
    if let Some(meta) = first {
        let pairs: Vec<_> = meta.iter().map(|(key, value)| format!("{key}={value}")).collect();
        writeln!(output, "Found metadata: {{{}}}\n", pairs.join(", "))?;
    }
    list(output, ["Found problem:", "Found problems:"], &problems)?;
    if problems.is_empty() { Ok(()) } else { Err(StorageError::Problems(problems.len())) }
}

/// A heading, for one and for many, with the lines below it.
fn list(output: &mut impl Write, [one, many]: [&str; 2], lines: &[String]) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(output, "{}", if lines.len() == 1 { one } else { many })?;
    lines.iter().try_for_each(|line| writeln!(output, "  {line}"))?;
    writeln!(output)
}

/// The log directories, the one of the metadata first: a format that is cut off leaves no other one with an identity.
fn directories(settings: &Settings) -> Vec<PathBuf> {
    let metadata = &settings.dirs.metadata;
    let logs = settings.dirs.logs.iter().filter(|root| *root != metadata);
    std::iter::once(metadata).chain(logs).cloned().collect()
}

/// What the `meta.properties` of a directory says; `None` where there is none.
fn meta(root: &Path) -> Result<Option<BTreeMap<String, String>>, StorageError> {
    let path = root.join("meta.properties");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(DirError::Io { path: root.to_owned(), source }.into()),
    };
    let Properties(pairs) = Properties::parse(&text).map_err(|source| StorageError::Unreadable { path, source })?;
    Ok(Some(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect()))
}

#[cfg(test)]
mod tests;
