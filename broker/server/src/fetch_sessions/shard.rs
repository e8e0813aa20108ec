//! A share of the sessions under one lock: who is there, in which epoch, and who must go for whom.
//!
//! The rules of eviction are Kafka's: an idle session goes; else the least of the old ones for a larger one, and the least
//! consumer for a follower. The lock is held for a look-up; a search for a victim walks the shard, and happens only when
//! it is full.

use std::collections::BTreeMap;

use broker_model::{ErrorCode, Timestamp};

use super::body::Body;
use super::{EPOCH_FIRST, next_epoch};

/// A session that was not used for this long may be evicted, and one that stands for this long may be by a larger one.
const EVICT_AFTER_MS: i64 = 120_000;

/// A session that is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newcomer {
    pub(super) is_follower: bool,
    pub(super) by_id: bool,
    /// Partitions.
    pub(super) size: usize,
    pub(super) now: Timestamp,
}

#[derive(Debug)]
struct Slot<T> {
    /// The epoch of the next request.
    epoch: i32,
    by_id: bool,
    is_follower: bool,
    created: Timestamp,
    used: Timestamp,
    size: usize,
    /// None while a request is served.
    body: Option<Body<T>>,
}

#[derive(Debug)]
pub(super) struct Shard<T> {
    slots_max: usize,
    slots: BTreeMap<i32, Slot<T>>,
}

impl<T> Shard<T> {
    pub(super) fn new(slots_max: usize) -> Shard<T> {
        Shard { slots_max, slots: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn contains(&self, id: i32) -> bool {
        self.slots.contains_key(&id)
    }

    /// Lends the session to the request of this epoch.
    pub(super) fn check_out(&mut self, id: i32, epoch: i32, by_id: bool, now: Timestamp) -> Result<Body<T>, ErrorCode> {
        let slot = self.slots.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if slot.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if slot.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let body = slot.body.take().ok_or(ErrorCode::InvalidFetchSessionEpoch)?;
        (slot.epoch, slot.used) = (next_epoch(epoch), now);
        Ok(body)
    }

    /// Takes the session back; gives it again if it was ended meanwhile.
    pub(super) fn check_in(&mut self, id: i32, body: Body<T>, now: Timestamp) -> Option<Body<T>> {
        match self.slots.get_mut(&id) {
            Some(slot) if slot.body.is_none() => {
                (slot.size, slot.used) = (body.len(), now);
                slot.body = Some(body);
                None
            }
            _ => Some(body),
        }
    }

    pub(super) fn insert(&mut self, id: i32, newcomer: Newcomer, body: Body<T>) {
        let Newcomer { is_follower, by_id, size, now } = newcomer;
        let slot = Slot { epoch: EPOCH_FIRST, by_id, is_follower, created: now, used: now, size, body: Some(body) };
        self.slots.insert(id, slot);
    }

    #[cfg(test)]
    pub(super) fn set_epoch(&mut self, id: i32, epoch: i32) {
        self.slots.get_mut(&id).expect("the test made it").epoch = epoch;
    }

    /// Ends a session. What it held is given, so that it is dropped without the lock.
    pub(super) fn remove(&mut self, id: i32) -> Option<Body<T>> {
        self.slots.remove(&id).and_then(|slot| slot.body)
    }

    /// True if there is a free slot, or one was freed by who must go for the newcomer, whose memory goes to `evicted`.
    pub(super) fn make_room(&mut self, newcomer: &Newcomer, evicted: &mut Vec<Option<Body<T>>>) -> bool {
        if self.slots.len() < self.slots_max {
            return true;
        }
        let Some(victim) = self.stale(newcomer.now).or_else(|| self.least_below(newcomer)) else { return false };
        evicted.push(self.remove(victim));
        true
    }

    /// Ends the session that was idle the longest, if too long. Some(None) is one that is checked out.
    pub(super) fn evict_stale(&mut self, now: Timestamp) -> Option<Option<Body<T>>> {
        self.stale(now).map(|id| self.remove(id))
    }

    fn stale(&self, now: Timestamp) -> Option<i32> {
        let (id, slot) = self.slots.iter().min_by_key(|(_, slot)| slot.used)?;
        is_past(slot.used, now).then_some(*id)
    }

    /// The least of those who may go for the newcomer, if it is less than that.
    fn least_below(&self, newcomer: &Newcomer) -> Option<i32> {
        let may_go =
            |slot: &Slot<T>| is_past(slot.created, newcomer.now) || (newcomer.is_follower && !slot.is_follower);
        let candidates = self.slots.iter().filter(|(_, slot)| may_go(slot));
        let (id, slot) = candidates.min_by_key(|(_, slot)| (slot.is_follower, slot.size))?;
        ((slot.is_follower, slot.size) < (newcomer.is_follower, newcomer.size)).then_some(*id)
    }
}

fn is_past(since: Timestamp, now: Timestamp) -> bool {
    now.0.saturating_sub(since.0) > EVICT_AFTER_MS
}
