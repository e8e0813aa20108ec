//! Every message in every version, with random values and with defaults.

use super::*;
use crate::records::Records;
use crate::samples::{Sampler, request};

const SEED: u64 = 0x57a7a;
const SAMPLES: usize = 60;

struct RoundTrip {
    random: Sampler,
    seen: Vec<&'static str>,
}

impl Visitor for RoundTrip {
    fn visit<M: Wire>(&mut self) {
        self.seen.push(M::NAME);
        for version in M::FIRST..=M::LAST {
            for _ in 0..SAMPLES {
                let message = M::sample(&mut self.random, version);
                check(&message, version);
            }
            check(&M::default(), version);
        }
        for version in [M::FIRST - 1, M::LAST + 1, i16::MIN, i16::MAX] {
            assert_eq!(M::read(&mut Decoder::new(Bytes::new()), version), Err(DecodeError::Version { version }));
            let refused = M::default().write(&mut Encoder::new(), version);
            assert_eq!(refused, Err(EncodeError::Version { message: M::NAME, version }));
        }
    }
}

fn check<M: Wire>(message: &M, version: i16) {
    let bytes = message.to_bytes(version);
    let mut input = Decoder::new(bytes.clone());
    let back = M::read(&mut input, version).unwrap_or_else(|error| panic!("{} v{version}: {error}", M::NAME));
    assert_eq!(&back, message, "{} v{version}", M::NAME);
    assert_eq!(input.remaining(), 0, "{} v{version}", M::NAME);
    // Each proper prefix is an error: no field is read from beyond the end, and none is forgotten.
    for length in 0..bytes.len() {
        let cut = M::read(&mut Decoder::new(bytes.slice(..length)), version);
        assert!(cut.is_err(), "{} v{version}: {length} of {} bytes are enough", M::NAME, bytes.len());
    }
}

#[test]
fn every_message_and_version_survives() {
    println!("seed {SEED}");
    let mut visitor = RoundTrip { random: Sampler::new(SEED), seen: Vec::new() };
    for_each(&mut visitor);
    assert_eq!(visitor.seen, MESSAGES);
    assert_eq!(MESSAGES.len(), ApiKey::ALL.len() * 2 + 8, "a message is missing in the list of tests");
}

#[test]
fn every_request_is_decoded_by_its_key() {
    let mut random = Sampler::new(SEED);
    for api in ApiKey::ALL.iter().copied() {
        assert_eq!(ApiKey::from_code(api.code()), Some(api));
        for version in api.version_first()..=api.version_last() {
            let body = request(api, version, &mut random);
            assert_eq!(body.api(), api);
            let mut out = Encoder::new();
            body.encode(&mut out, version).unwrap();
            assert_eq!(RequestBody::decode(api, version, out.finish().0), Ok(body), "{} v{version}", api.name());
        }
    }
}

#[test]
fn a_value_that_the_version_cannot_carry_is_an_error() {
    let request = FetchRequest { replica_id: 3, ..FetchRequest::default() };
    let lost = EncodeError::Lost { field: "FetchRequest.replica_id", version: 15 };
    assert_eq!(request.encode(&mut Encoder::new(), 15), Err(lost));
    let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
    let null = EncodeError::Null { field: "MetadataRequest.topics", version: 0 };
    assert_eq!(request.encode(&mut Encoder::new(), 0), Err(null));
    // An ignorable field is left out.
    let request = FetchRequest { rack_id: "eu-1".into(), ..FetchRequest::default() };
    assert_eq!(request.encode(&mut Encoder::new(), 10), Ok(()));
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let request = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..HeartbeatRequest::default() };
    let mut bytes = request.to_bytes(4).to_vec();
    assert_eq!(bytes.pop(), Some(0));
    bytes.extend_from_slice(&[2, 9, 3, b'a', b'b', b'c', 0x80, 0x01, 0]);
    let mut input = Decoder::new(bytes.into());
    assert_eq!(HeartbeatRequest::decode(&mut input, 4), Ok(request));
    assert_eq!(input.remaining(), 0);
}

#[test]
fn bytes_are_views_into_the_frame() {
    let records = Bytes::from(vec![7u8; 5_000]);
    let partition = produce_request::PartitionProduceData { index: 0, records: Some(Records::Bytes(records)) };
    let topic = produce_request::TopicProduceData {
        name: "topic".into(),
        partition_data: vec![partition],
        ..produce_request::TopicProduceData::default()
    };
    let request = ProduceRequest { acks: 1, topic_data: vec![topic], ..ProduceRequest::default() };
    let frame = request.to_bytes(9);
    let back = ProduceRequest::decode(&mut Decoder::new(frame.clone()), 9).unwrap();
    let records = back.topic_data[0].partition_data[0].records.as_ref().and_then(Records::bytes).unwrap();
    assert!(frame.as_ptr_range().contains(&records.as_ptr()), "the records were copied");
    let name = back.topic_data[0].name.as_bytes();
    assert!(frame.as_ptr_range().contains(&name.as_ptr()), "the name was copied");
}
