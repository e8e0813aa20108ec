//! What may go: from the bucket by `retention.*`, from the local disk by `local.retention.*`.
//!
//! Time counts from min(max record timestamp, append time), so that a timestamp in the future cannot hold data for ever.
//! Size counts what is committed and what is local beyond it; registered ids and objects without a commit count nothing.
//! Local data goes only below the end of the root that is durable in the bucket (TIER-2).

use broker_model::{Offset, Timestamp};
use tiering_manifest::Root;

use crate::{Action, Facts, Rules};

/// What retention must know of one range.
struct Range {
    end: Offset,
    bytes: u64,
    retention_time: Timestamp,
}

/// Adds the move of the log start offset that retention, or the local log start offset, asks for.
pub(crate) fn expire(root: &Root, facts: &Facts<'_>, rules: &Rules, now: Timestamp, actions: &mut Vec<Action>) {
    let mut to = root.log_start.max(facts.log_start);
    let mut left = root.bytes().saturating_add(facts.unshipped_bytes);
    let mut looked_into_all = true;
    for range in ranges(root, facts, &mut looked_into_all) {
        let by_time = rules.retention_ms.is_some_and(|ms| range.retention_time.plus_ms(ms) <= now);
        let by_size = rules.retention_bytes.is_some_and(|bound| left.saturating_sub(range.bytes) >= bound);
        if !by_time && !by_size && range.end > to {
            break;
        }
        left = left.saturating_sub(range.bytes);
        to = to.max(range.end);
    }
    let bounded = rules.retention_ms.is_some() || rules.retention_bytes.is_some() || facts.log_start > root.log_start;
    if let Some(first) = root.groups.first().filter(|first| !looked_into_all && bounded && to < first.end) {
        actions.push(Action::OpenFirstGroup(first.name));
    }
    let first_range = root.groups.first().map(|group| group.end);
    let first_range = first_range.or_else(|| root.entries.first().map(|entry| entry.end));
    let left_behind = first_range.is_some_and(|end| end <= root.log_start);
    if to > root.log_start || left_behind {
        actions.push(Action::AdvanceStart { to, delete_after: now.plus_ms(rules.grace_ms) });
    }
}

/// When the first committed range leaves by its age. What goes before that goes for another reason, which is an event.
pub(crate) fn first_expiry(root: &Root, facts: &Facts<'_>, rules: &Rules) -> Option<Timestamp> {
    let first = ranges(root, facts, &mut true).into_iter().next()?;
    rules.retention_ms.map(|ms| first.retention_time.plus_ms(ms))
}

/// The committed ranges, oldest first: groups that cannot be looked into count as one range.
fn ranges(root: &Root, facts: &Facts<'_>, looked_into_all: &mut bool) -> Vec<Range> {
    let mut ranges = Vec::new();
    let mut rest = root.groups.as_slice();
    if let Some((first, others)) = root.groups.split_first() {
        let fits = |content: &&tiering_manifest::Group| {
            content.entries.len() == first.count as usize
                && content.entries.get(first.skip as usize).is_some_and(|entry| entry.base == first.base)
                && content.entries.last().is_some_and(|entry| entry.end == first.end)
        };
        match facts.first_group.filter(fits) {
            Some(content) => {
                ranges.extend(content.entries.iter().skip(first.skip as usize).map(of_entry));
                rest = others;
            }
            None => *looked_into_all = false,
        }
    }
    ranges.extend(rest.iter().map(|group| Range {
        end: group.end,
        bytes: group.bytes,
        retention_time: group.retention_time,
    }));
    ranges.extend(root.entries.iter().map(of_entry));
    ranges
}

fn of_entry(entry: &tiering_manifest::Entry) -> Range {
    Range { end: entry.end, bytes: entry.length, retention_time: entry.retention_time() }
}

/// A segment of the local log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalSegment {
    /// The offset after the last.
    pub end: Offset,
    /// Bytes of the segment.
    pub bytes: u64,
    /// The largest timestamp of a record, or -1.
    pub max_timestamp: Timestamp,
    /// When the last batch was appended.
    pub append_time: Timestamp,
    /// Nothing is appended to it any more.
    pub closed: bool,
}

/// What local retention must know.
#[derive(Clone, Copy, Debug)]
pub struct LocalFacts<'a> {
    /// The local segments, oldest first.
    pub segments: &'a [LocalSegment],
    /// The end of the root that is durable in the bucket, never of one that is only drafted.
    pub durable_end: Offset,
    /// The first offset that a consumer may read.
    pub log_start: Offset,
    /// `local.retention.ms`, None for without end.
    pub retention_ms: Option<i64>,
    /// `local.retention.bytes`, None for without end.
    pub retention_bytes: Option<u64>,
}

/// The offset below which local segments may be deleted, None where none may. A segment goes when it is closed, covered by
/// the durable root (or below the log start offset), and past local retention; the first that stays keeps all after it.
#[must_use]
pub fn local_start(facts: &LocalFacts<'_>, now: Timestamp) -> Option<Offset> {
    let mut left: u64 = facts.segments.iter().map(|segment| segment.bytes).fold(0, u64::saturating_add);
    let mut start = None;
    for segment in facts.segments {
        let below_start = segment.end <= facts.log_start;
        let covered = segment.end <= facts.durable_end;
        let from = match segment.max_timestamp {
            max if max.0 < 0 => segment.append_time,
            max => max.min(segment.append_time),
        };
        let by_time = facts.retention_ms.is_some_and(|ms| from.plus_ms(ms) <= now);
        let by_size = facts.retention_bytes.is_some_and(|bound| left.saturating_sub(segment.bytes) >= bound);
        if !segment.closed || !(below_start || covered && (by_time || by_size)) {
            break;
        }
        left = left.saturating_sub(segment.bytes);
        start = Some(segment.end);
    }
    start
}
