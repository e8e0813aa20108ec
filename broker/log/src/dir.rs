//! One log directory (`log.dirs`): its lock, its identity, its checkpoints, and how it was left.
//!
//! - `.lock` is held while the process lives: a second instance is refused.
//! - `meta.properties` names cluster, node and directory; a directory of another cluster or node is refused.
//! - `.kafka_cleanshutdown` is there after a clean shutdown only; it is removed before anything is written.
//! - `strata-dirty` holds the boot id of the machine while the directory is in use: the same id later means that the
//!   page cache survived.
//! - Three checkpoints hold recovery points, log starts and high watermarks of all partitions, replaced atomically.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use broker_model::{Offset, PartitionIndex};
use thiserror::Error;

use crate::checkpoint;
use crate::files::{Change, Files, OpenMode, Persist, read_file, remove_if_there, replace_file, sync_dir};
use crate::{log, names};

const LOCK: &str = ".lock";
const META: &str = "meta.properties";
const CLEAN: &str = ".kafka_cleanshutdown";
const DIRTY: &str = "strata-dirty";
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
const LOG_STARTS: &str = "log-start-offset-checkpoint";
const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";

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
    /// The system failed.
    #[error("opening the log directory {path}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the directory knows of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionHints {
    /// The directory was shut down cleanly.
    pub clean: bool,
    /// The machine has not restarted since.
    pub same_boot: bool,
    /// Everything below was synced.
    pub recovery_point: Offset,
    /// Where the partition began.
    pub log_start: Offset,
    /// Where it was committed to.
    pub high_watermark: Offset,
}

/// A partition's line in the checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Everything below is synced (`LogReader::flushed_end`).
    pub recovery_point: Offset,
    /// Where the partition begins.
    pub log_start: Offset,
    /// Where it is committed to.
    pub high_watermark: Offset,
}

type Rows = BTreeMap<(String, PartitionIndex), Offset>;

/// A log directory in use.
pub struct DirState<F: Files> {
    files: F,
    root: PathBuf,
    identity: Identity,
    clean: bool,
    same_boot: bool,
    recovery_points: Rows,
    log_starts: Rows,
    high_watermarks: Rows,
    _lock: F::Handle,
}

impl<F: Files> DirState<F> {
    /// Takes a directory into use; it is made where it is not there. `boot_id` is the kernel's (see [`boot_id`]).
    ///
    /// # Errors
    /// `Locked`, `Stranger`, or when the system fails.
    pub fn open(files: F, root: PathBuf, expected: &Identity, boot_id: &str) -> Result<DirState<F>, DirError> {
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
        let rows = |name: &str| read_rows(&files, &root.join(name)).map_err(fail);
        let (recovery_points, log_starts) = (rows(RECOVERY_POINTS)?, rows(LOG_STARTS)?);
        let high_watermarks = rows(HIGH_WATERMARKS)?;
        replace_file(&files, &root.join(DIRTY), boot_id.as_bytes(), Persist::Now).map_err(fail)?;
        remove_if_there(&files, &root.join(CLEAN)).map_err(fail)?;
        sync_dir(&files, &root).map_err(fail)?;
        if let Some(parent) = root.parent().filter(|parent| *parent != Path::new("")) {
            sync_dir(&files, parent).map_err(fail)?;
        }
        for entry in files.list(&root).map_err(fail)? {
            if entry.is_dir && entry.name.ends_with(names::DELETED_DIR) {
                log::remove_dir(&files, &entry.path).map_err(fail)?;
            }
        }
        Ok(DirState {
            files,
            root,
            identity,
            clean,
            same_boot,
            recovery_points,
            log_starts,
            high_watermarks,
            _lock: lock,
        })
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

    /// What is known of a partition. Zeros for one that has no line.
    #[must_use]
    pub fn hints(&self, topic: &str, partition: PartitionIndex) -> PartitionHints {
        let key = (topic.to_owned(), partition);
        let of = |rows: &Rows| rows.get(&key).copied().unwrap_or_default();
        PartitionHints {
            clean: self.clean,
            same_boot: self.same_boot,
            recovery_point: of(&self.recovery_points),
            log_start: of(&self.log_starts),
            high_watermark: of(&self.high_watermarks),
        }
    }

    /// The directory of a partition.
    #[must_use]
    pub fn partition_dir(&self, topic: &str, partition: PartitionIndex) -> PathBuf {
        self.root.join(names::partition_dir(topic, partition))
    }

    /// The partitions that lie here.
    ///
    /// # Errors
    /// When the system fails.
    pub fn partitions(&self) -> io::Result<Vec<(String, PartitionIndex, PathBuf)>> {
        let mut found = Vec::new();
        for entry in self.files.list(&self.root)? {
            if entry.is_dir
                && let Some((topic, partition)) = names::parse_partition_dir(&entry.name)
            {
                found.push((topic, partition, entry.path));
            }
        }
        Ok(found)
    }

    /// Replaces all three checkpoints by these lines. A partition without a line is forgotten: so is a deleted one.
    ///
    /// # Errors
    /// When the system fails; the earlier checkpoint then holds.
    pub fn write_checkpoints(&mut self, rows: &[CheckpointRow]) -> io::Result<()> {
        let collect = |of: fn(&CheckpointRow) -> Offset| -> Rows {
            rows.iter().map(|row| ((row.topic.clone(), row.partition), of(row))).collect()
        };
        self.recovery_points = collect(|row| row.recovery_point);
        self.log_starts = collect(|row| row.log_start);
        self.high_watermarks = collect(|row| row.high_watermark);
        // The log starts first: a recovery point without its log start would be the worse half.
        write_rows(&self.files, &self.root.join(LOG_STARTS), &self.log_starts)?;
        write_rows(&self.files, &self.root.join(RECOVERY_POINTS), &self.recovery_points)?;
        write_rows(&self.files, &self.root.join(HIGH_WATERMARKS), &self.high_watermarks)
    }

    /// Forgets a partition that is deleted, so that a new one of its name begins from nothing.
    ///
    /// # Errors
    /// When the system fails.
    pub fn forget(&mut self, topic: &str, partition: PartitionIndex) -> io::Result<()> {
        let key = (topic.to_owned(), partition);
        self.log_starts.remove(&key);
        self.recovery_points.remove(&key);
        self.high_watermarks.remove(&key);
        write_rows(&self.files, &self.root.join(LOG_STARTS), &self.log_starts)?;
        write_rows(&self.files, &self.root.join(RECOVERY_POINTS), &self.recovery_points)?;
        write_rows(&self.files, &self.root.join(HIGH_WATERMARKS), &self.high_watermarks)
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

fn read_rows<F: Files>(files: &F, path: &Path) -> io::Result<Rows> {
    let rows = checkpoint::read(files, path)?.unwrap_or_default();
    let parse = |row: Vec<String>| {
        let [topic, partition, offset] = row.as_slice() else { return None };
        let key = (topic.clone(), PartitionIndex(partition.parse().ok()?));
        Some((key, Offset(offset.parse().ok()?)))
    };
    Ok(rows.into_iter().filter_map(parse).collect())
}

fn write_rows<F: Files>(files: &F, path: &Path, rows: &Rows) -> io::Result<()> {
    let line =
        |((topic, partition), offset): (&(String, PartitionIndex), &Offset)| format!("{topic} {partition} {offset}");
    let lines: Vec<String> = rows.iter().map(line).collect();
    checkpoint::write(files, path, &lines, Persist::Now)
}
