//! What the coordinator deletes by itself: offsets that expired, offsets of deleted topics, groups of which nothing is left.
//!
//! A walk over the groups, a bounded number of tombstones a step, so that no step is large. The rules are those of
//! KIP-211. A group without members keeps its offsets for `offsets.retention.minutes` from the moment it became empty, or
//! from the commit if that is later (Kafka looks at the first alone, and so would drop what a tool has just reset); a simple
//! group from the commit; a stable group of consumers too, of the topics that no member subscribes to. Groups in a
//! rebalance and those of other protocols keep all. An offset that came with a retention of its own (OffsetCommit up to
//! version 4) goes by that. Deleted topics are remembered until a whole walk finds nothing
//! of them; a restart forgets them, and then the topic's id tells (see `FetchTopic`). A walk for their sake leaves empty
//! groups alone: those go every `offsets.retention.check.interval.ms`, as in Kafka.

use std::ops::Bound;

use broker_model::Timestamp;
use broker_model::machine::CallId;

use crate::live::{Live, LiveGroup, Phase};
use crate::records;
use crate::request::{KeptOffset, Output};
use crate::settings::TOMBSTONES_PER_STEP;
use crate::state::KeptGroup;
use crate::turn::Turn;

/// These topics are deleted.
pub(crate) fn topics_deleted(turn: &mut Turn<'_>, live: &mut Live, call: CallId, topics: Vec<String>) {
    live.housekeeping.deleted_topics.extend(topics.into_iter().map(|topic| (topic, turn.now)));
    live.housekeeping.from = None;
    live.housekeeping.due = turn.now.plus_ms(1);
    turn.reply(call, Output::Noted);
}

/// One part of the walk, if it is due.
pub(crate) fn tick(turn: &mut Turn<'_>, live: &mut Live) {
    if live.housekeeping.due > turn.now {
        return;
    }
    let hard = turn.hard;
    let from = live.housekeeping.from.take();
    let is_whole_walk = from.is_none();
    let from = from.map_or(Bound::Unbounded, Bound::Included);
    let mut found = 0;
    for (id, kept) in hard.groups.range((from, Bound::Unbounded)) {
        found += sweep(turn, live, id, kept);
        if found >= TOMBSTONES_PER_STEP {
            live.housekeeping.from = Some(id.clone());
            live.housekeeping.due = turn.now.plus_ms(1);
            return;
        }
    }
    let is_done = is_whole_walk && found == 0;
    let housekeeping = &mut live.housekeeping;
    if is_done {
        housekeeping.deleted_topics.clear();
    }
    if housekeeping.groups_due <= turn.now {
        housekeeping.groups_due = turn.now.plus_ms(turn.settings.retention_check_ms.max(1));
    }
    let is_awaited = !housekeeping.deleted_topics.is_empty();
    housekeeping.due = if is_awaited { turn.now.plus_ms(1) } else { housekeeping.groups_due };
}

/// From when on the offsets of a group count as unused (KIP-211).
enum Unused<'a> {
    /// From the commit, or from when the group became empty if that is later.
    SinceEmpty(Timestamp),
    /// From the commit, of topics that no member subscribes to.
    ButSubscribed(&'a LiveGroup),
    /// Not while the group is as it is.
    Never,
}

impl Unused<'_> {
    fn of<'a>(live: Option<&'a LiveGroup>, kept: &KeptGroup) -> Unused<'a> {
        let is_empty = live.is_none_or(|group| group.phase == Phase::Empty);
        let since = kept.meta.as_ref().map_or(Timestamp(0), |meta| meta.state_at);
        match live {
            _ if is_empty && kept.meta.as_ref().is_none_or(|meta| meta.members.is_empty()) => Unused::SinceEmpty(since),
            Some(group) if group.phase == Phase::Stable && group.subscribed.is_some() => Unused::ButSubscribed(group),
            _ => Unused::Never,
        }
    }

    fn is_expired(&self, topic: &str, offset: &KeptOffset, turn: &Turn<'_>) -> bool {
        let since = match self {
            Unused::SinceEmpty(since) => offset.at.max(*since),
            Unused::ButSubscribed(group) if !group.uses(topic) => offset.at,
            Unused::ButSubscribed(_) | Unused::Never => return false,
        };
        offset.expires.unwrap_or(since.plus_ms(turn.settings.offsets_retention_ms)) <= turn.now
    }
}

/// Writes tombstones for what of this group is to go. Returns how many.
fn sweep(turn: &mut Turn<'_>, live: &Live, id: &str, kept: &KeptGroup) -> usize {
    let group = live.groups.get(id);
    let unused = Unused::of(group, kept);
    let (mut gone, mut left) = (0, 0);
    for ((topic, partition), offset) in &kept.offsets {
        let is_of_deleted = live.housekeeping.deleted_topics.get(topic).is_some_and(|at| offset.at <= *at);
        let is_gone = is_of_deleted || unused.is_expired(topic, offset, turn);
        if is_gone && gone < TOMBSTONES_PER_STEP {
            turn.write(records::offset(id, topic, *partition, None));
            gone += 1;
        } else {
            left += 1;
        }
    }
    let takes_groups = live.housekeeping.groups_due <= turn.now;
    if left == 0 && takes_groups && group.is_none() && kept.meta.is_some() {
        turn.write(records::group(id, None));
        gone += 1;
    }
    gone
}
