//! Bytes that are no requests: they end the connection that sent them, and nobody else notices.

use std::io::Write;

use broker_wire::messages::{ApiVersionsRequest, MetadataRequest};

use crate::support::requests::{append, batch, create};
use crate::support::{Client, Server};

fn is_served(client: &mut Client) -> bool {
    client.call(0, &ApiVersionsRequest::default()).error_code == 0
}

#[test]
fn lengths_that_lie_end_the_connection() {
    let server = Server::start();
    let mut other = server.connect();
    for length in [-1, i32::MIN, 0, 1, 7, i32::MAX, 200 << 20] {
        let mut client = server.connect();
        client.stream.write_all(&length.to_be_bytes()).unwrap();
        assert!(client.is_closed(), "length {length}");
        assert!(is_served(&mut other));
    }
}

#[test]
fn only_produce_may_announce_a_large_frame() {
    let server = Server::start();
    let mut client = server.connect();
    client.stream.write_all(&(90i32 << 20).to_be_bytes()).unwrap();
    client.stream.write_all(&[0, 3, 0, 1, 0, 0, 0, 0]).unwrap();
    assert!(client.is_closed());
    assert!(is_served(&mut server.connect()));
}

#[test]
fn frames_that_are_never_ended_hold_up_nobody() {
    let server = Server::start();
    let mut halves = Vec::new();
    for announced in [100i32, 1 << 20, 90 << 20] {
        for part in [0usize, 2, 4, 60] {
            let mut client = server.connect();
            let mut bytes = announced.to_be_bytes().to_vec();
            bytes.resize(64, 0);
            client.stream.write_all(&bytes[..part]).unwrap();
            halves.push(client);
        }
    }
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    for offset in 0..20 {
        assert_eq!(append(&mut client, &topic, 0, batch(&["a"])), offset);
    }
    drop(halves);
    assert!(is_served(&mut client));
}

#[test]
fn a_frame_may_come_byte_by_byte() {
    let server = Server::start();
    let mut client = server.connect();
    let (bytes, sent) = client.frame(12, &MetadataRequest::default());
    for byte in bytes {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.receive::<MetadataRequest>(&sent).brokers.len(), 1);
}

#[test]
fn garbage_behind_a_request_ends_the_connection_after_its_reply_or_before() {
    let server = Server::start();
    let mut other = server.connect();
    let mut seed = 0x5eed_u64;
    for round in 0..64 {
        let mut client = server.connect();
        assert!(is_served(&mut client));
        // A length that fits, and bytes that are no request: the key is one that is not served.
        let mut garbage: Vec<u8> = std::iter::repeat_with(|| next(&mut seed)).take(8 + round * 7).collect();
        garbage[..2].copy_from_slice(&[0x70, 0x70]);
        let mut frame = u32::try_from(garbage.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(garbage);
        client.stream.write_all(&frame).unwrap();
        assert!(client.is_closed(), "round {round}");
    }
    assert!(is_served(&mut other));
}

/// A valid head of each API with random bytes behind it is refused or, by chance, understood; the server stands.
#[test]
fn random_bodies_of_every_api_do_no_harm() {
    let server = Server::start();
    let mut seed = 0xB0D1_u64;
    for entry in broker_wire::advertised::ADVERTISED {
        for version in entry.first..=entry.last {
            let mut client = server.connect();
            let mut body = entry.api.code().to_be_bytes().to_vec();
            body.extend(version.to_be_bytes());
            body.extend([0, 0, 0, 1, 0xff, 0xff]);
            if version >= entry.api.flexible_from() {
                body.push(0);
            }
            body.extend(std::iter::repeat_with(|| next(&mut seed)).take(200));
            let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
            frame.extend(body);
            client.stream.write_all(&frame).unwrap();
        }
    }
    assert!(is_served(&mut server.connect()));
}

/// A body that is cut at each of its bytes: a shorter frame is not the request.
#[test]
fn a_request_that_ends_too_early_ends_its_connection() {
    let server = Server::start();
    let (whole, _) = server.connect().frame(12, &MetadataRequest::default());
    for cut in 12..whole.len() {
        let mut client = server.connect();
        let mut frame = u32::try_from(cut - 4).unwrap().to_be_bytes().to_vec();
        frame.extend(&whole[4..cut]);
        client.stream.write_all(&frame).unwrap();
        assert!(client.is_closed(), "cut at {cut}");
    }
    assert!(is_served(&mut server.connect()));
}

/// SplitMix64, one byte of it.
fn next(seed: &mut u64) -> u8 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed >> 56).to_le_bytes()[0]
}
