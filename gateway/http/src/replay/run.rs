//! The task behind the lines: walks the parts in order, asks the right source, filters, and writes.
//!
//! Invariant: the position is always the next offset that was not looked at, so that a cursor line written at any moment
//! neither loses nor doubles a row. One slice, one decoded batch and the chunk in the making are all that is held.

use std::io::Write as _;
use std::sync::atomic::Ordering;

use broker_model::limits::DECOMPRESSED_BATCH_BYTES_MAX;
use broker_model::{Offset, Timestamp, TopicPartition};
use broker_records::{BatchError, BatchHead, Codec, DecodedBatch, batches, decode, verify};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use super::{Item, Part, Replay, ReplayError};
use crate::cursor::Cursor;
use crate::row::RowWriter;
use crate::source::{Slice, SourceError};

/// Chunks that wait for the reader.
pub(super) const CHUNKS_WAITING: usize = 2;
/// A chunk goes out when it has this many bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// What one read asks of a source.
const READ_BYTES: usize = 1 << 20;
/// Rows between two cursor lines.
const ROWS_PER_CURSOR: u64 = 1_000;
/// Time between two cursor lines while the replay runs.
const TIME_PER_CURSOR: Duration = Duration::from_secs(1);
/// A compressed batch that is larger is decompressed on a thread that may take its time.
const INLINE_DECODE_BYTES_MAX: usize = 128 << 10;

/// Runs the replay to its end, its error or the end of its reader.
pub(super) async fn run(replay: Replay, sender: mpsc::Sender<Item>) {
    let mut walk = Walk {
        out: Out { sender, buffer: Vec::with_capacity(2 * CHUNK_BYTES), rows: 0, last_cursor: Instant::now() },
        at: 0,
        position: replay.parts.first().map_or(Offset::ZERO, |part| part.from),
        left: replay.query.limit,
        written: 0,
        replay: &replay,
    };
    let ended = walk.all().await;
    let last = match ended {
        Ok(()) => walk.complete(false),
        Err(Stop::Limit) => walk.complete(true),
        Err(Stop::Failed(error)) => walk.failed(error),
        Err(Stop::Gone) => return,
    };
    // A reader that is gone needs no last word.
    if walk.flush().await.is_ok() {
        let _ = walk.out.sender.send(last).await;
    }
}

/// Why the walk ended before the end of its range.
enum Stop {
    Limit,
    Gone,
    Failed(ReplayError),
}

struct Out {
    sender: mpsc::Sender<Item>,
    buffer: Vec<u8>,
    /// Rows since the last cursor line.
    rows: u64,
    last_cursor: Instant,
}

struct Walk<'a> {
    replay: &'a Replay,
    out: Out,
    /// The part that is being walked.
    at: usize,
    /// The next offset of that part that was not looked at.
    position: Offset,
    /// Rows that the limit leaves.
    left: Option<u64>,
    /// Rows that were written.
    written: u64,
}

impl Walk<'_> {
    async fn all(&mut self) -> Result<(), Stop> {
        let replay = self.replay;
        self.opening();
        for (at, part) in replay.parts.iter().enumerate() {
            self.at = at;
            self.position = part.from;
            self.part(*part).await?;
            self.position = part.to;
        }
        Ok(())
    }

    async fn part(&mut self, part: Part) -> Result<(), Stop> {
        if part.from >= part.to {
            return Ok(());
        }
        let replay = self.replay;
        let place = TopicPartition { topic: replay.topic.id, partition: part.partition };
        let row = RowWriter::new(&replay.topic.name, part.partition, replay.query.encoding);
        let bounds = replay.sources.hot.bounds(place).await.map_err(|error| self.source_failed(error))?;
        let mut local_start = bounds.local_start;
        let mut sought = Sought::default();
        while self.position < part.to {
            self.flush().await?;
            if self.position < local_start {
                if self.seek_cold(place, &mut sought).await? {
                    self.position = self.position.min(local_start);
                    continue;
                }
                let slice = self.read_cold(place).await?;
                let before = self.written;
                self.slice(slice, &part, &row).await?;
                // The archive knows the times of whole objects: ask again when the window seems to lie elsewhere.
                sought.cold = self.written > before;
                continue;
            }
            if self.seek_hot(place, &mut sought).await? {
                continue;
            }
            match replay.sources.hot.read_hot(place, self.position, part.to, READ_BYTES).await {
                Ok(slice) => self.slice(slice, &part, &row).await?,
                // Retention freed the disk meanwhile: the bucket has it.
                Err(SourceError::NotLocal { local_start: now }) if now > self.position => local_start = now,
                Err(error) => return Err(self.source_failed(error)),
            }
        }
        Ok(())
    }

    async fn read_cold(&mut self, place: TopicPartition) -> Result<Slice, Stop> {
        let Some(cold) = &self.replay.sources.cold else {
            let error = SourceError::Damaged("it is below the local start, and there is no tier".to_owned());
            return Err(self.source_failed(error));
        };
        cold.read_cold(place, self.position, READ_BYTES).await.map_err(|error| self.source_failed(error))
    }

    /// Moves to the first cold offset that can lie in the window; true when it was asked now.
    async fn seek_cold(&mut self, place: TopicPartition, sought: &mut Sought) -> Result<bool, Stop> {
        let window = self.replay.query.window();
        let Some(cold) = self.replay.sources.cold.as_ref().filter(|_| self.timed() && !sought.cold) else {
            return Ok(false);
        };
        sought.cold = true;
        let to = cold.seek_cold(place, self.position, window).await.map_err(|error| self.source_failed(error))?;
        self.position = self.position.max(to);
        Ok(true)
    }

    /// The same on the local disk.
    async fn seek_hot(&mut self, place: TopicPartition, sought: &mut Sought) -> Result<bool, Stop> {
        if !self.timed() || sought.hot {
            return Ok(false);
        }
        sought.hot = true;
        let window = self.replay.query.window();
        let hot = &self.replay.sources.hot;
        let to = hot.seek(place, self.position, window).await.map_err(|error| self.source_failed(error))?;
        self.position = self.position.max(to);
        Ok(true)
    }

    fn timed(&self) -> bool {
        self.replay.query.from_time.is_some() || self.replay.query.to_time.is_some()
    }

    /// Writes what a slice has for this replay and moves behind it.
    async fn slice(&mut self, slice: Slice, part: &Part, row: &RowWriter) -> Result<(), Stop> {
        let next = slice.next;
        if next <= self.position {
            return Err(self.source_failed(SourceError::Damaged("the read did not move on".to_owned())));
        }
        for bytes in &slice.batches {
            for found in batches(bytes) {
                let (head, batch) = found.map_err(|error| self.batch_failed(self.position, &error))?;
                if head.last_offset() < self.position {
                    continue;
                }
                if head.base_offset >= part.to {
                    break;
                }
                if self.skips(&head, &slice) {
                    // The head decides alone, so it must be sound.
                    verify(batch).map_err(|error| self.batch_failed(head.base_offset, &error))?;
                } else {
                    let decoded = decoded(&head, bytes, batch).await;
                    let decoded = decoded.map_err(|error| self.batch_failed(head.base_offset, &error))?;
                    self.batch(&decoded, part, row).await?;
                }
                self.position = head.next_offset().min(part.to);
                self.beat().await?;
            }
        }
        self.position = self.position.max(next.min(part.to));
        self.beat().await?;
        tokio::task::yield_now().await;
        Ok(())
    }

    /// True when the head tells that no record of the batch belongs to the answer.
    fn skips(&self, head: &BatchHead, slice: &Slice) -> bool {
        let aborted = head.is_transactional()
            && slice.aborted.iter().any(|aborted| {
                aborted.producer == head.producer_id && (aborted.first..=aborted.last).contains(&head.base_offset)
            });
        // Some producers leave the maximum out: then the records must be looked at.
        let newest = head.max_timestamp.max(head.base_timestamp);
        let too_old = head.max_timestamp != Timestamp::NONE && newest < self.replay.query.window().from;
        head.is_control() || aborted || too_old
    }

    async fn batch(&mut self, batch: &DecodedBatch<'_>, part: &Part, row: &RowWriter) -> Result<(), Stop> {
        let query = &self.replay.query;
        let window = query.window();
        for record in batch.records() {
            let record = record.map_err(|error| self.batch_failed(batch.head().base_offset, &error))?;
            if record.offset < self.position {
                continue;
            }
            if record.offset >= part.to {
                break;
            }
            let matches = window.holds(record.timestamp)
                && query.key.as_ref().is_none_or(|key| record.key == Some(key.as_slice()));
            if matches {
                let written = row.write(&mut self.out.buffer, &record);
                written.map_err(|error| self.batch_failed(batch.head().base_offset, &error))?;
            }
            self.position = record.offset.next();
            if matches {
                self.wrote_row().await?;
            }
        }
        Ok(())
    }

    async fn wrote_row(&mut self) -> Result<(), Stop> {
        self.out.rows += 1;
        self.written += 1;
        self.replay.stats.rows.fetch_add(1, Ordering::Relaxed);
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Err(Stop::Limit);
            }
        }
        if self.out.rows >= ROWS_PER_CURSOR {
            self.cursor_line();
        }
        if self.out.buffer.len() >= CHUNK_BYTES { self.flush().await } else { Ok(()) }
    }

    /// A cursor line when the last one is a second old: it also tells that a replay without matches is alive.
    async fn beat(&mut self) -> Result<(), Stop> {
        if self.out.last_cursor.elapsed() < TIME_PER_CURSOR {
            return Ok(());
        }
        self.cursor_line();
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        if self.out.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.out.buffer, Vec::with_capacity(2 * CHUNK_BYTES));
        self.replay.stats.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        self.out.sender.send(Item::Chunk(Bytes::from(chunk))).await.map_err(|_| Stop::Gone)
    }

    fn cursor(&self) -> Cursor {
        let ends = self.replay.parts.get(self.at..).unwrap_or_default();
        Cursor {
            partition: ends.first().map_or_else(Default::default, |part| part.partition),
            offset: self.position,
            ends: Some(ends.iter().map(|part| (part.partition, part.to)).collect()),
            topic: Some(self.replay.topic.id),
        }
    }

    /// The first line: the cursor that begins here, and what will be replayed.
    fn opening(&mut self) {
        let cursor = self.cursor();
        self.line(format_args!("{{\"cursor\":\"{cursor}\",\"ranges\":["));
        for (at, part) in self.replay.parts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let Part { partition, from, to } = part;
            self.line(format_args!("{comma}{{\"partition\":{partition},\"from\":{from},\"to\":{to}}}"));
        }
        self.line(format_args!("]}}\n"));
    }

    fn cursor_line(&mut self) {
        let cursor = self.cursor();
        self.line(format_args!("{{\"cursor\":\"{cursor}\"}}\n"));
        self.out.rows = 0;
        self.out.last_cursor = Instant::now();
    }

    fn complete(&mut self, more: bool) -> Item {
        let cursor = self.cursor();
        self.line(format_args!("{{\"cursor\":\"{cursor}\",\"complete\":true,\"more\":{more}}}\n"));
        Item::Complete
    }

    fn failed(&mut self, error: ReplayError) -> Item {
        let problem = error.problem(Some(&self.cursor())).to_json();
        self.line(format_args!("{{\"error\":{problem}}}\n"));
        self.replay.stats.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(topic = %self.replay.topic.name, %error, "replay failed");
        Item::Failed(error)
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.buffer.write_fmt(text).expect("writing to memory does not fail");
    }

    fn source_failed(&self, error: SourceError) -> Stop {
        let partition = self.cursor().partition;
        Stop::Failed(match error {
            SourceError::Deleted { log_start } => ReplayError::Deleted { partition, from: self.position, log_start },
            error => ReplayError::Source { partition, offset: self.position, error },
        })
    }

    fn batch_failed(&self, offset: Offset, error: &BatchError) -> Stop {
        let partition = self.cursor().partition;
        Stop::Failed(ReplayError::Batch { partition, offset, error: error.to_string() })
    }
}

/// Which sources were asked for the first offset in the window.
#[derive(Default)]
struct Sought {
    cold: bool,
    hot: bool,
}

/// Decodes a batch; a large compressed one on a thread of its own.
async fn decoded<'a>(head: &BatchHead, bytes: &Bytes, batch: &'a [u8]) -> Result<DecodedBatch<'a>, BatchError> {
    if batch.len() <= INLINE_DECODE_BYTES_MAX || matches!(head.codec(), Ok(Codec::None)) {
        return decode(batch, DECOMPRESSED_BATCH_BYTES_MAX);
    }
    let owned = bytes.slice_ref(batch);
    let work = move || decode(&owned, DECOMPRESSED_BATCH_BYTES_MAX).map(DecodedBatch::into_owned);
    match tokio::task::spawn_blocking(work).await {
        Ok(decoded) => decoded,
        // The runtime is going down: decode here, the replay ends at its next await.
        Err(_) => decode(batch, DECOMPRESSED_BATCH_BYTES_MAX),
    }
}
