//! What the coordinator deletes by itself: offsets that expired, offsets of deleted topics, groups of which nothing is left.
//!
//! A walk over the groups, a bounded number of tombstones a step, so that no step is large. A group without members
//! keeps its offsets for `offsets.retention.minutes` from the moment it became empty, or from the commit if that is
//! later; a simple group from the commit. Groups with members keep all: the rule that lets offsets of topics expire that
//! a stable group no longer subscribes to is not here yet. Deleted topics are remembered until a whole walk finds nothing
//! of them; a restart forgets them, and then the topic's id tells (see `FetchTopic`).

use std::ops::Bound;

use broker_model::machine::CallId;

use crate::live::Live;
use crate::machine::Turn;
use crate::records;
use crate::request::Output;
use crate::settings::TOMBSTONES_PER_STEP;
use crate::state::KeptGroup;

/// These topics are deleted.
pub(crate) fn topics_deleted(turn: &mut Turn<'_>, live: &mut Live, call: CallId, topics: Vec<String>) {
    live.housekeeping.deleted_topics.extend(topics);
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
    if is_done {
        live.housekeeping.deleted_topics.clear();
    }
    let is_awaited = !live.housekeeping.deleted_topics.is_empty();
    let wait_ms = if is_awaited { 1 } else { turn.settings.retention_check_ms.max(1) };
    live.housekeeping.due = turn.now.plus_ms(wait_ms);
}

/// Writes tombstones for what of this group is to go. Returns how many.
fn sweep(turn: &mut Turn<'_>, live: &Live, id: &str, kept: &KeptGroup) -> usize {
    let has_members = live.groups.contains_key(id) || turn.hard.has_members(id);
    let expires_before = turn.now.plus_ms(-turn.settings.offsets_retention_ms);
    let empty_since = kept.meta.as_ref().map(|meta| meta.state_at);
    let (mut gone, mut left) = (0, 0);
    for ((topic, partition), offset) in &kept.offsets {
        let since = empty_since.map_or(offset.at, |since| since.max(offset.at));
        let is_expired = !has_members && since <= expires_before;
        let is_gone = is_expired || live.housekeeping.deleted_topics.contains(topic);
        if is_gone && gone < TOMBSTONES_PER_STEP {
            turn.write(records::offset(id, topic, *partition, None));
            gone += 1;
        } else {
            left += 1;
        }
    }
    if left == 0 && !has_members && kept.meta.is_some() {
        turn.write(records::group(id, None));
        gone += 1;
    }
    gone
}
