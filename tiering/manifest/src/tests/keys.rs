//! Names of objects: built and parsed, one spelling each.

use proptest::prelude::*;

use super::*;
use crate::keys::{self, is_topic_name};

#[test]
fn keys_have_one_spelling() {
    let id = topic();
    let shard = keys::shard(&id);
    for legal in [
        "strata.json".to_owned(),
        format!("topics/{shard}/flights-{id}/topic.json"),
        format!("topics/{shard}/a-b-{id}/12/manifest.json"),
        format!("topics/{shard}/a-b-{id}/0/objects/7-0-3.log"),
        format!("topics/{shard}/a-b-{id}/0/groups/8-1-3.json.zst"),
        format!("tables/a-{id}/table.json"),
        format!("tables/a-{id}/data/0-0-0.parquet"),
        format!("tables/a-{id}/dead/0-0-0.parquet"),
        "exports/july-4/part-0.parquet".to_owned(),
        "shared/x".to_owned(),
    ] {
        assert_eq!(Key::parse(&legal).unwrap().to_string(), legal);
    }
    for none in [
        "".to_owned(),
        "strata.json/".to_owned(),
        format!("topics/{shard}/flights-{id}/"),
        format!("topics/xyz/flights-{id}/topic.json"),
        format!("topics/{shard}/-{id}/topic.json"),
        format!("topics/{shard}/..-{id}/topic.json"),
        format!("topics/{shard}/a-{id}/01/manifest.json"),
        format!("topics/{shard}/a-{id}/0/objects/07-0-3.log"),
        format!("topics/{shard}/a-{id}/0/objects/+7-0-3.log"),
        format!("topics/{shard}/a-{id}/0/objects/7-0-3-1.log"),
        format!("topics/{shard}/a-{id}/0/data/7-0-3.parquet"),
        format!("topics/{shard}/a-{id}/0/objects/99999999999999999999-0-3.log"),
        format!("tables/a-{id}/objects/7-0-3.log"),
        "exports/../x".to_owned(),
        "shared/".to_owned(),
        format!("topics/{shard}/é{id}/topic.json"),
    ] {
        assert_eq!(Key::parse(&none), Err(KeyError), "{none}");
    }
}

#[test]
fn the_longest_topic_name_fits() {
    let name = "n".repeat(249);
    let prefix = PartitionPrefix::new(&name, topic(), PartitionIndex(i32::MAX)).unwrap();
    assert!(Key::parse(&prefix.root()).is_ok());
    assert!(prefix.root().len() < 1024, "a store takes keys of up to 1,024 bytes");
    assert!(PartitionPrefix::new(&"n".repeat(250), topic(), PartitionIndex(0)).is_err());
}

#[test]
fn crc32c_is_castagnoli() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

proptest! {
    #[test]
    fn any_text_parses_or_not_but_never_panics(text in "\\PC{0,80}", tail in "[a-z0-9/.-]{0,40}") {
        let id = topic();
        for key in [text.clone(), format!("topics/{text}"), format!("topics/{}/a-{id}/{tail}", keys::shard(&id)), format!("tables/{text}-{id}/{tail}")] {
            if let Ok(parsed) = Key::parse(&key) {
                prop_assert_eq!(parsed.to_string(), key);
            }
        }
    }

    #[test]
    fn what_is_built_parses(name in "[a-zA-Z0-9._-]{1,249}", id in any::<[u8; 16]>(), partition in 0..i32::MAX, n in any::<u64>(), generation in any::<u32>(), epoch in 0..i32::MAX) {
        prop_assume!(is_topic_name(&name));
        let prefix = PartitionPrefix::new(&name, TopicId(id), PartitionIndex(partition)).unwrap();
        let object = ObjectName { kind: ObjectKind::Data, id: ObjectId(n), generation: Generation(generation), epoch: LeaderEpoch(epoch) };
        prop_assert_eq!(Key::parse(&prefix.object(&object)), Ok(Key::Object(prefix.clone(), object)));
        prop_assert_eq!(Key::parse(&prefix.root()), Ok(Key::Root(prefix)));
    }
}
