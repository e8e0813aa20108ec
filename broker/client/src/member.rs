//! A member of a consumer group: the classic protocol with the range assignor.
//!
//! The owner calls [`Member::beat`] in good time and, when it says so, commits and joins again. A member whose owner was
//! away for longer than the session is a new member after the next join; what it had not committed is read again.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_model::ErrorCode;
use broker_wire::Str;
use broker_wire::messages::join_group_request::JoinGroupRequestProtocol;
use broker_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use broker_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use tokio::time::Instant;

use crate::client::Nature;
use crate::offsets::Standing;
use crate::{Client, ClientError, Node, Place, assignor};

/// A member that is not heard for so long is out.
const SESSION: Duration = Duration::from_secs(45);
/// How long the coordinator waits for members to join again.
const REBALANCE: Duration = Duration::from_secs(60);
const BEAT_EVERY: Duration = Duration::from_secs(3);
const CONSUMER: &str = "consumer";

/// What a heartbeat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Go on.
    Steady,
    /// The group changes: commit, and join again.
    Rebalance,
}

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    group: String,
    topics: Vec<String>,
    id: String,
    generation: i32,
    next_beat: Instant,
}

impl Member {
    /// A member that has not joined yet.
    #[must_use]
    pub fn new(group: &str, topics: Vec<String>) -> Member {
        Member { group: group.to_owned(), topics, id: String::new(), generation: -1, next_beat: Instant::now() }
    }

    /// Joins, and gives the partitions that are this member's now. It takes as long as the others need.
    ///
    /// # Errors
    /// The coordinator refuses, or nobody answers.
    pub async fn join(&mut self, client: &mut Client) -> Result<Vec<Place>, ClientError> {
        loop {
            let joined = client.retry(Nature::Idempotent, async |client| self.ask_to_join(client).await).await?;
            let Some(joined) = joined else { continue };
            self.generation = joined.generation_id;
            match self.sync(client, &joined).await {
                Ok(places) => {
                    self.next_beat = Instant::now() + BEAT_EVERY;
                    return Ok(places);
                }
                // The group changed again before everybody knew.
                Err(error) if self.must_join_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// None where the coordinator gave an id, or forgot the one that was: ask once more.
    async fn ask_to_join(&mut self, client: &mut Client) -> Result<Option<JoinGroupResponse>, ClientError> {
        let metadata = assignor::subscription(&self.topics)
            .map_err(|source| ClientError::Encode { api: broker_wire::ApiKey::JoinGroup, source })?;
        let request = JoinGroupRequest {
            group_id: Str::from(&self.group),
            session_timeout_ms: ms(SESSION),
            rebalance_timeout_ms: ms(REBALANCE),
            member_id: Str::from(&self.id),
            protocol_type: Str::from_static(CONSUMER),
            protocols: vec![JoinGroupRequestProtocol { name: Str::from_static(assignor::RANGE), metadata }],
            ..JoinGroupRequest::default()
        };
        let node = client.coordinator(&self.group).await?;
        let wait = REBALANCE + client.settings().request_timeout;
        let answer = client.ask_for(node, &request, wait).await?;
        match ErrorCode::from_code(answer.error_code) {
            Some(ErrorCode::MemberIdRequired) => {
                self.id = answer.member_id.to_string();
                return Ok(None);
            }
            Some(ErrorCode::UnknownMemberId) if !self.id.is_empty() => {
                self.id.clear();
                return Ok(None);
            }
            _ => {}
        }
        ClientError::check(answer.error_code, None, || format!("group {} does not let us join", self.group))?;
        self.id = answer.member_id.to_string();
        Ok(Some(answer))
    }

    async fn sync(&mut self, client: &mut Client, joined: &JoinGroupResponse) -> Result<Vec<Place>, ClientError> {
        let assignments = match joined.leader == joined.member_id {
            true => self.assign(client, joined).await?,
            false => Vec::new(),
        };
        let request = SyncGroupRequest {
            group_id: Str::from(&self.group),
            generation_id: self.generation,
            member_id: Str::from(&self.id),
            assignments,
            ..SyncGroupRequest::default()
        };
        client
            .retry(Nature::Idempotent, async |client| {
                let node = client.coordinator(&self.group).await?;
                let wait = REBALANCE + client.settings().request_timeout;
                let answer = client.ask_for(node, &request, wait).await?;
                ClientError::check(answer.error_code, None, || format!("group {} does not settle", self.group))?;
                let unreadable =
                    |_| ClientError::Nonsense(format!("the assignment of group {} is damaged", self.group));
                assignor::read_assignment(answer.assignment).map_err(unreadable)
            })
            .await
    }

    /// As the leader: who reads what.
    async fn assign(
        &self,
        client: &mut Client,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
        let mut members = BTreeMap::new();
        for member in &joined.members {
            let unreadable = |_| ClientError::Nonsense(format!("{} does not say what it reads", member.member_id));
            let topics = assignor::read_subscription(member.metadata.clone()).map_err(unreadable)?;
            members.insert(member.member_id.to_string(), topics);
        }
        let mut names: Vec<String> = members.values().flatten().cloned().collect();
        names.sort();
        names.dedup();
        let topics = client.metadata(Some(&names)).await?.topics;
        let count = |topic: &broker_wire::messages::metadata_response::MetadataResponseTopic| {
            let name = topic.name.as_deref().unwrap_or_default().to_owned();
            (name, i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
        };
        let given = assignor::range(&members, &topics.iter().map(count).collect());
        let row = |(id, places): (String, Vec<Place>)| {
            let assignment = assignor::assignment(&places)?;
            Ok(SyncGroupRequestAssignment { member_id: Str::from(id), assignment })
        };
        let rows: Result<Vec<_>, _> = given.into_iter().map(row).collect();
        rows.map_err(|source| ClientError::Encode { api: broker_wire::ApiKey::SyncGroup, source })
    }

    /// Says that this member lives, when it is time to.
    ///
    /// # Errors
    /// The coordinator refuses for another reason than a change of the group, or nobody answers.
    pub async fn beat(&mut self, client: &mut Client) -> Result<Pulse, ClientError> {
        if Instant::now() < self.next_beat {
            return Ok(Pulse::Steady);
        }
        let request = HeartbeatRequest {
            group_id: Str::from(&self.group),
            generation_id: self.generation,
            member_id: Str::from(&self.id),
            ..HeartbeatRequest::default()
        };
        let beaten = client
            .retry(Nature::Idempotent, async |client| {
                let node = client.coordinator(&self.group).await?;
                let answer = client.ask(node, &request).await?;
                ClientError::check(answer.error_code, None, || format!("group {}", self.group))
            })
            .await;
        self.next_beat = Instant::now() + BEAT_EVERY;
        match beaten {
            Ok(()) => Ok(Pulse::Steady),
            Err(error) if self.must_join_again(&error) => Ok(Pulse::Rebalance),
            Err(error) => Err(error),
        }
    }

    /// Commits the next offsets to read. False where the group changed before: somebody else reads on from what was
    /// committed earlier.
    ///
    /// # Errors
    /// The coordinator refuses for another reason, or nobody answers.
    pub async fn commit(&mut self, client: &mut Client, offsets: &BTreeMap<Place, i64>) -> Result<bool, ClientError> {
        let standing = Standing { member: Some((self.id.clone(), self.generation)) };
        match client.commit_as(&self.group, &standing, offsets).await {
            Ok(()) => Ok(true),
            Err(error) if self.must_join_again(&error) => {
                self.next_beat = Instant::now();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Leaves, so that the others need not wait for the end of the session.
    ///
    /// # Errors
    /// Nobody answers. A coordinator that does not know the member any more is none.
    pub async fn leave(&mut self, client: &mut Client) -> Result<(), ClientError> {
        if self.id.is_empty() {
            return Ok(());
        }
        let request = LeaveGroupRequest {
            group_id: Str::from(&self.group),
            member_id: Str::from(&self.id),
            ..LeaveGroupRequest::default()
        };
        let node: Node = client.coordinator(&self.group).await?;
        client.ask(node, &request).await?;
        self.id.clear();
        Ok(())
    }

    fn must_join_again(&mut self, error: &ClientError) -> bool {
        match error.code() {
            Some(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => true,
            Some(ErrorCode::UnknownMemberId) => {
                self.id.clear();
                true
            }
            _ => false,
        }
    }
}

fn ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
