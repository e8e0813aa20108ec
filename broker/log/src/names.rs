//! The names of Kafka's files.
//!
//! A segment's files carry its base offset in 20 digits; a partition's directory is `<topic>-<partition>`.

use std::path::{Path, PathBuf};

use broker_model::{Offset, PartitionIndex};

pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Every kind of file that a segment has. The log goes last, so that a half deleted segment is still one.
pub(crate) const SEGMENT_KINDS: [&str; 5] = [INDEX, TIME_INDEX, "txnindex", SNAPSHOT, LOG];
pub(crate) const DELETED: &str = "deleted";
pub(crate) const DELETED_DIR: &str = "-delete";
pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";
pub(crate) const METADATA: &str = "partition.metadata";
pub(crate) const DAMAGE: &str = "strata-damaged-ranges";

pub(crate) fn segment_file(dir: &Path, base: Offset, kind: &str) -> PathBuf {
    dir.join(format!("{:020}.{kind}", base.0))
}

/// The base offset in the name of a file of this kind.
pub(crate) fn base_of(name: &str, kind: &str) -> Option<Offset> {
    let digits = name.strip_suffix(kind)?.strip_suffix('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset)
}

/// The directory of a partition.
pub(crate) fn partition_dir(topic: &str, partition: PartitionIndex) -> String {
    format!("{topic}-{partition}")
}

/// Topic and partition in the name of a directory.
pub(crate) fn parse_partition_dir(name: &str) -> Option<(String, PartitionIndex)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let number = partition.parse().ok().filter(|number| *number >= 0)?;
    (!topic.is_empty()).then(|| (topic.to_owned(), PartitionIndex(number)))
}
