//! Requests of all APIs in all versions, their heads, and what is embedded in them and in the coordinator's log.
//!
//! What was accepted is also encoded and decoded again, and must be the same.

use broker_wire::advertised::Service;
use broker_wire::coordinator::CoordinatorKey;
use broker_wire::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, GroupMetadataKey, GroupMetadataValue, OffsetCommitKey,
    OffsetCommitValue,
};
use broker_wire::samples::{Sample, Sampler, request};
use broker_wire::{ApiKey, Encoder, RequestBody, RequestHead};
use bytes::Bytes;
use tests_fuzz::{Campaign, Meter, Random};

#[global_allocator]
static METER: Meter = Meter;

/// Requests are spread over this many tests, so that they run side by side.
const SHARES: usize = 4;
const CASES_PER_SHARE: u64 = 6_000_000;
const CASES_HEADS: u64 = 3_000_000;
const CASES_EMBEDDED: u64 = 3_000_000;
/// Elements in memory are larger than on the wire: a topic of two bytes takes 48. A vector that grows is there twice.
const PEAK_PER_BYTE: usize = 80;
const PEAK_BASE: usize = 32 << 10;

const CAMPAIGN: Campaign =
    Campaign { name: "", seed: 0, cases: CASES_PER_SHARE, peak_per_byte: PEAK_PER_BYTE, peak_base: PEAK_BASE };

/// A valid body behind the number of its API and its version, two bytes each.
fn body(random: &mut Random, apis: &[ApiKey]) -> Vec<u8> {
    let api = random.pick(apis);
    let version = random_version(random, api);
    let message = request(api, version, &mut Sampler::new(random.u64()));
    let mut out = Encoder::new();
    message.encode(&mut out, version).expect("a sample can be encoded");
    let mut input = api.code().to_be_bytes().to_vec();
    input.extend_from_slice(&version.to_be_bytes());
    input.extend_from_slice(&out.finish().0);
    input
}

fn random_version(random: &mut Random, api: ApiKey) -> i16 {
    let versions = api.version_last() + 1 - api.version_first();
    api.version_first() + random.below(versions as usize) as i16
}

fn decode_body(random: &mut Random, apis: &[ApiKey], input: &[u8]) -> Option<(RequestBody, i16)> {
    // The number and version are damaged like all else: then they are drawn anew.
    let number = |at: usize| Some(i16::from_be_bytes(*input.get(at..)?.first_chunk::<2>()?));
    let api = number(0).and_then(ApiKey::from_code).unwrap_or_else(|| random.pick(apis));
    let version = match number(2) {
        Some(version) if !random.one_in(16) => version,
        _ => random_version(random, api),
    };
    let body = Bytes::copy_from_slice(input.get(4..)?);
    RequestBody::decode(api, version, body).ok().map(|message| (message, version))
}

fn check_body((message, version): (RequestBody, i16)) {
    let mut out = Encoder::new();
    message.encode(&mut out, version).expect("what was decoded can be encoded");
    let again = RequestBody::decode(message.api(), version, out.finish().0);
    assert_eq!(again.as_ref(), Ok(&message), "v{version}");
}

fn share(name: &'static str, share: usize) {
    let apis: Vec<ApiKey> = ApiKey::ALL.iter().copied().skip(share).step_by(SHARES).collect();
    let campaign = Campaign { name, seed: 0x57a7_a000 + share as u64, ..CAMPAIGN };
    campaign.run(|random| body(random, &apis), |random, input| decode_body(random, &apis, input), check_body);
}

#[test]
fn requests_of_every_fourth_api_from_the_first() {
    share("requests 0", 0);
}

#[test]
fn requests_of_every_fourth_api_from_the_second() {
    share("requests 1", 1);
}

#[test]
fn requests_of_every_fourth_api_from_the_third() {
    share("requests 2", 2);
}

#[test]
fn requests_of_every_fourth_api_from_the_fourth() {
    share("requests 3", 3);
}

#[test]
fn heads_and_whole_requests() {
    let campaign = Campaign { name: "heads", seed: 0x57a7_a100, cases: CASES_HEADS, ..CAMPAIGN };
    let base = |random: &mut Random| {
        let api = random.pick(ApiKey::ALL);
        let version = random_version(random, api);
        let mut sampler = Sampler::new(random.u64());
        let client_id = sampler.optional(Sampler::string);
        let mut out = Encoder::new();
        let head = RequestHead { api_key: api.code(), version, correlation_id: 1, client_id };
        head.encode(&mut out).expect("a head can be encoded");
        request(api, version, &mut sampler).encode(&mut out, version).expect("a sample can be encoded");
        out.finish().0.to_vec()
    };
    let decode = |_: &mut Random, input: &[u8]| {
        let frame = Bytes::copy_from_slice(input);
        let (head, body) = RequestHead::parse(frame).ok()?;
        match head.service() {
            Service::Serve(api) | Service::Refuse(api) => RequestBody::decode(api, head.version, body).ok(),
            Service::AnswerApiVersions | Service::Close => None,
        }
    };
    campaign.run(base, decode, drop);
}

#[test]
fn embedded_protocols_and_coordinator_records() {
    let campaign = Campaign { name: "embedded", seed: 0x57a7_a200, cases: CASES_EMBEDDED, ..CAMPAIGN };
    let base = |random: &mut Random| {
        let sampler = &mut Sampler::new(random.u64());
        let kind = sampler.below(6);
        let encoded = match kind {
            0 => ConsumerProtocolSubscription::sample(sampler, 3).encode_prefixed(3),
            1 => ConsumerProtocolAssignment::sample(sampler, 3).encode_prefixed(3),
            2 => OffsetCommitKey::sample(sampler, 0).encode_prefixed(),
            3 => GroupMetadataKey::sample(sampler, 0).encode_prefixed(),
            4 => OffsetCommitValue::sample(sampler, 4).encode_prefixed(4),
            _ => GroupMetadataValue::sample(sampler, 4).encode_prefixed(4),
        };
        let mut input = vec![kind as u8];
        input.extend_from_slice(&encoded.expect("a sample can be encoded"));
        input
    };
    let decode = |_: &mut Random, input: &[u8]| {
        let (kind, rest) = input.split_first()?;
        let rest = Bytes::copy_from_slice(rest);
        let accepted = match kind {
            0 => ConsumerProtocolSubscription::decode_prefixed(rest).is_ok(),
            1 => ConsumerProtocolAssignment::decode_prefixed(rest).is_ok(),
            2 | 3 => CoordinatorKey::decode(rest).is_ok(),
            4 => OffsetCommitValue::decode_prefixed(rest).is_ok(),
            _ => GroupMetadataValue::decode_prefixed(rest).is_ok(),
        };
        accepted.then_some(())
    };
    campaign.run(base, decode, drop);
}
