//! Groups from outside: which there are, who is in them, and their end.
//!
//! Each broker lists the groups that it coordinates, so that all brokers are asked.

use std::collections::BTreeMap;

use broker_model::ErrorCode;
use broker_wire::Str;
use broker_wire::messages::describe_groups_response::DescribedGroup;
use broker_wire::messages::list_groups_response::ListedGroup;
use broker_wire::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};

use crate::assignor;
use crate::client::Nature;
use crate::topics::one;
use crate::{Client, ClientError, Node, Place};

/// A group with its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// `Stable`, `Empty`, `Dead`, …
    pub state: String,
    /// The name of the assignor.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The id that the coordinator gave.
    pub id: String,
    /// The `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it comes from.
    pub host: String,
    /// What it reads. Empty where the group is none of consumers.
    pub partitions: Vec<Place>,
}

impl Client {
    /// All groups, by id.
    ///
    /// # Errors
    /// A broker refuses or does not answer.
    pub async fn list_groups(&mut self) -> Result<Vec<ListedGroup>, ClientError> {
        self.retry(Nature::Idempotent, async |client| {
            client.metadata(Some(&[])).await?;
            let brokers: Vec<i32> = client.brokers().keys().copied().collect();
            let mut groups: BTreeMap<String, ListedGroup> = BTreeMap::new();
            for broker in brokers {
                let answer = client.ask(Node::Id(broker), &ListGroupsRequest::default()).await?;
                ClientError::check(answer.error_code, None, || format!("the groups of broker {broker}"))?;
                groups.extend(answer.groups.into_iter().map(|group| (group.group_id.to_string(), group)));
            }
            Ok(groups.into_values().collect())
        })
        .await
    }

    /// One group. A group that nobody knows is `Dead` and empty: old brokers say so, and newer ones are brought to it.
    ///
    /// # Errors
    /// The coordinator refuses, or nobody answers.
    pub async fn describe_group(&mut self, id: &str) -> Result<Group, ClientError> {
        let request = DescribeGroupsRequest { groups: vec![Str::from(id)], ..Default::default() };
        self.retry(Nature::Idempotent, async |client| {
            let node = client.coordinator(id).await?;
            let found = one(client.ask(node, &request).await?.groups, id)?;
            if found.error_code != ErrorCode::GroupIdNotFound.code() {
                ClientError::check(found.error_code, found.error_message.as_deref(), || format!("group {id}"))?;
            }
            let Node::Id(coordinator) = node else { return Err(ClientError::Nonsense("no coordinator".to_owned())) };
            Ok(group(found, coordinator))
        })
        .await
    }

    /// Deletes a group that has no members, with its offsets.
    ///
    /// # Errors
    /// There is none, it has members, or nobody answers.
    pub async fn delete_group(&mut self, id: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![Str::from(id)] };
        self.retry(Nature::Once, async |client| {
            let node = client.coordinator(id).await?;
            let deleted = one(client.ask(node, &request).await?.results, id)?;
            ClientError::check(deleted.error_code, None, || format!("group {id} is not deleted"))
        })
        .await
    }
}

fn group(found: DescribedGroup, coordinator: i32) -> Group {
    let is_consumer = found.protocol_type.as_str() == "consumer";
    let member = |member: &broker_wire::messages::describe_groups_response::DescribedGroupMember| GroupMember {
        id: member.member_id.to_string(),
        instance: member.group_instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: member.client_host.trim_start_matches('/').to_owned(),
        partitions: match is_consumer {
            true => assignor::read_assignment(member.member_assignment.clone()).unwrap_or_default(),
            false => Vec::new(),
        },
    };
    let state = if found.group_state.is_empty() { "Dead".to_owned() } else { found.group_state.to_string() };
    Group {
        id: found.group_id.to_string(),
        state,
        assignor: found.protocol_data.to_string(),
        coordinator,
        members: found.members.iter().map(member).collect(),
    }
}
