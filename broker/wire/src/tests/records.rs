//! Records of the group coordinator's log and the embedded consumer protocol, against bytes worked out by hand.

use super::*;
use crate::coordinator::CoordinatorKey;

#[test]
fn an_offset_commit_is_kafkas_bytes() {
    let key = OffsetCommitKey { group: "g1".into(), topic: "t".into(), partition: 3 };
    let bytes = key.encode_prefixed().unwrap();
    assert_eq!(bytes.as_ref(), [0, 1, 0, 2, b'g', b'1', 0, 1, b't', 0, 0, 0, 3]);
    assert_eq!(CoordinatorKey::decode(bytes.clone()), Ok(CoordinatorKey::OffsetCommit(key.clone())));
    // The legacy type has the same layout.
    let mut legacy = bytes.to_vec();
    legacy[1] = 0;
    assert_eq!(CoordinatorKey::decode(legacy.into()), Ok(CoordinatorKey::OffsetCommit(key)));

    let value =
        OffsetCommitValue { offset: 5, metadata: "m".into(), commit_timestamp: 9, ..OffsetCommitValue::default() };
    let bytes = value.encode_prefixed(3).unwrap();
    let expected = [0, 3, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(bytes.as_ref(), expected);
    assert_eq!(OffsetCommitValue::decode_prefixed(bytes), Ok((value, 3)));
}

#[test]
fn a_group_is_kafkas_bytes() {
    let key = GroupMetadataKey { group: "g1".into() };
    let bytes = key.encode_prefixed().unwrap();
    assert_eq!(bytes.as_ref(), [0, 2, 0, 2, b'g', b'1']);
    assert_eq!(CoordinatorKey::decode(bytes), Ok(CoordinatorKey::GroupMetadata(key)));

    let value = GroupMetadataValue {
        protocol_type: "c".into(),
        generation: 1,
        protocol: None,
        leader: None,
        current_state_timestamp: 7,
        members: Vec::new(),
    };
    let bytes = value.encode_prefixed(3).unwrap();
    let expected = [0, 3, 0, 1, b'c', 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
    assert_eq!(bytes.as_ref(), expected);
    assert_eq!(GroupMetadataValue::decode_prefixed(bytes), Ok((value, 3)));
}

#[test]
fn other_record_types_and_newer_versions_are_told() {
    assert_eq!(CoordinatorKey::decode(Bytes::from_static(&[0, 3, 1, 2])), Ok(CoordinatorKey::Unknown(3)));
    assert!(CoordinatorKey::decode(Bytes::from_static(&[0])).is_err());
    let newer = OffsetCommitValue::decode_prefixed(Bytes::from_static(&[0, 9, 0]));
    assert_eq!(newer, Err(DecodeError::Version { version: 9 }));
}

#[test]
fn a_newer_subscription_is_read_as_the_newest_known() {
    let subscription = ConsumerProtocolSubscription { topics: vec!["t".into()], ..Default::default() };
    let mut bytes = subscription.encode_prefixed(3).unwrap().to_vec();
    bytes[1] = 9;
    bytes.extend_from_slice(&[1, 2, 3]);
    assert_eq!(ConsumerProtocolSubscription::decode_prefixed(bytes.into()), Ok((subscription, 9)));
    let negative = ConsumerProtocolSubscription::decode_prefixed(Bytes::from_static(&[0xff, 0xff, 0, 0]));
    assert_eq!(negative, Err(DecodeError::Version { version: -1 }));
}
