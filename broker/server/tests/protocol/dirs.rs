//! Several log directories: where partitions lie, and what clients are told when a directory is away.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use broker_wire::messages::metadata_response::MetadataResponsePartition;

use crate::support::requests::{Topic, append, batch, create, fetch, only, produce, ranges_of};
use crate::support::{Client, Server};

const TWO: &[&str] = &["log.dirs=disk-a,disk-b"];
const LEADER_NOT_AVAILABLE: i16 = 5;
const STORAGE_ERROR: i16 = 56;

fn root(server: &Server) -> PathBuf {
    server.data_dir().parent().unwrap().to_owned()
}

/// The numbers of a topic's partitions in a directory.
fn lying_in(directory: &Path, topic: &str) -> BTreeSet<i32> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let number = |name: String| name.strip_prefix(topic)?.strip_prefix('-')?.parse().ok();
    names.filter_map(number).collect()
}

fn metadata(client: &mut Client, topic: &Topic) -> Vec<MetadataResponsePartition> {
    let topics = Some(vec![MetadataRequestTopic { name: Some(topic.name.into()), ..Default::default() }]);
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    only(client.call(12, &request).topics).partitions
}

/// What clients hear of a partition whose directory is away, or not.
fn check(client: &mut Client, topic: &Topic, partition: i32, is_away: bool) {
    let told = metadata(client, topic).into_iter().find(|told| told.partition_index == partition).unwrap();
    let known = (told.error_code, told.leader_id, told.offline_replicas);
    let expected = if is_away { (LEADER_NOT_AVAILABLE, -1, vec![1]) } else { (0, 1, vec![]) };
    assert_eq!(known, expected, "partition {partition}");
    let error = if is_away { STORAGE_ERROR } else { 0 };
    assert_eq!(fetch(client, topic, partition, 0).error_code, error, "partition {partition}");
    assert_eq!(produce(client, topic, partition, batch(&["more"])).error_code, error, "partition {partition}");
}

#[test]
fn partitions_spread_over_the_directories_and_are_found_again() {
    let mut server = Server::with(TWO);
    let mut client = server.connect();
    let topic = create(&mut client, "t", 5, &[]);
    (0..5).for_each(|partition| assert_eq!(append(&mut client, &topic, partition, batch(&["a"])), 0));
    let (a, b) = (root(&server).join("disk-a"), root(&server).join("disk-b"));
    let placed = (lying_in(&a, "t"), lying_in(&b, "t"));
    assert_eq!((placed.0.len(), placed.1.len()), (3, 2));
    for file in ["meta.properties", ".lock"] {
        assert!(a.join(file).exists() && b.join(file).exists(), "{file}");
    }
    assert!(a.join("__cluster_metadata-0").exists() && !b.join("__cluster_metadata-0").exists());
    server.kill_and_restart();
    client = server.connect();
    for partition in 0..5 {
        assert_eq!(ranges_of(&fetch(&mut client, &topic, partition, 0)), [(0, 0)]);
        assert_eq!(append(&mut client, &topic, partition, batch(&["b"])), 1);
    }
    assert_eq!((lying_in(&a, "t"), lying_in(&b, "t")), placed);
    let ended = server.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let clean = ".kafka_cleanshutdown";
    assert!(a.join(clean).exists() && b.join(clean).exists());
}

#[test]
fn a_directory_that_is_away_takes_its_partitions_offline_until_it_is_back() {
    let mut server = Server::with(TWO);
    let mut client = server.connect();
    let topic = create(&mut client, "t", 4, &[]);
    (0..4).for_each(|partition| assert_eq!(append(&mut client, &topic, partition, batch(&["a"])), 0));
    let (b, away) = (root(&server).join("disk-b"), root(&server).join("away"));
    let lost = lying_in(&b, "t");
    assert_eq!(lost.len(), 2);
    assert_eq!(server.terminate().status.code(), Some(0));

    std::fs::rename(&b, &away).unwrap();
    std::fs::write(&b, b"no directory").unwrap();
    server.start_again();
    client = server.connect();
    (0..4).for_each(|partition| check(&mut client, &topic, partition, lost.contains(&partition)));
    let new = create(&mut client, "new", 3, &[]);
    (0..3).for_each(|partition| check(&mut client, &new, partition, false));
    let ended = server.terminate();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let told = ended.stderr.lines().filter(|line| line.contains("ERROR") && line.contains("disk-b")).count();
    assert_eq!(told, 1, "{}", ended.stderr);

    std::fs::remove_file(&b).unwrap();
    std::fs::rename(&away, &b).unwrap();
    server.start_again();
    client = server.connect();
    (0..4).for_each(|partition| check(&mut client, &topic, partition, false));
    (0..3).for_each(|partition| check(&mut client, &new, partition, false));
    assert_eq!(lying_in(&b, "new").len(), 0);
}

#[test]
fn a_topic_that_was_deleted_while_its_directory_was_away_does_not_come_back() {
    use broker_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
    let mut server = Server::with(TWO);
    let mut client = server.connect();
    let topic = create(&mut client, "t", 2, &[]);
    (0..2).for_each(|partition| assert_eq!(append(&mut client, &topic, partition, batch(&["old"])), 0));
    assert_eq!(server.terminate().status.code(), Some(0));
    let (b, away) = (root(&server).join("disk-b"), root(&server).join("away"));
    std::fs::rename(&b, &away).unwrap();
    std::fs::write(&b, b"no directory").unwrap();
    server.start_again();
    client = server.connect();
    let doomed = DeleteTopicState { name: Some("t".into()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![doomed], timeout_ms: 1000, ..Default::default() };
    assert_eq!(only(client.call(6, &request).responses).error_code, 0);
    let again = create(&mut client, "t", 2, &[]);
    (0..2).for_each(|partition| assert_eq!(append(&mut client, &again, partition, batch(&["new"])), 0));
    assert_eq!(server.terminate().status.code(), Some(0));

    std::fs::remove_file(&b).unwrap();
    std::fs::rename(&away, &b).unwrap();
    server.start_again();
    client = server.connect();
    // One of them lies in both directories now; the topic's id says which is meant.
    (0..2).for_each(|partition| {
        let data = fetch(&mut client, &again, partition, 0);
        assert_eq!((data.error_code, data.high_watermark), (0, 1), "partition {partition}");
    });
}

#[test]
fn a_start_that_would_lose_the_metadata_is_refused() {
    let mut server = Server::with(TWO);
    create(&mut server.connect(), "t", 1, &[]);
    assert_eq!(server.terminate().status.code(), Some(0));
    let sets = ["log.dirs=disk-b,disk-a"];
    let ended = server.another(&sets);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("set metadata.log.dir to the directory that holds"), "{}", ended.stderr);
}
