//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the classic group protocol, carried to the group's machine and back.
//!
//! A request takes its place in the machine's queue at once, so that requests of one connection keep their order. What an
//! old or new version means is told to the machine as an enum; version numbers end here.

use broker_group::request::{
    Assignment, FirstJoin, Join, Joined, JoinedMember, LeaderReturn, Leave, LeavingMember, MemberRef, Output, Protocol,
    Request, Sync,
};
use broker_model::ErrorCode;
use broker_wire::Str;
use broker_wire::messages::join_group_response::JoinGroupResponseMember;
use broker_wire::messages::leave_group_response::MemberResponse;
use broker_wire::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use tracing::info;

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::errors;

/// From here a new member is told its id first (KIP-394).
const JOIN_VERSION_ID_REQUIRED: i16 = 4;
/// From here the protocol's type and name may be null.
const JOIN_VERSION_NULLABLE: i16 = 7;
/// From here a leader can be told that the assignment holds (KIP-814).
const JOIN_VERSION_SKIP: i16 = 9;
/// From here several members leave at once.
const LEAVE_VERSION_BATCHED: i16 = 3;
/// From here a member must say which protocol it believes the group to have (KIP-559).
const SYNC_VERSION_PROTOCOL: i16 = 5;
/// What of a client's own words is logged (KIP-800), in characters.
const REASON_CHARS_MAX: usize = 255;

fn owned(text: &Option<Str>) -> Option<String> {
    text.as_ref().map(ToString::to_string)
}

/// A client's reason as it is logged.
fn reason(given: Option<&Str>) -> Option<String> {
    given.filter(|text| !text.is_empty()).map(|text| text.chars().take(REASON_CHARS_MAX).collect())
}

/// What refuses a request before its machine is asked.
fn refusal(call: &Call, group: &str) -> Option<ErrorCode> {
    let allowed = call.context.is_allowed(Resource::Group, Operation::Read, group);
    (!allowed).then_some(ErrorCode::GroupAuthorizationFailed)
}

/// JoinGroup. The answer may take as long as the rebalance.
pub(super) fn join(call: Call, request: JoinGroupRequest) -> Pending {
    let version = call.context.version;
    if let Some(error) = refusal(&call, &request.group_id) {
        return call.ready(&join_failed(error, request.member_id, version));
    }
    let member_id = request.member_id.clone();
    let group = request.group_id.to_string();
    let join = Join {
        group: group.clone(),
        member: request.member_id.to_string(),
        instance: owned(&request.group_instance_id),
        client_id: call.context.client_id.to_string(),
        client_host: format!("/{}", call.context.peer.ip()),
        unique: uuid::Uuid::new_v4().to_string(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => request.session_timeout_ms,
            given => given,
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| Protocol { name: protocol.name.to_string(), metadata: protocol.metadata.to_vec() })
            .collect(),
        first_join: if version >= JOIN_VERSION_ID_REQUIRED { FirstJoin::IdRequired } else { FirstJoin::Direct },
        leader_return: if version >= JOIN_VERSION_SKIP {
            LeaderReturn::SkipAssignment
        } else {
            LeaderReturn::AsFollower
        },
    };
    let reason = reason(request.reason.as_ref());
    let asked = call.broker.groups.ask(&group, Request::Join(join));
    Pending::wait(async move {
        let response = match asked.answer().await {
            Ok(Output::Joined(joined)) => {
                if let (ErrorCode::None, Some(reason)) = (joined.error, reason) {
                    info!(?group, member = ?joined.member, generation = joined.generation, ?reason, "member joined");
                }
                joined_response(joined, version)
            }
            Ok(other) => unreachable!("a join was answered by {other:?}"),
            Err(refusal) => join_failed(errors::of_group(refusal), member_id, version),
        };
        call.reply(&JoinGroupResponse { throttle_time_ms: call.context.throttle_ms(), ..response })
    })
}

fn join_failed(error: ErrorCode, member_id: Str, version: i16) -> JoinGroupResponse {
    let protocol_name = (version < JOIN_VERSION_NULLABLE).then(Str::default);
    JoinGroupResponse { error_code: error.code(), generation_id: -1, protocol_name, member_id, ..Default::default() }
}

fn joined_response(joined: Joined, version: i16) -> JoinGroupResponse {
    let nullable = version >= JOIN_VERSION_NULLABLE;
    let member = |member: JoinedMember| JoinGroupResponseMember {
        member_id: member.member.into(),
        group_instance_id: member.instance.map(Str::from),
        metadata: member.metadata.into(),
    };
    JoinGroupResponse {
        error_code: joined.error.code(),
        generation_id: joined.generation,
        protocol_type: joined.protocol_type.filter(|_| nullable).map(Str::from),
        protocol_name: match joined.protocol {
            None if !nullable => Some(Str::default()),
            name => name.map(Str::from),
        },
        leader: joined.leader.into(),
        skip_assignment: joined.assignment == Assignment::Skip && version >= JOIN_VERSION_SKIP,
        member_id: joined.member.into(),
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

/// SyncGroup. The answer waits for the leader's assignment.
pub(super) fn sync(call: Call, request: SyncGroupRequest) -> Pending {
    if let Some(error) = refusal(&call, &request.group_id) {
        return call.ready(&SyncGroupResponse { error_code: error.code(), ..Default::default() });
    }
    let is_whole = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.context.version >= SYNC_VERSION_PROTOCOL && !is_whole {
        let error_code = ErrorCode::InconsistentGroupProtocol.code();
        return call.ready(&SyncGroupResponse { error_code, ..Default::default() });
    }
    let group = request.group_id.to_string();
    let sync = Sync {
        who: MemberRef {
            group: group.clone(),
            member: request.member_id.to_string(),
            instance: owned(&request.group_instance_id),
            generation: request.generation_id,
        },
        protocol_type: owned(&request.protocol_type),
        protocol: owned(&request.protocol_name),
        assignments: request
            .assignments
            .into_iter()
            .map(|assignment| (assignment.member_id.to_string(), assignment.assignment.to_vec()))
            .collect(),
    };
    let asked = call.broker.groups.ask(&group, Request::Sync(sync));
    Pending::wait(async move {
        let mut response = match asked.answer().await {
            Ok(Output::Synced(synced)) => SyncGroupResponse {
                error_code: synced.error.code(),
                protocol_type: synced.protocol_type.map(Str::from),
                protocol_name: synced.protocol.map(Str::from),
                assignment: synced.assignment.into(),
                ..Default::default()
            },
            Ok(other) => unreachable!("a sync was answered by {other:?}"),
            Err(refusal) => SyncGroupResponse { error_code: errors::of_group(refusal).code(), ..Default::default() },
        };
        if call.context.version < SYNC_VERSION_PROTOCOL {
            (response.protocol_type, response.protocol_name) = (None, None);
        }
        response.throttle_time_ms = call.context.throttle_ms();
        call.reply(&response)
    })
}

/// Heartbeat.
pub(super) fn heartbeat(call: Call, request: HeartbeatRequest) -> Pending {
    if let Some(error) = refusal(&call, &request.group_id) {
        return call.ready(&HeartbeatResponse { error_code: error.code(), ..Default::default() });
    }
    let who = MemberRef {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(&request.group_instance_id),
        generation: request.generation_id,
    };
    let asked = call.broker.groups.ask(&request.group_id, Request::Heartbeat(who));
    Pending::wait(async move {
        let error = match asked.answer().await {
            Ok(Output::Heartbeat(error)) => error,
            Ok(other) => unreachable!("a heartbeat was answered by {other:?}"),
            Err(refusal) => errors::of_group(refusal),
        };
        let throttle_time_ms = call.context.throttle_ms();
        call.reply(&HeartbeatResponse { throttle_time_ms, error_code: error.code() })
    })
}

/// LeaveGroup.
pub(super) fn leave(call: Call, request: LeaveGroupRequest) -> Pending {
    if let Some(error) = refusal(&call, &request.group_id) {
        return call.ready(&LeaveGroupResponse { error_code: error.code(), ..Default::default() });
    }
    let batched = call.context.version >= LEAVE_VERSION_BATCHED;
    let members = match batched {
        false => vec![LeavingMember { member: request.member_id.to_string(), instance: None }],
        true => request
            .members
            .iter()
            .map(|member| LeavingMember {
                member: member.member_id.to_string(),
                instance: owned(&member.group_instance_id),
            })
            .collect(),
    };
    let reasons: Vec<Option<String>> = request.members.iter().map(|member| reason(member.reason.as_ref())).collect();
    let group = request.group_id.to_string();
    let asked = call.broker.groups.ask(&request.group_id, Request::Leave(Leave { group, members }));
    Pending::wait(async move {
        let mut response = LeaveGroupResponse { throttle_time_ms: call.context.throttle_ms(), ..Default::default() };
        match asked.answer().await {
            Ok(Output::Left(left)) if batched => {
                log_left(&request.group_id, &left.members, reasons);
                response.error_code = left.error.code();
                response.members = left.members.into_iter().map(left_member).collect();
            }
            Ok(Output::Left(left)) => {
                let of_member = left.members.first().map_or(ErrorCode::None, |(_, error)| *error);
                let error = if left.error == ErrorCode::None { of_member } else { left.error };
                response.error_code = error.code();
            }
            Ok(other) => unreachable!("a leave was answered by {other:?}"),
            Err(refusal) => response.error_code = errors::of_group(refusal).code(),
        }
        call.reply(&response)
    })
}

fn log_left(group: &str, left: &[(LeavingMember, ErrorCode)], reasons: Vec<Option<String>>) {
    for ((LeavingMember { member, instance }, error), reason) in left.iter().zip(reasons) {
        if *error == ErrorCode::None {
            info!(?group, ?member, ?instance, ?reason, "member left");
        }
    }
}

fn left_member((member, error): (LeavingMember, ErrorCode)) -> MemberResponse {
    MemberResponse {
        member_id: member.member.into(),
        group_instance_id: member.instance.map(Str::from),
        error_code: error.code(),
    }
}
