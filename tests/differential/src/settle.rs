//! Waiting until a change of the metadata shows on both brokers.
//!
//! Kafka's controller answers before its broker has applied what was decided. So after each change both are asked for the
//! topics, their offsets and their configs until the answers agree. If they never do, that is a difference.

use std::time::Duration;

use broker_wire::messages::delete_topics_request::DeleteTopicState;
use broker_wire::messages::describe_configs_request::DescribeConfigsResource;
use broker_wire::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use broker_wire::messages::metadata_request::MetadataRequestTopic;
use broker_wire::messages::{DeleteTopicsRequest, DescribeConfigsRequest, ListOffsetsRequest, MetadataRequest};
use broker_wire::tree::{Node, Tree};
use broker_wire::{ApiKey, RequestBody};
use tokio::time::{sleep, timeout};

use crate::attempt::{Answer, Attempt};
use crate::compare::{Case, Difference, compare};
use crate::learn;
use crate::link::{self, Link};
use crate::step::Side;

/// Topics that a sequence may create.
pub(crate) const TOPICS: u8 = 4;
/// Partitions that are looked at.
const PARTITIONS: i32 = 6;
const ROUNDS: usize = 30;
const PAUSE: Duration = Duration::from_millis(40);
const PATIENCE: Duration = Duration::from_secs(20);

type Unsettled = (String, Vec<Difference>, [Answer; 2]);

/// Asks until both say the same. What is given is the last difference.
pub(crate) async fn settle(attempt: &mut Attempt<'_>) -> Result<Option<Unsettled>, String> {
    let mut links = open(attempt).await?;
    let mut last = None;
    for _ in 0..ROUNDS {
        last = None;
        for (api, version) in [(ApiKey::Metadata, 12), (ApiKey::ListOffsets, 7), (ApiKey::DescribeConfigs, 4)] {
            let question = question(attempt, api);
            let answers = ask(&mut links, api, version, [&question, &question]).await?;
            if api == ApiKey::Metadata {
                attempt.slots.iter_mut().zip(&answers).for_each(|(slots, answer)| learn::topics(slots, answer));
            }
            let [strata, kafka] = &answers;
            let request = &question.tree(version);
            let case = Case { api, version, request, strata, kafka, prefix: attempt.prefix, damage: None };
            let verdict = compare(case, &mut attempt.bindings, &attempt.cluster.uses);
            if !verdict.differences.is_empty() {
                let what = format!("never settles: {}", api.name());
                last = Some((what, verdict.differences, answers.map(Answer::Body)));
                break;
            }
        }
        if last.is_none() {
            break;
        }
        sleep(PAUSE).await;
    }
    Ok(last)
}

/// Deletes the topics of a sequence, so that thousands of sequences run on one pair of brokers.
pub(crate) async fn clean_up(attempt: &mut Attempt<'_>) -> Result<(), String> {
    if attempt.slots.iter().all(|slots| slots.topic_ids.is_empty()) {
        return Ok(());
    }
    let mut links = open(attempt).await?;
    let view = attempt.view(Side::Kafka);
    // The topic that is nowhere may have been created by a request for metadata.
    let names = (0..TOPICS).chain([crate::generate::NOWHERE]).map(|slot| view.topic(slot));
    let topics = names.map(|name| DeleteTopicState { name: Some(name), ..Default::default() }).collect();
    let request = DeleteTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() };
    let request = RequestBody::DeleteTopics(request);
    ask(&mut links, ApiKey::DeleteTopics, 6, [&request, &request]).await.map(|_| ())
}

async fn open(attempt: &Attempt<'_>) -> Result<[Link; 2], String> {
    let [strata, kafka] = &attempt.cluster.addresses;
    let open = async |address: &str| Link::open(address).await.map_err(|error| format!("{address}: {error}"));
    Ok([open(strata).await?, open(kafka).await?])
}

async fn ask(
    links: &mut [Link; 2],
    api: ApiKey,
    version: i16,
    questions: [&RequestBody; 2],
) -> Result<[Node; 2], String> {
    let mut answers = [Node::Null, Node::Null];
    for (link, question) in links.iter_mut().zip(questions) {
        link.send(&link::encode(api, version, 1, question)?).await;
    }
    for (link, answer) in links.iter_mut().zip(&mut answers) {
        let frame = timeout(PATIENCE, link.next()).await.map_err(|_| format!("no answer to {}", api.name()))?;
        let frame = frame.ok_or_else(|| format!("the connection is closed after {}", api.name()))?;
        *answer = link::decode(api, version, 1, frame)?;
    }
    Ok(answers)
}

fn question(attempt: &Attempt<'_>, api: ApiKey) -> RequestBody {
    let view = attempt.view(Side::Kafka);
    let names = (0..TOPICS).map(|slot| view.topic(slot));
    match api {
        ApiKey::Metadata => {
            let topics = names.map(|name| MetadataRequestTopic { name: Some(name), ..Default::default() }).collect();
            let plain = MetadataRequest::default();
            RequestBody::Metadata(MetadataRequest { topics: Some(topics), allow_auto_topic_creation: false, ..plain })
        }
        ApiKey::DescribeConfigs => {
            let resource =
                |name| DescribeConfigsResource { resource_type: 2, resource_name: name, configuration_keys: None };
            let resources = names.map(resource).collect();
            RequestBody::DescribeConfigs(DescribeConfigsRequest { resources, ..Default::default() })
        }
        _ => {
            let partition =
                |partition_index| ListOffsetsPartition { partition_index, current_leader_epoch: -1, timestamp: -1 };
            let topic = |name| ListOffsetsTopic { name, partitions: (0..PARTITIONS).map(partition).collect() };
            let topics = names.map(topic).collect();
            let plain = ListOffsetsRequest::default();
            RequestBody::ListOffsets(ListOffsetsRequest { replica_id: -1, topics, ..plain })
        }
    }
}
