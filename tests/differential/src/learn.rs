//! What a broker's answer hands out, kept for later requests of the same sequence.

use broker_model::TopicId;
use broker_wire::ApiKey;
use broker_wire::Str;
use broker_wire::tree::Node;

use crate::step::{Slots, Step};

/// Keeps what this answer hands out in the step's slot.
pub(crate) fn learn(slots: &mut Slots, step: &Step, answer: &Node) {
    match step.api {
        ApiKey::JoinGroup => {
            if let Some(member) = text(answer, "member_id").filter(|member| !member.is_empty()) {
                slots.members.insert(step.slot, member);
            }
            if let (Some(0), Some(generation)) = (number(answer, "error_code"), number(answer, "generation_id")) {
                slots.generations.insert(step.slot, generation as i32);
            }
        }
        ApiKey::InitProducerId => {
            if let (Some(0), Some(id), Some(epoch)) =
                (number(answer, "error_code"), number(answer, "producer_id"), number(answer, "producer_epoch"))
            {
                slots.producers.insert(step.slot, (id, epoch as i16));
            }
        }
        ApiKey::Fetch => {
            if let Some(session) = number(answer, "session_id").filter(|session| *session != 0) {
                slots.sessions.insert(step.slot, session as i32);
            }
        }
        ApiKey::Metadata => topics(slots, answer),
        _ => (),
    }
}

/// Keeps the ids of the topics of a Metadata answer.
pub(crate) fn topics(slots: &mut Slots, answer: &Node) {
    for topic in answer.field("topics").map(Node::items).unwrap_or_default() {
        if let (Some(name), Some(Node::Uuid(id))) = (text(topic, "name"), topic.field("topic_id"))
            && !id.is_nil()
        {
            slots.topic_ids.insert(name.as_str().to_owned(), TopicId(id.into_bytes()));
        }
    }
}

fn number(node: &Node, field: &str) -> Option<i64> {
    match node.field(field) {
        Some(Node::Number(value)) => Some(*value),
        _ => None,
    }
}

fn text(node: &Node, field: &str) -> Option<Str> {
    match node.field(field) {
        Some(Node::Text(value)) => Some(value.clone()),
        _ => None,
    }
}
