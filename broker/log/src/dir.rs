//! One log directory (`log.dirs`): its lock, its identity, its checkpoints, and how it was left.
//!
//! - `.lock` is held while the process lives: a second instance is refused.
//! - `meta.properties` names cluster, node and directory; a directory of another cluster or node is refused.
//! - `.kafka_cleanshutdown` is there after a clean shutdown only; it is removed before anything is written.
//! - `strata-dirty` holds the boot id of the machine while the directory is in use: the same id later means that the
//!   page cache survived.
//! - Three checkpoints hold recovery points, log starts and high watermarks of all partitions, replaced atomically.
//!   [`Lines`] is what they hold; the caller keeps them and decides when they are written.
//!
//! Opening lists the directory once and looks into no partition. On a full disk it opens all the same: only what cannot
//! be told later than now must be written, and removing a name needs no room.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use broker_model::{Offset, PartitionIndex};
use thiserror::Error;

use crate::checkpoint;
use crate::files::{Change, Files, OpenMode, Persist, read_file, remove_if_there, replace_file, sync_dir};
use crate::names;

const LOCK: &str = ".lock";
const META: &str = "meta.properties";
const CLEAN: &str = ".kafka_cleanshutdown";
const DIRTY: &str = "strata-dirty";
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// The versions of `meta.properties`; they differ in nothing that is read here.
const VERSIONS: [&str; 2] = ["0", "1"];

/// Whose directory it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`: taken where the directory has none yet.
    pub directory_id: String,
}

/// A log directory could not be opened.
#[derive(Debug, Error)]
pub enum DirError {
    /// Another process uses it.
    #[error("{0} is in use by another process: stop that one, or choose another directory")]
    Locked(PathBuf),
    /// It belongs to another cluster or node.
    #[error("{path} belongs to {key}={found}, not {expected}: choose another directory")]
    Stranger {
        /// The directory.
        path: PathBuf,
        /// The property that differs.
        key: &'static str,
        /// What `meta.properties` says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// Its `meta.properties` has a version that this program does not know.
    #[error("{path} has version={found}, which is not known here: restore the file, or use the program that wrote it")]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// The system failed.
    #[error("opening the log directory {path}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the checkpoints say of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Everything below is synced (`LogReader::flushed_end`).
    pub recovery_point: Offset,
    /// Where the partition begins.
    pub log_start: Offset,
    /// Where it is committed to.
    pub high_watermark: Offset,
}

/// The partitions of a directory, by topic and number.
pub type Lines = BTreeMap<String, BTreeMap<PartitionIndex, Line>>;

/// What lay in a directory when it was opened.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// A line for each partition that has a directory here; zeros where the checkpoints have none.
    pub lines: Lines,
    /// Directories of deleted partitions that were not removed yet. To be removed with all that is in them.
    pub leftovers: Vec<PathBuf>,
}

/// The texts of the checkpoints, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointTexts {
    recovery_points: String,
    log_starts: String,
    high_watermarks: String,
}

/// A log directory in use.
pub struct DirState<F: Files> {
    files: F,
    root: PathBuf,
    identity: Identity,
    clean: bool,
    same_boot: bool,
    _lock: F::Handle,
}

impl<F: Files> DirState<F> {
    /// Takes a directory into use; it is made where it is not there. `boot_id` is the kernel's (see [`boot_id`]).
    ///
    /// # Errors
    /// `Locked`, `Stranger`, or when the system fails.
    pub fn open(files: F, root: PathBuf, expected: &Identity, boot_id: &str) -> Result<(DirState<F>, Found), DirError> {
        let fail = |source| DirError::Io { path: root.clone(), source };
        files.change(Change::MakeDir(&root)).map_err(fail)?;
        let lock = files.open(&root.join(LOCK), OpenMode::Lock).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DirError::Locked(root.clone()),
            _ => fail(error),
        })?;
        let identity = identify(&files, &root, expected)?;
        let clean = read_file(&files, &root.join(CLEAN)).map_err(fail)?.is_some();
        let dirty = read_file(&files, &root.join(DIRTY)).map_err(fail)?.unwrap_or_default();
        let same_boot = !boot_id.is_empty() && dirty == boot_id.as_bytes();
        if dirty != boot_id.as_bytes() {
            mark_dirty(&files, &root, boot_id).map_err(fail)?;
        }
        remove_if_there(&files, &root.join(CLEAN)).map_err(fail)?;
        sync_dir(&files, &root).map_err(fail)?;
        if let Some(parent) = root.parent().filter(|parent| *parent != Path::new("")) {
            sync_dir(&files, parent).map_err(fail)?;
        }
        let found = find(&files, &root).map_err(fail)?;
        Ok((DirState { files, root, identity, clean, same_boot, _lock: lock }, found))
    }

    /// Whose directory it is, with the id that it has.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// True where it was shut down cleanly.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.clean
    }

    /// True where the machine has not restarted since it was used last: the page cache survived.
    #[must_use]
    pub fn is_same_boot(&self) -> bool {
        self.same_boot
    }

    /// The directory of a partition.
    #[must_use]
    pub fn partition_dir(&self, topic: &str, partition: PartitionIndex) -> PathBuf {
        self.root.join(names::partition_dir(topic, partition))
    }

    /// Replaces all three checkpoints. A partition without a line is forgotten: so is a deleted one.
    ///
    /// # Errors
    /// When the system fails; the earlier checkpoints, or some of them, then hold.
    pub fn write_checkpoints(&self, texts: &CheckpointTexts) -> io::Result<()> {
        let write =
            |name: &str, text: &str| replace_file(&self.files, &self.root.join(name), text.as_bytes(), Persist::Now);
        // The log starts first: a recovery point without its log start would be the worse half.
        write(LOG_STARTS, &texts.log_starts)?;
        write(RECOVERY_POINTS, &texts.recovery_points)?;
        write(HIGH_WATERMARKS, &texts.high_watermarks)
    }

    /// Leaves the directory clean. To be called when all its logs are closed and the checkpoints say so.
    ///
    /// # Errors
    /// When the system fails; the directory then counts as not clean.
    pub fn close_clean(self) -> io::Result<()> {
        replace_file(&self.files, &self.root.join(CLEAN), b"{\"version\":0}", Persist::Now)
    }
}

/// The id that the kernel gave itself at boot.
///
/// # Errors
/// Where the kernel does not tell; an empty id then never matches.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn identify<F: Files>(files: &F, root: &Path, expected: &Identity) -> Result<Identity, DirError> {
    let fail = |source| DirError::Io { path: root.to_path_buf(), source };
    let path = root.join(META);
    let content = read_file(files, &path).map_err(fail)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let properties: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim())).collect();
    if let Some(found) = properties.get("version").filter(|version| !VERSIONS.contains(version)) {
        return Err(DirError::Version { path, found: (*found).to_owned() });
    }
    let node_id = expected.node_id.to_string();
    for (key, expected) in [("cluster.id", &expected.cluster_id), ("node.id", &node_id)] {
        if let Some(found) = properties.get(key)
            && found != expected
        {
            let (found, expected) = ((*found).to_owned(), expected.clone());
            return Err(DirError::Stranger { path: root.to_path_buf(), key, found, expected });
        }
    }
    let mut identity = expected.clone();
    if let Some(found) = properties.get("directory.id") {
        identity.directory_id = (*found).to_owned();
    }
    if properties.len() < 4 {
        let Identity { cluster_id, node_id, directory_id } = &identity;
        let text = format!("cluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node_id}\nversion=1\n");
        replace_file(files, &path, text.as_bytes(), Persist::Now).map_err(fail)?;
    }
    Ok(identity)
}

/// Notes the boot. Where there is no room for it, the boot counts as unknown: then more is checked than must be.
fn mark_dirty<F: Files>(files: &F, root: &Path, boot_id: &str) -> io::Result<()> {
    match replace_file(files, &root.join(DIRTY), boot_id.as_bytes(), Persist::Now) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => remove_if_there(files, &root.join(DIRTY)),
        written => written,
    }
}

/// A field of a line.
type Field = fn(&mut Line) -> &mut Offset;

/// Lists the directory, and takes from the checkpoints what they say of the partitions that are there.
fn find<F: Files>(files: &F, root: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in files.list(root)?.into_iter().filter(|entry| entry.is_dir) {
        if entry.name.ends_with(names::DELETED_DIR) {
            found.leftovers.push(entry.path);
        } else if let Some((topic, partition)) = names::parse_partition_dir(&entry.name) {
            found.lines.entry(topic).or_default().insert(partition, Line::default());
        }
    }
    let fields: [(&str, Field); 3] = [
        (RECOVERY_POINTS, |line| &mut line.recovery_point),
        (LOG_STARTS, |line| &mut line.log_start),
        (HIGH_WATERMARKS, |line| &mut line.high_watermark),
    ];
    for (name, field) in fields {
        for row in checkpoint::read(files, &root.join(name))?.unwrap_or_default() {
            if let Some((line, offset)) = line_of(&mut found.lines, &row) {
                *field(line) = offset;
                // A recovery point that is damaged and too large would have records taken for lost. What is synced is
                // committed, so that the last of the three files bounds it.
                if name == HIGH_WATERMARKS {
                    line.recovery_point = line.recovery_point.min(offset);
                }
            }
        }
    }
    Ok(found)
}

/// The line that a row of a checkpoint is about, if its partition is there.
fn line_of<'a>(lines: &'a mut Lines, row: &[String]) -> Option<(&'a mut Line, Offset)> {
    let [topic, partition, offset] = row else { return None };
    let partitions = lines.get_mut(topic)?;
    let line = partitions.get_mut(&PartitionIndex(partition.parse().ok()?))?;
    Some((line, Offset(offset.parse().ok()?)))
}

impl CheckpointTexts {
    /// The texts that say this.
    #[must_use]
    pub fn of(lines: &Lines) -> CheckpointTexts {
        CheckpointTexts {
            recovery_points: text_of(lines, |line| line.recovery_point),
            log_starts: text_of(lines, |line| line.log_start),
            high_watermarks: text_of(lines, |line| line.high_watermark),
        }
    }
}

fn text_of(lines: &Lines, field: fn(&Line) -> Offset) -> String {
    let mut text = checkpoint::head(lines.values().map(BTreeMap::len).sum());
    for (topic, partitions) in lines {
        for (partition, line) in partitions {
            writeln!(text, "{topic} {partition} {}", field(line)).expect("a string takes every text");
        }
    }
    text
}
