//! The one place where the program takes chance from: ids that nobody can guess, and that no other process has.

use broker_model::TopicId;

/// 16 random bytes, as a UUID of version 4.
#[must_use]
pub fn id() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}

/// A random id in Kafka's text form.
#[must_use]
pub fn text() -> String {
    TopicId(id()).to_string()
}

/// A random number: the nonce of one incarnation of a writer, the seed of ids.
#[must_use]
pub fn number() -> u64 {
    u64::from_le_bytes(*id().first_chunk().expect("an id has 16 bytes"))
}
