//! Random roots and logs against a naive model, and failures that other tiered logs met, by name.

use std::collections::BTreeSet;

use broker_model::{LeaderEpoch, PartitionIndex, TopicId};
use proptest::prelude::*;
use tiering_manifest::{Doom, Draft, Entry, Generation, NewObject, StorageClass, StoredGroup, Writer, crc32c};

use super::*;

const NONE: &BTreeSet<ObjectId> = &BTreeSet::new();
const LATE: Timestamp = Timestamp(1 << 50);

fn writer(epoch: i32) -> Writer {
    Writer { generation: Generation(0), epoch: LeaderEpoch(epoch), nonce: 1 }
}

fn rules() -> Rules {
    Rules {
        object_bytes: 100,
        rpo_ms: None,
        retention_ms: None,
        retention_bytes: None,
        id_life_ms: 1_000,
        grace_ms: 50,
        copies: true,
        spare_ids: 2,
    }
}

fn facts(end: i64, pieces: &[Piece]) -> Facts<'_> {
    Facts {
        local_start: Offset::ZERO,
        log_start: Offset::ZERO,
        stable_end: Offset(end),
        closed_end: Offset::ZERO,
        pieces,
        unshipped_bytes: pieces.iter().map(|piece| piece.bytes).sum(),
        oldest_unshipped: Some(Timestamp(0)),
        first_group: None,
        abandoned: NONE,
        in_flight: NONE,
    }
}

fn empty() -> Root {
    Root::create(TopicId([1; 16]), PartitionIndex(0), writer(1), Offset::ZERO)
        .register(ObjectKind::Group, 1, LATE)
        .and_then(Draft::finish)
        .unwrap()
}

/// A range of ten offsets for each of these: bytes, max timestamp, append time.
fn root_of(ranges: &[(u64, i64, i64)]) -> Root {
    extended(empty(), ranges)
}

fn extended(mut root: Root, ranges: &[(u64, i64, i64)]) -> Root {
    for (bytes, max, append) in ranges {
        let draft = root.draft(&writer(1)).unwrap().register(ObjectKind::Data, 1, LATE).unwrap();
        let row = *draft.root().registered.last().unwrap();
        let entry = Entry {
            store: 0,
            key: row.name().to_string(),
            position: 0,
            length: *bytes,
            index_position: *bytes,
            index_length: 1,
            base: root.end,
            end: root.end.plus(10),
            min_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp(*max),
            append_time: Timestamp(*append),
            class: StorageClass::STANDARD,
        };
        root = draft.commit(vec![NewObject { id: row.id, entry }]).and_then(Draft::finish).unwrap();
    }
    root
}

fn grouped(root: &Root, count: usize) -> (Root, Group) {
    let group = Group { topic: root.topic, partition: root.partition, entries: root.entries[..count].to_vec() };
    let bytes = group.encode();
    let id = root.usable(ObjectKind::Group).next().unwrap().id;
    let stored = StoredGroup { id, length: u32::try_from(bytes.len()).unwrap(), crc: crc32c(&bytes) };
    let draft = root.draft(&writer(1)).unwrap().group_up(&group, stored, LATE).unwrap();
    (draft.register(ObjectKind::Group, 1, LATE).and_then(Draft::finish).unwrap(), group)
}

fn pieces(sizes: &[u64]) -> Vec<Piece> {
    sizes.iter().enumerate().map(|(at, bytes)| Piece { end: Offset(at as i64 + 1), bytes: *bytes }).collect()
}

fn start_after(root: &Root, facts: &Facts<'_>, rules: &Rules, now: Timestamp) -> Offset {
    let moved = plan(root, facts, rules, now).into_iter().find_map(|action| match action {
        Action::AdvanceStart { to, .. } => Some(to),
        _ => None,
    });
    moved.unwrap_or(root.log_start)
}

#[test]
fn full_objects_go_at_once_and_the_rest_waits() {
    let pieces = pieces(&[40, 50, 30, 90, 5]);
    let cuts = cut::cuts(Offset::ZERO, &facts(5, &pieces), &rules(), Timestamp(0));
    let ranges: Vec<_> = cuts.iter().map(|cut| (cut.base.0, cut.end.0, cut.bytes)).collect();
    assert_eq!(ranges, [(0, 2, 90), (2, 3, 30)]);
}

#[test]
fn a_closed_segment_is_shipped_and_small_ones_share_an_object() {
    let pieces = pieces(&[10, 10, 10, 10]);
    let closed = Facts { closed_end: Offset(3), ..facts(4, &pieces) };
    let cuts = cut::cuts(Offset::ZERO, &closed, &rules(), Timestamp(0));
    assert_eq!(cuts, [Cut { base: Offset(0), end: Offset(3), bytes: 30 }]);
}

#[test]
fn nothing_beyond_the_last_stable_offset_is_shipped() {
    let pieces = pieces(&[200, 200]);
    let unstable = Facts { stable_end: Offset(1), closed_end: Offset(2), ..facts(2, &pieces) };
    let cuts = cut::cuts(Offset::ZERO, &unstable, &Rules { rpo_ms: Some(0), ..rules() }, Timestamp(9));
    assert_eq!(cuts.iter().map(|cut| cut.end).collect::<Vec<_>>(), [Offset(1)]);
}

#[test]
fn what_waited_for_the_rpo_is_shipped() {
    let pieces = pieces(&[10, 10]);
    let rules = Rules { rpo_ms: Some(100), ..rules() };
    let at = |now| cut::cuts(Offset::ZERO, &facts(2, &pieces), &rules, Timestamp(now));
    assert_eq!(at(99), []);
    assert_eq!(at(100), [Cut { base: Offset(0), end: Offset(2), bytes: 20 }]);
    assert_eq!(lag_ms(&facts(2, &pieces), Timestamp(70)), 70);
}

#[test]
fn ids_come_before_objects_and_with_the_swap_before() {
    let root = empty();
    let pieces = pieces(&[100, 100, 100]);
    let actions = plan(&root, &facts(3, &pieces), &rules(), Timestamp(0));
    assert_eq!(actions, [Action::Register { data: 3, groups: 0, deadline: Timestamp(1_000) }]);
    let root = root.draft(&writer(1)).unwrap().register(ObjectKind::Data, 3, LATE).and_then(Draft::finish).unwrap();
    let actions = plan(&root, &facts(3, &pieces), &rules(), Timestamp(0));
    assert!(matches!(actions.as_slice(), [Action::Ship(cuts)] if cuts.len() == 3), "{actions:?}");
    let busy = root.usable(ObjectKind::Data).map(|row| row.id).collect();
    let in_flight = Facts { in_flight: &busy, ..facts(3, &pieces) };
    assert!(!plan(&root, &in_flight, &rules(), Timestamp(0)).iter().any(|action| matches!(action, Action::Ship(_))));
}

#[test]
fn a_partition_at_rest_asks_for_nothing() {
    let taken = empty().draft(&writer(1)).unwrap().register(ObjectKind::Data, 2, Timestamp(7)).and_then(Draft::finish);
    let actions = plan(&taken.unwrap(), &facts(0, &[]), &rules(), Timestamp(7));
    assert!(matches!(actions.as_slice(), [Action::Release(ids)] if ids.len() == 2), "{actions:?}");
    assert_eq!(plan(&empty(), &facts(0, &[]), &rules(), LATE.plus_ms(-1)), []);
}

#[test]
fn entries_beyond_the_bound_go_to_a_group_that_grows() {
    let usual = (128 << 20, 1_700_000_000_000, 1_700_000_000_000);
    let mut root = root_of(&[usual; 280]);
    assert!(root.entries_bytes() > GROUP_AT_ENTRY_BYTES);
    let wanted = |root: &Root| {
        plan(root, &facts(0, &[]), &rules(), Timestamp(0)).into_iter().find_map(|action| match action {
            Action::Group { replaces, entries, .. } => Some((replaces.is_some(), entries)),
            _ => None,
        })
    };
    assert_eq!(wanted(&root), Some((false, 280)));
    root = grouped(&root, 280).0;
    assert_eq!(wanted(&root), None);
    root = extended(root, &[usual; 280]);
    assert_eq!(wanted(&root), Some((true, 280)));
    root.groups[0].count = 800;
    assert_eq!(wanted(&root), Some((false, 280)), "a group that would be too large is left as it is");
}

/// Orphans: the ids of a dead writer are occupied, one's own abandoned ones too, and what is due is deleted.
#[test]
fn what_a_dead_writer_registered_is_occupied_and_then_vacated() {
    let root = empty().draft(&writer(1)).unwrap().register(ObjectKind::Data, 2, Timestamp(7)).and_then(Draft::finish);
    let taken = root.unwrap().take_over(&writer(2)).unwrap().finish().unwrap();
    let actions = plan(&taken, &facts(0, &[]), &rules(), Timestamp(100));
    let ids = actions.iter().find_map(|action| match action {
        Action::Occupy(rows) => Some(rows.iter().map(|row| row.id).collect::<Vec<_>>()),
        _ => None,
    });
    let ids = ids.unwrap();
    assert_eq!(ids.len(), 3);
    let root = taken.draft(&writer(2)).unwrap().occupy(&ids, Timestamp(100)).and_then(Draft::finish).unwrap();
    let vacates =
        |now| plan(&root, &facts(0, &[]), &rules(), now).iter().any(|action| matches!(action, Action::Vacate(_)));
    assert!(!vacates(Timestamp(100 + 86_399_999)));
    assert!(vacates(Timestamp(100 + 86_400_000)));
}

#[test]
fn an_own_id_that_was_never_used_is_released_and_a_used_one_is_occupied() {
    let root = empty().draft(&writer(1)).unwrap().register(ObjectKind::Data, 2, Timestamp(7)).and_then(Draft::finish);
    let root = root.unwrap();
    let ids: Vec<_> = root.usable(ObjectKind::Data).map(|row| row.id).collect();
    let abandoned = BTreeSet::from([ids[0]]);
    let actions = plan(&root, &Facts { abandoned: &abandoned, ..facts(0, &[]) }, &rules(), Timestamp(7));
    assert!(actions.contains(&Action::Release(vec![ids[1]])), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Occupy(rows) if rows.len() == 1)));
}

/// KAFKA-17062: uploads that had only begun counted as size, and good data was deleted early.
#[test]
fn registered_ids_count_nothing_in_size_retention() {
    let rules = Rules { retention_bytes: Some(30), ..rules() };
    let root = root_of(&[(10, 0, 0); 3]);
    let many = root.draft(&writer(1)).unwrap().register(ObjectKind::Data, 100, LATE).and_then(Draft::finish).unwrap();
    assert_eq!(start_after(&many, &facts(0, &[]), &rules, Timestamp(0)), Offset(0));
    let local = Facts { unshipped_bytes: 10, ..facts(0, &[]) };
    assert_eq!(start_after(&many, &local, &rules, Timestamp(0)), Offset(10), "local bytes beyond the tier do count");
}

/// Redpanda 9820, 10028, 11922: timestamps in the future blocked retention for ever.
#[test]
fn a_timestamp_in_the_future_does_not_hold_data() {
    let rules = Rules { retention_ms: Some(100), ..rules() };
    let root = root_of(&[(10, i64::MAX, 5), (10, 20, 20), (10, -1, 500)]);
    assert_eq!(start_after(&root, &facts(0, &[]), &rules, Timestamp(104)), Offset(0));
    assert_eq!(start_after(&root, &facts(0, &[]), &rules, Timestamp(105)), Offset(10));
    assert_eq!(start_after(&root, &facts(0, &[]), &rules, Timestamp(599)), Offset(20));
    assert_eq!(start_after(&root, &facts(0, &[]), &rules, Timestamp(600)), Offset(30));
}

/// Retention that could not see into a spilled manifest held everything in it: the group is opened, and part of it goes.
#[test]
fn retention_looks_into_a_group() {
    let rules = Rules { retention_ms: Some(100), ..rules() };
    let (root, group) = grouped(&root_of(&[(10, 0, 0), (10, 50, 50), (10, 300, 300), (10, 300, 300)]), 3);
    let blind = plan(&root, &facts(0, &[]), &rules, Timestamp(150));
    assert!(blind.contains(&Action::OpenFirstGroup(root.groups[0].name)), "{blind:?}");
    let seeing = Facts { first_group: Some(&group), ..facts(0, &[]) };
    assert_eq!(start_after(&root, &seeing, &rules, Timestamp(150)), Offset(20));
    let draft = root.draft(&writer(1)).unwrap().advance_start(Offset(20), Some(&group), Timestamp(200)).unwrap();
    let root = draft.finish().unwrap();
    assert_eq!(root.condemned[0].doom, Doom::Members { first: 0, last: 2 });
    let actions = plan(&root, &seeing, &rules, Timestamp(200));
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Destroy(_))).count(), 1);
}

/// Tiering was switched on again after local data had gone: the hole is reported, and never shipped over.
#[test]
fn a_gap_between_the_tiers_stops_shipping() {
    let root = root_of(&[(10, 0, 0)]);
    let pieces = pieces(&[500; 20]);
    let gap = Facts { local_start: Offset(15), ..facts(20, &pieces) };
    let actions = plan(&root, &gap, &rules(), Timestamp(0));
    assert_eq!(actions, [Action::Gap { tier_end: Offset(10), local_start: Offset(15) }]);
    let deleted = Facts { log_start: Offset(15), ..gap };
    let actions = plan(&root, &deleted, &rules(), Timestamp(0));
    assert!(matches!(actions.as_slice(), [Action::AdvanceStart { to: Offset(15), .. }]), "{actions:?}");
}

#[test]
fn a_deleted_partition_ends_with_nothing() {
    let mut root = grouped(&root_of(&[(10, 0, 0); 3]), 2).0;
    root = root.draft(&writer(1)).unwrap().mark_deleted(Timestamp(50)).and_then(Draft::finish).unwrap();
    let mut now = Timestamp(50);
    for _ in 0..10 {
        for action in plan(&root, &facts(0, &[]), &rules(), now) {
            let draft = root.draft(&writer(1)).unwrap();
            let draft = match action {
                Action::Occupy(rows) => draft.occupy(&rows.iter().map(|row| row.id).collect::<Vec<_>>(), now),
                Action::Vacate(rows) => draft.vacate(&rows, now),
                Action::Destroy(rows) => draft.forget(&rows, now),
                Action::DeleteRoot => return,
                other => panic!("{other:?} for a deleted partition"),
            };
            root = draft.and_then(Draft::finish).unwrap();
        }
        now = Timestamp(LATE.0 * 2);
    }
    panic!("the root is never deleted: {root:?}");
}

/// TIER-2: local data goes only below the end of the durable root.
#[test]
fn local_data_beyond_the_durable_root_stays_whatever_retention_says() {
    let segment = |end, closed| LocalSegment {
        end: Offset(end),
        bytes: 10,
        max_timestamp: Timestamp(0),
        append_time: Timestamp(0),
        closed,
    };
    let segments = [segment(10, true), segment(20, true), segment(30, true), segment(40, false)];
    let at = |durable: i64, log_start: i64| {
        let facts = LocalFacts {
            segments: &segments,
            durable_end: Offset(durable),
            log_start: Offset(log_start),
            retention_ms: Some(0),
            retention_bytes: Some(0),
        };
        local_start(&facts, Timestamp(1 << 40))
    };
    assert_eq!(at(9, 0), None);
    assert_eq!(at(19, 0), Some(Offset(10)));
    assert_eq!(at(99, 0), Some(Offset(30)), "the active segment stays");
    assert_eq!(at(9, 20), Some(Offset(20)), "below the log start offset nothing is promised");
}

/// What retention by time and by size would keep, range by range, without any cleverness.
fn naive_start(ranges: &[(u64, i64, i64)], unshipped: u64, rules: &Rules, now: i64) -> i64 {
    let mut start = 0;
    for (at, (bytes, max, append)) in ranges.iter().enumerate() {
        let total: u64 = ranges[at..].iter().map(|range| range.0).sum::<u64>() + unshipped;
        let from = if *max < 0 { *append } else { *max.min(append) };
        let old = rules.retention_ms.is_some_and(|ms| now - from >= ms);
        let large = rules.retention_bytes.is_some_and(|bound| total - bytes >= bound);
        if !old && !large {
            break;
        }
        start = (at as i64 + 1) * 10;
    }
    start
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn cuts_are_contiguous_whole_and_within_their_bounds(
        sizes in prop::collection::vec(1..150u64, 0..60),
        closed in 0..70i64,
        stable in 0..70i64,
        rpo in prop::option::of(0..20i64),
        now in 0..20i64,
    ) {
        let pieces = pieces(&sizes);
        let facts = Facts { closed_end: Offset(closed), stable_end: Offset(stable), ..facts(0, &pieces) };
        let rules = Rules { rpo_ms: rpo, ..rules() };
        let cuts = cut::cuts(Offset::ZERO, &facts, &rules, Timestamp(now));
        prop_assert!(cuts.len() <= OBJECTS_PER_COMMIT_MAX);
        let mut at = 0;
        for cut in &cuts {
            prop_assert_eq!(cut.base.0, at);
            prop_assert!(cut.end.0 > at && cut.end.0 <= stable);
            let (from, to) = (usize::try_from(at).unwrap(), usize::try_from(cut.end.0).unwrap());
            prop_assert_eq!(cut.bytes, sizes[from..to].iter().sum::<u64>());
            prop_assert!(cut.bytes <= rules.object_bytes || to - from == 1);
            at = cut.end.0;
        }
        // All that must go does go, unless this commit is full; what need not waits for a full object.
        let late = rpo.is_some_and(|rpo| rpo <= now);
        let due = if late { stable } else { closed.min(stable) }.min(sizes.len() as i64);
        if cuts.len() < OBJECTS_PER_COMMIT_MAX {
            prop_assert!(at >= due, "{} is due, {} was cut", due, at);
        }
        if let Some(last) = cuts.last() {
            let whole = usize::try_from(last.end.0).unwrap();
            let fuller = sizes.get(whole).is_none_or(|next| last.bytes + next > rules.object_bytes);
            prop_assert!(last.end.0 <= due || fuller || last.bytes >= rules.object_bytes);
        }
    }

    #[test]
    fn retention_agrees_with_a_naive_model(
        ranges in prop::collection::vec((1..50u64, -1..100i64, 0..100i64), 0..20),
        unshipped in 0..40u64,
        ms in prop::option::of(0..120i64),
        bytes in prop::option::of(0..400u64),
        now in 0..200i64,
        in_group in 0..20usize,
    ) {
        let rules = Rules { retention_ms: ms, retention_bytes: bytes, ..rules() };
        let mut root = root_of(&ranges);
        let count = in_group.min(ranges.len());
        let mut group = None;
        if count > 0 {
            let (with_group, content) = grouped(&root, count);
            (root, group) = (with_group, Some(content));
        }
        let facts = Facts { unshipped_bytes: unshipped, first_group: group.as_ref(), ..facts(0, &[]) };
        let to = start_after(&root, &facts, &rules, Timestamp(now));
        prop_assert_eq!(to.0, naive_start(&ranges, unshipped, &rules, now));
        // Carried out, it is done: the same moment asks for nothing more.
        let draft = root.draft(&writer(1)).unwrap().advance_start(to, group.as_ref(), LATE).unwrap();
        let after = draft.finish().unwrap();
        prop_assert_eq!(after.start, to);
        prop_assert_eq!(start_after(&after, &facts, &rules, Timestamp(now)), to);
    }

    #[test]
    fn an_empty_plan_stays_empty_until_it_is_due(
        ranges in prop::collection::vec((1..50u64, -1..100i64, 0..100i64), 0..6),
        sizes in prop::collection::vec(1..60u64, 0..2),
        deadlines in prop::collection::vec(0..300i64, 8),
        times in prop::collection::vec(0..300i64, 4),
        rpo in prop::option::of(0..200i64),
        ms in prop::option::of(0..200i64),
        now in 0..60i64,
    ) {
        let mut root = root_of(&ranges);
        let cut = root.entries.len() / 2;
        if let Some(last) = cut.checked_sub(1).and_then(|at| root.entries.get(at)) {
            let draft = root.draft(&writer(1)).unwrap().advance_start(last.end, None, Timestamp(times[0])).unwrap();
            root = draft.finish().unwrap();
        }
        root.registered.iter_mut().zip(&deadlines).for_each(|(row, at)| row.deadline = Timestamp(*at));
        root.occupied.extend(root.registered.first().map(|row| Occupied { name: row.name(), until: Timestamp(times[1]) }));
        let rules = Rules { rpo_ms: rpo, retention_ms: ms, ..rules() };
        let sizes: Vec<Piece> = pieces(&sizes);
        let pieces: Vec<Piece> = sizes.iter().map(|piece| Piece { end: piece.end.plus(root.end.0), ..*piece }).collect();
        let oldest = (!pieces.is_empty()).then_some(Timestamp(times[2]));
        let facts = Facts { oldest_unshipped: oldest, closed_end: Offset::ZERO, ..facts(root.end.0 + 9, &pieces) };
        if !plan(&root, &facts, &rules, Timestamp(now)).is_empty() {
            return Ok(());
        }
        let due = due(&root, &facts, &rules, Timestamp(now));
        prop_assert!(due.is_none_or(|due| due.0 > now));
        for time in now..due.map_or(1_000, |due| due.0) {
            prop_assert_eq!(plan(&root, &facts, &rules, Timestamp(time)), vec![], "at {}", time);
        }
    }

    #[test]
    fn local_retention_never_passes_the_durable_end(
        segments in prop::collection::vec((1..30i64, 0..100u64, -1..100i64, 0..100i64), 0..12),
        durable in 0..200i64,
        log_start in 0..50i64,
        ms in prop::option::of(0..100i64),
        bytes in prop::option::of(0..500u64),
        now in 0..200i64,
    ) {
        let mut end = 0;
        let count = segments.len();
        let segments: Vec<_> = segments.into_iter().enumerate().map(|(at, (offsets, bytes, max, append))| {
            end += offsets;
            LocalSegment { end: Offset(end), bytes, max_timestamp: Timestamp(max), append_time: Timestamp(append), closed: at + 1 < count }
        }).collect();
        let facts = LocalFacts { segments: &segments, durable_end: Offset(durable), log_start: Offset(log_start), retention_ms: ms, retention_bytes: bytes };
        if let Some(start) = local_start(&facts, Timestamp(now)) {
            prop_assert!(start.0 <= durable.max(log_start));
            prop_assert!(segments.iter().any(|segment| segment.end == start && segment.closed));
        }
    }
}

#[test]
fn what_was_deleted_beyond_the_tiers_end_moves_the_end_before_anything_is_shipped() {
    let root = root_of(&[(10, 5, 5)]);
    let pieces = [Piece { end: Offset(40), bytes: 1_000_000 }];
    let mut facts = facts(40, &pieces);
    (facts.closed_end, facts.unshipped_bytes) = (Offset(40), 1_000_000);
    let kinds = |facts: &Facts<'_>| {
        let actions = plan(&root, facts, &rules(), Timestamp(0));
        let ships = actions.iter().any(|action| matches!(action, Action::Ship(_) | Action::Register { .. }));
        let moves = actions.iter().any(|action| matches!(action, Action::AdvanceStart { to: Offset(25), .. }));
        (ships, moves)
    };
    assert_eq!(kinds(&facts), (true, false));
    facts.log_start = Offset(25);
    assert_eq!(kinds(&facts), (false, true));
}

#[test]
fn nothing_is_shipped_while_copying_is_disabled_and_what_is_there_expires() {
    let root = root_of(&[(10, 5, 5), (10, 15, 15)]);
    let pieces = [Piece { end: Offset(40), bytes: 1_000_000 }];
    let mut facts = facts(40, &pieces);
    (facts.closed_end, facts.unshipped_bytes) = (Offset(40), 1_000_000);
    let off = Rules { copies: false, retention_ms: Some(100), ..rules() };
    let ships = |rules: &Rules| {
        let actions = plan(&root, &facts, rules, Timestamp(0));
        actions.iter().any(|action| matches!(action, Action::Ship(_) | Action::Register { .. }))
    };
    assert!(ships(&Rules { copies: true, ..off }) && !ships(&off));
    assert_eq!(start_after(&root, &facts, &off, Timestamp(105)), Offset(10));
    // Local retention went beyond the tier's end: no gap, for the start went with it.
    (facts.local_start, facts.log_start) = (Offset(30), Offset(30));
    assert_eq!(start_after(&root, &facts, &off, Timestamp(0)), Offset(30));
}
