//! Where to begin in a partition, as people say it: an end, an offset, a number before the end, a time, so long ago.

use std::collections::BTreeMap;
use std::str::FromStr;

use broker_client::{Client, ClientError, Place, TimeSpec};
use broker_model::Timestamp;

/// A place in a partition, before the cluster was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The first record.
    Start,
    /// Behind the last record.
    End,
    /// This offset.
    Offset(i64),
    /// So many records before the end.
    BeforeEnd(i64),
    /// The first record at or after this time, in milliseconds since 1970.
    Time(i64),
    /// The first record of the last so many milliseconds.
    Ago(i64),
}

/// What a position may look like, for messages and help.
pub const FORMS: &str = "start, end, an offset (42), a number before the end (-10), a time (2026-01-31T12:00:00Z), or so long ago (15m, 2h, 7d)";

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Position, String> {
        match text {
            "start" | "beginning" | "earliest" => return Ok(Position::Start),
            "end" | "latest" => return Ok(Position::End),
            _ => {}
        }
        if let Ok(number) = text.parse::<i64>() {
            return Ok(if number < 0 {
                Position::BeforeEnd(number.saturating_neg())
            } else {
                Position::Offset(number)
            });
        }
        if let Some(ago) = ago(text) {
            return Ok(Position::Ago(ago));
        }
        match gateway_http::query::parse_time(text) {
            Some(Timestamp(ms)) => Ok(Position::Time(ms)),
            None => Err(format!("expected is {FORMS}")),
        }
    }
}

/// `15m` and its like in milliseconds.
fn ago(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms)
}

/// The offsets of a position, within what the partitions hold.
///
/// # Errors
/// A partition is not there, or nobody answers.
pub async fn resolve(
    client: &mut Client,
    places: &[Place],
    position: Position,
    now: Timestamp,
) -> Result<BTreeMap<Place, i64>, ClientError> {
    let ends = client.list_offsets(places, TimeSpec::End).await?;
    let time = match position {
        Position::End => return Ok(ends),
        Position::Start => return client.list_offsets(places, TimeSpec::Start).await,
        Position::Time(ms) => Some(ms),
        Position::Ago(ms) => Some(now.0.saturating_sub(ms)),
        Position::Offset(_) | Position::BeforeEnd(_) => None,
    };
    if let Some(ms) = time {
        // A partition without a record from then on begins with what comes.
        let found = client.list_offsets(places, TimeSpec::At(ms)).await?;
        return Ok(ends.into_iter().map(|(place, end)| (place.clone(), *found.get(&place).unwrap_or(&end))).collect());
    }
    let starts = client.list_offsets(places, TimeSpec::Start).await?;
    let within = |(place, end): (Place, i64)| {
        let start = starts.get(&place).copied().unwrap_or(0).min(end);
        let wanted = match position {
            Position::BeforeEnd(count) => end.saturating_sub(count),
            Position::Offset(offset) => offset,
            _ => end,
        };
        (place, wanted.clamp(start, end))
    };
    Ok(ends.into_iter().map(within).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_people_say_them() {
        for (text, expect) in [
            ("start", Some(Position::Start)),
            ("earliest", Some(Position::Start)),
            ("end", Some(Position::End)),
            ("42", Some(Position::Offset(42))),
            ("-10", Some(Position::BeforeEnd(10))),
            ("15m", Some(Position::Ago(900_000))),
            ("7d", Some(Position::Ago(604_800_000))),
            ("2013-07-04T04:00:00Z", Some(Position::Time(1_372_910_400_000))),
            ("2013-07-04T00:00:00-04:00", Some(Position::Time(1_372_910_400_000))),
            ("yesterday", None),
            ("15 m", None),
            ("9999999999999999d", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Position>().ok(), expect, "{text}");
        }
    }
}
