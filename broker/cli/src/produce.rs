//! `strata produce`: lines become records.
//!
//! A thread of its own reads, because standard input knows no other way; what it reads comes in pieces of many lines when
//! there are many, and line by line from a person who types. Records that wait for more leave when nothing comes for a
//! moment. Ctrl-C sends what was read, and ends.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use broker_client::producer::Written;
use broker_client::{Acks, Client, Producer, ProducerSettings};
use broker_records::Codec;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::args::{AcksWord, Compression, LineFormat, ProduceWords};
use crate::format::{Reader, SEPARATOR};
use crate::output::Screen;
use crate::progress::{Progress, Unit};
use crate::{Failure, Style, Surroundings, connect, follow, text};

/// Records that wait leave when no line comes for so long.
const LINGER: Duration = Duration::from_millis(10);
/// A longer line is no record that a broker would take.
const LINE_BYTES_MAX: u64 = 64 << 20;
const PIECE_LINES: usize = 1_000;
const PIECES_WAITING: usize = 4;

/// Lines without their ends, with the number of the first and what was read of the input so far.
struct Piece {
    first: u64,
    lines: Vec<Vec<u8>>,
    input_bytes: u64,
}

pub(crate) async fn run(words: ProduceWords, surroundings: &Surroundings) -> Result<(), Failure> {
    let settings = ProducerSettings {
        topic: words.topic.clone(),
        partition: words.partition,
        codec: match words.compression {
            Compression::None => Codec::None,
            Compression::Gzip => Codec::Gzip,
            Compression::Snappy => Codec::Snappy,
            Compression::Lz4 => Codec::Lz4,
            Compression::Zstd => Codec::Zstd,
        },
        acks: match words.acks {
            AcksWord::All => Acks::All,
            AcksWord::Leader => Acks::Leader,
        },
    };
    let by_separator = if words.key_separator.is_some() { LineFormat::KeyValue } else { LineFormat::Value };
    let reader = Reader {
        format: words.format.unwrap_or(by_separator),
        separator: words.key_separator.clone().unwrap_or_else(|| SEPARATOR.to_owned()),
        headers: words.headers.clone(),
    };
    let mut client = connect::client(&words.connect, surroundings)?;
    let input = open(words.file.as_ref())?;
    let progress = input.progress(&words.topic);
    let mut producer = Producer::open(&mut client, settings).await?;
    let pieces = read_all(input.reader);
    let ended = send_all(&mut client, &mut producer, (&reader, surroundings), (pieces, &progress)).await;
    // What was read before a bad line is written all the same.
    let flushed = producer.flush(&mut client).await;
    progress.end();
    let mut screen = Screen::new(surroundings.style);
    say(&mut screen, &words.topic, producer.written())?;
    ended?;
    Ok(flushed?)
}

/// Where lines come from.
struct Input {
    reader: Box<dyn Read + Send>,
    bytes: Option<u64>,
    is_terminal: bool,
}

fn open(path: Option<&PathBuf>) -> Result<Input, Failure> {
    let Some(path) = path else {
        return Ok(Input { reader: Box::new(io::stdin()), bytes: None, is_terminal: io::stdin().is_terminal() });
    };
    let failed = |error: io::Error| Failure::new(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    Ok(Input { reader: Box::new(file), bytes: Some(bytes), is_terminal: false })
}

impl Input {
    fn progress(&self, topic: &str) -> Progress {
        match self.is_terminal {
            true => Progress::hidden(),
            false => Progress::new(topic, Unit::Bytes, self.bytes),
        }
    }
}

async fn send_all(
    client: &mut Client,
    producer: &mut Producer,
    (reader, surroundings): (&Reader, &Surroundings),
    (mut pieces, progress): (mpsc::Receiver<Result<Piece, Failure>>, &Progress),
) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(follow::interrupted());
    loop {
        let linger = if producer.is_empty() { Duration::MAX } else { LINGER };
        let piece = tokio::select! {
            biased;
            () = &mut stop => return Ok(()),
            piece = timeout(linger, pieces.recv()) => piece,
        };
        match piece {
            Err(_) => producer.flush(client).await?,
            Ok(None) => return Ok(()),
            Ok(Some(piece)) => {
                let piece = piece?;
                for (number, line) in (piece.first..).zip(&piece.lines) {
                    let record = reader.read(line, (surroundings.now)());
                    match record.map_err(|error| Failure::new(format!("line {number}: {error}")))? {
                        Some(record) => producer.push(client, &record).await?,
                        None => continue,
                    }
                }
                progress.at(piece.input_bytes);
            }
        }
    }
}

/// Reads on a thread until the end, an error, or the end of the receiver.
fn read_all(reader: Box<dyn Read + Send>) -> mpsc::Receiver<Result<Piece, Failure>> {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    std::thread::spawn(move || {
        let mut reader = BufReader::with_capacity(256 << 10, reader);
        let (mut next, mut input_bytes) = (1, 0);
        loop {
            let piece = read_piece(&mut reader, next, &mut input_bytes);
            let is_last = piece.as_ref().is_ok_and(|piece| piece.lines.is_empty());
            let is_failed = piece.is_err();
            next += piece.as_ref().map_or(0, |piece| piece.lines.len() as u64);
            if is_last || sender.blocking_send(piece).is_err() || is_failed {
                return;
            }
        }
    });
    receiver
}

/// Lines that are there already, and at least one that is waited for; no line at the end.
fn read_piece(reader: &mut BufReader<Box<dyn Read + Send>>, first: u64, bytes: &mut u64) -> Result<Piece, Failure> {
    let mut lines = Vec::new();
    while lines.len() < PIECE_LINES && (lines.is_empty() || !reader.buffer().is_empty()) {
        let mut line = Vec::new();
        let taken = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let number = first + lines.len() as u64;
        let taken = taken.map_err(|error| Failure::new(format!("cannot read line {number}: {error}")))?;
        if taken == 0 {
            break;
        }
        *bytes += taken as u64;
        if taken as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            return Err(Failure::new(format!("line {number} is longer than {}", text::bytes(LINE_BYTES_MAX))));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            line.pop_if(|letter| *letter == b'\r');
        }
        lines.push(line);
    }
    Ok(Piece { first, lines, input_bytes: *bytes })
}

fn say(screen: &mut Screen, topic: &str, written: &Written) -> Result<(), Failure> {
    match screen.style() {
        Style::Json => {
            let range = |(partition, (first, last)): (&i32, &(i64, i64))| json!({"partition": partition, "first_offset": first, "last_offset": last});
            let ranges: Vec<_> = written.offsets.iter().map(range).collect();
            let bytes = written.bytes;
            screen.json(&json!({"topic": topic, "records": written.records, "bytes": bytes, "partitions": ranges}))?;
        }
        Style::Text => {
            let bytes = text::bytes(written.bytes);
            screen.line(&format!("{} in {bytes} written to {topic}", text::count(written.records, "record")))?;
        }
    }
    Ok(screen.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let text: &[u8] = b"one\r\ntwo\n\n last\r";
        let mut reader = BufReader::with_capacity(4, Box::new(text) as Box<dyn Read + Send>);
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let piece = read_piece(&mut reader, 1 + lines.len() as u64, &mut bytes).unwrap();
            if piece.lines.is_empty() {
                break;
            }
            assert_eq!(piece.first, 1 + lines.len() as u64);
            lines.extend(piece.lines);
        }
        assert_eq!(lines, [&b"one"[..], b"two", b"", b" last\r"]);
        assert_eq!(bytes, text.len() as u64);
    }
}
