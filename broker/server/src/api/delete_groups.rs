//! DeleteGroups: groups without members go, with all their offsets.

use std::collections::BTreeSet;

use broker_group::request::{Output, Request};
use broker_model::ErrorCode;
use broker_wire::messages::delete_groups_request::DeleteGroupsRequest;
use broker_wire::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use tracing::info;

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::errors;

/// Asks each group's machine, once for each name.
pub(super) fn start(call: Call, request: DeleteGroupsRequest) -> Pending {
    let mut seen = BTreeSet::new();
    let groups = request.groups_names.into_iter().filter(|group| seen.insert(group.clone()));
    let asked = groups.map(|group| {
        let is_allowed = call.context.is_allowed(Resource::Group, Operation::Delete, &group);
        let delete = Request::Delete(vec![group.to_string()]);
        let asked = is_allowed.then(|| call.broker.groups.ask(&group, delete));
        (group, asked)
    });
    let asked: Vec<_> = asked.collect();
    Pending::wait(async move {
        let mut results = Vec::with_capacity(asked.len());
        for (group_id, asked) in asked {
            let error = match asked {
                None => ErrorCode::GroupAuthorizationFailed,
                Some(asked) => match asked.answer().await {
                    Ok(Output::Deleted(results)) => {
                        results.into_iter().next().map_or(ErrorCode::None, |(_, error)| error)
                    }
                    Ok(other) => unreachable!("a delete was answered by {other:?}"),
                    Err(refusal) => errors::of_group(refusal),
                },
            };
            if error == ErrorCode::None {
                info!(group = ?group_id.as_str(), "group deleted");
            }
            results.push(DeletableGroupResult { group_id, error_code: error.code() });
        }
        call.reply(&DeleteGroupsResponse { throttle_time_ms: call.context.throttle_ms(), results })
    })
}
