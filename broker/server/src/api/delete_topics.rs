//! DeleteTopics, by name or by id (KIP-516). What the bucket holds of a topic is purged afterwards, by the controller.

use broker_metadata::{DeletedTopic, Output, Request, TopicError, TopicRef};
use broker_model::{ErrorCode, TopicId};
use broker_wire::Str;
use broker_wire::messages::delete_topics_request::DeleteTopicsRequest;
use broker_wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::topics::OFFSETS_TOPIC;

/// Versions from here name topics by a struct of name or id.
const VERSION_STRUCTS: i16 = 6;

/// Asks at once, waits for the commit.
pub(super) fn start(call: Call, request: DeleteTopicsRequest) -> Pending {
    let refs: Vec<TopicRef> = if call.context.version >= VERSION_STRUCTS {
        let named = |topic: &broker_wire::messages::delete_topics_request::DeleteTopicState| match &topic.name {
            Some(name) => TopicRef::Name(name.to_string()),
            None => TopicRef::Id(topic.topic_id),
        };
        request.topics.iter().map(named).collect()
    } else {
        request.topic_names.iter().map(|name| TopicRef::Name(name.to_string())).collect()
    };
    if let Some(error) = refusal(&call, &refs) {
        return call.ready(&response(&call, all_failed(refs, &error)));
    }
    let asked = call.broker.metadata.ask(Request::DeleteTopics(refs.clone()));
    Pending::wait(async move {
        let deleted = match asked.answer().await {
            Ok(Output::Deleted(deleted)) => deleted,
            Ok(Output::Refused(error)) => all_failed(refs, &error),
            Ok(other) => unreachable!("a deletion was answered by {other:?}"),
            Err(refusal) => {
                all_failed(refs, &TopicError::new(crate::errors::of_metadata(refusal), refusal.to_string()))
            }
        };
        call.reply(&response(&call, deleted))
    })
}

fn refusal(call: &Call, refs: &[TopicRef]) -> Option<TopicError> {
    let allowed = refs.iter().all(|topic| match topic {
        TopicRef::Name(name) => call.context.is_allowed(Resource::Topic, Operation::Delete, name),
        TopicRef::Id(_) => true,
    });
    match allowed {
        _ if !call.broker.limits.delete_topics => {
            Some(TopicError::new(ErrorCode::PolicyViolation, "delete.topic.enable is false"))
        }
        true if refs.iter().any(|topic| *topic == TopicRef::Name(OFFSETS_TOPIC.to_owned())) => {
            Some(TopicError::new(ErrorCode::InvalidTopicException, "an internal topic is not deleted"))
        }
        true => None,
        false => Some(TopicError::new(ErrorCode::TopicAuthorizationFailed, "not allowed")),
    }
}

fn all_failed(refs: Vec<TopicRef>, error: &TopicError) -> Vec<DeletedTopic> {
    refs.into_iter().map(|asked| DeletedTopic { asked, result: Err(error.clone()) }).collect()
}

fn response(call: &Call, deleted: Vec<DeletedTopic>) -> DeleteTopicsResponse {
    let responses = deleted.into_iter().map(answer).collect();
    DeleteTopicsResponse { throttle_time_ms: call.context.throttle_ms(), responses }
}

fn answer(deleted: DeletedTopic) -> DeletableTopicResult {
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
