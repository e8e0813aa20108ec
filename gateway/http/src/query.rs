//! The parameters of a replay: parsed once, with messages that name the parameter, its value and what is expected.
//!
//! Nothing is guessed: an unknown parameter, one that stands twice and one that contradicts another are refused, because a
//! filter that is silently not applied is worse than an error.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker_model::{Offset, PartitionIndex, Timestamp, nearest};

use crate::cursor::Cursor;
use crate::problem::Problem;
use crate::source::TimeWindow;

/// How keys and values become JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As text; what is not UTF-8 becomes `{"base64": "…"}`.
    #[default]
    Text,
    /// Everything as a string of base64.
    Base64,
}

/// What to replay of a topic. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The partitions, ascending; all when empty.
    pub partitions: Vec<PartitionIndex>,
    /// The first offset of each partition (inclusive).
    pub from_offset: Option<Offset>,
    /// The end of each partition (exclusive).
    pub to_offset: Option<Offset>,
    /// Records at or after this time.
    pub from_time: Option<Timestamp>,
    /// Records before this time.
    pub to_time: Option<Timestamp>,
    /// The most rows of this answer.
    pub limit: Option<u64>,
    /// Only records with exactly this key.
    pub key: Option<Vec<u8>>,
    /// How keys and values become JSON.
    pub encoding: Encoding,
    /// Where to go on.
    pub cursor: Option<Cursor>,
}

/// The names of all parameters.
pub const PARAMETERS: [&str; 9] =
    ["from_offset", "to_offset", "from_time", "to_time", "partition", "limit", "key", "encoding", "cursor"];

impl Query {
    /// Reads decoded pairs of a query string.
    pub fn parse(pairs: &[(String, String)]) -> Result<Query, Problem> {
        let mut query = Query { encoding: encoding(pairs)?, ..Query::default() };
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in pairs {
            if name != "partition" && seen.contains(&name.as_str()) {
                return Err(Problem::parameter(name, value, "one value: this parameter stands twice"));
            }
            seen.push(name);
            query.set(name, value)?;
        }
        query.partitions.sort_unstable();
        query.partitions.dedup();
        query.check()?;
        Ok(query)
    }

    /// The window of timestamps that is asked.
    #[must_use]
    pub fn window(&self) -> TimeWindow {
        TimeWindow {
            from: self.from_time.unwrap_or(TimeWindow::ALL.from),
            to: self.to_time.unwrap_or(TimeWindow::ALL.to),
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "from_offset" => self.from_offset = Some(offset(name, value)?),
            "to_offset" => self.to_offset = Some(offset(name, value)?),
            "from_time" => self.from_time = Some(time(name, value)?),
            "to_time" => self.to_time = Some(time(name, value)?),
            "partition" => self.partitions.push(PartitionIndex(number(name, value, "a partition's number, from 0")?)),
            "limit" => self.limit = Some(limit(value)?),
            "key" => self.key = Some(key(value, self.encoding)?),
            "cursor" => self.cursor = Some(cursor(value)?),
            "encoding" => {}
            unknown => return Err(unknown_parameter(unknown)),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Problem> {
        if let (Some(from), Some(to)) = (self.from_offset, self.to_offset)
            && from > to
        {
            return Err(Problem::parameter("to_offset", &to.to_string(), "an offset that is not below from_offset"));
        }
        if let (Some(from), Some(to)) = (self.from_time, self.to_time)
            && from > to
        {
            return Err(Problem::parameter("to_time", &to.to_string(), "a time that is not before from_time"));
        }
        let Some(cursor) = &self.cursor else { return Ok(()) };
        if !self.partitions.is_empty() && !self.partitions.contains(&cursor.partition) {
            let expected = "a cursor of the same replay: its partition is not among those asked";
            return Err(Problem::parameter("cursor", &cursor.to_string(), expected));
        }
        Ok(())
    }
}

fn unknown_parameter(name: &str) -> Problem {
    let known = PARAMETERS.join(", ");
    let detail = match nearest(name, PARAMETERS) {
        Some(near) => format!("There is no parameter {name:?}. Did you mean {near}? Known are {known}."),
        None => format!("There is no parameter {name:?}. Known are {known}."),
    };
    Problem::new(StatusCode::BAD_REQUEST, "unknown-parameter", "A parameter is not known.", detail)
        .with("parameter", name)
}

fn encoding(pairs: &[(String, String)]) -> Result<Encoding, Problem> {
    match pairs.iter().find(|(name, _)| name == "encoding").map(|(_, value)| value.as_str()) {
        None | Some("text") => Ok(Encoding::Text),
        Some("base64") => Ok(Encoding::Base64),
        Some(other) => Err(Problem::parameter("encoding", other, "text or base64")),
    }
}

fn number<N: std::str::FromStr + PartialOrd + Default>(name: &str, value: &str, expected: &str) -> Result<N, Problem> {
    match value.parse::<N>() {
        Ok(number) if number >= N::default() => Ok(number),
        _ => Err(Problem::parameter(name, value, expected)),
    }
}

fn offset(name: &str, value: &str) -> Result<Offset, Problem> {
    number(name, value, "an offset: a whole number from 0").map(Offset)
}

fn limit(value: &str) -> Result<u64, Problem> {
    match value.parse() {
        Ok(rows) if rows > 0 => Ok(rows),
        _ => Err(Problem::parameter("limit", value, "a number of rows from 1")),
    }
}

fn cursor(value: &str) -> Result<Cursor, Problem> {
    value.parse().map_err(|error: crate::cursor::ParseCursorError| {
        let text = error.to_string();
        Problem::parameter("cursor", value, text.strip_prefix("expected ").unwrap_or(&text))
    })
}

fn key(value: &str, encoding: Encoding) -> Result<Vec<u8>, Problem> {
    match encoding {
        // A byte that is not UTF-8 arrives as the replacement character: filtering by that would find nothing.
        Encoding::Text if value.contains('\u{fffd}') => Err(Problem::parameter(
            "key",
            value,
            "text in UTF-8; for other bytes use encoding=base64 and a key in base64",
        )),
        Encoding::Text => Ok(value.as_bytes().to_vec()),
        // A plus sign that was not escaped arrives as a blank.
        Encoding::Base64 => STANDARD
            .decode(value.replace(' ', "+"))
            .map_err(|_| Problem::parameter("key", value, "base64 with padding, because of encoding=base64")),
    }
}

fn time(name: &str, value: &str) -> Result<Timestamp, Problem> {
    // A plus sign that was not escaped arrives as a blank.
    parse_time(&value.replace(' ', "+")).ok_or_else(|| {
        let expected = "a time as RFC 3339 (2013-07-04T04:00:00Z) or as milliseconds since 1970";
        Problem::parameter(name, value, expected)
    })
}

/// Milliseconds since 1970, or RFC 3339. A fraction of a millisecond counts as the next millisecond: for a timestamp in
/// whole milliseconds, "at or after" and "before" then mean what they say.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(ms) = text.parse::<i64>() {
        return Some(Timestamp(ms));
    }
    let instant = text.parse::<jiff::Timestamp>().ok()?;
    let floor = instant.as_millisecond();
    let whole = instant.as_nanosecond().rem_euclid(1_000_000) == 0;
    // Before 1970 the milliseconds are cut towards zero, which is upwards already.
    Some(Timestamp(if whole || instant.as_nanosecond() < 0 { floor } else { floor + 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Query, String> {
        let pairs: Vec<(String, String)> = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Query::parse(&pairs).map_err(|problem| problem.to_json()["detail"].as_str().unwrap().to_owned())
    }

    #[test]
    fn times_are_read() {
        for (text, expect) in [
            ("0", 0),
            ("1372910400000", 1_372_910_400_000),
            ("2013-07-04T04:00:00Z", 1_372_910_400_000),
            ("2013-07-04T00:00:00-04:00", 1_372_910_400_000),
            ("2013-07-04T06:00:00 02:00", 1_372_910_400_000),
            ("2013-07-04T04:00:00.0001Z", 1_372_910_400_001),
            ("1969-12-31T23:59:59.9985Z", -1),
        ] {
            assert_eq!(parse(&format!("from_time={text}")).unwrap().from_time, Some(Timestamp(expect)), "{text}");
        }
    }

    #[test]
    fn partitions_repeat_and_others_do_not() {
        let query = parse("partition=3&partition=1&partition=3").unwrap();
        assert_eq!(query.partitions, [PartitionIndex(1), PartitionIndex(3)]);
        assert!(parse("limit=1&limit=2").unwrap_err().contains("stands twice"));
    }

    #[test]
    fn messages_name_parameter_value_and_expectation() {
        for (text, expect) in [
            ("from_ofset=3", "There is no parameter \"from_ofset\". Did you mean from_offset?"),
            ("zebra=3", "There is no parameter \"zebra\". Known are from_offset"),
            ("from_offset=-1", "Parameter from_offset has the value \"-1\"; expected is an offset"),
            ("to_offset=x", "Parameter to_offset has the value \"x\""),
            ("from_time=yesterday", "expected is a time as RFC 3339"),
            ("limit=0", "a number of rows from 1"),
            ("partition=-2", "a partition's number"),
            ("encoding=hex", "text or base64"),
            ("cursor=4", "expected is a cursor: <partition>:<next offset>"),
            ("cursor=4:1&partition=3", "a cursor of the same replay"),
            ("from_offset=3&to_offset=2", "not below from_offset"),
            ("from_time=3&to_time=2", "not before from_time"),
            ("key=\u{fffd}", "use encoding=base64"),
            ("encoding=base64&key=%", "base64 with padding"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expect), "{text}: {message}");
        }
    }

    #[test]
    fn a_key_is_text_or_base64() {
        assert_eq!(parse("key=UA").unwrap().key, Some(b"UA".to_vec()));
        assert_eq!(parse("key=/ 8=&encoding=base64").unwrap().key, Some(vec![0xff, 0xef]));
    }
}
