//! Records byte for byte as Kafka writes them, and what a newer or older broker wrote.

use broker_model::machine::{Machine, Record};
use broker_model::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

use crate::records::{self, Change};
use crate::request::{CommittedOffset, KeptOffset};
use crate::state::{KeptMember, KeptMeta};
use crate::{GroupMachine, Groups};

fn kept(topic_id: TopicId) -> KeptOffset {
    let committed = CommittedOffset { offset: Offset(300), leader_epoch: LeaderEpoch(4), metadata: "m".into() };
    KeptOffset { committed, at: Timestamp(0x0102), expires: None, topic_id }
}

#[test]
fn an_offset_is_kafkas_version_3_or_with_an_id_4() {
    let record = records::offset("gr", "to", PartitionIndex(5), Some(&kept(TopicId::ZERO)));
    assert_eq!(record.key, b"\0\x01\0\x02gr\0\x02to\0\0\0\x05");
    let value = b"\0\x03\0\0\0\0\0\0\x01\x2c\0\0\0\x04\0\x01m\0\0\0\0\0\0\x01\x02";
    assert_eq!(record.value.as_deref(), Some(&value[..]));
    let record = records::offset("gr", "to", PartitionIndex(5), Some(&kept(TopicId([9; 16]))));
    let head = b"\0\x04\0\0\0\0\0\0\x01\x2c\0\0\0\x04\x02m\0\0\0\0\0\0\x01\x02\x01\0\x10";
    assert_eq!(record.value, Some([&head[..], &[9; 16]].concat()));
    let expected = Change::Offset("gr".into(), ("to".into(), PartitionIndex(5)), Some(kept(TopicId([9; 16]))));
    assert_eq!(records::read(&record), Ok(expected));
}

#[test]
fn a_group_is_kafkas_version_3() {
    let member = KeptMember {
        member: "a".into(),
        instance: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout_ms: 2,
        session_timeout_ms: 1,
        subscription: vec![7],
        assignment: vec![8, 9],
    };
    let meta = KeptMeta {
        protocol_type: "consumer".into(),
        generation: 6,
        protocol: Some("range".into()),
        leader: Some("a".into()),
        state_at: Timestamp(3),
        members: vec![member],
    };
    let record = records::group("gr", Some(&meta));
    assert_eq!(record.key, b"\0\x02\0\x02gr");
    let value = b"\0\x03\0\x08consumer\0\0\0\x06\0\x05range\0\x01a\0\0\0\0\0\0\0\x03\0\0\0\x01\
        \0\x01a\xff\xff\0\x01c\0\x02/h\0\0\0\x02\0\0\0\x01\0\0\0\x01\x07\0\0\0\x02\x08\x09";
    assert_eq!(record.value.as_deref(), Some(&value[..]));
    assert_eq!(records::read(&record), Ok(Change::Group("gr".into(), Some(meta))));
}

#[test]
fn an_offset_of_version_1_is_read() {
    let record = Record::put(
        b"\0\0\0\x01g\0\x01t\0\0\0\0".to_vec(),
        b"\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x09".to_vec(),
    );
    let Ok(Change::Offset(_, _, Some(kept))) = records::read(&record) else { panic!() };
    assert_eq!((kept.committed.offset.0, kept.committed.leader_epoch.0, kept.at.0), (5, -1, 7));
}

#[test]
fn newer_record_types_are_skipped_at_load() {
    let machine = GroupMachine::default();
    let mut hard = Groups::default();
    for kind in [3i16, 4, 5, 6, 7, 8, 10, 15, 16, 17, 23, 99] {
        let record = Record::put([&kind.to_be_bytes()[..], b"what"].concat(), b"ever".to_vec());
        assert_eq!(machine.apply(&mut hard, Offset(0), &record), Ok(()), "type {kind}");
    }
    assert_eq!(hard, Groups::default());
}

#[test]
fn damaged_records_are_errors() {
    let machine = GroupMachine::default();
    let good = records::offset("g", "t", PartitionIndex(0), Some(&kept(TopicId([9; 16]))));
    let value = good.value.clone().unwrap();
    for cut in 0..value.len() {
        let record = Record::put(good.key.clone(), value[..cut].to_vec());
        assert!(machine.apply(&mut Groups::default(), Offset(0), &record).is_err(), "cut at {cut}");
    }
    for cut in 0..good.key.len() {
        let record = Record::put(good.key[..cut].to_vec(), value.clone());
        assert!(machine.apply(&mut Groups::default(), Offset(0), &record).is_err(), "key cut at {cut}");
    }
    let newer = Record::put(good.key.clone(), [&[0, 9][..], &value[2..]].concat());
    assert!(machine.apply(&mut Groups::default(), Offset(0), &newer).is_err());
}

#[test]
fn an_offset_with_a_retention_is_kafkas_version_1() {
    let expiring = KeptOffset { expires: Some(Timestamp(0x0103)), ..kept(TopicId([9; 16])) };
    let record = records::offset("gr", "to", PartitionIndex(5), Some(&expiring));
    let value = b"\0\x01\0\0\0\0\0\0\x01\x2c\0\x01m\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\x01\x03";
    assert_eq!(record.value.as_deref(), Some(&value[..]));
    let Ok(Change::Offset(_, _, Some(read))) = records::read(&record) else { panic!() };
    assert_eq!(
        (read.expires, read.topic_id, read.committed.leader_epoch.0),
        (Some(Timestamp(0x0103)), TopicId::ZERO, -1)
    );
}
