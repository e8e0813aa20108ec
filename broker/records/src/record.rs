//! Records inside a batch, looked at without copying.
//!
//! A [`Record`] borrows from the decompressed records. Headers are kept as Kafka allows them: repeated keys stay
//! repeated and a key need not be UTF-8; whoever wants text converts. Offsets and timestamps are absolute.

use broker_model::{Offset, Timestamp};

use crate::cursor::Cursor;
use crate::{BatchError, BatchHead};

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: Offset,
    /// Its timestamp: the producer's, or the time of the append.
    pub timestamp: Timestamp,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null, a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// The headers of a record. Parsed while they are iterated.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    count: usize,
    cursor: Cursor<'a>,
}

impl<'a> Headers<'a> {
    /// How many headers the record says it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// True without headers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers as key and value. An error ends the iteration.
    #[must_use]
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { left: self.count, cursor: self.cursor }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), BatchError>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// See [`Headers::iter`].
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    left: usize,
    cursor: Cursor<'a>,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let header = self.cursor.nullable().flatten().zip(self.cursor.nullable());
        self.left = if header.is_some() { self.left - 1 } else { 0 };
        Some(header.ok_or(BatchError::Record { index: -1, what: "a header is malformed" }))
    }
}

/// The records of a batch, in order. An error ends the iteration.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    head: BatchHead,
    index: i32,
    cursor: Cursor<'a>,
}

impl<'a> Records<'a> {
    /// Iterates over decompressed records.
    pub(crate) fn new(head: BatchHead, records: &'a [u8]) -> Self {
        Records { head, index: 0, cursor: Cursor::new(records) }
    }

    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let raw = RawRecord::read(&mut self.cursor)?;
        let timestamp = if self.head.is_log_append_time() {
            self.head.max_timestamp
        } else {
            self.head.base_timestamp.plus_ms(raw.timestamp_delta)
        };
        let offset = self.head.base_offset.0.checked_add(i64::from(raw.offset_delta)).ok_or("the offset overflows")?;
        Ok(Record { offset: Offset(offset), timestamp, key: raw.key, value: raw.value, headers: raw.headers })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.index;
        if index >= self.head.record_count {
            let trailing = self.cursor.rest().len();
            self.cursor = Cursor::new(&[]);
            return (trailing > 0).then_some(Err(BatchError::Trailing(trailing)));
        }
        match self.read() {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(what) => {
                self.index = self.head.record_count;
                self.cursor = Cursor::new(&[]);
                Some(Err(BatchError::Record { index, what }))
            }
        }
    }
}

/// A record as it stands in the bytes: deltas, not offsets and times.
pub(crate) struct RawRecord<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> RawRecord<'a> {
    /// Reads one record and moves past it. Headers are counted, not parsed.
    #[inline]
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<RawRecord<'a>, &'static str> {
        let length = cursor.varint().ok_or("its length is missing")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let mut inner = Cursor::new(cursor.take(length).ok_or("it is longer than the batch")?);
        inner.i8().ok_or("it ends before its attributes")?;
        let timestamp_delta = inner.varlong().ok_or("its timestamp is malformed")?;
        let offset_delta = inner.varint().ok_or("its offset is malformed")?;
        let key = inner.nullable().ok_or("its key is malformed")?;
        let value = inner.nullable().ok_or("its value is malformed")?;
        let count = inner.varint().ok_or("its header count is missing")?;
        let count = usize::try_from(count).map_err(|_| "its header count is negative")?;
        // A header has at least two lengths of a byte each.
        if count > inner.rest().len() / 2 {
            return Err("it has fewer headers than it counts");
        }
        if count == 0 && !inner.is_empty() {
            return Err("bytes follow after its headers");
        }
        Ok(RawRecord { timestamp_delta, offset_delta, key, value, headers: Headers { count, cursor: inner } })
    }

    /// Parses the headers too, to their end.
    #[inline]
    pub(crate) fn check_headers(&self) -> Result<(), &'static str> {
        if self.headers.is_empty() {
            // Nothing follows then: reading the record made sure.
            return Ok(());
        }
        let mut headers = self.headers.iter();
        for header in headers.by_ref() {
            header.map_err(|_| "a header is malformed")?;
        }
        if headers.cursor.is_empty() { Ok(()) } else { Err("bytes follow after its headers") }
    }
}
