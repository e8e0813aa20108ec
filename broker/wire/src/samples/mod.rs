//! Random messages for tests: every field that a version has gets a value.
//!
//! The same seed gives the same messages. Built for this crate's tests and, with the feature `samples`, for the fuzz tests;
//! never for the program.

mod generated;

use broker_model::TopicId;
use bytes::Bytes;
use uuid::Uuid;

use crate::records::Records;
use crate::text::Str;

pub use generated::request;

/// A message or a part of one that can be drawn at random.
///
/// The value has random values in the fields that `version` has and defaults in all others, so that it is encoded without
/// an error and decoded as the same value. It depends on the sampler's state and the version only.
pub trait Sample {
    /// Draws a value for this version.
    fn sample(random: &mut Sampler, version: i16) -> Self;
}

/// A small deterministic source of values (splitmix64).
#[derive(Clone, Debug)]
pub struct Sampler(u64);

impl Sampler {
    /// A source that this seed determines.
    #[must_use]
    pub const fn new(seed: u64) -> Sampler {
        Sampler(seed)
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.u64() % bound as u64) as usize
    }

    /// A truth value.
    pub fn bool(&mut self) -> bool {
        self.u64() & 1 == 1
    }

    /// A finite number.
    pub fn f64(&mut self) -> f64 {
        (self.u64() >> 11) as f64
    }

    /// An id.
    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.u64(), self.u64())
    }

    /// A topic's id.
    pub fn topic_id(&mut self) -> TopicId {
        TopicId(self.uuid().into_bytes())
    }

    /// Text, now and then empty or beyond ASCII.
    pub fn string(&mut self) -> Str {
        const LETTERS: [char; 8] = ['a', 'Z', '0', '-', '.', 'ß', '流', '🌊'];
        let length = self.below(12);
        let text: String = (0..length).filter_map(|_| LETTERS.get(self.below(LETTERS.len()))).collect();
        Str::from(text)
    }

    /// Bytes, now and then none.
    pub fn bytes(&mut self) -> Bytes {
        let length = self.below(40);
        (0..length).map(|_| self.u64() as u8).collect()
    }

    /// Bytes in the place of records.
    pub fn records(&mut self) -> Records {
        Records::Bytes(self.bytes())
    }

    /// A value, or null in one case of four.
    pub fn optional<T>(&mut self, value: impl FnOnce(&mut Sampler) -> T) -> Option<T> {
        if self.below(4) == 0 { None } else { Some(value(self)) }
    }

    /// Up to three values.
    pub fn list<T>(&mut self, mut element: impl FnMut(&mut Sampler) -> T) -> Vec<T> {
        let count = self.below(4);
        (0..count).map(|_| element(self)).collect()
    }
}
