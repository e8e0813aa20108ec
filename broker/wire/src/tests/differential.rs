//! The public crate `kafka-protocol` reads what we write and writes what we read, in all versions that both know.
//!
//! It decodes our bytes and encodes them again; equal bytes mean that it found each field where we put it, and that we
//! read each field where it puts it.

use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message};

use super::*;
use crate::samples::Sampler;

const SEED: u64 = 0xd1ff;
const SAMPLES: usize = 100;

/// Compares one message type; gives the number of versions that both know.
fn compare<Ours: Wire, Theirs: Message + Encodable + Decodable + std::fmt::Debug>(random: &mut Sampler) -> usize {
    let first = Ours::FIRST.max(Theirs::VERSIONS.min);
    let last = Ours::LAST.min(Theirs::VERSIONS.max);
    for version in first..=last {
        for _ in 0..SAMPLES {
            let message = Ours::sample(random, version);
            let ours = message.to_bytes(version);
            let place = format!("{} v{version}: {message:?}", Ours::NAME);
            let mut input = ours.clone();
            let decoded = Theirs::decode(&mut input, version).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(input.is_empty(), "{place}: {} bytes left", input.len());
            let mut encoded = bytes::BytesMut::new();
            decoded.encode(&mut encoded, version).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(encoded, ours, "{place}: {decoded:?}");
            let back = Ours::read(&mut Decoder::new(encoded.freeze()), version);
            assert_eq!(back.as_ref(), Ok(&message), "{place}");
        }
    }
    usize::try_from(last + 1 - first).unwrap_or(0)
}

macro_rules! compare_all {
    ($random:expr, $($name:ident),* $(,)?) => {
        [$((stringify!($name), compare::<$name, theirs::$name>($random))),*]
    };
}

#[test]
fn another_implementation_agrees_in_all_shared_versions() {
    println!("seed {SEED}");
    let random = &mut Sampler::new(SEED);
    let compared = with_shared_messages!(compare_all!(random,));
    for (name, versions) in compared {
        assert!(versions > 0, "{name}: no version in common");
    }
    let versions: usize = compared.iter().map(|(_, versions)| versions).sum();
    assert!(versions >= 250, "only {versions} versions compared");
}
