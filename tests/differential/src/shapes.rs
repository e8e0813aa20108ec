//! What rules ask of requests and answers.

use broker_wire::tree::Node;

pub(crate) fn is_text(node: &Node, wanted: &str) -> bool {
    matches!(node, Node::Text(text) if text.as_str() == wanted)
}

pub(crate) fn has_error(node: &Node, code: i64) -> bool {
    node.field("error_code") == Some(&Node::Number(code))
}

pub(crate) fn is_state(group: &Node, wanted: &str) -> bool {
    group.field("group_state").is_some_and(|state| is_text(state, wanted))
}

/// True of a join that ends well in a generation after the first one.
pub(crate) fn is_later(joined: &Node) -> bool {
    matches!(joined.field("generation_id"), Some(Node::Number(2..)))
}

pub(crate) fn leads(joined: &Node) -> bool {
    joined.field("leader") == joined.field("member_id")
}

pub(crate) fn is_compressed(batch: &Node) -> bool {
    matches!(batch.field("attributes"), Some(Node::Number(attributes)) if attributes & 7 != 0)
}

pub(crate) fn is_pair(strata: &Node, kafka: &Node, ours: i64, theirs: i64) -> bool {
    *strata == Node::Number(ours) && *kafka == Node::Number(theirs)
}

pub(crate) fn is_below(strata: &Node, kafka: &Node) -> bool {
    matches!((strata, kafka), (Node::Number(ours), Node::Number(theirs)) if ours < theirs)
}

/// True where a request names a place of a topic twice.
pub(crate) fn has_duplicates(request: &Node, list: &str, name: &str) -> bool {
    let topics = ["topic_data", "topics"].iter().find_map(|field| request.field(field));
    topics.map(Node::items).unwrap_or_default().iter().any(|topic| {
        let places = topic.field(list).map(Node::items).unwrap_or_default();
        let names: Vec<_> = places.iter().map(|place| place.field(name)).collect();
        names.iter().enumerate().any(|(at, one)| names.iter().skip(at + 1).any(|other| one == other))
    })
}

/// True where every error code of an answer is this one.
pub(crate) fn all_errors(node: &Node, code: i64) -> bool {
    match node {
        Node::Fields(fields) => fields.iter().all(|(name, value)| {
            if *name == "error_code" { *value == Node::Number(code) } else { all_errors(value, code) }
        }),
        Node::List(items) => items.iter().all(|item| all_errors(item, code)),
        _ => true,
    }
}

/// True where what Strata shows is what Kafka's text means.
pub(crate) fn is_same_value(ours: &str, theirs: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    ours.eq_ignore_ascii_case(theirs.replace(' ', "").trim_start_matches('+'))
        || number(ours).is_some_and(|ours| number(theirs) == Some(ours))
}

/// The topics that a request names.
pub(crate) fn names(request: &Node) -> impl Iterator<Item = &str> {
    let topics = request.field("topics").map(Node::items).unwrap_or_default();
    topics.iter().filter_map(|topic| match topic.field("name") {
        Some(Node::Text(name)) => Some(name.as_str()),
        _ => None,
    })
}

pub(crate) fn is_config(node: &Node, name: &str) -> bool {
    matches!(node.field("name"), Some(Node::Text(text)) if text.as_str() == name)
}

/// True where two structs differ in these fields only.
pub(crate) fn same_but(strata: &Node, kafka: &Node, fields: &[&str]) -> bool {
    match (strata, kafka) {
        (Node::Fields(left), Node::Fields(right)) => {
            left.iter().zip(right).all(|(ours, theirs)| fields.contains(&ours.0) || ours == theirs)
        }
        _ => false,
    }
}
