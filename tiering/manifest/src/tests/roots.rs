//! Roots and drafts: TIER-1 and TIER-4, lost replies, and take-over.

use proptest::prelude::*;

use super::*;

#[test]
fn a_commit_continues_where_the_root_ends_and_uses_its_registered_name() {
    let root = root_with(0);
    let draft = root.draft(&writer(1)).unwrap().register(ObjectKind::Data, 2, DEADLINE).unwrap();
    let root = draft.finish().unwrap();
    let ids: Vec<_> = root.usable(ObjectKind::Data).copied().collect();
    let object = |row: &Registered, base, end| NewObject { id: row.id, entry: entry(&row.name(), base, end) };

    let gap = root.draft(&writer(1)).unwrap().commit(vec![object(&ids[0], 1, 5)]);
    assert_eq!(gap.unwrap_err(), ChangeError::NotContiguous { expected: 0, found: 1 });
    let mut renamed = object(&ids[0], 0, 5);
    renamed.entry.key = ids[1].name().to_string();
    assert!(root.draft(&writer(1)).unwrap().commit(vec![renamed]).is_err());
    let twice = root.draft(&writer(1)).unwrap().commit(vec![object(&ids[0], 0, 5), object(&ids[0], 5, 6)]);
    assert_eq!(twice.unwrap_err(), ChangeError::NotRegistered(ids[0].id));
    let both = root.draft(&writer(1)).unwrap().commit(vec![object(&ids[1], 0, 5), object(&ids[0], 5, 6)]);
    let both = both.unwrap().finish().unwrap();
    assert_eq!((both.start, both.end, both.sequence), (Offset(0), Offset(6), root.sequence + 1));
    assert!(both.usable(ObjectKind::Data).next().is_none());
}

#[test]
fn only_a_newer_writer_takes_over_and_the_old_one_is_fenced() {
    let root = root_with(1);
    let same_epoch = Writer { nonce: u64::MAX, ..writer(1) };
    assert_eq!(root.take_over(&same_epoch).unwrap_err().kind(), ChangeErrorKind::Halt);
    assert_eq!(root.take_over(&writer(0)).unwrap_err().kind(), ChangeErrorKind::Halt);
    let taken = root.take_over(&writer(2)).unwrap().finish().unwrap();
    assert_eq!(taken.draft(&writer(1)).unwrap_err().kind(), ChangeErrorKind::Halt);
    assert_eq!(taken.foreign().count(), 1, "the group id that the old writer registered");
    let restored = Writer { generation: Generation(1), ..writer(0) };
    assert!(taken.take_over(&restored).is_ok(), "a generation outweighs epochs");
}

#[test]
fn a_dead_writers_id_is_occupied_and_its_object_may_be_adopted_but_not_committed() {
    let root =
        root_with(1).draft(&writer(1)).unwrap().register(ObjectKind::Data, 2, DEADLINE).unwrap().finish().unwrap();
    let ids: Vec<_> = root.usable(ObjectKind::Data).copied().collect();
    let taken = root.take_over(&writer(2)).unwrap().finish().unwrap();
    let object = || vec![NewObject { id: ids[0].id, entry: entry(&ids[0].name(), 10, 20) }];
    assert_eq!(taken.draft(&writer(2)).unwrap().commit(object()).unwrap_err(), ChangeError::NotRegistered(ids[0].id));
    let draft = taken.draft(&writer(2)).unwrap().adopt(object()).unwrap();
    let root = draft.occupy(&[ids[1].id], Timestamp(7_000)).unwrap().finish().unwrap();
    assert_eq!(root.end, Offset(20));
    let row = root.occupied[0];
    assert_eq!(row.until, Timestamp(7_000 + limits::LATE_PUT_MS));
    assert!(root.draft(&writer(2)).unwrap().vacate(&[row], Timestamp(7_001)).is_err());
    let gone = root.draft(&writer(2)).unwrap().vacate(&[row], row.until).unwrap().finish().unwrap();
    assert!(gone.occupied.is_empty());
}

#[test]
fn groups_take_the_oldest_entries_and_grow_until_they_are_full() {
    let (root, first) = grouped(&root_with(5), 3, &[]);
    assert_eq!((root.groups.len(), root.entries.len()), (1, 2));
    let (root, second) = grouped(&with_one_more(&root), 3, &first.entries);
    assert_eq!((root.groups.len(), root.entries.len(), root.groups[0].count), (1, 0, 6));
    assert_eq!(root.condemned.len(), 1, "the replaced file, without its members");
    assert_eq!(root.condemned[0].doom, Doom::File);
    assert_eq!(second.entries.len(), 6);

    let id = root.usable(ObjectKind::Group).next().unwrap().id;
    let stored = StoredGroup { id, length: 1, crc: 0 };
    let wrong = Group { entries: second.entries[1..].to_vec(), ..second };
    let refused = with_one_more(&root).draft(&writer(1)).unwrap().group_up(&wrong, stored, GRACE);
    assert!(matches!(refused, Err(ChangeError::WrongGroup(_))));
}

#[test]
fn the_start_moves_over_entries_groups_and_into_a_group() {
    let (root, group) = grouped(&root_with(6), 4, &[]);
    let blind = root.draft(&writer(1)).unwrap().advance_start(Offset(25), None, GRACE).unwrap().finish().unwrap();
    assert_eq!((blind.start, blind.log_start), (Offset(0), Offset(25)));
    assert!(blind.condemned.is_empty());

    let seen =
        blind.draft(&writer(1)).unwrap().advance_start(Offset(0), Some(&group), GRACE).unwrap().finish().unwrap();
    assert_eq!((seen.start, seen.log_start), (Offset(20), Offset(25)));
    assert_eq!(seen.condemned[0].doom, Doom::Members { first: 0, last: 2 });
    assert_eq!(Group::open(&group.encode(), &seen.groups[0]).unwrap(), group);

    let past =
        seen.draft(&writer(1)).unwrap().advance_start(Offset(55), Some(&group), GRACE).unwrap().finish().unwrap();
    assert_eq!((past.start, past.log_start, past.end), (Offset(50), Offset(55), Offset(60)));
    assert_eq!(past.condemned[1].doom, Doom::FileAndMembers { first: 2, last: 4 });
    let due: Vec<_> = past.due(GRACE).map(|row| row.doom).collect();
    assert_eq!(due.len(), 2, "the members and one entry, but not yet the file that names the members");
    assert_eq!(past.due(Timestamp(9_999)).count(), 0);

    let beyond = past.draft(&writer(1)).unwrap().advance_start(Offset(99), None, GRACE).unwrap().finish().unwrap();
    assert_eq!((beyond.start, beyond.log_start, beyond.end), (Offset(99), Offset(99), Offset(99)));
}

#[test]
fn a_deleted_partition_keeps_its_names_until_they_are_gone() {
    let (root, _) = grouped(&root_with(3), 2, &[]);
    let mut root = root.draft(&writer(1)).unwrap().mark_deleted(GRACE).unwrap().finish().unwrap();
    assert!(root.draft(&writer(1)).unwrap().register(ObjectKind::Data, 1, DEADLINE).is_err());
    assert!(!root.is_purged());
    let now = Timestamp(20_000);
    while !root.is_purged() {
        let mut draft = root.draft(&writer(1)).unwrap();
        let due: Vec<_> = root.due(now).cloned().collect();
        draft = draft.forget(&due, now).unwrap();
        let ids: Vec<_> = root.registered.iter().map(|row| row.id).collect();
        draft = draft.occupy(&ids, now).unwrap();
        let late = now.plus_ms(limits::LATE_PUT_MS);
        let past: Vec<_> = root.occupied_past(late).copied().collect();
        root = draft.vacate(&past, late).unwrap().finish().unwrap();
    }
    assert!(root.names().is_empty());
}

#[test]
fn entries_stop_at_their_bound_until_a_group_is_written() {
    let mut root = root_with(0);
    let refused = loop {
        let draft = root.draft(&writer(1)).unwrap().register(ObjectKind::Data, 1, DEADLINE).unwrap();
        let row = *draft.root().registered.last().unwrap();
        let entry = entry(&row.name(), root.end.0, root.end.0 + 10);
        match draft.commit(vec![NewObject { id: row.id, entry }]) {
            Ok(draft) => root = draft.finish().unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ChangeErrorKind::MakeRoom);
    assert!(root.entries.len() > 200, "{} entries fit", root.entries.len());
    let (root, _) = grouped(&root, root.entries.len(), &[]);
    assert!(root.encode().len() < 2_000);
    with_one_more(&root);
}

#[test]
fn each_invariant_fires_when_it_is_broken() {
    let good = grouped(&root_with(4), 2, &[]).0;
    let broken = |change: &dyn Fn(&mut Root)| {
        let mut root = good.clone();
        change(&mut root);
        assert!(Root::decode(&root.encode()).is_err(), "what is broken is not read either");
        root.check().unwrap_err().id
    };
    assert_eq!(broken(&|root| root.entries[0].base = Offset(21)), "TIER-1");
    assert_eq!(broken(&|root| root.entries[0].end = Offset(31)), "TIER-1");
    assert_eq!(broken(&|root| root.end = Offset(41)), "TIER-1");
    assert_eq!(broken(&|root| root.start = Offset(1)), "TIER-1");
    assert_eq!(broken(&|root| root.log_start = Offset(41)), "TIER-1");
    assert_eq!(broken(&|root| root.groups.clear()), "TIER-1");
    assert_eq!(broken(&|root| root.groups[0].skip = 2), "TIER-1");
    assert_eq!(broken(&|root| root.next_id = ObjectId(2)), "TIER-4");
    assert_eq!(broken(&|root| root.entries[1].key = root.entries[0].key.clone()), "TIER-4");
    assert_eq!(broken(&|root| root.entries[1].key = "../x".to_owned()), "TIER-4");
    assert_eq!(broken(&|root| root.registered.push(root.registered[0])), "TIER-4");
    assert_eq!(broken(&|root| root.occupied.extend([Occupied { name: root.groups[0].name, until: GRACE }])), "TIER-4");
    let row = good.registered[0];
    assert_eq!(broken(&|root| root.registered = vec![row; limits::REGISTERED_MAX + 1]), "SIZES");
}

/// One random change; refusals are fine, a root that breaks an invariant is not.
fn step(root: &Root, choice: u8, number: u8) -> Root {
    let now = Timestamp(i64::from(number) * 1_000);
    let draft = root.draft(&root.writer).unwrap();
    let ids: Vec<_> = root.registered.iter().map(|row| row.id).take(usize::from(number % 3)).collect();
    let changed = match choice % 9 {
        0 => draft.register(ObjectKind::Data, usize::from(number % 4), now.plus_ms(500)),
        1 => draft.register(ObjectKind::Group, 1, now.plus_ms(500)),
        2 | 3 => {
            let Some(row) = root.usable(ObjectKind::Data).next() else { return root.clone() };
            let entry = entry(&row.name(), root.end.0, root.end.0 + 1 + i64::from(number));
            draft.commit(vec![NewObject { id: row.id, entry }])
        }
        4 => {
            let count = root.entries.len().min(usize::from(number % 5));
            if count == 0 || root.usable(ObjectKind::Group).next().is_none() || root.state == State::Deleted {
                return root.clone();
            }
            return grouped(root, count, &[]).0;
        }
        5 => draft.advance_start(Offset(root.log_start.0 + i64::from(number)), None, now),
        6 => draft.occupy(&ids, now),
        7 => draft.forget(&root.due(now).cloned().collect::<Vec<_>>(), now),
        _ => {
            let next = writer(root.writer.epoch.0 + 1);
            root.take_over(&next)
        }
    };
    changed.and_then(Draft::finish).unwrap_or_else(|_| root.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn random_changes_keep_every_invariant_and_round_trip(steps in prop::collection::vec((any::<u8>(), any::<u8>()), 1..80)) {
        let mut root = root_with(2);
        let mut named: std::collections::BTreeSet<String> = root.names().into_iter().collect();
        for (choice, number) in steps {
            let next = step(&root, choice, number);
            prop_assert_eq!(next.check(), Ok(()));
            prop_assert!(next.succeeds(&root).is_ok());
            prop_assert_eq!(Root::decode(&next.encode()).unwrap(), next.clone());
            // TIER-4: a name that was given up never comes back.
            let names: std::collections::BTreeSet<String> = next.names().into_iter().collect();
            let fresh: Vec<_> = names.difference(&root.names().into_iter().collect()).cloned().collect();
            for name in fresh {
                prop_assert!(named.insert(name.clone()), "{} came back", name);
            }
            root = next;
        }
    }
}
