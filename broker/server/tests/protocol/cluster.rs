//! What admin tools ask of a cluster that has one node: DescribeCluster, DescribeTopicPartitions, ElectLeaders, reassignments.

use broker_wire::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use broker_wire::messages::describe_topic_partitions_request::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use broker_wire::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponse;
use broker_wire::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use broker_wire::messages::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use broker_wire::messages::{DescribeClusterRequest, DescribeClusterResponse, MetadataRequest};

use crate::support::requests::{append, batch, create, only};
use crate::support::{Client, Server};

const CLUSTER_OPERATIONS: i32 = 8096;
const TOPIC_OPERATIONS: i32 = 3576;
const NOT_ASKED: i32 = i32::MIN;

pub(crate) fn describe(
    client: &mut Client,
    version: i16,
    operations: bool,
    endpoint_type: i8,
) -> DescribeClusterResponse {
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: operations,
        endpoint_type,
        include_fenced_brokers: version >= 2,
    };
    client.call(version, &request)
}

#[test]
fn the_cluster_is_that_of_metadata() {
    let server = Server::start();
    let mut client = server.connect();
    let metadata = client.call(12, &MetadataRequest::default());
    let node = only(metadata.brokers);
    for version in 0..=2 {
        for operations in [false, true] {
            let answer = describe(&mut client, version, operations, 1);
            assert_eq!((answer.error_code, answer.error_message, answer.endpoint_type), (0, None, 1));
            assert_eq!((Some(answer.cluster_id), answer.controller_id), (metadata.cluster_id.clone(), node.node_id));
            let expected = if operations { CLUSTER_OPERATIONS } else { NOT_ASKED };
            assert_eq!(answer.cluster_authorized_operations, expected);
            let broker = only(answer.brokers);
            assert_eq!((broker.broker_id, broker.port, broker.is_fenced), (node.node_id, node.port, false));
            assert_eq!((broker.host, broker.rack), (node.host.clone(), None));
        }
    }
    for (endpoint_type, error) in [(2, 114), (0, 115), (9, 115)] {
        let refused = describe(&mut client, 1, false, endpoint_type);
        assert_eq!((refused.error_code, refused.brokers.len(), refused.controller_id), (error, 0, -1));
        assert!(refused.error_message.is_some());
    }
}

fn page(
    client: &mut Client,
    topics: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let request = DescribeTopicPartitionsRequest {
        topics: topics.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(topic, partition_index)| Cursor { topic_name: topic.into(), partition_index }),
    };
    client.call(0, &request)
}

/// Name, error and partitions of each topic, and where the next page begins.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn plain(answer: &DescribeTopicPartitionsResponse) -> Page {
    let topics = answer.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index).collect();
        (topic.name.as_deref().unwrap_or_default().to_owned(), topic.error_code, partitions)
    });
    let next = answer.next_cursor.as_ref().map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index));
    (topics.collect(), next)
}

fn expected(topics: &[(&str, i16, &[i32])], next: Option<(&str, i32)>) -> Page {
    let topics = topics.iter().map(|(name, error, partitions)| ((*name).to_owned(), *error, partitions.to_vec()));
    (topics.collect(), next.map(|(name, index)| (name.to_owned(), index)))
}

#[test]
fn topics_are_told_page_by_page() {
    let server = Server::start();
    let mut client = server.connect();
    for (name, partitions) in [("a", 2), ("b", 3), ("c", 1)] {
        create(&mut client, name, partitions, &[]);
    }
    let whole = page(&mut client, &[], 2000, None);
    assert_eq!(plain(&whole), expected(&[("a", 0, &[0, 1]), ("b", 0, &[0, 1, 2]), ("c", 0, &[0])], None));
    for topic in &whole.topics {
        assert_eq!((topic.topic_authorized_operations, topic.is_internal), (TOPIC_OPERATIONS, false));
        assert!(topic.topic_id.0 != [0; 16]);
        for partition in &topic.partitions {
            assert_eq!((partition.error_code, partition.leader_id, &partition.isr_nodes), (0, 1, &vec![1]));
            assert_eq!((&partition.replica_nodes, partition.offline_replicas.len()), (&vec![1], 0));
            assert_eq!(
                (&partition.eligible_leader_replicas, &partition.last_known_elr),
                (&Some(vec![]), &Some(vec![]))
            );
        }
    }
    let (mut cursor, mut pages) = (None, Vec::new());
    loop {
        let at = cursor.as_ref().map(|(name, index): &(String, i32)| (name.as_str(), *index));
        let (topics, next) = plain(&page(&mut client, &[], 2, at));
        pages.push(topics);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let rows = |topics: &[(&str, i16, &[i32])]| expected(topics, None).0;
    assert_eq!(
        pages,
        [rows(&[("a", 0, &[0, 1])]), rows(&[("b", 0, &[0, 1])]), rows(&[("b", 0, &[2]), ("c", 0, &[0])])]
    );
}

#[test]
fn names_limits_and_cursors_are_taken_as_kafka_takes_them() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "a", 2, &[]);
    create(&mut client, "c", 2, &[]);
    let mut told = |topics: &[&str], limit, cursor| plain(&page(&mut client, topics, limit, cursor));
    let unknown = expected(&[("a", 0, &[0, 1]), ("b", 3, &[]), ("no such!", 17, &[])], None);
    assert_eq!(told(&["no such!", "b", "a", "a"], 2000, None), unknown);
    assert_eq!(told(&["c", "a"], 0, None), expected(&[("a", 0, &[0])], Some(("a", 1))), "one at least");
    assert_eq!(told(&["a", "c"], 2, None), expected(&[("a", 0, &[0, 1])], Some(("c", 0))));
    assert_eq!(told(&["a", "c"], 9, Some(("a", 1))), expected(&[("a", 0, &[1]), ("c", 0, &[0, 1])], None));
    assert_eq!(told(&["a", "c"], 9, Some(("c", 7))), expected(&[("c", 0, &[])], None));
    assert_eq!(told(&[], 9, Some(("b", 0))), expected(&[("c", 0, &[0, 1])], None));
    assert_eq!(told(&["a"], 9, Some(("c", 0))), expected(&[("a", 42, &[])], None), "the cursor's topic is not asked");
    assert_eq!(told(&["a"], 9, Some(("a", -1))), expected(&[("a", 42, &[])], None));
}

/// The error of each partition, by topic.
pub(crate) type Elected = Vec<(String, Vec<(i32, i16)>)>;

pub(crate) fn elect(
    client: &mut Client,
    version: i16,
    election_type: i8,
    asked: Option<&[(&str, &[i32])]>,
) -> (i16, Elected) {
    let topic = |(topic, partitions): &(&str, &[i32])| TopicPartitions {
        topic: (*topic).into(),
        partitions: partitions.to_vec(),
    };
    let topic_partitions = asked.map(|asked| asked.iter().map(topic).collect());
    let answer = client.call(version, &ElectLeadersRequest { election_type, topic_partitions, timeout_ms: 1000 });
    let results = answer.replica_election_results.into_iter().map(|topic| {
        let results = topic.partition_result.iter().map(|result| (result.partition_id, result.error_code));
        (topic.topic.to_string(), results.collect())
    });
    (answer.error_code, results.collect())
}

#[test]
fn every_partition_has_its_leader_or_its_disk_is_away() {
    let mut server = Server::with(&["log.dirs=disk-a,disk-b"]);
    let mut client = server.connect();
    let topic = create(&mut client, "t", 2, &[]);
    // What was never written lies nowhere, and could be on any disk.
    for partition in 0..2 {
        append(&mut client, &topic, partition, batch(&["a"]));
    }
    let named = |rows: &[(i32, i16)]| vec![("t".to_owned(), rows.to_vec())];
    for version in 0..=2 {
        for election_type in 0..=i8::from(version > 0) {
            let asked: [(&str, &[i32]); 1] = [("t", &[0, 1, 2])];
            let elected = elect(&mut client, version, election_type, Some(&asked));
            assert_eq!(elected, (0, named(&[(0, 84), (1, 84), (2, 3)])));
            assert_eq!(elect(&mut client, version, election_type, None), (0, named(&[])));
        }
    }
    let asked: [(&str, &[i32]); 1] = [("t", &[0])];
    assert_eq!(elect(&mut client, 2, 7, Some(&asked)), (42, named(&[(0, 42)])));
    assert_eq!(server.terminate().status.code(), Some(0));
    let root = server.data_dir().parent().unwrap().to_owned();
    std::fs::rename(root.join("disk-b"), root.join("away")).unwrap();
    std::fs::write(root.join("disk-b"), b"no directory").unwrap();
    server.start_again();
    client = server.connect();
    let (_, preferred) = elect(&mut client, 2, 0, None);
    let (_, unclean) = elect(&mut client, 2, 1, None);
    let only_row = |results: Vec<(String, Vec<(i32, i16)>)>| only(only(results).1);
    let (preferred, unclean) = (only_row(preferred), only_row(unclean));
    assert_eq!((preferred.0, preferred.1, unclean.1), (unclean.0, 80, 83));
}

pub(crate) fn reassign(client: &mut Client, version: i16, topic: &str, replicas: Option<&[i32]>) -> i16 {
    let partition = ReassignablePartition { partition_index: 0, replicas: replicas.map(<[i32]>::to_vec) };
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: 1000,
        allow_replication_factor_change: version == 0,
        topics: vec![ReassignableTopic { name: topic.into(), partitions: vec![partition] }],
    };
    let answer = client.call(version, &request);
    assert_eq!((answer.error_code, answer.allow_replication_factor_change), (0, version == 0));
    let row = only(only(answer.responses).partitions);
    assert_eq!(row.error_message.is_some(), row.error_code != 0);
    row.error_code
}

#[test]
fn reassignments_are_done_already_or_cannot_be() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    for version in 0..=1 {
        for (topic, replicas, error) in [
            ("t", Some([1].as_slice()), 0),
            ("t", Some(&[2]), 39),
            ("t", Some(&[1, 2]), 39),
            ("t", Some(&[1, 1]), 39),
            ("t", Some(&[]), 39),
            ("t", None, 85),
            ("nobody", Some(&[1]), 3),
        ] {
            assert_eq!(reassign(&mut client, version, topic, replicas), error, "{topic} {replicas:?}");
        }
    }
    for topics in [None, Some(vec![ListPartitionReassignmentsTopics { name: "t".into(), partition_indexes: vec![0] }])]
    {
        let answer = client.call(0, &ListPartitionReassignmentsRequest { timeout_ms: 1000, topics });
        assert_eq!((answer.error_code, answer.error_message, answer.topics.len()), (0, None, 0));
    }
}
