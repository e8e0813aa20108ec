//! ListOffsets: the sentinels in the versions that have them, and search by time.

use broker_records::Codec;
use broker_wire::messages::list_offsets_request::ListOffsetsPartition;

use crate::support::Server;
use crate::support::requests::{TIME, Topic, append, batch, batch_at, create, list, list_request, only};

/// The version from which a sentinel is known.
const SENTINELS: [(i64, i16); 6] = [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)];

#[test]
fn each_sentinel_is_known_from_its_version_on() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[("remote.storage.enable", "false")]);
    append(&mut client, &topic, 0, batch(&["0", "1", "2"]));
    for (sentinel, from) in SENTINELS {
        for version in 1..=11 {
            let answer = list(&mut client, version, &topic, sentinel);
            let error = if version < from { 35 } else { 0 };
            assert_eq!(answer.error_code, error, "{sentinel} in v{version}");
            let (offset, timestamp) = match sentinel {
                _ if version < from => (-1, -1),
                -1 => (3, -1),
                -2 | -4 => (0, -1),
                -3 => (2, TIME + 2),
                _ => (-1, -1),
            };
            assert_eq!((answer.offset, answer.timestamp), (offset, timestamp), "{sentinel} in v{version}");
        }
    }
    assert_eq!(list(&mut client, 11, &topic, -7).error_code, 35, "no version has it");
}

#[test]
fn a_tiered_topic_says_what_waits_for_its_upload() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[("remote.storage.enable", "true")]);
    append(&mut client, &topic, 0, batch(&["0", "1"]));
    assert_eq!(list(&mut client, 11, &topic, -5).offset, -1, "nothing is in the bucket");
    assert_eq!(list(&mut client, 11, &topic, -6).offset, 0, "everything waits");
}

#[test]
fn an_empty_partition_has_its_ends_and_no_times() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    for (sentinel, offset) in [(-1, 0), (-2, 0), (-4, 0), (-3, -1), (TIME, -1), (0, -1)] {
        let answer = list(&mut client, 11, &topic, sentinel);
        assert_eq!((answer.error_code, answer.offset, answer.timestamp), (0, offset, -1), "{sentinel}");
    }
}

#[test]
fn a_time_gives_the_first_record_at_or_after_it() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    for (codec, first) in [(Codec::None, 1000), (Codec::Zstd, 2000), (Codec::None, 1500), (Codec::Lz4, 3000)] {
        append(&mut client, &topic, 0, batch_at(codec, first, &["a", "b", "c"]));
    }
    for (time, found) in [
        (0, (0, 1000)),
        (1000, (0, 1000)),
        (1001, (1, 1001)),
        (1003, (3, 2000)),
        (2002, (5, 2002)),
        (2003, (9, 3000)),
        (3002, (11, 3002)),
        (3003, (-1, -1)),
        (i64::MAX, (-1, -1)),
    ] {
        let answer = list(&mut client, 7, &topic, time);
        assert_eq!((answer.error_code, (answer.offset, answer.timestamp)), (0, found), "time {time}");
    }
    assert_eq!(list(&mut client, 7, &topic, -3).offset, 11);
}

#[test]
fn what_is_not_there_and_claimed_epochs_are_told() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    let nobody = Topic { name: "nobody", ..topic };
    assert_eq!(list(&mut client, 11, &nobody, -1).error_code, 3);
    let beyond = only(only(client.call(11, &list_request(&topic, 1, -1)).topics).partitions);
    assert_eq!((beyond.error_code, beyond.offset, beyond.timestamp), (3, -1, -1));
    let mut request = list_request(&topic, 0, -1);
    request.topics[0].partitions[0].current_leader_epoch = 1000;
    assert_eq!(only(only(client.call(11, &request).topics).partitions).error_code, 75);
}

#[test]
fn a_partition_that_is_asked_twice_is_refused_once() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 2, &[]);
    let mut request = list_request(&topic, 0, -1);
    let again = request.topics[0].partitions[0].clone();
    let other = ListOffsetsPartition { partition_index: 1, ..again.clone() };
    request.topics[0].partitions.extend([other, again]);
    let rows = only(client.call(11, &request).topics).partitions;
    let rows: Vec<_> = rows.iter().map(|row| (row.partition_index, row.error_code, row.offset)).collect();
    assert_eq!(rows, [(0, 42, -1), (1, 0, 0)]);
}

#[test]
fn a_log_that_is_not_open_yet_answers_like_one_that_is() {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[("remote.storage.enable", "false")]);
    append(&mut client, &topic, 0, batch(&["0", "1", "2"]));
    for sentinel in [-1, -2, -3, -4, -5, TIME + 1] {
        let before = list(&mut client, 11, &topic, sentinel);
        assert_eq!(server.terminate().status.code(), Some(0));
        server.start_again();
        client = server.connect();
        let after = list(&mut client, 11, &topic, sentinel);
        assert_eq!(
            (after.error_code, after.offset, after.timestamp),
            (0, before.offset, before.timestamp),
            "{sentinel}"
        );
    }
}
