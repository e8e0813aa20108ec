//! ElectLeaders (KIP-183, KIP-460) on one node: each partition has the leader that it can have, or its disk failed.

use broker_model::{ErrorCode, PartitionIndex};
use broker_wire::messages::ElectLeadersRequest;
use broker_wire::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::topics::TopicTable;

/// The first replica shall lead.
const PREFERRED: i8 = 0;
/// Whoever lives shall lead.
const UNCLEAN: i8 = 1;
/// From here a response can say that the request failed as a whole.
const VERSION_ERROR: i16 = 1;

/// Answers from the table.
pub(super) fn start(call: Call, request: ElectLeadersRequest) -> Pending {
    let is_allowed = call.context.is_allowed(Resource::Cluster, Operation::Alter, "");
    let refused = match request.election_type {
        _ if !is_allowed => Some(ErrorCode::ClusterAuthorizationFailed),
        PREFERRED | UNCLEAN => None,
        _ => Some(ErrorCode::InvalidRequest),
    };
    let topics = call.broker.topics.load();
    let result = |index: i32, error: ErrorCode| PartitionResult {
        partition_id: index,
        error_code: error.code(),
        error_message: message(error).map(Into::into),
    };
    let elected = |topic: &str, index| refused.unwrap_or_else(|| elect(&topics, topic, (index, request.election_type)));
    let results = match &request.topic_partitions {
        Some(asked) => {
            let one = |topic: &broker_wire::messages::elect_leaders_request::TopicPartitions| {
                let results = topic.partitions.iter().map(|index| result(*index, elected(&topic.topic, *index)));
                ReplicaElectionResult { topic: topic.topic.clone(), partition_result: results.collect() }
            };
            asked.iter().map(one).collect()
        }
        None if refused.is_some() => Vec::new(),
        // Of all partitions only those are told that have not the leader that is wanted.
        None => {
            let all = topics.iter().map(|topic| {
                let results = topic.partitions().map(|partition| {
                    let index = partition.id.partition.0;
                    (index, elected(&topic.name, index))
                });
                let results = results.filter(|(_, error)| *error != ErrorCode::ElectionNotNeeded);
                let partition_result = results.map(|(index, error)| result(index, error)).collect();
                ReplicaElectionResult { topic: topic.name.as_ref().into(), partition_result }
            });
            all.collect()
        }
    };
    let error = refused.filter(|_| call.context.version >= VERSION_ERROR).unwrap_or(ErrorCode::None);
    call.ready(&ElectLeadersResponse {
        throttle_time_ms: call.context.throttle_ms(),
        error_code: error.code(),
        replica_election_results: results,
    })
}

fn elect(topics: &TopicTable, topic: &str, (index, election_type): (i32, i8)) -> ErrorCode {
    let partition = topics.by_name(topic).and_then(|topic| topic.partition(PartitionIndex(index)));
    match partition {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(partition) if !partition.is_offline() => ErrorCode::ElectionNotNeeded,
        Some(_) if election_type == PREFERRED => ErrorCode::PreferredLeaderNotAvailable,
        Some(_) => ErrorCode::EligibleLeadersNotAvailable,
    }
}

fn message(error: ErrorCode) -> Option<&'static str> {
    match error {
        ErrorCode::ElectionNotNeeded => Some("the partition has the leader that is wanted"),
        ErrorCode::PreferredLeaderNotAvailable => Some("the log directory of the preferred leader is offline"),
        ErrorCode::EligibleLeadersNotAvailable => Some("the log directory of the only replica is offline"),
        ErrorCode::UnknownTopicOrPartition => Some("there is no such topic or partition"),
        ErrorCode::InvalidRequest => Some("there is no such type of election"),
        _ => None,
    }
}
