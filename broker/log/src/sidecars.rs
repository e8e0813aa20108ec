//! The small files beside the segments: whose partition it is, which leaders wrote it, what of it is damaged.
//!
//! None of them is believed blindly. The topic's id may have one wrong character; epochs are compared with the batch
//! heads; the list of damage has a checksum, and where that does not hold the log is scanned as after a power loss.

use std::fmt::Write;
use std::io;
use std::path::Path;
use std::sync::Arc;

use broker_model::{LeaderEpoch, Offset, TopicId};
use broker_partition::{EpochStart, LeaderEpochs};
use broker_records::{BatchHead, crc32c};

use crate::checkpoint;
use crate::error::{OpenError, ReadError};
use crate::files::{Files, Persist, read_file, replace_file};
use crate::names;
use crate::recover::for_each_head;
use crate::segment::Segment;
use crate::walk::Damage;

const CHECKSUM: &str = "crc32c ";

/// Refuses a directory of another topic. One that has no id yet gets it.
pub(crate) fn check_topic<F: Files>(files: &F, dir: &Path, expected: TopicId) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { path: dir.to_path_buf(), source };
    let path = dir.join(names::METADATA);
    let content = read_file(files, &path).map_err(fail)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&content);
    let found = text.lines().find_map(|line| line.strip_prefix("topic_id: ")?.trim().parse::<TopicId>().ok());
    match found {
        Some(found) if found == expected => return Ok(()),
        // Ids are random: two that differ in one character are one that was damaged.
        Some(found) if !differ_in_one(&found.to_string(), &expected.to_string()) => {
            return Err(OpenError::OtherTopic { found, expected });
        }
        _ => {}
    }
    if !content.is_empty() {
        tracing::warn!(path = %path.display(), "the topic id is damaged and is written anew");
    }
    let text = format!("version: 0\ntopic_id: {expected}\n");
    replace_file(files, &path, text.as_bytes(), Persist::Lazily).map_err(fail)
}

fn differ_in_one(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).filter(|(one, other)| one != other).count() == 1
}

/// The damage that is known, with the base offset of its segment. `None` where the file cannot be read: then nothing
/// is known.
pub(crate) fn read_damage<F: Files>(files: &F, dir: &Path) -> io::Result<Option<Vec<(Offset, Damage)>>> {
    let Some(content) = read_file(files, &dir.join(names::DAMAGE))? else { return Ok(Some(Vec::new())) };
    let rows = std::str::from_utf8(&content).ok().and_then(parse_damage);
    if rows.is_none() {
        tracing::warn!(dir = %dir.display(), "the list of damage is damaged itself: everything is checked");
    }
    Ok(rows)
}

fn parse_damage(text: &str) -> Option<Vec<(Offset, Damage)>> {
    let (rows, checksum) = text.split_at_checked(text.rfind(CHECKSUM)?)?;
    if checksum != checksum_line(rows) {
        return None;
    }
    rows.lines().map(parse_row).collect()
}

fn parse_row(row: &str) -> Option<(Offset, Damage)> {
    let mut numbers = row.split(' ').map(|word| word.parse::<i64>().ok());
    let mut next = || numbers.next().flatten();
    let (base, from, to) = (Offset(next()?), Offset(next()?), Offset(next()?));
    let (position, bytes) = (u64::try_from(next()?).ok()?, u64::try_from(next()?).ok()?);
    Some((base, Damage { from, to, position, bytes }))
}

fn checksum_line(rows: &str) -> String {
    format!("{CHECKSUM}{:08x}\n", crc32c(rows.as_bytes()))
}

/// Writes the damage of all segments. No file is made where there is none.
pub(crate) fn write_damage<F: Files>(files: &F, dir: &Path, segments: &[Arc<Segment<F>>]) -> io::Result<()> {
    let mut text = String::new();
    for segment in segments {
        for Damage { from, to, position, bytes } in segment.damage() {
            writeln!(text, "{} {from} {to} {position} {bytes}", segment.base).expect("memory takes every write");
        }
    }
    let path = dir.join(names::DAMAGE);
    if text.is_empty() && read_file(files, &path)?.is_none() {
        return Ok(());
    }
    text += &checksum_line(&text);
    replace_file(files, &path, text.as_bytes(), Persist::Now)
}

/// The leader epochs of the checkpoint, if the heads agree; else those of the heads, and of the checkpoint only what
/// lies before the local log.
pub(crate) fn epochs<F: Files>(
    (files, dir): (&F, &Path),
    segments: &[Arc<Segment<F>>],
    end: Offset,
) -> io::Result<LeaderEpochs> {
    let rows = checkpoint::read(files, &dir.join(names::EPOCHS))?;
    let parse = |row: Vec<String>| {
        let [epoch, start] = row.as_slice() else { return None };
        Some(EpochStart { epoch: LeaderEpoch(epoch.parse().ok()?), start: Offset(start.parse().ok()?) })
    };
    let mut epochs = LeaderEpochs::from_entries(rows.unwrap_or_default().into_iter().filter_map(parse));
    epochs.truncate_from_end(end.next());
    if agree(&epochs, segments, end)? {
        return Ok(epochs);
    }
    let local_start = segments.first().map_or(end, |segment| segment.base);
    let first = head_of(segments, local_start)?.map_or(LeaderEpoch(i32::MAX), |head| head.leader_epoch);
    let older = epochs.entries().iter().filter(|entry| entry.start < local_start && entry.epoch <= first);
    let mut found = LeaderEpochs::from_entries(older.copied());
    for_each_head(segments, local_start, |head| {
        found.assign(head.leader_epoch, head.base_offset);
    })?;
    Ok(found)
}

/// Whether the heads at both ends, and where epochs begin and end, are of the epochs that are said to have written
/// them.
fn agree<F: Files>(epochs: &LeaderEpochs, segments: &[Arc<Segment<F>>], end: Offset) -> io::Result<bool> {
    let local_start = segments.first().map_or(end, |segment| segment.base);
    let starts = epochs.entries().iter().map(|entry| entry.start);
    let ends = starts.clone().map(|start| start.plus(-1));
    let points = [local_start, end.plus(-1)].into_iter().chain(starts.clone()).chain(ends);
    for point in points.filter(|point| (local_start..end).contains(point)) {
        let Some(head) = head_of(segments, point)? else { continue };
        let begins_here = starts.clone().all(|start| start != point) || head.base_offset == point;
        if epochs.epoch_of(point) != Some(head.leader_epoch) || !begins_here {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The head of the batch that holds an offset; `None` where it is damaged.
fn head_of<F: Files>(segments: &[Arc<Segment<F>>], offset: Offset) -> io::Result<Option<BatchHead>> {
    let after = segments.partition_point(|segment| segment.base <= offset);
    let Some(segment) = after.checked_sub(1).and_then(|at| segments.get(at)) else { return Ok(None) };
    if offset >= segment.state().end {
        return Ok(None);
    }
    match segment.locate_batch(offset) {
        Ok(placed) => Ok(Some(placed.head)),
        Err(ReadError::Io(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Writes the leader epochs.
pub(crate) fn write_epochs<F: Files>(files: &F, dir: &Path, epochs: &LeaderEpochs, persist: Persist) -> io::Result<()> {
    let line = |entry: &EpochStart| format!("{} {}", entry.epoch, entry.start);
    let lines: Vec<String> = epochs.entries().iter().map(line).collect();
    checkpoint::write(files, &dir.join(names::EPOCHS), &lines, persist)
}
