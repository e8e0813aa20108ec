//! Produce requests: encoded once, filled with batches by number of partition and by template.
//!
//! The message is encoded by broker-wire with holes where batches belong. What lies between the holes is kept; for each
//! request a copy of it gets its correlation id and its partitions, and the batches' heads, which are made anew. Bodies
//! are views of the templates.

use broker_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use broker_wire::messages::{ProduceRequest, ProduceResponse};
use broker_wire::{ApiKey, Records, Str};
use bytes::Bytes;

use crate::client::{open_answer, request_frame};
use crate::error::LoadError;
use crate::net::Outbox;
use crate::template::{Stamp, Template};

/// The newest version with topic names.
pub(crate) const VERSION_NEWEST: i16 = 12;
/// How long the server may wait for its followers.
const TIMEOUT_MS: i32 = 30_000;
/// Where the correlation id stands in a frame.
const CORRELATION_AT: usize = 8;

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct RequestKind {
    pub(crate) topic: String,
    pub(crate) acks: i16,
    pub(crate) version: i16,
    /// Batches, each for a partition of its own.
    pub(crate) batches: usize,
}

/// A request for batches of one template, without them.
#[derive(Clone, Debug)]
pub(crate) struct RequestTemplate {
    /// What comes before each batch, and where in it the partition stands.
    before: Vec<(Bytes, usize)>,
    /// What comes after the last one.
    after: Bytes,
    /// Bytes of the whole frame.
    pub(crate) bytes: usize,
}

impl RequestTemplate {
    /// Encodes it.
    pub(crate) fn new(kind: &RequestKind, template: &Template) -> Result<RequestTemplate, LoadError> {
        let hole = u32::try_from(template.bytes()).map_err(|_| LoadError::Unusable("a batch is too large".into()))?;
        let partition = PartitionProduceData { index: 0, records: Some(Records::Hole(hole)) };
        let partition_data = vec![partition; kind.batches];
        let topic = TopicProduceData { name: Str::from(&kind.topic), partition_data, ..TopicProduceData::default() };
        let request =
            ProduceRequest { transactional_id: None, acks: kind.acks, timeout_ms: TIMEOUT_MS, topic_data: vec![topic] };
        let version = kind.version;
        let (frame, holes) = request_frame(ApiKey::Produce, version, 0, |out| request.encode(out, version))?;
        // The partition's index stands before the length of its records.
        let length_bytes = match version >= ApiKey::Produce.flexible_from() {
            true => varint_bytes(hole + 1),
            false => 4,
        };
        let mut from = 0;
        let mut before = Vec::with_capacity(holes.len());
        for hole in &holes {
            let piece = frame.slice(from..hole.at);
            let index_at = piece.len() - length_bytes - 4;
            before.push((piece, index_at));
            from = hole.at;
        }
        let bytes = frame.len() + kind.batches * template.bytes();
        Ok(RequestTemplate { before, after: frame.slice(from..), bytes })
    }

    /// Puts a request into the outbox: one batch for each of the partitions, with its stamp.
    pub(crate) fn send(&self, correlation_id: i32, batches: &[(i32, Stamp)], template: &Template, outbox: &mut Outbox) {
        for (number, ((piece, index_at), (partition, stamp))) in self.before.iter().zip(batches).enumerate() {
            let scratch = &mut outbox.scratch;
            scratch.reserve(piece.len() + template.bytes() - template.body().len() + self.after.len());
            scratch.extend_from_slice(piece);
            scratch[*index_at..*index_at + 4].copy_from_slice(&partition.to_be_bytes());
            if number == 0 {
                scratch[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation_id.to_be_bytes());
            }
            scratch.extend_from_slice(&template.head(stamp));
            let own = scratch.split().freeze();
            outbox.push(own);
            outbox.push(template.body().clone());
        }
        if !self.after.is_empty() {
            outbox.push(self.after.clone());
        }
    }
}

/// Bytes of an unsigned varint.
fn varint_bytes(value: u32) -> usize {
    (32 - value.max(1).leading_zeros()).div_ceil(7) as usize
}

/// What an answer says: its correlation id, and the codes of the partitions that were refused.
pub(crate) fn read_answer(version: i16, frame: &[u8]) -> Result<(i32, Vec<i16>), LoadError> {
    let (correlation_id, mut input) = open_answer(ApiKey::Produce, version, Bytes::copy_from_slice(frame))?;
    let answer = ProduceResponse::decode(&mut input, version)?;
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    Ok((correlation_id, partitions.map(|partition| partition.error_code).filter(|code| *code != 0).collect()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use broker_records::{Codec, Rules, validate};
    use broker_wire::{Decoder, RequestHead};

    use super::*;
    use crate::template::{Shape, Size, Templates};

    fn sent(kind: &RequestKind, batches: &[(i32, Stamp)], shape: &Shape) -> Vec<u8> {
        let templates = Templates::new(shape);
        let request = RequestTemplate::new(kind, templates.get(0)).unwrap();
        let mut outbox = Outbox::default();
        request.send(77, batches, templates.get(0), &mut outbox);
        assert_eq!(outbox.queued, request.bytes as u64);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        outbox.flush(&client).unwrap();
        assert!(outbox.is_empty());
        drop(client);
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_sent_is_a_request_with_valid_batches() {
        for version in [3, 8, 9, 12] {
            for count in [1, 3] {
                for value_bytes in [1, 100, 3_000, 20_000] {
                    let kind = RequestKind { topic: "some-topic".into(), acks: -1, version, batches: count };
                    let stamp = |index| Stamp { timestamp: 5, producer_id: 9, producer_epoch: 0, sequence: index };
                    let batches: Vec<_> = (0..count as i32).map(|index| (index * 300, stamp(index))).collect();
                    let shape = Shape { codec: Codec::None, value_bytes, size: Size::Records(2) };
                    let bytes = Bytes::from(sent(&kind, &batches, &shape));
                    assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize + 4, bytes.len());
                    let (head, body) = RequestHead::parse(bytes.slice(4..)).unwrap();
                    assert_eq!((head.api_key, head.version, head.correlation_id), (0, version, 77));
                    let mut input = Decoder::new(body);
                    let request = ProduceRequest::decode(&mut input, version).unwrap();
                    assert_eq!((input.remaining(), request.acks), (0, -1));
                    let found = &request.topic_data[0].partition_data;
                    assert_eq!((request.topic_data[0].name.as_str(), found.len()), ("some-topic", count));
                    for (partition, (index, stamp)) in found.iter().zip(&batches) {
                        let batch = partition.records.as_ref().unwrap().bytes().unwrap();
                        let head = validate(batch, &Rules::permissive(1 << 20)).unwrap();
                        assert_eq!((partition.index, head.base_sequence.0), (*index, stamp.sequence));
                    }
                }
            }
        }
    }
}
