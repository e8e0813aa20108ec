//! A request of a sequence, before it is made for one of the two brokers.
//!
//! What a broker hands out (topic ids, member ids, producer ids, sessions) is not in a step: a step names a slot, and
//! [`View`] gives what this side's broker put there. So a sequence depends on its seed only, can be replayed, and still
//! makes sense after steps were dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use broker_model::TopicId;
use broker_wire::{ApiKey, RequestBody, Str};

/// One of the two brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Strata,
    Kafka,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Strata, Side::Kafka];
}

/// What one broker handed out in this sequence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    pub(crate) topic_ids: HashMap<String, TopicId>,
    pub(crate) members: HashMap<u8, Str>,
    /// By member, too: a member keeps the generation that it was told.
    pub(crate) generations: HashMap<u8, i32>,
    pub(crate) producers: HashMap<u8, (i64, i16)>,
    pub(crate) sessions: HashMap<u8, i32>,
}

/// A sequence as one side sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// In front of all names of topics and groups of this run of the sequence.
    pub(crate) prefix: &'a str,
    /// When the run began, in milliseconds of Unix time; the same on both sides.
    pub(crate) now: i64,
    pub(crate) slots: &'a Slots,
}

impl View<'_> {
    pub(crate) fn topic(&self, slot: u8) -> Str {
        Str::from(format!("{}-t{slot}", self.prefix))
    }

    pub(crate) fn group(&self, slot: u8) -> Str {
        Str::from(format!("{}-g{slot}", self.prefix))
    }

    /// The id of a topic; zero where none is known.
    pub(crate) fn topic_id(&self, slot: u8) -> TopicId {
        self.slots.topic_ids.get(self.topic(slot).as_str()).copied().unwrap_or(TopicId::ZERO)
    }

    /// The same, with an id that no topic has where none is known.
    pub(crate) fn topic_id_or(&self, slot: u8) -> TopicId {
        let known = self.topic_id(slot);
        if known.is_zero() { TopicId([7 + slot; 16]) } else { known }
    }

    /// The id of a member; empty where it has none yet.
    pub(crate) fn member(&self, slot: u8) -> Str {
        self.slots.members.get(&slot).cloned().unwrap_or_default()
    }

    pub(crate) fn generation(&self, slot: u8) -> i32 {
        self.slots.generations.get(&slot).copied().unwrap_or(1)
    }

    /// The id and epoch of a producer; an id that no broker gave out where none is known.
    pub(crate) fn producer(&self, slot: u8) -> (i64, i16) {
        self.slots.producers.get(&slot).copied().unwrap_or((1_000_000_007 + i64::from(slot), 0))
    }

    pub(crate) fn session(&self, slot: u8) -> i32 {
        self.slots.sessions.get(&slot).copied().unwrap_or(77_777)
    }
}

/// What is done to the bytes of a request after it was encoded. Positions count from the frame's end or are taken modulo
/// the body's length, so that they mean the same on both sides.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    /// This many bytes are missing at the end.
    Cut(usize),
    /// This many zeros follow.
    Extend(usize),
    /// A bit of the body is flipped; only bytes that both sides get count.
    Flip(usize),
    /// The head says another version.
    Version(i16),
    /// The head says another API.
    Key(i16),
    /// The whole frame, without its length.
    Raw(Vec<u8>),
}

/// Makes the body of a request for one side.
pub(crate) type Make = Arc<dyn Fn(&View<'_>) -> RequestBody + Send + Sync>;

/// A request of a sequence.
#[derive(Clone)]
pub(crate) struct Step {
    /// The connection that it goes over.
    pub(crate) lane: u8,
    /// What it tries, for the report of what was covered.
    pub(crate) kind: &'static str,
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) make: Make,
    pub(crate) damage: Option<Damage>,
    /// Where what the answer hands out is kept.
    pub(crate) slot: u8,
    /// False for a produce request with acks=0.
    pub(crate) is_answered: bool,
    /// The cluster's metadata change: what follows waits until both brokers show the same.
    pub(crate) settles: bool,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} v{}, lane {})", self.kind, self.api.name(), self.version, self.lane)
    }
}
