//! CreatePartitions: new partitions are served at once and after a restart; what is no increase is refused alone.

use broker_wire::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};

use crate::support::requests::{append, batch, create, fetch, produce, ranges_of};
use crate::support::{Client, Server};

fn more(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let row = |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec() };
    let assignments = assignments.map(|rows| rows.iter().map(row).collect());
    CreatePartitionsTopic { name: name.into(), count, assignments }
}

fn ask(client: &mut Client, version: i16, topics: Vec<CreatePartitionsTopic>) -> Vec<(String, i16, String)> {
    let answer = client.call(version, &CreatePartitionsRequest { topics, timeout_ms: 30_000, validate_only: false });
    let told = |text: Option<broker_wire::Str>| text.map(|text| text.to_string()).unwrap_or_default();
    answer.results.into_iter().map(|row| (row.name.to_string(), row.error_code, told(row.error_message))).collect()
}

fn count(client: &mut Client, name: &str) -> usize {
    let topics = Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]);
    let answer = client.call(12, &MetadataRequest { topics, ..Default::default() });
    answer.topics.first().unwrap().partitions.len()
}

/// Every version, on a topic of its own.
pub(crate) fn version(client: &mut Client, version: i16) {
    let name: &'static str = ["grown-0", "grown-1", "grown-2", "grown-3"][usize::try_from(version).unwrap()];
    create(client, name, 1, &[]);
    assert_eq!(ask(client, version, vec![more(name, 3, None)]), [(name.to_owned(), 0, String::new())]);
    assert_eq!(count(client, name), 3);
}

#[test]
fn new_partitions_are_served_at_once_and_after_a_restart() {
    let mut server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "t", 1, &[]);
    append(&mut client, &topic, 0, batch(&["old"]));
    assert_eq!(produce(&mut client, &topic, 2, batch(&["too early"])).error_code, 3);
    assert_eq!(ask(&mut client, 3, vec![more("t", 3, None)])[0].1, 0);
    assert_eq!(append(&mut client, &topic, 2, batch(&["new", "new"])), 0);
    server.kill_and_restart();
    let mut client = server.connect();
    assert_eq!(count(&mut client, "t"), 3);
    assert_eq!(ranges_of(&fetch(&mut client, &topic, 2, 0)), [(0, 1)]);
    assert_eq!(ranges_of(&fetch(&mut client, &topic, 0, 0)), [(0, 0)]);
    assert_eq!(fetch(&mut client, &topic, 1, 0).high_watermark, 0);
}

#[test]
fn what_is_no_increase_is_refused_alone() {
    let server = Server::start();
    let mut client = server.connect();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        create(&mut client, name, 2, &[]);
    }
    let group = broker_wire::messages::FindCoordinatorRequest { key: "g".into(), ..Default::default() };
    assert_eq!(client.call(0, &group).error_code, 0);
    let topics = vec![
        more("a", 2, None),
        more("b", 1, None),
        more("nobody", 3, None),
        more("c", 3, Some(&[&[1], &[1]])),
        more("d", 3, Some(&[&[2]])),
        more("e", 3, Some(&[&[1, 1]])),
        more("f", 3, Some(&[&[1]])),
        more("g", 3, None),
        more("g", 4, None),
        more("__consumer_offsets", 60, None),
    ];
    let answers = ask(&mut client, 3, topics);
    let errors: Vec<(&str, i16)> = answers.iter().map(|(name, error, _)| (name.as_str(), *error)).collect();
    let expected = [
        ("a", 37),
        ("b", 37),
        ("nobody", 3),
        ("c", 39),
        ("d", 39),
        ("e", 39),
        ("f", 0),
        ("g", 42),
        ("__consumer_offsets", 42),
    ];
    assert_eq!(errors, expected, "{answers:?}");
    assert_eq!(answers[0].2, "Topic already has 2 partition(s).");
    assert_eq!(answers[1].2, "The topic b currently has 2 partition(s); 1 would not be an increase.");
    assert_eq!((count(&mut client, "f"), count(&mut client, "g")), (3, 2));
}

#[test]
fn validation_alone_makes_no_partition() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    let topics = vec![more("t", 3, None)];
    let request = CreatePartitionsRequest { topics, timeout_ms: 30_000, validate_only: true };
    assert_eq!(client.call(3, &request).results[0].error_code, 0);
    assert_eq!(count(&mut client, "t"), 1);
}
