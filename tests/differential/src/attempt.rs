//! One run of a sequence against both brokers.
//!
//! Invariants: both get the same requests in the same order, and each request waits until both have answered the one
//! before, or both are parked (a member that waits for its group). A broker that answers, closes or is silent where the
//! other does not is a difference. The run ends at the first one.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_wire::tree::{Node, Tree};
use broker_wire::{ApiKey, RequestBody, Str};
use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::batches::expand;
use crate::compare::{Bindings, Case, Difference, Uses, Verdict, compare};
use crate::learn;
use crate::link::{self, Link};
use crate::settle;
use crate::show::show;
use crate::step::{Damage, Side, Slots, Step, View};

/// After the first of the two has answered, the other one has this long.
const GRACE: Duration = Duration::from_secs(8);
/// A request that both leave unanswered for this long is parked.
const PARKED: Duration = Duration::from_millis(300);
/// The same where nothing may be parked: this is a broker that hangs.
const HANGS: Duration = Duration::from_secs(20);
/// How long a parked request may take to notice what another one did.
const SWEEP: Duration = Duration::from_millis(20);
/// Before a request is asked again.
const AGAIN: Duration = Duration::from_millis(60);
/// Kafka ends a group whose last member has left, while others were promised ids, through a timer of 0 ms.
const TIMER: Duration = Duration::from_millis(50);
/// How often what may only be late is asked.
const LATE_TRIES: usize = 8;
/// How often a broker is asked that is loading, or that only begins what it was asked for.
const SETTLING_TRIES: usize = 80;

/// What stays the same for all runs.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Strata, then Kafka.
    pub(crate) addresses: [String; 2],
    pub(crate) uses: Uses,
}

/// What stands for an answer where the broker closed the connection.
pub(crate) const CLOSED: &str = "closes the connection";
/// The same where it did not answer yet.
pub(crate) const PARKED_TEXT: &str = "does not answer";

/// What a broker did with a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Body(Node),
    Closed,
    Parked,
    Unreadable(String),
}

impl Answer {
    /// As a tree; what is no body is text.
    fn node(&self) -> Node {
        match self {
            Answer::Body(node) => node.clone(),
            other => Node::Text(Str::from(other.show())),
        }
    }

    pub(crate) fn show(&self) -> String {
        match self {
            Answer::Body(node) => show(node),
            Answer::Closed => CLOSED.to_owned(),
            Answer::Parked => PARKED_TEXT.to_owned(),
            Answer::Unreadable(reason) => format!("answers what cannot be read: {reason}"),
        }
    }
}

/// Where two brokers parted.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The step's place in the sequence.
    pub(crate) step: usize,
    pub(crate) what: String,
    /// The request as each side got it.
    pub(crate) requests: [String; 2],
    pub(crate) answers: [Answer; 2],
    pub(crate) differences: Vec<Difference>,
}

impl Failure {
    /// What makes two failures the same one.
    pub(crate) fn signature(&self) -> String {
        let Some(first) = self.differences.first() else { return self.what.clone() };
        let codes = if first.path.contains("error_code") || first.path.is_empty() {
            let start = |text: &str| text.chars().take(24).collect::<String>();
            format!(" {} / {}", start(&first.strata), start(&first.kafka))
        } else {
            String::new()
        };
        format!("{} {}{codes}", self.what, first.path)
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) failure: Option<Failure>,
    /// Steps whose answers were compared.
    pub(crate) compared: Vec<usize>,
    /// A justified difference ended the run.
    pub(crate) parted: bool,
    /// Answers that became the same only when asked again after a change of metadata.
    pub(crate) late: usize,
    /// Each request and both answers in words.
    pub(crate) story: Vec<String>,
}

/// A request that is under way.
struct Sent {
    step: usize,
    correlation_id: i32,
    requests: [Node; 2],
}

struct Lane {
    links: [Link; 2],
    parked: Option<Sent>,
}

/// A run that goes on.
pub(crate) struct Attempt<'a> {
    pub(crate) cluster: &'a Cluster,
    steps: &'a [Step],
    pub(crate) prefix: &'a str,
    now: i64,
    pub(crate) slots: [Slots; 2],
    pub(crate) bindings: Bindings,
    lanes: BTreeMap<u8, Lane>,
    correlation_id: i32,
    /// Steps since the metadata changed.
    since_change: usize,
    outcome: Outcome,
}

impl<'a> Attempt<'a> {
    pub(crate) fn new(cluster: &'a Cluster, steps: &'a [Step], prefix: &'a str, now: i64) -> Attempt<'a> {
        Attempt {
            cluster,
            steps,
            prefix,
            now,
            slots: [Slots::default(), Slots::default()],
            bindings: Bindings::default(),
            lanes: BTreeMap::new(),
            correlation_id: 0,
            since_change: usize::MAX,
            outcome: Outcome::default(),
        }
    }

    /// Runs all steps. An error is of the connection or of this program, not of an answer.
    pub(crate) async fn run(mut self) -> Result<Outcome, String> {
        for index in 0..self.steps.len() {
            self.step(index).await?;
            if self.outcome.failure.is_none() && !self.outcome.parted {
                self.sweep(SWEEP).await;
            }
            if self.outcome.failure.is_some() || self.outcome.parted {
                break;
            }
        }
        settle::clean_up(&mut self).await?;
        Ok(self.outcome)
    }

    pub(crate) fn view(&self, side: Side) -> View<'_> {
        let [strata, kafka] = &self.slots;
        let slots = if side == Side::Strata { strata } else { kafka };
        View { prefix: self.prefix, now: self.now, slots }
    }

    async fn step(&mut self, index: usize) -> Result<(), String> {
        let Some(step) = self.steps.get(index).cloned() else { return Ok(()) };
        self.since_change = self.since_change.saturating_add(1);
        let mut verdict = None;
        for again in 0..SETTLING_TRIES {
            let Some(sent) = self.send(index, &step).await? else { return Ok(()) };
            let answers = self.receive(&step, &sent).await;
            if answers == [Answer::Parked, Answer::Parked] {
                if let Some(lane) = self.lanes.get_mut(&step.lane) {
                    lane.parked = Some(sent);
                }
                return Ok(());
            }
            let found = self.judge(&step, &sent, &answers);
            // Silence and a closed connection do not become better by being asked again.
            let are_told = answers.iter().all(|answer| matches!(answer, Answer::Body(_)));
            let is_fresh = again < LATE_TRIES && self.since_change < 4 && is_question(&step);
            let is_late = are_told && (is_fresh || creates_topics(&step, &sent) || is_loading(&answers));
            let is_wrong = !found.differences.is_empty();
            verdict = Some((sent, answers, found));
            if !(is_wrong && is_late) {
                self.outcome.late += usize::from(again > 0 && !is_wrong);
                break;
            }
            sleep(AGAIN).await;
        }
        let Some((sent, answers, found)) = verdict else { return Ok(()) };
        let is_wrong = !found.differences.is_empty();
        self.conclude(&step, sent, answers, found);
        if step.api == ApiKey::LeaveGroup {
            sleep(TIMER).await;
        }
        if step.settles && !is_wrong && !self.outcome.parted {
            self.since_change = 0;
            let sent = settle::settle(self).await?;
            if let Some((what, differences, answers)) = sent {
                let requests = ["(after the request before)".to_owned(), String::new()];
                self.outcome.failure = Some(Failure { step: index, what, requests, answers, differences });
            }
        }
        Ok(())
    }

    /// Sends to both. None where the lane is busy.
    async fn send(&mut self, index: usize, step: &Step) -> Result<Option<Sent>, String> {
        if self.lanes.get(&step.lane).is_some_and(|lane| lane.parked.is_some()) {
            return Ok(None);
        }
        self.correlation_id += 1;
        let correlation_id = self.correlation_id;
        let bodies = Side::BOTH.map(|side| (step.make)(&self.view(side)));
        let requests = bodies.each_ref().map(|body| trimmed(body, step.version));
        let lane = self.lane(step.lane).await?;
        let frames = link::encode_both(step, correlation_id, &bodies).map_err(|error| format!("{step:?}: {error}"))?;
        for (link, frame) in lane.links.iter_mut().zip(&frames) {
            link.send(frame).await;
            if !step.is_answered {
                link.send(&ping(correlation_id + 1_000_000)?).await;
            }
        }
        Ok(Some(Sent { step: index, correlation_id, requests }))
    }

    async fn lane(&mut self, number: u8) -> Result<&mut Lane, String> {
        if let std::collections::btree_map::Entry::Vacant(place) = self.lanes.entry(number) {
            let [strata, kafka] = &self.cluster.addresses;
            let open = async |address: &str| Link::open(address).await.map_err(|error| format!("{address}: {error}"));
            place.insert(Lane { links: [open(strata).await?, open(kafka).await?], parked: None });
        }
        self.lanes.get_mut(&number).ok_or_else(|| "the lane vanished".to_owned())
    }

    async fn receive(&mut self, step: &Step, sent: &Sent) -> [Answer; 2] {
        let patience = if may_be_parked(step) { PARKED } else { HANGS };
        let Some(lane) = self.lanes.get_mut(&step.lane) else { return [Answer::Closed, Answer::Closed] };
        let frames = both(lane, patience).await;
        let (api, version, correlation_id) = match step.is_answered {
            true => (step.api, version_on_the_wire(step), sent.correlation_id),
            false => (ApiKey::ApiVersions, 0, sent.correlation_id + 1_000_000),
        };
        let answers = frames.map(|frame| match frame {
            None => Answer::Parked,
            Some(None) => Answer::Closed,
            Some(Some(frame)) => match link::decode(api, version, correlation_id, frame) {
                Ok(_) if !step.is_answered => Answer::Body(Node::Null),
                Ok(node) => Answer::Body(expand(node)),
                Err(reason) => Answer::Unreadable(reason),
            },
        });
        let is_raw = step.damage.is_some() && answers.iter().any(|answer| matches!(answer, Answer::Parked));
        if is_raw || answers.iter().any(|answer| matches!(answer, Answer::Closed | Answer::Unreadable(_))) {
            self.lanes.remove(&step.lane);
        }
        answers
    }

    fn judge(&mut self, step: &Step, sent: &Sent, answers: &[Answer; 2]) -> Verdict {
        let [strata, kafka] = &answers.each_ref().map(Answer::node);
        let [_, request] = &sent.requests;
        let (api, version, damage) = (step.api, step.version, step.damage.as_ref());
        let case = Case { api, version, request, strata, kafka, prefix: self.prefix, damage };
        compare(case, &mut self.bindings, &self.cluster.uses)
    }

    fn conclude(&mut self, step: &Step, sent: Sent, answers: [Answer; 2], found: Verdict) {
        if step.damage.is_none() {
            for (slots, answer) in self.slots.iter_mut().zip(&answers) {
                if let Answer::Body(answer) = answer {
                    learn::learn(slots, step, answer);
                }
            }
        }
        self.outcome.compared.push(sent.step);
        let [_, request] = &sent.requests;
        let [strata, kafka] = answers.each_ref().map(Answer::show);
        let damage = step.damage.as_ref().map(|damage| format!(" {damage:?}")).unwrap_or_default();
        let ours = if found.differences.is_empty() { String::new() } else { format!("\n      Strata: {strata}") };
        self.outcome.story.push(format!("{step:?}{damage}: {}\n      Kafka:  {kafka}{ours}", show(request)));
        self.outcome.parted |= found.parts;
        if !found.differences.is_empty() {
            let requests = sent.requests.each_ref().map(show);
            let what = format!("{}{}", step.api.name(), if step.damage.is_some() { " damaged" } else { "" });
            let differences = found.differences;
            self.outcome.failure = Some(Failure { step: sent.step, what, requests, answers, differences });
        }
    }

    /// Takes what came for parked requests.
    async fn sweep(&mut self, patience: Duration) {
        let parked: Vec<u8> = self.lanes.iter().filter(|(_, lane)| lane.parked.is_some()).map(|(n, _)| *n).collect();
        for number in parked {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            let Some(sent) = lane.parked.take() else { continue };
            let Some(step) = self.steps.get(sent.step).cloned() else { continue };
            let frames = both(lane, patience).await;
            if frames == [None, None] {
                lane.parked = Some(sent);
                continue;
            }
            let answers = frames.map(|frame| match frame {
                None => Answer::Parked,
                Some(None) => Answer::Closed,
                Some(Some(frame)) => match link::decode(step.api, step.version, sent.correlation_id, frame) {
                    Ok(node) => Answer::Body(node),
                    Err(reason) => Answer::Unreadable(reason),
                },
            });
            let found = self.judge(&step, &sent, &answers);
            self.conclude(&step, sent, answers, found);
            if self.outcome.failure.is_some() {
                return;
            }
        }
    }
}

/// The next frame of both links. The inner None is a closed connection, the outer one silence.
async fn both(lane: &mut Lane, patience: Duration) -> [Option<Option<Bytes>>; 2] {
    let [strata, kafka] = &mut lane.links;
    tokio::select! {
        frame = strata.next() => [Some(frame), timeout(GRACE, kafka.next()).await.ok()],
        frame = kafka.next() => [timeout(GRACE, strata.next()).await.ok(), Some(frame)],
        () = sleep(patience) => [None, None],
    }
}

fn trimmed(body: &RequestBody, version: i16) -> Node {
    let mut body = body.clone();
    body.trim(version);
    body.tree(version)
}

fn ping(correlation_id: i32) -> Result<Vec<u8>, String> {
    let body = RequestBody::ApiVersions(Default::default());
    link::encode(ApiKey::ApiVersions, 0, correlation_id, &body)
}

fn version_on_the_wire(step: &Step) -> i16 {
    match step.damage {
        Some(Damage::Version(version)) => version,
        _ => step.version,
    }
}

/// A member may wait for its group, and what was damaged may ask for any wait.
fn may_be_parked(step: &Step) -> bool {
    step.damage.is_some() || matches!(step.api, ApiKey::JoinGroup | ApiKey::SyncGroup)
}

/// True where a coordinator asks to come again: Kafka fetches blocks of producer ids in the background.
fn is_loading(answers: &[Answer; 2]) -> bool {
    const LOADING: i64 = 14;
    answers
        .iter()
        .any(|answer| matches!(answer, Answer::Body(body) if body.field("error_code") == Some(&Node::Number(LOADING))))
}

/// Metadata that makes topics: Kafka answers before they are there, and is asked again.
fn creates_topics(step: &Step, sent: &Sent) -> bool {
    let [_, request] = &sent.requests;
    step.api == ApiKey::Metadata && request.field("allow_auto_topic_creation") != Some(&Node::Bool(false))
}

/// Requests that change nothing, so that asking again tells what is only late from what is wrong.
fn is_question(step: &Step) -> bool {
    use ApiKey::{
        DescribeConfigs, DescribeGroups, DescribeLogDirs, DescribeTopicPartitions, ListGroups, ListOffsets, Metadata,
        OffsetFetch, OffsetForLeaderEpoch,
    };
    matches!(step.damage, None | Some(Damage::Flip(_)))
        && matches!(
            step.api,
            DescribeConfigs
                | DescribeGroups
                | DescribeLogDirs
                | DescribeTopicPartitions
                | ListGroups
                | ListOffsets
                | Metadata
                | OffsetFetch
                | OffsetForLeaderEpoch
        )
}
