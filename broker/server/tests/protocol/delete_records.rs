//! DeleteRecords: what is gone, when it is gone, and that no restart brings it back.

use broker_wire::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use broker_wire::messages::delete_records_response::DeleteRecordsPartitionResult;
use broker_wire::messages::{FindCoordinatorRequest, OffsetCommitRequest};

use crate::support::requests::{TIME, Topic, append, batch, create, fetch, list, only, ranges_of};
use crate::support::{Client, Server};

const HIGH_WATERMARK: i64 = -1;
const OUT_OF_RANGE: i16 = 1;
const UNKNOWN: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const POLICY_VIOLATION: i16 = 44;

fn request(topics: &[(&str, &[(i32, i64)])]) -> DeleteRecordsRequest {
    let row = |(partition_index, offset): &(i32, i64)| DeleteRecordsPartition {
        partition_index: *partition_index,
        offset: *offset,
    };
    let topic = |(name, rows): &(&str, &[(i32, i64)])| DeleteRecordsTopic {
        name: (*name).into(),
        partitions: rows.iter().map(row).collect(),
    };
    DeleteRecordsRequest { topics: topics.iter().map(topic).collect(), timeout_ms: 30_000 }
}

/// Deletes what is before an offset of partition 0, and gives the error and the new start.
pub(crate) fn delete(client: &mut Client, version: i16, topic: &str, offset: i64) -> (i16, i64) {
    let row: DeleteRecordsPartitionResult =
        only(only(client.call(version, &request(&[(topic, &[(0, offset)])])).topics).partitions);
    assert_eq!(row.partition_index, 0);
    (row.error_code, row.low_watermark)
}

fn starts_at(client: &mut Client, topic: &Topic, start: i64, end: i64) {
    for sentinel in [-2, -4] {
        assert_eq!(list(client, 8, topic, sentinel).offset, start, "sentinel {sentinel}");
    }
    assert_eq!(list(client, 8, topic, -1).offset, end);
    if start > 0 {
        assert_eq!(fetch(client, topic, 0, start - 1).error_code, OUT_OF_RANGE);
    }
    let data = fetch(client, topic, 0, start);
    assert_eq!((data.error_code, data.log_start_offset, data.high_watermark), (0, start, end));
}

fn survives_restarts(configs: &[(&str, &str)]) {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, configs);
    (0..3).for_each(|number| assert_eq!(append(&mut client, &topic, 0, batch(&["a", "b", "c"])), 3 * number));
    // In the middle of the second batch, which stays.
    assert_eq!(delete(&mut client, 2, "t", 4), (0, 4));
    starts_at(&mut client, &topic, 4, 9);
    assert_eq!(ranges_of(&fetch(&mut client, &topic, 0, 4)), [(3, 5), (6, 8)]);
    let found = list(&mut client, 8, &topic, 0);
    assert_eq!((found.offset, found.timestamp), (4, TIME + 1), "the first record that is left");
    server.kill_and_restart();
    client = server.connect();
    starts_at(&mut client, &topic, 4, 9);
    assert_eq!(delete(&mut client, 2, "t", 2), (0, 4), "what is gone already is no error");
    assert_eq!(delete(&mut client, 2, "t", HIGH_WATERMARK), (0, 9));
    starts_at(&mut client, &topic, 9, 9);
    server.kill_and_restart();
    client = server.connect();
    starts_at(&mut client, &topic, 9, 9);
    assert_eq!(append(&mut client, &topic, 0, batch(&["d"])), 9);
    assert_eq!(server.terminate().status.code(), Some(0));
    server.start_again();
    client = server.connect();
    starts_at(&mut client, &topic, 9, 10);
}

#[test]
fn what_is_deleted_is_gone_at_once_and_after_every_restart() {
    survives_restarts(&[("remote.storage.enable", "false")]);
}

#[test]
fn the_same_holds_for_a_tiered_topic() {
    survives_restarts(&[("remote.storage.enable", "true")]);
}

#[test]
fn a_store_that_cannot_be_reached_does_not_keep_records_from_being_deleted() {
    let mut server =
        Server::with(&["strata.tier.url=s3://nobody/nowhere", "strata.tier.s3.endpoint=http://127.0.0.1:1"]);
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[("remote.storage.enable", "true")]);
    append(&mut client, &topic, 0, batch(&["a", "b", "c"]));
    assert_eq!(delete(&mut client, 2, "t", 2), (0, 2));
    server.kill_and_restart();
    starts_at(&mut server.connect(), &topic, 2, 3);
}

#[test]
fn errors_are_kafkas() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 2, &[]);
    append(&mut client, &topic, 0, batch(&["a", "b"]));
    create(&mut client, "compacted", 1, &[("cleanup.policy", "compact")]);
    create(&mut client, "both", 1, &[("cleanup.policy", "compact,delete")]);
    create(&mut client, "neither", 1, &[("cleanup.policy", "")]);
    client.call(0, &FindCoordinatorRequest { key: "group".into(), ..Default::default() });
    client.call(2, &OffsetCommitRequest { group_id: "group".into(), ..Default::default() });
    for version in 0..=2 {
        for (name, offset, expected) in [
            ("t", 3, (OUT_OF_RANGE, -1)),
            ("t", -2, (OUT_OF_RANGE, -1)),
            ("t", i64::MAX, (OUT_OF_RANGE, -1)),
            ("nobody", 0, (UNKNOWN, -1)),
            ("compacted", 0, (POLICY_VIOLATION, -1)),
            ("both", 0, (0, 0)),
            ("neither", 0, (0, 0)),
            ("__consumer_offsets", 0, (INVALID_TOPIC, -1)),
            ("t", 0, (0, 0)),
        ] {
            assert_eq!(delete(&mut client, version, name, offset), expected, "{name} to {offset} in v{version}");
        }
    }
    let asked: [(&str, &[(i32, i64)]); 3] = [("t", &[(0, 1), (7, 0)]), ("both", &[(0, 0)]), ("t", &[(1, -1), (0, 2)])];
    let answer = client.call(2, &request(&asked));
    let rows = answer.topics.iter().flat_map(|topic| {
        let row = |row: &DeleteRecordsPartitionResult| (row.partition_index, row.error_code, row.low_watermark);
        topic.partitions.iter().map(move |one| (&*topic.name, row(one)))
    });
    let rows: Vec<_> = rows.collect();
    let expected = [("both", (0, 0, 0)), ("t", (0, 0, 2)), ("t", (1, 0, 0)), ("t", (7, UNKNOWN, -1))];
    assert_eq!(rows, expected, "each partition once, and the last row holds");
}

#[test]
fn whole_segments_leave_the_disk() {
    let server = Server::with(&["log.retention.check.interval.ms=200", "log.segment.delete.delay.ms=0"]);
    let mut client = server.connect();
    let configs = [("segment.bytes", "1048576"), ("remote.storage.enable", "false"), ("file.delete.delay.ms", "0")];
    let topic = create(&mut client, "t", 1, &configs);
    let large = "x".repeat(400_000);
    (0..6).for_each(|number| assert_eq!(append(&mut client, &topic, 0, batch(&[&large])), number));
    let bytes = || -> u64 {
        let files = std::fs::read_dir(server.data_dir().join("t-0")).unwrap().map(|file| file.unwrap());
        let logs = files.filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
        logs.map(|file| file.metadata().unwrap().len()).sum()
    };
    let before = super::log_dirs::size_of(&mut client, "t");
    assert_eq!(before, bytes());
    assert_eq!(delete(&mut client, 2, "t", 5), (0, 5));
    let after = super::log_dirs::size_of(&mut client, "t");
    assert!(after <= before / 2, "{after} of {before} bytes are left");
}
