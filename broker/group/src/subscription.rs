//! Which topics the members of a consumer group subscribe to: the one thing that the coordinator reads in opaque metadata.
//!
//! Every version of a consumer's subscription begins with version 0, which is all that is read. Where one member's cannot
//! be read, nothing is known of the group: offsets do not expire then, and none of a topic can be deleted.

use std::collections::BTreeSet;

use broker_wire::Decoder;
use broker_wire::messages::ConsumerProtocolSubscription;
use bytes::Bytes;

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// The topics of one member's subscription.
pub(crate) fn topics(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let mut input = Decoder::new(Bytes::copy_from_slice(metadata));
    input.i16().ok().filter(|version| *version >= 0)?;
    let subscription = ConsumerProtocolSubscription::decode(&mut input, 0).ok()?;
    Some(subscription.topics.iter().map(ToString::to_string).collect())
}

/// The topics of all members, who say this; `None` where it is not known.
pub(crate) fn of_group<'a>(protocol_type: &str, metadata: impl Iterator<Item = &'a [u8]>) -> Option<BTreeSet<String>> {
    if protocol_type != CONSUMER {
        return None;
    }
    let mut all = BTreeSet::new();
    for metadata in metadata {
        all.append(&mut topics(metadata)?);
    }
    Some(all)
}

/// True if a member that says `now` instead of `before` needs another assignment. What a consumer owns, which an
/// assignor may say besides the topics, is no reason: it is gone after a restart. What cannot be read is none either.
pub(crate) fn differs(protocol_type: &str, before: &[u8], now: &[u8]) -> bool {
    if protocol_type != CONSUMER {
        return false;
    }
    match (topics(before), topics(now)) {
        (Some(before), Some(now)) => before != now,
        _ => false,
    }
}
