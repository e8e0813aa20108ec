//! `strata replay` over HTTP: the gateway's lines on standard output, whole, in order, each once.
//!
//! An answer that breaks is gone on with at its last cursor; rows that came after that cursor come again and are left out.
//! The replay is complete only with the line that says so: without it the command fails and names the cursor to go on with.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::args::ReplayWords;
use crate::gateway::{Gateway, NoAnswer, escape};
use crate::output::Screen;
use crate::progress::{Progress, Unit};
use crate::{Failure, Surroundings, follow};

/// Answers in a row that break without a further row, before it is given up.
const BREAKS_MAX: usize = 5;

pub(crate) async fn run(words: ReplayWords, surroundings: &Surroundings) -> Result<(), Failure> {
    let gateway = Gateway::parse(&words.gateway)?;
    let screen = Screen::new(surroundings.style);
    let progress = match screen.is_terminal() {
        true => Progress::hidden(),
        false => Progress::new(&words.topic, Unit::Things("offsets"), None),
    };
    let mut replay = Replay { lines: Lines::new(words.rows_only), screen, progress };
    let done = tokio::select! {
        biased;
        () = follow::interrupted() => Err(Failure::new("interrupted before the replay was complete")),
        done = replay.all(&gateway, &words) => done,
    };
    let flushed = replay.screen.flush();
    replay.progress.end();
    match done {
        Ok(()) => Ok(flushed?),
        Err(failure) => Err(match replay.lines.cursor {
            Some(cursor) => {
                failure.hint(format!("the same words with --cursor '{cursor}' go on behind the last whole part"))
            }
            None => failure,
        }),
    }
}

struct Replay {
    lines: Lines,
    screen: Screen,
    progress: Progress,
}

impl Replay {
    async fn all(&mut self, gateway: &Gateway, words: &ReplayWords) -> Result<(), Failure> {
        let path = format!("/v1/topics/{}/records", escape(&words.topic));
        let mut breaks = 0;
        loop {
            let rows = self.lines.rows;
            let mut parameters = words.parameters();
            if let Some(cursor) = &self.lines.cursor {
                parameters.retain(|(name, _)| name != "cursor");
                parameters.push(("cursor".to_owned(), cursor.clone()));
            }
            if let Some(limit) = words.limit {
                // Rows since the cursor come again: they are not new ones.
                let left = limit - self.lines.rows + self.lines.rows_since_cursor;
                parameters.retain(|(name, _)| name != "limit");
                parameters.push(("limit".to_owned(), left.to_string()));
            }
            let broken = match gateway.get(&path, &parameters).await {
                Ok(body) => match self.answer(body).await? {
                    None => return Ok(()),
                    Some(why) => Failure::new(format!("the replay broke: {why}")),
                },
                Err(NoAnswer::Refused(failure)) => return Err(failure),
                // The first answer decides whether somebody is there.
                Err(NoAnswer::Broken(failure)) if self.lines.cursor.is_none() => return Err(failure),
                Err(NoAnswer::Broken(failure)) => failure,
            };
            breaks = if self.lines.rows > rows { 0 } else { breaks + 1 };
            if breaks >= BREAKS_MAX || self.lines.cursor.is_none() {
                return Err(broken);
            }
            tokio::time::sleep(std::time::Duration::from_millis(200 << breaks)).await;
            self.lines.again();
        }
    }

    /// Prints an answer. None where it is complete, else why it is not.
    async fn answer(&mut self, mut body: Incoming) -> Result<Option<String>, Failure> {
        let mut why = "it ended without its last line".to_owned();
        while let Some(frame) = body.frame().await {
            let data: Bytes = match frame {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(error) => {
                    why = error.to_string();
                    break;
                }
            };
            let mut out = Vec::with_capacity(data.len());
            self.lines.take(&data, &mut out)?;
            self.screen.bytes(&out)?;
            if let Some(total) = self.lines.total() {
                self.progress.total(total);
            }
            self.progress.at(self.lines.done());
        }
        Ok(if self.lines.is_complete { None } else { Some(self.lines.error.take().unwrap_or(why)) })
    }
}

/// Understands the lines of a replay as they come in pieces.
struct Lines {
    rows_only: bool,
    /// A line whose end has not come.
    rest: Vec<u8>,
    /// The last cursor.
    cursor: Option<String>,
    is_complete: bool,
    /// What an error line says.
    error: Option<String>,
    /// Partition, first offset and end, as the first line says.
    ranges: Vec<(i64, i64, i64)>,
    /// Partition and offset of the last row that was printed.
    last: Option<(i64, i64)>,
    /// True while rows may come that were printed already.
    skips: bool,
    rows: u64,
    rows_since_cursor: u64,
}

impl Lines {
    fn new(rows_only: bool) -> Lines {
        let (rest, ranges) = Default::default();
        let (cursor, error, last) = (None, None, None);
        let (is_complete, skips) = (false, false);
        Lines { rows_only, rest, cursor, is_complete, error, ranges, last, skips, rows: 0, rows_since_cursor: 0 }
    }

    /// The next answer begins at the last cursor.
    fn again(&mut self) {
        self.rest.clear();
        self.skips = self.last.is_some();
    }

    /// Appends what is to be printed of this piece.
    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.rest.split_off(whole);
        let lines = std::mem::replace(&mut self.rest, rest);
        let mut last_row = None;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if !line.starts_with(b"{\"topic\"") {
                self.mark(line)?;
                if !self.rows_only {
                    out.extend_from_slice(line);
                }
                continue;
            }
            if self.skips {
                let place = place(line)?;
                if self.last.is_some_and(|last| place <= last) {
                    continue;
                }
                self.skips = false;
            }
            self.rows += 1;
            self.rows_since_cursor += 1;
            last_row = Some(line);
            out.extend_from_slice(line);
        }
        if let Some(line) = last_row {
            self.last = Some(place(line)?);
        }
        Ok(())
    }

    /// A line that is no row: a cursor or an error.
    fn mark(&mut self, line: &[u8]) -> Result<(), Failure> {
        let object = object(line)?;
        if let Some(problem) = object.get("error") {
            let detail = problem.get("detail").and_then(Value::as_str);
            self.error = Some(detail.unwrap_or("the gateway does not say why").to_owned());
            return Ok(());
        }
        if let Some(cursor) = object.get("cursor").and_then(Value::as_str) {
            self.cursor = Some(cursor.to_owned());
            self.rows_since_cursor = 0;
        }
        self.is_complete |= object.get("complete").and_then(Value::as_bool) == Some(true);
        if let Some(ranges) = object.get("ranges").and_then(Value::as_array)
            && self.ranges.is_empty()
        {
            let number = |range: &Value, name: &str| range.get(name).and_then(Value::as_i64).unwrap_or(0);
            let range = |range: &Value| (number(range, "partition"), number(range, "from"), number(range, "to"));
            self.ranges = ranges.iter().map(range).collect();
        }
        Ok(())
    }

    /// Offsets of the whole range.
    fn total(&self) -> Option<u64> {
        let length = |(_, from, to): &(i64, i64, i64)| to.saturating_sub(*from).max(0).unsigned_abs();
        (!self.ranges.is_empty()).then(|| self.ranges.iter().map(length).sum())
    }

    /// Offsets that are behind: partitions come one after the other.
    fn done(&self) -> u64 {
        let Some((partition, offset)) = self.last else { return 0 };
        let behind = |(number, from, to): &(i64, i64, i64)| match *number {
            number if number < partition => to.saturating_sub(*from),
            number if number == partition => (offset + 1).saturating_sub(*from),
            _ => 0,
        };
        self.ranges.iter().map(|range| behind(range).max(0).unsigned_abs()).sum()
    }
}

fn object(line: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(line)
        .map_err(|error| Failure::new(format!("the gateway sent a line that is no JSON: {error}")))
}

fn place(row: &[u8]) -> Result<(i64, i64), Failure> {
    let row = object(row)?;
    let number = |name: &str| row.get(name).and_then(Value::as_i64);
    number("partition").zip(number("offset")).ok_or_else(|| Failure::new("the gateway sent a row without its place"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "{\"cursor\":\"0:0~\",\"ranges\":[{\"partition\":0,\"from\":0,\"to\":2},{\"partition\":1,\"from\":5,\"to\":7}]}\n";

    fn row(partition: i64, offset: i64) -> String {
        format!("{{\"topic\":\"t\",\"partition\":{partition},\"offset\":{offset},\"value\":\"v\"}}\n")
    }

    fn take(lines: &mut Lines, piece: &str) -> String {
        let mut out = Vec::new();
        lines.take(piece.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn pieces_end_anywhere_and_lines_come_whole() {
        let mut lines = Lines::new(false);
        let text = [FIRST, &row(0, 0), &row(0, 1), &row(1, 5)].concat();
        for size in [1, 7, 64, 1000] {
            lines = Lines::new(false);
            let pieces = text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap());
            let printed: String = pieces.map(|piece| take(&mut lines, piece)).collect();
            assert_eq!(printed, text, "{size}");
        }
        assert_eq!((lines.total(), lines.done(), lines.rows), (Some(4), 3, 3));
        assert!(!lines.is_complete);
        take(&mut lines, "{\"cursor\":\"1:6~\",\"complete\":true,\"more\":true}\n");
        assert!(lines.is_complete);
    }

    #[test]
    fn what_comes_again_after_a_break_is_left_out() {
        let mut lines = Lines::new(true);
        let printed = take(&mut lines, &[FIRST, &row(0, 0), &row(0, 1), &row(1, 5), "{\"topic\":\"t"].concat());
        assert_eq!(printed, [row(0, 0), row(0, 1), row(1, 5)].concat());
        assert_eq!((lines.cursor.as_deref(), lines.rows_since_cursor), (Some("0:0~"), 3));
        lines.again();
        let printed = take(&mut lines, &[FIRST, &row(0, 0), &row(0, 1), &row(1, 5), &row(1, 6)].concat());
        assert_eq!(printed, row(1, 6));
        assert_eq!(lines.rows, 4);
    }

    #[test]
    fn an_error_line_says_why() {
        let mut lines = Lines::new(false);
        take(&mut lines, "{\"error\":{\"detail\":\"records were deleted\",\"cursor\":\"0:1\"}}\n");
        assert_eq!(lines.error.as_deref(), Some("records were deleted"));
        assert!(Lines::new(false).take(b"nonsense\n", &mut Vec::new()).is_err());
    }
}
