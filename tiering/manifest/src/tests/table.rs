//! Table roots: intents, files, dead writers, OUT-1.

use super::*;

fn file(intent: &Intent, rows: u64) -> TableFile {
    TableFile {
        name: intent.names()[0],
        partition: intent.partition,
        base: intent.base,
        end: intent.end,
        rows,
        bytes: 100,
        min_timestamp: Timestamp(1),
        max_timestamp: Timestamp(2),
    }
}

fn with_intents() -> TableRoot {
    let draft = TableRoot::create(topic(), writer(1));
    let draft = draft.intend(PartitionIndex(0), Offset(5), Offset(10), DEADLINE).unwrap();
    let draft = draft.intend(PartitionIndex(0), Offset(5), Offset(30), DEADLINE).unwrap();
    draft.intend(PartitionIndex(1), Offset(0), Offset(7), DEADLINE).unwrap().finish().unwrap()
}

#[test]
fn a_range_is_fixed_by_its_intent_and_committed_once_in_order() {
    let root = with_intents();
    let ranges: Vec<_> = root.intents.iter().map(|intent| (intent.base.0, intent.end.0)).collect();
    assert_eq!(ranges, [(5, 10), (10, 30), (0, 7)]);
    let (first, second) = (root.intents[0], root.intents[1]);
    let early = root.draft(&writer(1)).unwrap().commit(second.id, &[file(&second, 1)]);
    assert!(matches!(early, Err(ChangeError::NotContiguous { .. })));
    let other = TableFile { end: Offset(9), ..file(&first, 1) };
    assert!(root.draft(&writer(1)).unwrap().commit(first.id, &[other]).is_err());
    let draft = root.draft(&writer(1)).unwrap().commit(first.id, &[file(&first, 5)]).unwrap();
    let after = draft.commit(second.id, &[]).unwrap().finish().unwrap();
    assert_eq!(after.partitions[&PartitionIndex(0)].next, Offset(30));
    assert!(after.draft(&writer(1)).unwrap().commit(first.id, &[file(&first, 5)]).is_err(), "twice is refused");
    assert_eq!(TableRoot::decode(&after.encode()).unwrap(), after);
}

#[test]
fn a_dead_writers_intent_is_renewed_with_the_same_range() {
    let root = with_intents();
    let dead = root.intents[0];
    let taken = root.take_over(&writer(2)).unwrap().finish().unwrap();
    assert_eq!(taken.foreign().count(), 3);
    assert!(taken.draft(&writer(2)).unwrap().commit(dead.id, &[file(&dead, 5)]).is_err());
    let draft = taken.draft(&writer(2)).unwrap().renew(dead.id, Timestamp(0), Timestamp(9)).unwrap();
    let root = draft.finish().unwrap();
    let fresh = root.intents[0];
    assert_eq!((fresh.base, fresh.end, fresh.writer), (dead.base, dead.end, writer(2)));
    assert_ne!(fresh.id, dead.id);
    assert_eq!(root.occupied.iter().map(|row| row.name).collect::<Vec<_>>(), dead.names());
    let row = root.occupied[0];
    assert!(root.draft(&writer(2)).unwrap().vacate(&[row], Timestamp(0)).is_err());
    assert!(root.draft(&writer(2)).unwrap().vacate(&[row], row.until).is_ok());
}

#[test]
fn each_table_invariant_fires_when_it_is_broken() {
    let root = with_intents();
    let first = root.intents[0];
    let good = root.draft(&writer(1)).unwrap().commit(first.id, &[file(&first, 5)]).unwrap().finish().unwrap();
    let broken = |change: &dyn Fn(&mut TableRoot)| {
        let mut root = good.clone();
        change(&mut root);
        root.check().unwrap_err().id
    };
    assert_eq!(broken(&|root| root.files.push(root.files[0])), "OUT-1");
    assert_eq!(broken(&|root| root.files[0].end = Offset(11)), "OUT-1");
    assert_eq!(broken(&|root| root.intents[0].base = Offset(11)), "OUT-1");
    assert_eq!(broken(&|root| root.partitions.retain(|partition, _| partition.0 != 1)), "OUT-1");
    assert_eq!(broken(&|root| root.next_id = ObjectId(1)), "TIER-4");
}
