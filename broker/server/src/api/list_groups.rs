//! ListGroups: all groups that this broker coordinates, by state and type if asked so.
//!
//! Every coordinator is asked, and loaded first if it was not asked since the start: a list is whole, or an error.

use broker_group::request::{ListedGroup as Listed, Output, Request};
use broker_model::ErrorCode;
use broker_wire::Str;
use broker_wire::messages::list_groups_request::ListGroupsRequest;
use broker_wire::messages::list_groups_response::{ListGroupsResponse, ListedGroup};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::coordinator::Asked;

/// From here a group's state is told.
const VERSION_STATES: i16 = 4;
/// From here a group's type is told.
const VERSION_TYPES: i16 = 5;
/// The only type of groups that there is here.
const CLASSIC: &str = "classic";

/// Asks all coordinators.
pub(super) fn start(call: Call, request: ListGroupsRequest) -> Pending {
    let is_wanted = request.types_filter.is_empty() || contains(&request.types_filter, CLASSIC);
    let handles = if is_wanted { call.broker.groups.all() } else { Vec::new() };
    let asked: Vec<Asked<Output>> = handles.into_iter().map(|handle| handle.ask(Request::List)).collect();
    Pending::wait(async move {
        let mut response = ListGroupsResponse { throttle_time_ms: call.context.throttle_ms(), ..Default::default() };
        for asked in asked {
            match asked.answer().await {
                Ok(Output::Listed(groups)) => {
                    let seen = groups.into_iter().filter(|group| is_seen(&call, &request, group));
                    response.groups.extend(seen.map(|group| listed(group, call.context.version)));
                }
                Ok(other) => unreachable!("a list was answered by {other:?}"),
                Err(_) => {
                    (response.error_code, response.groups) = (ErrorCode::CoordinatorNotAvailable.code(), Vec::new());
                    break;
                }
            }
        }
        call.reply(&response)
    })
}

fn contains(filter: &[Str], name: &str) -> bool {
    filter.iter().any(|wanted| wanted.trim().eq_ignore_ascii_case(name))
}

fn is_seen(call: &Call, request: &ListGroupsRequest, group: &Listed) -> bool {
    (request.states_filter.is_empty() || contains(&request.states_filter, group.state.name()))
        && call.context.is_allowed(Resource::Group, Operation::Describe, &group.group)
}

fn listed(group: Listed, version: i16) -> ListedGroup {
    let told = |text: &'static str, first| if version >= first { Str::from_static(text) } else { Str::default() };
    ListedGroup {
        group_id: group.group.into(),
        protocol_type: group.protocol_type.into(),
        group_state: told(group.state.name(), VERSION_STATES),
        group_type: told(CLASSIC, VERSION_TYPES),
    }
}
