//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455) on one node: each partition has its one replica
//! here, so that what can be asked is done already, and nothing is ever under way.

use broker_model::{ErrorCode, NodeId, PartitionIndex};
use broker_wire::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition,
};
use broker_wire::messages::alter_partition_reassignments_response::{
    AlterPartitionReassignmentsResponse, ReassignablePartitionResponse, ReassignableTopicResponse,
};
use broker_wire::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::{Call, Pending};
use crate::context::{Operation, Resource};

/// From here a request says whether the number of replicas may change.
const VERSION_FACTOR: i16 = 1;

/// Checks what is asked. What is right changes nothing.
pub(super) fn alter(call: Call, request: AlterPartitionReassignmentsRequest) -> Pending {
    let may_change = request.allow_replication_factor_change;
    let mut response = AlterPartitionReassignmentsResponse {
        throttle_time_ms: call.context.throttle_ms(),
        error_message: None,
        ..Default::default()
    };
    if call.context.version >= VERSION_FACTOR {
        response.allow_replication_factor_change = may_change;
    }
    if !call.context.is_allowed(Resource::Cluster, Operation::Alter, "") {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return call.ready(&response);
    }
    for topic in &request.topics {
        let found = call.broker.topics.load().by_name(&topic.name).cloned();
        let partitions = topic.partitions.iter().map(|asked| {
            let is_known =
                found.as_ref().is_some_and(|found| found.partition(PartitionIndex(asked.partition_index)).is_some());
            let checked = if is_known { check(asked, call.broker.node) } else { Err(UNKNOWN) };
            let (error, message) =
                checked.err().map_or((ErrorCode::None, None), |(error, why)| (error, Some(why.into())));
            ReassignablePartitionResponse {
                partition_index: asked.partition_index,
                error_code: error.code(),
                error_message: message,
            }
        });
        let partitions = partitions.collect();
        response.responses.push(ReassignableTopicResponse { name: topic.name.clone(), partitions });
    }
    call.ready(&response)
}

type Refused = (ErrorCode, &'static str);

const UNKNOWN: Refused = (ErrorCode::UnknownTopicOrPartition, "there is no such topic or partition");

/// With one broker a list that names each broker once has the one replica that there is: the number cannot change.
fn check(asked: &ReassignablePartition, node: NodeId) -> Result<(), Refused> {
    let wrong = |why| Err((ErrorCode::InvalidReplicaAssignment, why));
    let Some(replicas) = &asked.replicas else {
        return Err((ErrorCode::NoReassignmentInProgress, "no reassignment of this partition is under way"));
    };
    match replicas.as_slice() {
        [] => wrong("the list of replicas is empty"),
        replicas if replicas.iter().any(|replica| *replica != node.0) => wrong("a replica is on no known broker"),
        [_] => Ok(()),
        _ => wrong("a broker is named more than once"),
    }
}

/// Nothing is under way.
pub(super) fn list(call: Call, _: ListPartitionReassignmentsRequest) -> Pending {
    let is_allowed = call.context.is_allowed(Resource::Cluster, Operation::Describe, "");
    let error = if is_allowed { ErrorCode::None } else { ErrorCode::ClusterAuthorizationFailed };
    call.ready(&ListPartitionReassignmentsResponse {
        throttle_time_ms: call.context.throttle_ms(),
        error_code: error.code(),
        error_message: None,
        ..Default::default()
    })
}
