//! Ids and counts as newtypes. Each has the width it has in Kafka's protocol, is ordered, and prints as its number.

use std::fmt;
use std::str::FromStr;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The place of a record in its partition. Gapless in the order of append, compaction aside.
    Offset(i64)
}
number! {
    /// Counts the leaders of a partition; it also rises at each start of a process, so that it fences.
    LeaderEpoch(i32)
}
number! {
    /// The number of a partition within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// The number of a broker or controller, Kafka's `node.id`.
    NodeId(i32)
}
number! {
    /// Names an idempotent producer; -1 in a batch means none (KIP-98).
    ProducerId(i64)
}
number! {
    /// Fences older sessions of the same producer id.
    ProducerEpoch(i16)
}
number! {
    /// The sequence number of a producer's record in one partition. It wraps from `i32::MAX` to 0.
    Sequence(i32)
}
number! {
    /// Milliseconds since 1970-01-01 UTC; -1 means none.
    Timestamp(i64)
}

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Offset = Offset(0);

    /// The offset `count` records later.
    #[must_use]
    pub const fn plus(self, count: i64) -> Offset {
        Offset(self.0 + count)
    }

    /// The offset that follows.
    #[must_use]
    pub const fn next(self) -> Offset {
        self.plus(1)
    }
}

impl Timestamp {
    /// No timestamp.
    pub const NONE: Timestamp = Timestamp(-1);

    /// The time `ms` milliseconds later, saturating.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
}

impl ProducerId {
    /// The batch has no producer id: it is not idempotent.
    pub const NONE: ProducerId = ProducerId(-1);
}

impl Sequence {
    /// The sequence number `count` records later, wrapping as Kafka's does.
    #[must_use]
    pub const fn plus(self, count: i32) -> Sequence {
        let sum = self.0 as i64 + count as i64;
        if sum > i32::MAX as i64 { Sequence((sum - i32::MAX as i64 - 1) as i32) } else { Sequence(sum as i32) }
    }
}

/// A topic's identity (KIP-516). A topic that is deleted and created again gets another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The id that means "no id" in the protocol.
    pub const ZERO: TopicId = TopicId([0; 16]);

    /// True for [`TopicId::ZERO`].
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

const URL_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Kafka's text form: 22 characters of URL-safe base64 without padding.
impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for digit in 0..22u32 {
            // 21 digits carry 6 bits each, the last carries 2 and is padded with zeros on the right.
            let sextet = if digit < 21 { (value >> (128 - 6 * (digit + 1))) & 0x3f } else { (value & 0x03) << 4 };
            let letter = URL_ALPHABET.get(sextet as usize).expect("a sextet is below 64");
            write!(f, "{}", *letter as char)?;
        }
        Ok(())
    }
}

/// The text is not a topic id: 22 characters of URL-safe base64 are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a topic id: 22 characters of URL-safe base64 without padding")]
pub struct ParseTopicIdError;

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 22 {
            return Err(ParseTopicIdError);
        }
        let mut value = 0u128;
        for (digit, letter) in text.bytes().enumerate() {
            let sextet = URL_ALPHABET.iter().position(|known| *known == letter).ok_or(ParseTopicIdError)? as u128;
            value = match digit {
                21 if sextet & 0x0f != 0 => return Err(ParseTopicIdError),
                21 => (value << 2) | (sextet >> 4),
                _ => (value << 6) | sextet,
            };
        }
        Ok(TopicId(value.to_be_bytes()))
    }
}

/// A partition's identity: the topic by id, never by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number within it.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_text_is_kafkas() {
        // The id that Kafka gives its metadata topic.
        let metadata = TopicId(1u128.to_be_bytes());
        assert_eq!(metadata.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(metadata));
        let id = TopicId([0xff; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn topic_id_refuses_what_is_none() {
        for text in ["", "AAAAAAAAAAAAAAAAAAAAAQ=", "AAAAAAAAAAAAAAAAAAAAAR", "AAAAAAAAAAAAAAAAAAAA+A"] {
            assert_eq!(text.parse::<TopicId>(), Err(ParseTopicIdError), "{text}");
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
        assert_eq!(Sequence(5).plus(3), Sequence(8));
    }
}
