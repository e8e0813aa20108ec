//! One record as one line of JSON, written straight into the buffer that goes out.
//!
//! Nothing is allocated per row but what the buffer grows by. The members stand in a fixed order: topic, partition,
//! offset, timestamp (milliseconds), key, value, headers. Headers are a list, because Kafka allows a key twice.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker_model::{Offset, PartitionIndex, Timestamp};
use broker_records::{BatchError, Record};

use crate::query::Encoding;

/// Writes rows of one partition.
pub struct RowWriter {
    encoding: Encoding,
    /// `{"topic":"…","partition":N,"offset":`
    prefix: Vec<u8>,
}

impl RowWriter {
    /// For records of this partition.
    #[must_use]
    pub fn new(topic: &str, partition: PartitionIndex, encoding: Encoding) -> RowWriter {
        let mut prefix = Vec::with_capacity(topic.len() + 48);
        prefix.extend_from_slice(b"{\"topic\":");
        string(&mut prefix, topic);
        prefix.extend_from_slice(b",\"partition\":");
        integer(&mut prefix, i64::from(partition.0));
        prefix.extend_from_slice(b",\"offset\":");
        RowWriter { encoding, prefix }
    }

    /// Appends the line of a record. On an error nothing was appended.
    ///
    /// # Errors
    /// A header is malformed.
    pub fn write(&self, out: &mut Vec<u8>, record: &Record<'_>) -> Result<(), BatchError> {
        let before = out.len();
        out.extend_from_slice(&self.prefix);
        let Record { offset: Offset(offset), timestamp: Timestamp(timestamp), .. } = *record;
        integer(out, offset);
        out.extend_from_slice(b",\"timestamp\":");
        integer(out, timestamp);
        out.extend_from_slice(b",\"key\":");
        self.nullable(out, record.key);
        out.extend_from_slice(b",\"value\":");
        self.nullable(out, record.value);
        out.extend_from_slice(b",\"headers\":[");
        let mut comma: &[u8] = b"";
        for header in record.headers.iter() {
            let (key, value) = header.inspect_err(|_| out.truncate(before))?;
            out.extend_from_slice(comma);
            out.extend_from_slice(b"{\"key\":");
            self.nullable(out, Some(key));
            out.extend_from_slice(b",\"value\":");
            self.nullable(out, value);
            out.push(b'}');
            comma = b",";
        }
        out.extend_from_slice(b"]}\n");
        Ok(())
    }

    fn nullable(&self, out: &mut Vec<u8>, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return out.extend_from_slice(b"null") };
        match (self.encoding, std::str::from_utf8(bytes)) {
            (Encoding::Base64, _) => base64(out, bytes),
            (Encoding::Text, Ok(text)) => string(out, text),
            (Encoding::Text, Err(_)) => {
                out.extend_from_slice(b"{\"base64\":");
                base64(out, bytes);
                out.push(b'}');
            }
        }
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory does not fail");
}

fn integer(out: &mut Vec<u8>, number: i64) {
    write!(out, "{number}").expect("writing a number to memory does not fail");
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let at = out.len();
    let length = bytes.len().div_ceil(3) * 4;
    out.resize(at + length, 0);
    let target = out.get_mut(at..).expect("the buffer was just grown beyond this place");
    STANDARD.encode_slice(bytes, target).expect("padded base64 has four letters for each three bytes");
    out.push(b'"');
}
