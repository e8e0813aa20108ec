//! Fetch sessions (KIP-227, with topic ids as of KIP-516): what a client asks is remembered, so that it says only what changed.
//!
//! [`FetchSessions::begin`] makes a [`FetchPlan`] of a request: the partitions to look at, in the order in which they are
//! served. [`FetchPlan::settle`] is told what each partition gave and says whether it belongs in the answer;
//! [`FetchPlan::finish`] keeps the session for the next request and gives the id to answer.
//!
//! Invariants:
//! - A session that serves a request is checked out: it lies in the plan, and nobody else reads or writes it. The shards'
//!   locks are held for a look-up, never while partitions are walked. A plan that is dropped unfinished ends its session.
//! - Memory is bounded: at most `slots` sessions, and at most `partitions_max` cached partitions in all, of about 110 bytes
//!   each and what the caller puts beside them. What a session once needed counts until it ends.
//! - A partition that failed is sent again once it no longer fails.
//!
//! It does not resolve topics, read logs, wait, or know a clock: `now` is an argument. Two requests of one session at the
//! same time are refused (a client has one outstanding); Kafka would serve the newer.
//!
//! Start reading at [`FetchSessions::begin`].

mod body;
mod plan;
mod shard;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use broker_model::{ErrorCode, Timestamp};
use broker_wire::messages::fetch_request::FetchRequest;
use parking_lot::Mutex;

pub use self::body::{Asked, PlanTopic};
use self::body::{Body, Budget};
use self::plan::Kind;
pub use self::plan::{FetchPlan, Outcome};
use self::shard::{Newcomer, Shard};

/// The id that means "no session".
pub const SESSION_NONE: i32 = 0;
/// The epoch that closes a session and wants no other.
const EPOCH_FINAL: i32 = -1;
/// The epoch that asks for a new session.
const EPOCH_INITIAL: i32 = 0;
/// The epoch of a session's first incremental request, and the one after `i32::MAX`.
const EPOCH_FIRST: i32 = 1;
/// Versions from here name topics by id (KIP-516).
const VERSION_TOPIC_IDS: i16 = 13;
/// As many locks as Kafka has.
const SHARDS_MAX: usize = 8;

/// How much is cached, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions that stand.
    pub sessions: usize,
    /// Cached partitions that memory is held for.
    pub partitions: usize,
    /// Sessions that others took the place of, since the start.
    pub evicted: u64,
}

/// The sessions of all connections. `T` is what the caller keeps beside each partition, such as a resolved reference.
#[derive(Debug)]
pub struct FetchSessions<T> {
    shards: Box<[Mutex<Shard<T>>]>,
    budget: Arc<Budget>,
    seed: u64,
    created: AtomicU64,
    evicted: AtomicU64,
}

impl<T: Default> FetchSessions<T> {
    /// At most `slots` sessions (`max.incremental.fetch.session.cache.slots`, 0 switches them off) of `partitions_max`
    /// partitions in all. `seed` is random in a server, so that ids are not guessed and not those of before a restart.
    #[must_use]
    pub fn new(slots: usize, partitions_max: usize, seed: u64) -> FetchSessions<T> {
        let count = slots.clamp(1, SHARDS_MAX);
        let shards = (0..count).map(|shard| slots / count + usize::from(shard < slots % count));
        FetchSessions {
            shards: shards.map(|slots| Mutex::new(Shard::new(slots))).collect(),
            budget: Arc::new(Budget { max: partitions_max, used: AtomicUsize::new(0) }),
            seed,
            created: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// What this request asks, its topics taken out of it. Epoch 0 and -1 are full requests, which end the session that
    /// they name; others continue a session.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`. Each is the whole
    /// answer, with session id 0; the client then sends a full request.
    pub fn begin(
        self: &Arc<Self>,
        request: &mut FetchRequest,
        version: i16,
        now: Timestamp,
    ) -> Result<FetchPlan<T>, ErrorCode> {
        let by_id = version >= VERSION_TOPIC_IDS;
        let kind = match request.session_epoch {
            EPOCH_FINAL => Kind::Sessionless,
            EPOCH_INITIAL => Kind::New { is_follower: is_follower(request), by_id },
            _ => return self.resume(request, by_id, now),
        };
        self.close(request.session_id);
        let body = Body::of_request(std::mem::take(&mut request.topics));
        Ok(FetchPlan::new(self.clone(), kind, body))
    }

    /// How much is cached at the moment. Takes each shard's lock in turn.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.shards.iter().map(|shard| shard.lock().len()).sum(),
            partitions: self.budget.used.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
        }
    }

    fn resume(
        self: &Arc<Self>,
        request: &mut FetchRequest,
        by_id: bool,
        now: Timestamp,
    ) -> Result<FetchPlan<T>, ErrorCode> {
        let id = request.session_id;
        let shard = self.shard(id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let body = shard.lock().check_out(id, request.session_epoch, by_id, now)?;
        let mut plan = FetchPlan::new(self.clone(), Kind::Incremental { id }, body);
        // Beyond the bound the session ends, by dropping the plan; the client asks in full again.
        plan.body.update(request).map_err(|_full| ErrorCode::FetchSessionIdNotFound)?;
        if plan.is_empty() {
            self.close(id);
            plan.kind = Kind::Sessionless;
        }
        Ok(plan)
    }

    /// Keeps what a full request asked, if there is room. Answers the new session's id, or 0.
    fn create(&self, newcomer: Newcomer, mut body: Body<T>) -> i32 {
        let turn = self.created.fetch_add(1, Ordering::Relaxed);
        let count = self.shards.len() as u64;
        let index = turn % count;
        let Some(shard) = self.shards.get(usize::try_from(index).unwrap_or(0)) else { return SESSION_NONE };
        if newcomer.size > self.budget.max {
            return SESSION_NONE;
        }
        // Declared before the lock, so that what is evicted is dropped without it.
        let mut evicted = Vec::new();
        let mut shard = shard.lock();
        let has_room = shard.make_room(&newcomer, &mut evicted);
        let mut is_cached = has_room && body.cache(&self.budget, newcomer.by_id).is_ok();
        while has_room && !is_cached && !body.is_double() {
            let Some(stale) = shard.evict_stale(newcomer.now) else { break };
            drop(stale);
            self.evicted.fetch_add(1, Ordering::Relaxed);
            is_cached = body.cache(&self.budget, newcomer.by_id).is_ok();
        }
        self.evicted.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        if !is_cached {
            return SESSION_NONE;
        }
        let mut ids = (0..).map(|attempt| session_id(self.seed, turn.wrapping_add(attempt << 40), (index, count)));
        let id = ids.find(|id| *id != SESSION_NONE && !shard.contains(*id));
        let id = id.expect("a shard holds fewer sessions than there are ids");
        shard.insert(id, newcomer, body);
        id
    }

    /// Takes a session back that was checked out. One that was ended meanwhile is dropped.
    fn check_in(&self, id: i32, body: Body<T>, now: Timestamp) {
        if let Some(shard) = self.shard(id) {
            // Bound first: what is dropped is dropped without the lock.
            let ended = shard.lock().check_in(id, body, now);
            drop(ended);
        }
    }

    fn close(&self, id: i32) {
        if let Some(shard) = self.shard(id) {
            let ended = shard.lock().remove(id);
            drop(ended);
        }
    }

    fn shard(&self, id: i32) -> Option<&Mutex<Shard<T>>> {
        let id = usize::try_from(id).ok().filter(|id| *id > 0)?;
        self.shards.get(id % self.shards.len())
    }
}

fn is_follower(request: &FetchRequest) -> bool {
    request.replica_id >= 0 || request.replica_state.replica_id >= 0
}

const fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { EPOCH_FIRST } else { epoch + 1 }
}

/// A positive id of shard `index` of `count` that nobody can tell without the seed; now and then 0.
fn session_id(seed: u64, turn: u64, (index, count): (u64, u64)) -> i32 {
    // The finaliser of SplitMix64: each turn gives another number.
    let mut mixed = seed.wrapping_add(turn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let places = u64::from(i32::MAX.unsigned_abs()) / count;
    i32::try_from((mixed % places) * count + index).unwrap_or(SESSION_NONE)
}
