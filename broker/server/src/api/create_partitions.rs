//! CreatePartitions: topics get more partitions, through the metadata machine.
//!
//! The topic of the group coordinators does not grow: each group belongs to one of its partitions by their number, and
//! would be looked for where it is not.

use std::collections::{BTreeMap, BTreeSet};

use broker_metadata::{CreatePartitions, MorePartitions, Output, Request, TopicError};
use broker_model::{ErrorCode, NodeId};
use broker_wire::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use broker_wire::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};

use super::{Call, Pending, mode};
use crate::context::{Operation, Resource};
use crate::errors;
use crate::topics::OFFSETS_TOPIC;

/// Asks at once, so that requests of one connection keep their order; waits for the commit.
pub(super) fn start(call: Call, request: CreatePartitionsRequest) -> Pending {
    let (mut once, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        if !once.insert(&*topic.name) {
            twice.insert(&*topic.name);
        }
    }
    let (mut topics, mut results) = (Vec::new(), BTreeMap::new());
    for asked in &request.topics {
        match refusal(&call, asked, &twice) {
            Some(error) => drop(results.insert(asked.name.to_string(), Err(error))),
            None => topics.push(more(asked)),
        }
    }
    let mode = mode(request.validate_only);
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let asked = call.broker.metadata.ask(Request::CreatePartitions(CreatePartitions { topics, mode }));
    Pending::wait(async move {
        let created = match asked.answer().await {
            Ok(Output::PartitionsCreated(created)) => created,
            Ok(Output::Refused(error)) => vec![Err(error); names.len()],
            Ok(other) => unreachable!("more partitions were answered by {other:?}"),
            Err(refusal) => {
                let error = TopicError::new(errors::of_metadata(refusal), refusal.to_string());
                vec![Err(error); names.len()]
            }
        };
        results.extend(names.into_iter().zip(created));
        let rows = request.topics.iter().filter_map(|topic| results.remove(&*topic.name).map(|row| (topic, row)));
        let results = rows.map(|(topic, row)| answer(topic, row)).collect();
        call.reply(&CreatePartitionsResponse { throttle_time_ms: call.context.throttle_ms(), results })
    })
}

fn refusal(call: &Call, asked: &CreatePartitionsTopic, twice: &BTreeSet<&str>) -> Option<TopicError> {
    if twice.contains(&*asked.name) {
        return Some(TopicError::new(ErrorCode::InvalidRequest, "Duplicate topic name."));
    }
    if !call.context.is_allowed(Resource::Topic, Operation::Alter, &asked.name) {
        return Some(TopicError::new(ErrorCode::TopicAuthorizationFailed, "not allowed"));
    }
    let what = "the number of its partitions says where each group belongs, and cannot change";
    (asked.name == OFFSETS_TOPIC).then(|| TopicError::new(ErrorCode::InvalidRequest, what))
}

fn more(asked: &CreatePartitionsTopic) -> MorePartitions {
    let assignments = asked.assignments.as_ref().map(|rows| {
        let replicas = rows.iter().map(|row| row.broker_ids.iter().copied().map(NodeId).collect());
        replicas.collect()
    });
    MorePartitions { name: asked.name.to_string(), count: asked.count, assignments }
}

fn answer(topic: &CreatePartitionsTopic, result: Result<(), TopicError>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = errors::told(result);
    CreatePartitionsTopicResult { name: topic.name.clone(), error_code, error_message }
}
