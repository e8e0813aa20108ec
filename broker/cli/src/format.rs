//! Records as lines and lines as records.
//!
//! A JSON line has the members of the gateway's rows, written by the same code, so that what `consume` and `replay` print
//! `produce --format json` takes back: key, value, headers and timestamp. Where a record lay does not decide where it goes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker_client::{NewRecord, Place};
use broker_model::{PartitionIndex, Timestamp};
use broker_records::{BatchError, Record};
use gateway_http::{Encoding, RowWriter};
use serde_json::{Map, Value};

use crate::args::{EncodingWord, LineFormat};

/// What stands between key and value where nothing else is said.
pub(crate) const SEPARATOR: &str = "\t";

/// Writes records as lines.
pub(crate) struct Printer {
    format: LineFormat,
    separator: String,
    encoding: Encoding,
    rows: BTreeMap<Place, RowWriter>,
}

impl Printer {
    pub(crate) fn new(format: LineFormat, separator: &str, encoding: EncodingWord) -> Printer {
        let encoding = match encoding {
            EncodingWord::Text => Encoding::Text,
            EncodingWord::Base64 => Encoding::Base64,
        };
        Printer { format, separator: separator.to_owned(), encoding, rows: BTreeMap::new() }
    }

    /// Appends the line of a record.
    pub(crate) fn print(&mut self, out: &mut Vec<u8>, place: &Place, record: &Record<'_>) -> Result<(), BatchError> {
        let or_null = |bytes: Option<&[u8]>| bytes.unwrap_or(b"null").to_vec();
        match self.format {
            LineFormat::Json => {
                if !self.rows.contains_key(place) {
                    let writer = RowWriter::new(&place.topic, PartitionIndex(place.partition), self.encoding);
                    self.rows.insert(place.clone(), writer);
                }
                let writer = self.rows.get(place).expect("it was just put there");
                return writer.write(out, record);
            }
            LineFormat::KeyValue => {
                out.extend(or_null(record.key));
                out.extend_from_slice(self.separator.as_bytes());
                out.extend(or_null(record.value));
            }
            LineFormat::Value => out.extend(or_null(record.value)),
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Reads lines as records.
pub(crate) struct Reader {
    pub(crate) format: LineFormat,
    pub(crate) separator: String,
    /// Headers of every record, before its own.
    pub(crate) headers: Vec<(String, String)>,
}

impl Reader {
    /// The record of a line without its end; none where the line holds none, as a cursor of a replay. `now` is the time of
    /// records that have none of their own.
    pub(crate) fn read(&self, line: &[u8], now: Timestamp) -> Result<Option<NewRecord>, String> {
        let headers =
            self.headers.iter().map(|(key, value)| (key.clone().into_bytes(), Some(value.clone().into_bytes())));
        let mut record = NewRecord { headers: headers.collect(), timestamp: now, ..NewRecord::default() };
        match self.format {
            LineFormat::Value => record.value = Some(line.to_vec()),
            LineFormat::KeyValue => {
                let separator = self.separator.as_bytes();
                let at = line.windows(separator.len()).position(|window| window == separator);
                let at =
                    at.ok_or_else(|| format!("there is no separator {:?} between key and value", self.separator))?;
                let (key, rest) = line.split_at(at);
                record.key = Some(key.to_vec());
                record.value = rest.get(separator.len()..).map(<[u8]>::to_vec);
            }
            LineFormat::Json => {
                let object: Map<String, Value> =
                    serde_json::from_slice(line).map_err(|error| format!("it is no JSON object: {error}"))?;
                if object.contains_key("cursor") && !object.contains_key("offset") {
                    return Ok(None);
                }
                fill(&mut record, object)?;
            }
        }
        Ok(Some(record))
    }
}

fn fill(record: &mut NewRecord, object: Map<String, Value>) -> Result<(), String> {
    for (name, value) in object {
        match name.as_str() {
            "key" => record.key = nullable(&name, value)?,
            "value" => record.value = nullable(&name, value)?,
            "timestamp" => record.timestamp = Timestamp(value.as_i64().ok_or("timestamp: expected are milliseconds")?),
            "headers" => {
                let Value::Array(rows) = value else { return Err("headers: expected is a list".to_owned()) };
                for row in rows {
                    record.headers.push(header(row)?);
                }
            }
            "topic" | "partition" | "offset" => {}
            "error" => return Err(format!("it says that the replay failed: {value}")),
            _ => return Err(format!("it has a member {name:?}; known are key, value, headers and timestamp")),
        }
    }
    Ok(())
}

fn header(row: Value) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
    const EXPECTED: &str = "headers: expected are objects with key and value";
    let Value::Object(mut row) = row else { return Err(EXPECTED.to_owned()) };
    let key = nullable("headers", row.remove("key").unwrap_or_default())?.ok_or(EXPECTED)?;
    Ok((key, nullable("headers", row.remove("value").unwrap_or_default())?))
}

/// Text, null, or base64 in an object.
fn nullable(name: &str, value: Value) -> Result<Option<Vec<u8>>, String> {
    let expected = || format!("{name}: expected is text, null, or {{\"base64\": …}}");
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.into_bytes())),
        Value::Object(object) => match object.get("base64") {
            Some(Value::String(text)) if object.len() == 1 => {
                STANDARD.decode(text).map(Some).map_err(|_| format!("{name}: {text:?} is not base64"))
            }
            _ => Err(expected()),
        },
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use broker_model::{LeaderEpoch, Offset};
    use broker_records::{BatchBuilder, Codec, decode};

    use super::*;

    const NOW: Timestamp = Timestamp(77);

    fn reader(format: LineFormat, separator: &str) -> Reader {
        let headers = vec![("from".to_owned(), "test".to_owned())];
        Reader { format, separator: separator.to_owned(), headers }
    }

    fn read(format: LineFormat, separator: &str, line: &str) -> Result<Option<NewRecord>, String> {
        reader(format, separator).read(line.as_bytes(), NOW)
    }

    #[test]
    fn lines_become_records() {
        let record = read(LineFormat::Value, "\t", "a\tb").unwrap().unwrap();
        assert_eq!((record.key, record.value), (None, Some(b"a\tb".to_vec())));
        assert_eq!((record.headers, record.timestamp), (vec![(b"from".to_vec(), Some(b"test".to_vec()))], NOW));
        let record = read(LineFormat::KeyValue, "::", "a::b::c").unwrap().unwrap();
        assert_eq!((record.key, record.value), (Some(b"a".to_vec()), Some(b"b::c".to_vec())));
        let record = read(LineFormat::KeyValue, "\t", "\t").unwrap().unwrap();
        assert_eq!((record.key, record.value), (Some(Vec::new()), Some(Vec::new())));
        assert!(read(LineFormat::KeyValue, "\t", "alone").unwrap_err().contains("no separator"));
    }

    #[test]
    fn json_that_cannot_be_a_record_is_told() {
        for (line, expect) in [
            ("[]", "no JSON object"),
            ("{", "no JSON object"),
            ("{\"val\":1}", "a member \"val\""),
            ("{\"value\":1}", "value: expected is text"),
            ("{\"key\":{\"base64\":\"?\"}}", "is not base64"),
            ("{\"headers\":[{}]}", "objects with key and value"),
            ("{\"timestamp\":\"now\"}", "milliseconds"),
            ("{\"error\":{\"detail\":\"x\"}}", "the replay failed"),
        ] {
            let said = read(LineFormat::Json, "\t", line).unwrap_err();
            assert!(said.contains(expect), "{line}: {said}");
        }
        assert_eq!(read(LineFormat::Json, "\t", "{\"cursor\":\"0:1\",\"complete\":true}").unwrap(), None);
    }

    #[test]
    fn what_is_printed_as_json_is_read_back() {
        let mut batch = BatchBuilder::new(Codec::None);
        let headers: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"a", None)];
        batch.push(Timestamp(5), Some(b"key"), Some(b"\xff\xfe"), &headers);
        batch.push(Timestamp(6), None, None, &[]);
        let bytes = batch.finish(Offset(9), LeaderEpoch(0));
        let decoded = decode(&bytes, 1 << 20).unwrap();
        let mut printer = Printer::new(LineFormat::Json, "\t", EncodingWord::Text);
        let mut out = Vec::new();
        let place = Place { topic: "t".to_owned(), partition: 2 };
        for record in decoded.records() {
            printer.print(&mut out, &place, &record.unwrap()).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        let reader = Reader { format: LineFormat::Json, separator: String::new(), headers: Vec::new() };
        let read: Vec<NewRecord> =
            text.lines().map(|line| reader.read(line.as_bytes(), NOW).unwrap().unwrap()).collect();
        let headers = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"a".to_vec(), None)];
        let first = NewRecord {
            key: Some(b"key".to_vec()),
            value: Some(b"\xff\xfe".to_vec()),
            headers,
            timestamp: Timestamp(5),
        };
        assert_eq!(read, [first, NewRecord { timestamp: Timestamp(6), ..NewRecord::default() }]);
    }

    #[test]
    fn plain_formats_show_null() {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(Timestamp(5), Some(b"k"), None, &[]);
        let bytes = batch.finish(Offset(0), LeaderEpoch(0));
        let decoded = decode(&bytes, 1 << 20).unwrap();
        let place = Place { topic: "t".to_owned(), partition: 0 };
        for (format, expect) in [(LineFormat::Value, "null\n"), (LineFormat::KeyValue, "k=null\n")] {
            let mut out = Vec::new();
            let record = decoded.records().next().unwrap().unwrap();
            Printer::new(format, "=", EncodingWord::Text).print(&mut out, &place, &record).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }
}
