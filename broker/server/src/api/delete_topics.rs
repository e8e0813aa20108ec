//! DeleteTopics, by name or by id (KIP-516). What the bucket holds of a topic is purged afterwards, by the controller.

use std::sync::Arc;

use broker_metadata::{DeletedTopic, Output, Request, TopicError, TopicRef};
use broker_model::{ErrorCode, TopicId};
use broker_wire::Str;
use broker_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use broker_wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::topics::OFFSETS_TOPIC;

/// Versions from here name topics by a struct of name or id.
const VERSION_STRUCTS: i16 = 6;

/// Asks at once, waits for the commit.
pub(super) fn start(call: Call, request: DeleteTopicsRequest) -> Pending {
    let (refs, malformed) = named(&call, &request);
    let (asked, refused) = sorted(&call, &refs);
    let answer = (!asked.is_empty()).then(|| call.broker.metadata.ask(Request::DeleteTopics(asked.clone())));
    Pending::wait(async move {
        let answered = match answer {
            Some(answer) => answer.answer().await,
            None => Ok(Output::Deleted(Vec::new())),
        };
        let deleted = match answered {
            Ok(Output::Deleted(deleted)) => deleted,
            Ok(Output::Refused(error)) => all_failed(asked, &error),
            Ok(other) => unreachable!("a deletion was answered by {other:?}"),
            Err(refusal) => {
                all_failed(asked, &TopicError::new(crate::errors::of_metadata(refusal), refusal.to_string()))
            }
        };
        let deleted = in_order(&refs, deleted.into_iter().chain(refused).collect());
        let responses = deleted.into_iter().map(answer_of).chain(malformed).collect();
        call.reply(&DeleteTopicsResponse { throttle_time_ms: call.context.throttle_ms(), responses })
    })
}

/// The topics that a request names, each once, and the answers to what names none or one in two ways.
fn named(call: &Call, request: &DeleteTopicsRequest) -> (Vec<TopicRef>, Vec<DeletableTopicResult>) {
    let (mut refs, mut malformed) = (Vec::new(), Vec::new());
    if call.context.version < VERSION_STRUCTS {
        refs.extend(request.topic_names.iter().map(|name| TopicRef::Name(name.to_string())));
    }
    for DeleteTopicState { name, topic_id } in &request.topics {
        let wrong = match (name, topic_id.is_zero()) {
            (Some(name), true) => {
                refs.push(TopicRef::Name(name.to_string()));
                continue;
            }
            (None, false) => {
                refs.push(TopicRef::Id(*topic_id));
                continue;
            }
            (None, true) => "Neither topic name nor id were specified.",
            (Some(_), false) => "You may not specify both topic name and topic id.",
        };
        malformed.push(DeletableTopicResult {
            name: name.clone(),
            topic_id: *topic_id,
            error_code: ErrorCode::InvalidRequest.code(),
            error_message: Some(wrong.into()),
        });
    }
    (refs, malformed)
}

/// What goes to the metadata machine, and what is refused before: one topic's refusal does not stop the others. One that
/// is named twice is not deleted, and answered once.
fn sorted(call: &Call, refs: &[TopicRef]) -> (Vec<TopicRef>, Vec<DeletedTopic>) {
    let (mut asked, mut refused) = (Vec::new(), Vec::<DeletedTopic>::new());
    for (at, topic) in refs.iter().enumerate() {
        let earlier = refs.iter().take(at).any(|other| other == topic);
        let later = refs.iter().skip(at + 1).any(|other| other == topic);
        let twice = || {
            let what = if matches!(topic, TopicRef::Name(_)) { "Duplicate topic name." } else { "Duplicate topic id." };
            (earlier || later).then(|| TopicError::new(ErrorCode::InvalidRequest, what))
        };
        match refusal(call, topic).or_else(twice) {
            Some(_) if earlier => {}
            Some(error) => refused.push(DeletedTopic { asked: topic.clone(), result: Err(error) }),
            None => asked.push(topic.clone()),
        }
    }
    (asked, refused)
}

/// The answers in the order of the request.
fn in_order(refs: &[TopicRef], mut deleted: Vec<DeletedTopic>) -> Vec<DeletedTopic> {
    deleted.sort_by_key(|row| refs.iter().position(|asked| *asked == row.asked));
    deleted
}

/// An id is looked up first, so that it is no way around what its name would be refused for.
fn refusal(call: &Call, topic: &TopicRef) -> Option<TopicError> {
    let name = match topic {
        TopicRef::Name(name) => Some(name.as_str().into()),
        TopicRef::Id(id) => call.broker.topics.load().by_id(*id).map(|topic| topic.name.clone()),
    };
    let is_allowed = |name: &Arc<str>| call.context.is_allowed(Resource::Topic, Operation::Delete, name);
    match &name {
        _ if !call.broker.limits.delete_topics => {
            Some(TopicError::new(deletion_disabled(call.context.version), "Topic deletion is disabled."))
        }
        Some(name) if !is_allowed(name) => Some(TopicError::new(ErrorCode::TopicAuthorizationFailed, "not allowed")),
        Some(name) if **name == *OFFSETS_TOPIC => {
            Some(TopicError::new(ErrorCode::InvalidTopicException, "an internal topic is not deleted"))
        }
        _ => None,
    }
}

fn all_failed(refs: Vec<TopicRef>, error: &TopicError) -> Vec<DeletedTopic> {
    refs.into_iter().map(|asked| DeletedTopic { asked, result: Err(error.clone()) }).collect()
}

/// Versions before 3 do not know the code.
fn deletion_disabled(version: i16) -> ErrorCode {
    if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled }
}

fn answer_of(deleted: DeletedTopic) -> DeletableTopicResult {
    match deleted.result {
        Ok((name, id)) => DeletableTopicResult { name: Some(Str::from(name)), topic_id: id, ..Default::default() },
        Err(error) => {
            let (name, id) = match deleted.asked {
                TopicRef::Name(name) => (Some(Str::from(name)), TopicId::ZERO),
                TopicRef::Id(id) => (None, id),
            };
            DeletableTopicResult {
                name,
                topic_id: id,
                error_code: error.code.code(),
                error_message: Some(error.message.as_str().into()),
            }
        }
    }
}
