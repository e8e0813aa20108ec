//! Records of an answer as a tree, so that batches are compared by field and not by bytes.
//!
//! The checksum is verified and not compared: it covers a producer's id, which differs. A tail that is not a whole batch
//! is given by its length.

use broker_records::{BatchHead, batches, verify};
use broker_wire::tree::Node;
use bytes::Bytes;

/// The same tree with all records taken apart.
pub(crate) fn expand(node: Node) -> Node {
    match node {
        Node::Records(bytes) => records(&bytes),
        Node::List(items) => Node::List(items.into_iter().map(expand).collect()),
        Node::Fields(fields) => Node::Fields(fields.into_iter().map(|(name, value)| (name, expand(value))).collect()),
        other => other,
    }
}

fn records(bytes: &Bytes) -> Node {
    let (mut found, mut whole) = (Vec::new(), 0);
    for batch in batches(bytes) {
        let Ok((head, batch)) = batch else { break };
        whole += batch.len();
        found.push(one(&head, batch));
    }
    let tail = i64::try_from(bytes.len() - whole).unwrap_or(i64::MAX);
    Node::Fields(vec![("batches", Node::List(found)), ("tail", Node::Number(tail))])
}

fn one(head: &BatchHead, batch: &[u8]) -> Node {
    let number = |value: i64| Node::Number(value);
    let time = if head.is_log_append_time() { "append_timestamp" } else { "max_timestamp" };
    Node::Fields(vec![
        ("base_offset", number(head.base_offset.0)),
        ("is_intact", Node::Bool(verify(batch).is_ok())),
        ("batch_length", number(i64::from(head.batch_length))),
        ("leader_epoch", number(i64::from(head.leader_epoch.0))),
        ("attributes", number(i64::from(head.attributes))),
        ("last_offset_delta", number(i64::from(head.last_offset_delta))),
        ("base_timestamp", number(head.base_timestamp.0)),
        (time, number(head.max_timestamp.0)),
        ("producer_id", number(head.producer_id.0)),
        ("producer_epoch", number(i64::from(head.producer_epoch.0))),
        ("base_sequence", number(i64::from(head.base_sequence.0))),
        ("record_count", number(i64::from(head.record_count))),
        (
            "body",
            Node::Bytes(Bytes::copy_from_slice(batch.get(broker_records::BATCH_HEAD_BYTES..).unwrap_or_default())),
        ),
    ])
}
