//! Answers that broker-wire encodes are read whole, whatever pieces they come in.

use std::io::Write;
use std::net::TcpListener;

use broker_records::Codec;
use broker_wire::messages::FetchResponse;
use broker_wire::messages::fetch_response::{AbortedTransaction, FetchableTopicResponse, PartitionData};
use broker_wire::{ApiKey, Records, encode_response};
use bytes::Bytes;

use super::*;
use crate::template::{Shape, Size, Stamp, Templates};

fn batches(count: usize) -> Vec<u8> {
    let templates = Templates::new(&Shape { codec: Codec::None, value_bytes: 700, size: Size::Records(3) });
    let stamp = Stamp { timestamp: 1, producer_id: -1, producer_epoch: -1, sequence: -1 };
    let mut all = Vec::new();
    for number in 0..count {
        let mut head = templates.get(0).head(&stamp);
        head[..8].copy_from_slice(&(number as i64 * 3).to_be_bytes());
        all.extend_from_slice(&head);
        all.extend_from_slice(templates.get(0).body());
    }
    all
}

fn answer() -> Bytes {
    let partition = |index, error_code, records: Vec<u8>| PartitionData {
        partition_index: index,
        error_code,
        high_watermark: 40,
        aborted_transactions: Some(vec![AbortedTransaction { producer_id: 1, first_offset: 2 }]),
        records: Some(Records::Bytes(Bytes::from(records))),
        ..PartitionData::default()
    };
    let mut cut = batches(3);
    cut.truncate(cut.len() - 100);
    let mut torn = batches(2);
    torn.extend_from_slice(&batches(1)[..20]);
    let partitions =
        vec![partition(7, 0, batches(4)), partition(8, 6, Vec::new()), partition(9, 0, cut), partition(1, 0, torn)];
    let topic = FetchableTopicResponse { topic: "some-topic".into(), partitions, ..FetchableTopicResponse::default() };
    let response = FetchResponse { session_id: 99, responses: vec![topic], ..FetchResponse::default() };
    encode_response(ApiKey::Fetch, 12, 5, |out| response.encode(out, 12)).unwrap().0
}

/// All events of two answers that come in pieces of this many bytes.
fn events(treatment: Treatment, bytes: &[u8], piece: usize) -> Result<Vec<Event>, LoadError> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut reader = Reader::new(treatment);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        server.write_all(piece).unwrap();
        client.set_nonblocking(false).unwrap();
        while reader.fill(&client).unwrap() {
            while let Some(event) = reader.next()? {
                events.push(event);
            }
            client.set_nonblocking(true).unwrap();
        }
    }
    Ok(events)
}

fn told(events: &[Event]) -> Vec<String> {
    let tell = |event: &Event| match event {
        Event::Answer { correlation_id, error_code, session_id } => {
            format!("answer {correlation_id} {error_code} {session_id}")
        }
        Event::Partition { index, error_code, log_end } => format!("partition {index} {error_code} {log_end}"),
        Event::Batch(head) => format!("batch {}", head.base_offset.0),
        Event::Alike { first, bytes } => format!("alike {} {}", first.base_offset.0, bytes / first.total_bytes()),
        Event::End { bytes } => format!("end {bytes}"),
    };
    events.iter().map(tell).collect()
}

#[test]
fn an_answer_is_read_in_pieces_of_any_size() {
    let answer = answer();
    let twice = [&answer[..], &answer[..]].concat();
    let end = format!("end {}", answer.len());
    for piece in [1, 3, 100, 2_000, 1 << 20] {
        for treatment in [Treatment::Drain, Treatment::Verify] {
            let wanted = [
                "answer 5 0 99",
                "partition 7 0 40",
                "batch 0",
                "batch 3",
                "batch 6",
                "batch 9",
                "partition 8 6 40",
                "partition 9 0 40",
                "batch 0",
                "batch 3",
                "partition 1 0 40",
                "batch 0",
                "batch 3",
                &end,
            ];
            let found = told(&events(treatment, &twice, piece).unwrap());
            assert_eq!(found, wanted.repeat(2), "{treatment:?} in pieces of {piece}");
        }
        let wanted = [
            "answer 5 0 99",
            "partition 7 0 40",
            "alike 0 4",
            "partition 8 6 40",
            "partition 9 0 40",
            "alike 0 2",
            "partition 1 0 40",
            "alike 0 2",
            &end,
        ];
        assert_eq!(told(&events(Treatment::Discard, &twice, piece).unwrap()), wanted.repeat(2), "pieces of {piece}");
    }
}

#[test]
fn a_flipped_bit_is_found_where_batches_are_verified() {
    let mut damaged = answer().to_vec();
    let middle = damaged.len() / 3;
    damaged[middle] ^= 4;
    assert!(events(Treatment::Verify, &damaged, 1 << 20).is_err());
    assert!(events(Treatment::Drain, &damaged, 1 << 20).is_ok());
}

#[test]
fn an_answer_that_lies_about_its_length_is_an_error() {
    let answer = answer().to_vec();
    for change in [-1_i32, 1] {
        let mut wrong = answer.clone();
        let length = (wrong.len() as i32 - 4 + change).to_be_bytes();
        wrong[..4].copy_from_slice(&length);
        wrong.extend_from_slice(&[0; 8]);
        assert!(events(Treatment::Drain, &wrong, 1 << 20).is_err(), "{change}");
    }
}
