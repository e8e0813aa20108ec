//! Reads answers to Fetch (version 12) as they come, without keeping what is not looked at.
//!
//! The heads of the answer and of batches are decoded; the records behind them are skipped: received and left alone, or
//! with [`Treatment::Discard`] dropped by the kernel without being copied. Every length is held against the bytes that
//! the frame has left, so that a wrong answer is an error and never waited for.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;

use broker_records::{BATCH_HEAD_BYTES, BatchHead, verify};
use rustix::net::{RecvFlags, recv};

use crate::error::LoadError;

/// What is done with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// The head of each batch is read, the rest only received.
    Drain,
    /// Each batch's checksum is checked.
    Verify,
    /// Only the first batch's head is read; the kernel drops the rest. The others are taken to be like the first.
    Discard,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    /// An answer begins.
    Answer { correlation_id: i32, error_code: i16, session_id: i32 },
    /// A partition of it begins.
    Partition { index: i32, error_code: i16, log_end: i64 },
    /// A whole batch of the partition.
    Batch(BatchHead),
    /// All batches of the partition are like this one, in so many bytes.
    Alike { first: BatchHead, bytes: usize },
    /// The answer ends; so many bytes it had.
    End { bytes: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Answer,
    Topic,
    Partition,
    Records,
    AfterRecords,
    AfterPartitions,
    AfterTopics,
}

/// Bytes received at once where they are copied.
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes received at once where only heads are wanted.
const HEADS_BYTES: usize = 512;
/// Bytes dropped at once.
const DROPPED_BYTES: usize = 1 << 20;

/// The state of one connection's answers.
#[derive(Debug)]
pub(super) struct Reader {
    treatment: Treatment,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    state: State,
    /// Bytes of the answer, and those of them that were not looked at yet.
    frame: usize,
    left: usize,
    topics: u32,
    partitions: u32,
    records: usize,
    /// Of the records, bytes that nobody looks at.
    skip: usize,
}

impl Reader {
    /// At the beginning of an answer.
    pub(super) fn new(treatment: Treatment) -> Reader {
        let bytes = if treatment == Treatment::Discard { DROPPED_BYTES } else { BUFFER_BYTES };
        Reader {
            treatment,
            buffer: vec![0; bytes],
            from: 0,
            to: 0,
            state: State::Answer,
            frame: 0,
            left: 0,
            topics: 0,
            partitions: 0,
            records: 0,
            skip: 0,
        }
    }

    /// Receives once. False where there is nothing now.
    pub(super) fn fill(&mut self, mut stream: &TcpStream) -> io::Result<bool> {
        let received = if self.skip > 0 && self.treatment == Treatment::Discard {
            // Whatever was received is skipped before anything is received.
            let bytes = self.skip.min(self.buffer.len());
            recv(stream, &mut self.buffer[..bytes], RecvFlags::TRUNC).map(|(_, dropped)| dropped).map_err(Into::into)
        } else {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            let end = match self.treatment {
                Treatment::Discard => (self.to + HEADS_BYTES).min(self.buffer.len()),
                Treatment::Drain | Treatment::Verify => self.buffer.len(),
            };
            stream.read(&mut self.buffer[self.to..end])
        };
        match received {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(dropped) if self.skip > 0 && self.treatment == Treatment::Discard => {
                self.skip -= dropped;
                self.records -= dropped;
                self.left -= dropped;
                Ok(true)
            }
            Ok(received) => {
                self.to += received;
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next thing of what was received; none where more must be received first.
    pub(super) fn next(&mut self) -> Result<Option<Event>, LoadError> {
        loop {
            if self.skip > 0 {
                let bytes = self.skip.min(self.to - self.from);
                self.consume_records(bytes);
                self.skip -= bytes;
                if self.skip > 0 {
                    return Ok(None);
                }
            }
            let step = match self.state {
                State::Answer => self.answer()?,
                State::Topic => self.topic()?,
                State::Partition => self.partition()?,
                State::Records => self.records()?,
                State::AfterRecords | State::AfterPartitions | State::AfterTopics => self.tags()?,
            };
            match step {
                Step::Event(event) => return Ok(Some(event)),
                Step::On => {}
                Step::Wait => return Ok(None),
            }
        }
    }

    fn consume_records(&mut self, bytes: usize) {
        self.from += bytes;
        self.left -= bytes;
        self.records -= bytes;
    }

    /// Reads one item of the answer's fields.
    fn item<T>(&mut self, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Result<Option<T>, LoadError> {
        let available = &self.buffer[self.from..self.to];
        let bytes = available.get(..self.left).unwrap_or(available);
        let mut fields = Fields { rest: bytes };
        match read(&mut fields) {
            Some(item) => {
                let used = bytes.len() - fields.rest.len();
                self.from += used;
                self.left -= used;
                Ok(Some(item))
            }
            None if bytes.len() == self.left || bytes.len() >= HEADS_BYTES => {
                Err(LoadError::Unusable("an answer to Fetch is not laid out as version 12".to_owned()))
            }
            None => Ok(None),
        }
    }

    fn answer(&mut self) -> Result<Step, LoadError> {
        let Some((length, _)) = self.buffer[self.from..self.to].split_first_chunk::<4>() else {
            return Ok(Step::Wait);
        };
        let frame = u32::from_be_bytes(*length) as usize;
        // The length counts what is behind it. Nothing is consumed until the whole head is there.
        self.left = frame + 4;
        let head = self.item(|fields| {
            fields.skip(4)?;
            let correlation_id = fields.i32()?;
            fields.tags()?;
            fields.skip(4)?;
            Some((correlation_id, fields.i16()?, fields.i32()?, fields.count()?))
        })?;
        let Some((correlation_id, error_code, session_id, topics)) = head else { return Ok(Step::Wait) };
        self.frame = frame + 4;
        self.topics = topics;
        self.state = if topics > 0 { State::Topic } else { State::AfterTopics };
        Ok(Step::Event(Event::Answer { correlation_id, error_code, session_id }))
    }

    fn topic(&mut self) -> Result<Step, LoadError> {
        let read = self.item(|fields| {
            let name = fields.count()?;
            fields.skip(name as usize)?;
            fields.count()
        })?;
        let Some(partitions) = read else { return Ok(Step::Wait) };
        self.partitions = partitions;
        self.state = if partitions > 0 { State::Partition } else { State::AfterPartitions };
        Ok(Step::On)
    }

    fn partition(&mut self) -> Result<Step, LoadError> {
        let read = self.item(|fields| {
            let index = fields.i32()?;
            let error_code = fields.i16()?;
            let log_end = fields.i64()?;
            fields.skip(16)?;
            for _ in 0..fields.count()? {
                fields.skip(16)?;
                fields.tags()?;
            }
            fields.skip(4)?;
            Some((index, error_code, log_end, fields.count()? as usize))
        })?;
        let Some((index, error_code, log_end, records)) = read else { return Ok(Step::Wait) };
        if records > self.left {
            return Err(LoadError::Unusable("records reach beyond their answer".to_owned()));
        }
        self.records = records;
        self.state = State::Records;
        Ok(Step::Event(Event::Partition { index, error_code, log_end }))
    }

    fn records(&mut self) -> Result<Step, LoadError> {
        if self.records < BATCH_HEAD_BYTES {
            return Ok(self.skip_rest());
        }
        let available = &self.buffer[self.from..self.to];
        if available.len() < BATCH_HEAD_BYTES {
            return Ok(Step::Wait);
        }
        let head = BatchHead::parse(available)?;
        let total = head.total_bytes();
        if total > self.records {
            // The last batch is cut where the partition's bytes end.
            return Ok(self.skip_rest());
        }
        match self.treatment {
            Treatment::Drain => self.skip = total,
            Treatment::Discard => {
                self.skip = self.records;
                return Ok(Step::Event(Event::Alike { first: head, bytes: self.records }));
            }
            Treatment::Verify => {
                let Some(batch) = available.get(..total) else {
                    let longer = total.max(self.buffer.len());
                    self.buffer.resize(longer, 0);
                    return Ok(Step::Wait);
                };
                verify(batch)?;
                self.consume_records(total);
            }
        }
        Ok(Step::Event(Event::Batch(head)))
    }

    fn skip_rest(&mut self) -> Step {
        self.skip = self.records;
        self.state = State::AfterRecords;
        Step::On
    }

    fn tags(&mut self) -> Result<Step, LoadError> {
        if self.item(|fields| fields.tags())?.is_none() {
            return Ok(Step::Wait);
        }
        match self.state {
            State::AfterRecords => {
                self.partitions -= 1;
                self.state = if self.partitions > 0 { State::Partition } else { State::AfterPartitions };
            }
            State::AfterPartitions => {
                self.topics -= 1;
                self.state = if self.topics > 0 { State::Topic } else { State::AfterTopics };
            }
            _ if self.left > 0 => {
                return Err(LoadError::Unusable("an answer is longer than what it says".to_owned()));
            }
            _ => {
                self.state = State::Answer;
                return Ok(Step::Event(Event::End { bytes: self.frame }));
            }
        }
        Ok(Step::On)
    }
}

enum Step {
    Event(Event),
    On,
    Wait,
}

/// The protocol's primitives at the front of some bytes; none where they end too early.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*chunk)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }

    fn i16(&mut self) -> Option<i16> {
        self.chunk().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.chunk()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(value)
    }

    /// A compact length; null is nothing.
    fn count(&mut self) -> Option<u32> {
        self.uvarint().map(|length| length.saturating_sub(1))
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.uvarint()? {
            self.uvarint()?;
            let bytes = self.uvarint()?;
            self.skip(bytes as usize)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
