//! The place where a replay goes on, as text that a client can write itself.
//!
//! Text: `<partition>:<next offset>`, then optionally `~<partition>:<end>,…` and `~<topic id>`. The first part is composed
//! from the last row that arrived: its partition, and its offset plus one. The rest fixes what the replay sees; it is
//! taken over from any cursor line of the same replay (each answer begins with one). Without ends the replay goes up to
//! the high watermarks of the moment.
//!
//! Because rows leave in the order of partition, then offset, one place tells everything: lower partitions are done,
//! higher ones have not begun. The characters need no escaping in a query string.

use std::fmt;
use std::str::FromStr;

use broker_model::{Offset, PartitionIndex, TopicId};

/// Where to go on, and which ends were fixed when the replay began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The partition to go on in: all lower ones are done.
    pub partition: PartitionIndex,
    /// The next offset of that partition.
    pub offset: Offset,
    /// The fixed ends (exclusive) of this partition and all higher ones of the replay, ascending.
    pub ends: Option<Vec<(PartitionIndex, Offset)>>,
    /// The topic that the ends belong to.
    pub topic: Option<TopicId>,
}

impl Cursor {
    /// The fixed end of a partition; `None` when the partition is not part of the replay.
    #[must_use]
    pub fn end_of(&self, partition: PartitionIndex) -> Option<Offset> {
        let ends = self.ends.as_ref()?;
        ends.binary_search_by_key(&partition, |(number, _)| *number).ok().and_then(|at| ends.get(at)).map(|end| end.1)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)?;
        let Some(ends) = &self.ends else { return Ok(()) };
        let mut mark = '~';
        for (partition, end) in ends {
            write!(f, "{mark}{partition}:{end}")?;
            mark = ',';
        }
        match &self.topic {
            Some(topic) => write!(f, "~{topic}"),
            None => Ok(()),
        }
    }
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a cursor: <partition>:<next offset>, composed from the last row (its partition, its offset plus 1), \
     optionally followed by the ~ parts of a cursor line"
)]
pub struct ParseCursorError;

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('~');
        let (partition, offset) = place(parts.next().ok_or(ParseCursorError)?)?;
        let ends = match parts.next() {
            Some(list) => Some(list.split(',').map(place).collect::<Result<Vec<_>, _>>()?),
            None => None,
        };
        let topic = parts.next().map(|id| id.parse().map_err(|_| ParseCursorError)).transpose()?;
        let ascending = ends.as_ref().is_none_or(|ends| ends.is_sorted_by(|low, high| low.0 < high.0));
        if parts.next().is_some() || !ascending {
            return Err(ParseCursorError);
        }
        Ok(Cursor { partition, offset, ends, topic })
    }
}

fn place(text: &str) -> Result<(PartitionIndex, Offset), ParseCursorError> {
    let (partition, offset) = text.split_once(':').ok_or(ParseCursorError)?;
    let partition: i32 = digits(partition)?.parse().map_err(|_| ParseCursorError)?;
    let offset: i64 = digits(offset)?.parse().map_err(|_| ParseCursorError)?;
    Ok((PartitionIndex(partition), Offset(offset)))
}

/// The text itself when it is digits only: no sign, no blank.
fn digits(text: &str) -> Result<&str, ParseCursorError> {
    if !text.is_empty() && text.bytes().all(|letter| letter.is_ascii_digit()) {
        Ok(text)
    } else {
        Err(ParseCursorError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["3:1042", "0:0~0:10", "3:1042~3:2000,7:1800~AAAAAAAAAAAAAAAAAAAAAQ"] {
            let cursor: Cursor = text.parse().unwrap();
            assert_eq!(cursor.to_string(), text);
        }
        let cursor: Cursor = "3:1042~3:2000,7:1800".parse().unwrap();
        assert_eq!(cursor.end_of(PartitionIndex(7)), Some(Offset(1800)));
        assert_eq!(cursor.end_of(PartitionIndex(4)), None);
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            ":",
            "3",
            "3:",
            ":4",
            "-1:0",
            "0:-1",
            "+1:0",
            "0:1~",
            "0:1~1:2,0:3",
            "0:1~0:2,0:2",
            "0:1~0:2~x",
            "0:1~0:2~AAAAAAAAAAAAAAAAAAAAAQ~",
            "0:99999999999999999999",
            "9999999999:1",
            "0:1 ",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(ParseCursorError), "{text}");
        }
    }

    #[test]
    fn random_text_is_refused_or_round_trips() {
        let letters = b"0123456789:,~-AQ_ +x";
        let mut random = 1u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % below
        };
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut text = b"3:1042~3:2000,7:1800~AAAAAAAAAAAAAAAAAAAAAQ".to_vec();
            for _ in 0..=next(3) {
                let at = next(text.len());
                match next(3) {
                    0 => text[at] = letters[next(letters.len())],
                    1 => text.truncate(at.max(1)),
                    _ => text.insert(at, letters[next(letters.len())]),
                }
            }
            let text = String::from_utf8(text).unwrap();
            if let Ok(cursor) = text.parse::<Cursor>() {
                accepted += 1;
                assert_eq!(cursor.to_string().parse(), Ok(cursor));
            }
        }
        assert!(accepted > 1000, "{accepted}");
    }
}
