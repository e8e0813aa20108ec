//! Heads, frames, holes, and what is served.

use kafka_protocol::messages::ApiKey as TheirKey;

use super::*;
use crate::advertised::{ADVERTISED, Feature, Service, api_versions, api_versions_unsupported, service};
use crate::encode::Hole;
use crate::form::Form;
use crate::frame::{
    Prelude, RequestHead, encode_api_versions_unsupported, encode_response, frame_length, request_head_version,
    response_head_version,
};
use crate::limits;
use crate::records::Records;

#[test]
fn head_versions_agree_with_another_implementation() {
    for api in ApiKey::ALL.iter().copied() {
        let theirs = TheirKey::try_from(api.code()).unwrap();
        for version in api.version_first()..=api.version_last() {
            let place = format!("{} v{version}", api.name());
            assert_eq!(request_head_version(api, version), theirs.request_header_version(version), "{place}");
            assert_eq!(response_head_version(api, version), theirs.response_header_version(version), "{place}");
        }
    }
}

#[test]
fn a_head_comes_back_with_its_body() {
    for entry in ADVERTISED {
        for version in entry.first..=entry.last {
            let head = RequestHead {
                api_key: entry.api.code(),
                version,
                correlation_id: 77,
                client_id: Some("client".into()),
            };
            let mut out = Encoder::new();
            head.encode(&mut out).unwrap();
            out.i32(0x0102_0304);
            let (parsed, body) = RequestHead::parse(out.finish().0).unwrap();
            assert_eq!(parsed, head);
            assert_eq!(body.as_ref(), [1, 2, 3, 4]);
        }
    }
}

#[test]
fn unknown_keys_and_versions_still_have_a_correlation_id() {
    for (api_key, version, expected) in [
        (999, 0, Service::Close),
        (-1, 0, Service::Close),
        (59, 0, Service::Close),
        (1, 3, Service::Close),
        (1, 19, Service::Close),
        (0, 2, Service::Refuse(ApiKey::Produce)),
        (0, 3, Service::Serve(ApiKey::Produce)),
        (11, 0, Service::Serve(ApiKey::JoinGroup)),
        (18, 5, Service::AnswerApiVersions),
        (18, -1, Service::AnswerApiVersions),
    ] {
        let mut out = Encoder::new();
        out.i16(api_key);
        out.i16(version);
        out.i32(5);
        let frame = out.finish().0;
        assert_eq!(service(api_key, version), expected, "{api_key} v{version}");
        let prelude = Prelude::parse(&frame).unwrap();
        assert_eq!((prelude.correlation_id, prelude.service()), (5, expected));
        if matches!(expected, Service::Close | Service::AnswerApiVersions) {
            let (head, _) = RequestHead::parse(frame).unwrap();
            assert_eq!((head.correlation_id, head.client_id), (5, None));
        }
    }
    assert!(RequestHead::parse(Bytes::from_static(&[0; 7])).is_err());
    assert_eq!(Prelude::parse(&[0; 7]), None);
}

#[test]
fn frame_lengths_are_bounded_by_api() {
    assert_eq!(frame_length([0, 0, 1, 0]), Some(256));
    assert_eq!(frame_length([0xff; 4]), None);
    let all = 100 << 20;
    let small = broker_model::limits::SMALL_FRAME_BYTES_MAX;
    assert_eq!(limits::frame_bytes_max(Some(ApiKey::Produce), all), all);
    assert_eq!(limits::frame_bytes_max(Some(ApiKey::Metadata), all), small);
    assert_eq!(limits::frame_bytes_max(None, all), small);
    assert_eq!(limits::frame_bytes_max(None, 1_000), 1_000);
}

#[test]
fn an_api_versions_answer_has_head_version_0() {
    let (frame, holes) =
        encode_response(ApiKey::ApiVersions, 4, 9, |out| api_versions(4, &[], -1).encode(out, 4)).unwrap();
    assert!(holes.is_empty());
    let mut input = Decoder::new(frame.clone());
    assert_eq!(input.i32().unwrap() as usize, frame.len() - 4);
    assert_eq!(input.i32().unwrap(), 9);
    let answer = ApiVersionsResponse::decode(&mut input, 4).unwrap();
    assert_eq!((answer.api_keys.len(), input.remaining()), (ADVERTISED.len(), 0));
}

#[test]
fn a_too_new_api_versions_request_gets_a_v0_body_with_error_35() {
    let (frame, _) = encode_api_versions_unsupported(3).unwrap();
    assert_eq!(frame.as_ref(), [0, 0, 0, 16, 0, 0, 0, 3, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    assert_eq!(api_versions_unsupported().api_keys.len(), 1);
}

#[test]
fn features_follow_the_version() {
    let features = [
        Feature { name: "group.version", level_min: 0, level_max: 1, finalized: 0 },
        Feature { name: "metadata.version", level_min: 7, level_max: 29, finalized: 29 },
    ];
    let old = api_versions(3, &features, 12);
    assert_eq!(old.supported_features.len(), 1);
    let new = api_versions(4, &features, 12);
    assert_eq!((new.supported_features.len(), new.finalized_features.len()), (2, 1));
    assert_eq!((new.finalized_features_epoch, new.finalized_features[0].max_version_level), (12, 29));
    new.to_bytes(4);
}

/// The ranges that old clients look for before they use a feature; see the module of the table.
#[test]
fn advertised_ranges_hold_what_old_clients_look_for() {
    let has = |api: ApiKey, version: i16| {
        ADVERTISED.iter().any(|entry| entry.api == api && (entry.first..=entry.last).contains(&version))
    };
    for (api, version) in [
        (ApiKey::Produce, 0),
        (ApiKey::Produce, 3),
        (ApiKey::Produce, 7),
        (ApiKey::Fetch, 4),
        (ApiKey::Fetch, 10),
        (ApiKey::FindCoordinator, 0),
        (ApiKey::JoinGroup, 0),
        (ApiKey::SyncGroup, 0),
        (ApiKey::Heartbeat, 0),
        (ApiKey::LeaveGroup, 0),
        (ApiKey::OffsetFetch, 1),
        (ApiKey::OffsetCommit, 2),
        (ApiKey::ListOffsets, 1),
        (ApiKey::ApiVersions, 0),
        (ApiKey::InitProducerId, 0),
        (ApiKey::Metadata, 0),
    ] {
        assert!(has(api, version), "{} v{version}", api.name());
    }
}

fn fetch_response(records: impl Fn(u32) -> Records) -> FetchResponse {
    let partition = |index: i32, bytes: u32| fetch_response::PartitionData {
        partition_index: index,
        records: Some(records(bytes)),
        ..fetch_response::PartitionData::default()
    };
    let topic = fetch_response::FetchableTopicResponse {
        partitions: vec![partition(0, 300), partition(1, 0), partition(2, 17)],
        ..fetch_response::FetchableTopicResponse::default()
    };
    FetchResponse { responses: vec![topic], ..FetchResponse::default() }
}

#[test]
fn holes_filled_are_the_message_with_its_bytes() {
    for version in FetchResponse::VERSION_FIRST..=FetchResponse::VERSION_LAST {
        let content = |bytes: u32| vec![bytes as u8; bytes as usize];
        let full = fetch_response(|bytes| Records::Bytes(content(bytes).into()));
        let holed = fetch_response(Records::Hole);
        let encode = |message: &FetchResponse| {
            encode_response(ApiKey::Fetch, version, 1, |out| message.encode(out, version)).unwrap()
        };
        let (expected, none) = encode(&full);
        assert_eq!(none, []);
        let (bytes, holes) = encode(&holed);
        assert_eq!(holes.iter().map(|hole| hole.bytes).collect::<Vec<_>>(), [300, 17]);
        let mut filled = Vec::new();
        let mut from = 0;
        for Hole { at, bytes: length } in holes {
            filled.extend_from_slice(&bytes[from..at]);
            filled.extend_from_slice(&content(length));
            from = at;
        }
        filled.extend_from_slice(&bytes[from..]);
        assert_eq!(filled, expected, "v{version}");
    }
}

#[test]
fn a_frame_longer_than_its_prefix_can_say_is_refused() {
    let mut out = Encoder::frame();
    for _ in 0..2 {
        out.records(Form::Classic, &Records::Hole(i32::MAX as u32)).unwrap();
    }
    assert!(matches!(out.finish_frame(), Err(EncodeError::TooLong { .. })));
    let refused = Encoder::new().records(Form::Classic, &Records::Hole(u32::MAX));
    assert_eq!(refused, Err(EncodeError::TooLong { length: u32::MAX as usize }));
    let refused = Encoder::new().string(Form::Compact, &"x".repeat(40_000));
    assert_eq!(refused, Err(EncodeError::TooLong { length: 40_000 }));
}
