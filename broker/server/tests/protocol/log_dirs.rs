//! DescribeLogDirs: directories, their room, and the size of what lies there.

use std::path::PathBuf;

use broker_wire::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use broker_wire::messages::describe_log_dirs_response::{DescribeLogDirsResponse, DescribeLogDirsResult};

use crate::support::requests::{append, batch, create};
use crate::support::{Client, Server};

const STORAGE_ERROR: i16 = 56;

pub(crate) fn all(client: &mut Client, version: i16) -> DescribeLogDirsResponse {
    client.call(version, &DescribeLogDirsRequest { topics: None })
}

/// Topic, partition and size of all that lies there.
fn rows(directory: &DescribeLogDirsResult) -> Vec<(String, i32, i64)> {
    let topics = directory.topics.iter().flat_map(|topic| {
        let row = move |index, size| (topic.name.to_string(), index, size);
        topic.partitions.iter().map(move |partition| {
            assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
            row(partition.partition_index, partition.partition_size)
        })
    });
    topics.collect()
}

/// Bytes of a topic in all directories.
pub(crate) fn size_of(client: &mut Client, topic: &str) -> u64 {
    let directories = all(client, 4).results;
    let sizes = directories.iter().flat_map(rows).filter(|(name, ..)| name == topic).map(|(.., size)| size);
    u64::try_from(sizes.sum::<i64>()).unwrap()
}

#[test]
fn each_directory_tells_its_room_and_the_size_of_its_partitions() {
    let mut server = Server::with(&["log.dirs=disk-a,disk-b"]);
    let mut client = server.connect();
    let topic = create(&mut client, "t", 3, &[]);
    let one = batch(&["some value"]);
    for partition in 0..3 {
        for _ in 0..=partition {
            append(&mut client, &topic, partition, one.clone());
        }
    }
    let bytes = i64::try_from(one.len()).unwrap();
    let root: PathBuf = server.data_dir().parent().unwrap().canonicalize().unwrap();
    let check = |client: &mut Client| {
        for version in 1..=4 {
            let answer = all(client, version);
            assert_eq!((answer.error_code, answer.results.len()), (0, 2));
            let names: Vec<_> =
                answer.results.iter().map(|one| PathBuf::from(&*one.log_dir).canonicalize().unwrap()).collect();
            assert_eq!(names, [root.join("disk-a"), root.join("disk-b")]);
            let mut found: Vec<_> = answer.results.iter().flat_map(rows).collect();
            found.sort();
            let expected = (0..3).map(|partition| ("t".to_owned(), partition, (i64::from(partition) + 1) * bytes));
            assert_eq!(found, expected.collect::<Vec<_>>());
            for directory in &answer.results {
                assert_eq!(directory.error_code, 0);
                let (total, usable) = (directory.total_bytes, directory.usable_bytes);
                let is_told = total > 0 && (0..=total).contains(&usable);
                assert_eq!(is_told, version >= 4, "{total} {usable}");
            }
        }
    };
    check(&mut client);
    assert_eq!(server.terminate().status.code(), Some(0));
    server.start_again();
    // No log is open yet.
    check(&mut server.connect());
}

#[test]
fn only_what_is_asked_is_told() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 3, &[]);
    create(&mut client, "other", 1, &[]);
    let named =
        |name: &str, partitions: &[i32]| DescribableLogDirTopic { topic: name.into(), partitions: partitions.to_vec() };
    for (topics, expected) in [
        (vec![], vec![]),
        (vec![named("nobody", &[0])], vec![]),
        (vec![named("t", &[2, 0, 9])], vec![("t".to_owned(), 0, 0), ("t".to_owned(), 2, 0)]),
    ] {
        let answer = client.call(4, &DescribeLogDirsRequest { topics: Some(topics) });
        assert_eq!(rows(answer.results.first().unwrap()), expected);
    }
}

#[test]
fn a_directory_that_is_away_is_told_as_such() {
    let mut server = Server::with(&["log.dirs=disk-a,disk-b"]);
    create(&mut server.connect(), "t", 4, &[]);
    assert_eq!(server.terminate().status.code(), Some(0));
    let root = server.data_dir().parent().unwrap().to_owned();
    std::fs::rename(root.join("disk-b"), root.join("away")).unwrap();
    std::fs::write(root.join("disk-b"), b"no directory").unwrap();
    server.start_again();
    let answer = all(&mut server.connect(), 4);
    let [a, b] = answer.results.as_slice() else { panic!("{answer:?}") };
    assert_eq!((a.error_code, b.error_code), (0, STORAGE_ERROR));
    assert_eq!((b.topics.len(), b.total_bytes, b.usable_bytes), (0, -1, -1));
    assert!(b.log_dir.ends_with("disk-b"), "{}", b.log_dir);
}
