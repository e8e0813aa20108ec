//! OffsetForLeaderEpoch: where each epoch of a log ended. An epoch ends with its process.

use broker_wire::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use broker_wire::messages::offset_for_leader_epoch_response::EpochEndOffset;

use crate::delete_records::delete;
use crate::support::requests::{Topic, append, batch, create, list, only};
use crate::support::{Client, Server};

const UNKNOWN: i16 = 3;
const FENCED: i16 = 74;
const UNKNOWN_EPOCH: i16 = 75;
const NONE: i32 = -1;

pub(crate) fn ask(client: &mut Client, version: i16, name: &str, (current, epoch): (i32, i32)) -> EpochEndOffset {
    let partition = OffsetForLeaderPartition { partition: 0, current_leader_epoch: current, leader_epoch: epoch };
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic { topic: name.into(), partitions: vec![partition] }],
    };
    let topic = only(client.call(version, &request).topics);
    assert_eq!(topic.topic, name);
    only(topic.partitions)
}

/// The epoch in which the broker leads now.
fn epoch_of(client: &mut Client, topic: &Topic) -> i32 {
    list(client, 11, topic, -1).leader_epoch
}

#[test]
fn an_epoch_ends_where_the_next_begins_in_every_version() {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    append(&mut client, &topic, 0, batch(&["a", "b", "c"]));
    let first = epoch_of(&mut client, &topic);
    server.kill_and_restart();
    client = server.connect();
    let second = epoch_of(&mut client, &topic);
    assert!(second > first);
    append(&mut client, &topic, 0, batch(&["d", "e"]));
    for version in 2..=4 {
        let mut end = |current, epoch| {
            let answer = ask(&mut client, version, "t", (current, epoch));
            (answer.error_code, answer.leader_epoch, answer.end_offset)
        };
        assert_eq!(end(NONE, first), (0, first, 3));
        assert_eq!(end(second, second), (0, second, 5));
        assert_eq!(end(NONE, second + 1), (0, NONE, -1), "no such epoch yet");
        assert_eq!(end(NONE, NONE), (0, NONE, -1));
        assert_eq!(end(first, first), (FENCED, NONE, -1));
        assert_eq!(end(-2, second), (FENCED, NONE, -1), "only -1 is no epoch");
        assert_eq!(end(second + 1, first), (UNKNOWN_EPOCH, NONE, -1));
        assert_eq!(ask(&mut client, version, "nobody", (NONE, first)).error_code, UNKNOWN);
    }
    assert_eq!(delete(&mut client, 2, "t", 4), (0, 4));
    let gone = ask(&mut client, 4, "t", (NONE, first));
    assert_eq!((gone.error_code, gone.leader_epoch, gone.end_offset), (0, first, 4), "all of it was deleted");
}
