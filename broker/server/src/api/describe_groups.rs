//! DescribeGroups: state, assignor and members of groups of the classic protocol.
//!
//! What a group's members say and are assigned is passed on as it is; tools decode it.

use broker_group::request::{DescribedGroup as Described, DescribedMember, GroupState, Output, Request};
use broker_model::ErrorCode;
use broker_wire::Str;
use broker_wire::messages::describe_groups_request::DescribeGroupsRequest;
use broker_wire::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::errors;

/// From here a group that is not there is an error, and not only `Dead`.
const VERSION_NOT_FOUND: i16 = 6;

/// Asks each group's machine.
pub(super) fn start(call: Call, request: DescribeGroupsRequest) -> Pending {
    let asked = request.groups.into_iter().map(|group| {
        let is_allowed = call.context.is_allowed(Resource::Group, Operation::Describe, &group);
        let described = Request::Describe(vec![group.to_string()]);
        let asked = is_allowed.then(|| call.broker.groups.ask(&group, described));
        (group, asked)
    });
    let asked: Vec<_> = asked.collect();
    Pending::wait(async move {
        let mut groups = Vec::with_capacity(asked.len());
        for (group, asked) in asked {
            let mut answer = match asked {
                None => failed(group, ErrorCode::GroupAuthorizationFailed),
                Some(asked) => match asked.answer().await {
                    Ok(Output::Described(described)) => {
                        described.into_iter().next().map(|group| found(group, call.context.version)).unwrap_or_default()
                    }
                    Ok(other) => unreachable!("a describe was answered by {other:?}"),
                    Err(refusal) => failed(group, errors::of_group(refusal)),
                },
            };
            if request.include_authorized_operations && answer.error_code == ErrorCode::None.code() {
                answer.authorized_operations = call.context.authorized_operations(Resource::Group);
            }
            groups.push(answer);
        }
        call.reply(&DescribeGroupsResponse { throttle_time_ms: call.context.throttle_ms(), groups })
    })
}

fn failed(group_id: Str, error: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id, error_code: error.code(), ..Default::default() }
}

fn found(group: Described, version: i16) -> DescribedGroup {
    let is_missing = group.state == GroupState::Dead && version >= VERSION_NOT_FOUND;
    DescribedGroup {
        error_code: if is_missing { ErrorCode::GroupIdNotFound.code() } else { ErrorCode::None.code() },
        error_message: is_missing.then(|| format!("Group {} not found.", group.group).into()),
        group_id: group.group.into(),
        group_state: Str::from_static(group.state.name()),
        protocol_type: group.protocol_type.into(),
        protocol_data: group.protocol.into(),
        members: group.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn member(member: DescribedMember) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: member.member.into(),
        group_instance_id: member.instance.map(Str::from),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        member_metadata: member.metadata.into(),
        member_assignment: member.assignment.into(),
    }
}
