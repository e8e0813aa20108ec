//! Failures that other tiered logs met, each as the smallest test of what prevents it here.

use super::*;

/// A stale leader overwrote segments: here its id stays out of reach, and its name carries its epoch.
#[test]
fn a_zombie_cannot_reuse_a_key_of_its_successor() {
    let root = root_with(1);
    let zombie = root.draft(&writer(1)).unwrap().register(ObjectKind::Data, 1, DEADLINE).unwrap().finish().unwrap();
    let taken = root.take_over(&writer(2)).unwrap().register(ObjectKind::Data, 1, DEADLINE).unwrap().finish().unwrap();
    let (its, ours) = (zombie.registered.last().unwrap(), taken.registered.last().unwrap());
    assert_eq!(its.id, ours.id, "both count from the same root");
    assert_ne!(its.name(), ours.name(), "but the epoch keeps the names apart");
    assert!(zombie.succeeds(&taken).is_err());
    assert_eq!(zombie.outcome(&taken), SwapOutcome::Lost);
}

/// A manifest went back in time after a restart: a reader refuses what is older than what it saw.
#[test]
fn a_reader_refuses_an_older_root() {
    let old = root_with(1);
    let new = with_one_more(&old);
    assert_eq!(new.succeeds(&old), Ok(Succession::Own));
    assert_eq!(new.succeeds(&new), Ok(Succession::Same));
    assert!(old.succeeds(&new).is_err());
    let taken = old.take_over(&writer(2)).unwrap().finish().unwrap();
    assert_eq!(taken.succeeds(&new), Ok(Succession::Newer));
    assert!(new.succeeds(&taken).is_err());
    let mut forged = new.clone();
    forged.end = new.end.plus(1);
    assert!(forged.succeeds(&new).is_err(), "the same writer and sequence with other content is a conflict");
}

/// A commit timed out, and its late effect raced the next one: a swap in doubt is resolved by reading back.
#[test]
fn a_lost_reply_is_told_apart_from_a_lost_swap() {
    let stored = root_with(1);
    let sent = with_one_more(&stored);
    assert_eq!(sent.outcome(&sent.clone()), SwapOutcome::Applied);
    assert_eq!(sent.outcome(&stored), SwapOutcome::NotApplied);
    let taken = stored.take_over(&writer(2)).unwrap().finish().unwrap();
    assert_eq!(sent.outcome(&taken), SwapOutcome::Lost);
    assert_eq!(taken.outcome(&sent), SwapOutcome::NotApplied, "the old writer was faster: draft anew from its root");
    let equal = Root { writer: Writer { nonce: 1, ..writer(1) }, ..sent.clone() };
    assert_eq!(sent.outcome(&equal), SwapOutcome::Lost, "an equal epoch is a halt, not a race");
}

/// Tiering was switched off and on again, and a hole stayed: a range that does not continue is refused.
#[test]
fn a_range_after_a_gap_is_refused() {
    let root =
        root_with(1).draft(&writer(1)).unwrap().register(ObjectKind::Data, 1, DEADLINE).unwrap().finish().unwrap();
    let row = *root.usable(ObjectKind::Data).next().unwrap();
    let object = NewObject { id: row.id, entry: entry(&row.name(), 500, 600) };
    let refused = root.draft(&writer(1)).unwrap().commit(vec![object]).unwrap_err();
    assert_eq!(refused.kind(), ChangeErrorKind::Stale);
}

/// Objects of a leader that died between put and commit stayed for ever: they are named by the root all the time.
#[test]
fn an_object_between_put_and_commit_is_named() {
    let root =
        root_with(0).draft(&writer(1)).unwrap().register(ObjectKind::Data, 1, DEADLINE).unwrap().finish().unwrap();
    let row = *root.usable(ObjectKind::Data).next().unwrap();
    let name = row.name().to_string();
    assert!(root.names().contains(&name));
    let taken = root.take_over(&writer(2)).unwrap().occupy(&[row.id], Timestamp(0)).unwrap().finish().unwrap();
    assert!(taken.names().contains(&name));
}

/// Retention waited for a record's timestamp in the future.
#[test]
fn a_timestamp_in_the_future_counts_from_its_append() {
    let mut row = entry(&ObjectName::new(ObjectKind::Data, ObjectId(0), &writer(1)), 0, 1);
    row.max_timestamp = Timestamp(i64::MAX);
    row.append_time = Timestamp(1_000);
    assert_eq!(row.retention_time(), Timestamp(1_000));
    row.max_timestamp = Timestamp::NONE;
    assert_eq!(row.retention_time(), Timestamp(1_000));
    row.max_timestamp = Timestamp(10);
    assert_eq!(row.retention_time(), Timestamp(10));
}
