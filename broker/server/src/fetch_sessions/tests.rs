//! Each rule by itself, and random sessions against a client that must know what one with full fetches knows.

use std::collections::BTreeMap;

use broker_model::TopicId;
use broker_wire::Str;
use broker_wire::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

use super::*;

const NAMES: i16 = 12;
const IDS: i16 = 13;
const NOW: Timestamp = Timestamp(1_000_000);
const QUIET: Outcome =
    Outcome { error: ErrorCode::None, high_watermark: 10, log_start: 0, has_records: false, has_advice: false };

type Sessions = Arc<FetchSessions<u64>>;

fn sessions(slots: usize, partitions_max: usize) -> Sessions {
    Arc::new(FetchSessions::new(slots, partitions_max, 7))
}

/// Asks these partitions of topics, each named with its letter and an id made of it.
fn request((session_id, session_epoch): (i32, i32), asked: &[(&str, i32)]) -> FetchRequest {
    let topics = asked.iter().map(|(name, partition)| FetchTopic {
        topic: Str::from(*name),
        topic_id: id_of(name),
        partitions: vec![FetchPartition { partition: *partition, partition_max_bytes: 100, ..Default::default() }],
    });
    FetchRequest { session_id, session_epoch, topics: topics.collect(), ..Default::default() }
}

fn forgetting(mut request: FetchRequest, forgotten: &[(&str, i32)]) -> FetchRequest {
    let forgotten = forgotten.iter().map(|(name, partition)| ForgottenTopic {
        topic: Str::from(*name),
        topic_id: id_of(name),
        partitions: vec![*partition],
    });
    request.forgotten_topics_data = forgotten.collect();
    request
}

fn id_of(name: &str) -> TopicId {
    TopicId([name.as_bytes()[0]; 16])
}

fn names(plan: &FetchPlan<u64>) -> Vec<(String, i32)> {
    (0..plan.len()).map(|at| (plan.topic(at).name.to_string(), plan.asked(at).partition)).collect()
}

fn pairs(expected: &[(&str, i32)]) -> Vec<(String, i32)> {
    expected.iter().map(|(name, partition)| ((*name).to_owned(), *partition)).collect()
}

fn begin(sessions: &Sessions, mut request: FetchRequest) -> Result<FetchPlan<u64>, ErrorCode> {
    sessions.begin(&mut request, NAMES, NOW)
}

/// Answers all positions quietly, and gives those that are in the answer.
fn settle_all(plan: &mut FetchPlan<u64>, outcome: Outcome) -> Vec<usize> {
    (0..plan.len()).filter(|at| plan.settle(*at, &outcome)).collect()
}

fn create(sessions: &Sessions, asked: &[(&str, i32)]) -> i32 {
    let mut plan = begin(sessions, request((0, 0), asked)).unwrap();
    settle_all(&mut plan, QUIET);
    plan.finish(NOW)
}

fn error_of(sessions: &Sessions, request: FetchRequest) -> Option<ErrorCode> {
    begin(sessions, request).err()
}

#[test]
fn a_sessionless_request_keeps_nothing_and_is_answered_in_full() {
    let sessions = sessions(10, 100);
    let mut plan = begin(&sessions, request((0, -1), &[("b", 1), ("a", 0), ("b", 1)])).unwrap();
    assert_eq!(names(&plan), pairs(&[("b", 1), ("a", 0), ("b", 1)]));
    assert_eq!(settle_all(&mut plan, QUIET), [0, 1, 2]);
    assert_eq!(plan.finish(NOW), SESSION_NONE);
    assert_eq!(sessions.counts(), Counts::default());
}

#[test]
fn an_incremental_answer_names_what_changed_and_what_gave_data_goes_last() {
    let sessions = sessions(10, 100);
    let id = create(&sessions, &[("a", 0), ("a", 1), ("b", 0)]);
    assert!(id > 0);
    let mut plan = begin(&sessions, request((id, 1), &[])).unwrap();
    assert!(plan.is_incremental());
    assert_eq!(settle_all(&mut plan, QUIET), [0_usize; 0]);
    assert_eq!(plan.finish(NOW), id);

    let mut plan = begin(&sessions, request((id, 2), &[])).unwrap();
    assert!(plan.settle(0, &Outcome { has_records: true, ..QUIET }));
    assert!(plan.settle(1, &Outcome { high_watermark: 11, ..QUIET }));
    assert!(plan.settle(2, &Outcome { has_advice: true, ..QUIET }));
    plan.finish(NOW);

    let mut plan = begin(&sessions, request((id, 3), &[])).unwrap();
    assert_eq!(names(&plan), pairs(&[("a", 1), ("b", 0), ("a", 0)]));
    assert!(!plan.settle(0, &Outcome { high_watermark: 11, ..QUIET }));
    assert!(plan.settle(1, &Outcome { log_start: 3, ..QUIET }));
    assert!(!plan.settle(2, &QUIET));
    plan.finish(NOW);
}

#[test]
fn a_failure_is_told_until_it_is_over_and_so_is_its_end() {
    let sessions = sessions(10, 100);
    let id = create(&sessions, &[("a", 0)]);
    let failed = Outcome { error: ErrorCode::NotLeaderOrFollower, ..QUIET };
    for (epoch, outcome, is_told) in
        [(1, failed, true), (2, failed, true), (3, QUIET, true), (4, QUIET, false), (5, failed, true)]
    {
        let mut plan = begin(&sessions, request((id, epoch), &[])).unwrap();
        assert_eq!(plan.settle(0, &outcome), is_told, "epoch {epoch}");
        plan.finish(NOW);
    }
}

#[test]
fn partitions_are_added_changed_and_forgotten() {
    let sessions = sessions(10, 100);
    let id = create(&sessions, &[("a", 0), ("a", 1), ("b", 0)]);
    let mut changed = forgetting(request((id, 1), &[("c", 5), ("a", 1)]), &[("b", 0), ("a", 7), ("z", 0)]);
    changed.topics[1].partitions[0].fetch_offset = 77;
    let mut plan = begin(&sessions, changed).unwrap();
    assert_eq!(names(&plan), pairs(&[("a", 0), ("a", 1), ("c", 5)]));
    assert_eq!(plan.asked(1).fetch_offset, 77);
    *plan.cached_mut(1) = 4;
    assert_eq!(settle_all(&mut plan, QUIET), [2], "the new one is told");
    plan.finish(NOW);
    // What comes again has forgotten what lay beside it; what stayed has not.
    let again = forgetting(request((id, 2), &[("b", 0)]), &[("a", 0)]);
    let plan = begin(&sessions, again).unwrap();
    assert_eq!(names(&plan), pairs(&[("a", 1), ("c", 5), ("b", 0)]));
    assert_eq!((0..3).map(|at| *plan.cached(at)).collect::<Vec<_>>(), [4, 0, 0]);
    plan.finish(NOW);
    // A session without partitions ends.
    let none = forgetting(request((id, 3), &[]), &[("a", 1), ("b", 0), ("c", 5)]);
    let plan = begin(&sessions, none).unwrap();
    assert!(plan.is_empty() && !plan.is_incremental());
    assert_eq!(plan.finish(NOW), SESSION_NONE);
    assert_eq!(sessions.counts(), Counts::default());
}

#[test]
fn a_topic_in_two_parts_is_one_and_a_partition_twice_makes_no_session() {
    let sessions = sessions(10, 100);
    let id = create(&sessions, &[("a", 0), ("b", 0), ("a", 1)]);
    let plan = begin(&sessions, forgetting(request((id, 1), &[("a", 2)]), &[("a", 0)])).unwrap();
    assert_eq!(names(&plan), pairs(&[("b", 0), ("a", 1), ("a", 2)]));
    assert_eq!(plan.topic_key(1), plan.topic_key(2));
    plan.finish(NOW);
    assert_eq!(create(&sessions, &[("a", 0), ("b", 0), ("a", 0)]), SESSION_NONE);
    assert_eq!(sessions.counts(), Counts { sessions: 1, partitions: 4, evicted: 0 });
}

#[test]
fn wrong_ids_epochs_and_names_are_refused_and_change_nothing() {
    let sessions = sessions(10, 100);
    let id = create(&sessions, &[("a", 0)]);
    for (session, error) in [
        ((id + 1, 1), ErrorCode::FetchSessionIdNotFound),
        ((0, 1), ErrorCode::FetchSessionIdNotFound),
        ((-4, 1), ErrorCode::FetchSessionIdNotFound),
        ((i32::MIN, -2), ErrorCode::FetchSessionIdNotFound),
        ((id, 2), ErrorCode::InvalidFetchSessionEpoch),
        ((id, -2), ErrorCode::InvalidFetchSessionEpoch),
    ] {
        assert_eq!(error_of(&sessions, request(session, &[("b", 0)])), Some(error), "{session:?}");
    }
    let by_id = sessions.begin(&mut request((id, 1), &[]), IDS, NOW);
    assert_eq!(by_id.err(), Some(ErrorCode::FetchSessionTopicIdError));
    let plan = begin(&sessions, request((id, 1), &[])).unwrap();
    assert_eq!(names(&plan), pairs(&[("a", 0)]));
    // While it is served it is nobody else's, in no epoch.
    for epoch in [1, 2] {
        assert_eq!(error_of(&sessions, request((id, epoch), &[])), Some(ErrorCode::InvalidFetchSessionEpoch));
    }
    assert_eq!(plan.finish(NOW), id);
    assert_eq!(error_of(&sessions, request((id, 2), &[])), None);
}

#[test]
fn a_session_by_ids_looks_at_ids_only() {
    let sessions = sessions(10, 100);
    let nameless = |mut request: FetchRequest| {
        request.topics.iter_mut().for_each(|topic| topic.topic = Str::default());
        request
    };
    let mut full = nameless(request((0, 0), &[("a", 0), ("b", 0)]));
    let id = sessions.begin(&mut full, IDS, NOW).unwrap().finish(NOW);
    let mut more = nameless(request((id, 1), &[("a", 1), ("b", 0)]));
    let plan = sessions.begin(&mut more, IDS, NOW).unwrap();
    let ids: Vec<_> = (0..plan.len()).map(|at| (plan.topic(at).id, plan.asked(at).partition)).collect();
    assert_eq!(ids, [(id_of("a"), 0), (id_of("b"), 0), (id_of("a"), 1)]);
}

#[test]
fn epochs_wrap_from_the_largest_to_one() {
    assert_eq!((next_epoch(1), next_epoch(i32::MAX)), (2, 1));
    let sessions = sessions(1, 100);
    let mut shard = sessions.shards[0].lock();
    let mut body = Body::of_request(request((0, 0), &[("a", 0)]).topics);
    body.cache(&sessions.budget, false).unwrap();
    let newcomer = Newcomer { is_follower: false, by_id: false, size: 1, now: NOW };
    shard.insert(5, newcomer, body);
    shard.set_epoch(5, i32::MAX);
    drop(shard);
    begin(&sessions, request((5, i32::MAX), &[])).unwrap().finish(NOW);
    assert_eq!(begin(&sessions, request((5, 1), &[])).unwrap().finish(NOW), 5);
}

#[test]
fn full_requests_end_the_session_that_they_name() {
    for epoch in [0, -1] {
        let sessions = sessions(10, 100);
        let id = create(&sessions, &[("a", 0)]);
        let plan = begin(&sessions, request((id, epoch), &[("a", 0)])).unwrap();
        assert!(!plan.is_incremental());
        let next = plan.finish(NOW);
        assert_eq!(next == SESSION_NONE, epoch == -1);
        assert_ne!(next, id);
        assert_eq!(error_of(&sessions, request((id, 1), &[])), Some(ErrorCode::FetchSessionIdNotFound));
    }
}

#[test]
fn a_plan_that_is_dropped_ends_its_session() {
    let sessions = sessions(10, 100);
    let id = create(&sessions, &[("a", 0)]);
    drop(begin(&sessions, request((id, 1), &[])).unwrap());
    assert_eq!(error_of(&sessions, request((id, 2), &[])), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(sessions.counts(), Counts::default());
    // One that was ended while it was served is not brought back.
    let id = create(&sessions, &[("a", 0)]);
    let plan = begin(&sessions, request((id, 1), &[])).unwrap();
    drop(begin(&sessions, request((id, -1), &[])).unwrap());
    plan.finish(NOW);
    assert_eq!(sessions.counts(), Counts::default());
}

#[test]
fn who_goes_for_whom_is_as_in_kafka() {
    // The one slot: created at 0, last used at `used`, as a follower's or a consumer's with 2 partitions.
    let follower = |is_follower: bool, mut request: FetchRequest| {
        request.replica_id = if is_follower { 1 } else { -1 };
        request
    };
    let three: &[_] = &[("a", 0), ("a", 1), ("a", 2)];
    let two: &[_] = &[("b", 0), ("b", 1)];
    for (old_follower, used, new_follower, size, now, goes) in [
        (false, 0, false, three, 120_000, false),
        (false, 0, false, two, 120_001, true),
        (false, 60_000, false, two, 130_000, false),
        (false, 60_000, false, three, 130_000, true),
        (false, 60_000, false, three, 110_000, false),
        (false, 0, true, &two[..1], 1, true),
        (true, 0, false, three, 1, false),
        (true, 0, true, three, 1, false),
        (true, 60_000, true, three, 130_000, true),
        (true, 60_000, false, three, 130_000, false),
        (true, 0, false, two, 130_000, true),
    ] {
        let case = (old_follower, used, new_follower, size.len(), now);
        let sessions = sessions(1, 100);
        let mut old = follower(old_follower, request((0, 0), two));
        let id = sessions.begin(&mut old, NAMES, Timestamp(0)).unwrap().finish(Timestamp(0));
        let mut touch = request((id, 1), &[]);
        sessions.begin(&mut touch, NAMES, Timestamp(used)).unwrap().finish(Timestamp(used));
        let mut new = follower(new_follower, request((0, 0), size));
        let next = sessions.begin(&mut new, NAMES, Timestamp(now)).unwrap().finish(Timestamp(now));
        assert_eq!(next != SESSION_NONE, goes, "{case:?}");
        assert_eq!(sessions.counts().sessions, 1);
        assert_eq!(sessions.counts().evicted, u64::from(goes), "{case:?}");
    }
}

#[test]
fn slots_and_partitions_are_bounded() {
    assert_eq!(create(&sessions(0, 100), &[("a", 0)]), SESSION_NONE, "switched off");
    let many = sessions(20, 1_000);
    let made = (0..100).filter(|_| create(&many, &[("a", 0)]) != SESSION_NONE).count();
    assert_eq!((made, many.counts().sessions, many.counts().partitions), (20, 20, 20));

    let small = sessions(20, 5);
    assert_eq!(create(&small, &[("a", 0), ("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5)]), SESSION_NONE);
    let id = create(&small, &[("a", 0), ("a", 1), ("a", 2)]);
    assert_eq!(create(&small, &[("b", 0), ("b", 1), ("b", 2)]), SESSION_NONE);
    let other = create(&small, &[("b", 0)]);
    // What grows beyond the bound ends, and gives all back.
    let grown = request((id, 1), &[("a", 3), ("a", 4)]);
    assert_eq!(error_of(&small, grown), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(small.counts(), Counts { sessions: 1, partitions: 1, evicted: 0 });
    // What is forgotten makes room within the session.
    let swapped = forgetting(request((other, 1), &[("b", 1)]), &[("b", 0)]);
    begin(&small, swapped).unwrap().finish(NOW);
    let swapped = forgetting(request((other, 2), &[("b", 2)]), &[("b", 1)]);
    begin(&small, swapped).unwrap().finish(NOW);
    assert_eq!(small.counts().partitions, 2);
    // Idle sessions go for a new one.
    let late = Timestamp(NOW.0 + 120_001);
    let mut full = request((0, 0), &[("a", 0), ("a", 1), ("a", 2), ("a", 3), ("a", 4)]);
    let shards = (0..SHARDS_MAX).map(|_| small.begin(&mut full.clone(), NAMES, late).unwrap().finish(late));
    assert_eq!(shards.filter(|id| *id != SESSION_NONE).count(), 1, "once the shard of the idle one has its turn");
    assert!(small.begin(&mut full, NAMES, late).is_ok());
    assert_eq!(small.counts(), Counts { sessions: 1, partitions: 5, evicted: 1 });
}

#[test]
fn ids_are_positive_spread_and_lie_in_their_shard() {
    let mut seen = std::collections::BTreeSet::new();
    for turn in 0..10_000 {
        let id = session_id(42, turn, (turn % 8, 8));
        assert!(id >= 0);
        assert_eq!(u64::try_from(id).unwrap() % 8, turn % 8);
        seen.insert(id);
    }
    assert!(seen.len() > 9_980, "few are drawn twice: {}", seen.len());
    assert_ne!(session_id(1, 0, (0, 8)), session_id(2, 0, (0, 8)), "another start gives other ids");
}

/// A small generator (xorshift): a run is its seed.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What a client knows of a partition.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    error: ErrorCode,
    high_watermark: i64,
    log_start: i64,
    fetched: i64,
}

/// The broker's truth about a partition.
#[derive(Clone, Copy, Debug)]
struct Truth {
    error: ErrorCode,
    high_watermark: i64,
    log_start: i64,
}

struct World {
    rng: Rng,
    truths: BTreeMap<(usize, i32), Truth>,
    /// What the client wants, and where it stands.
    wanted: BTreeMap<(usize, i32), Known>,
    /// What the session was told: partitions and their offsets.
    told: BTreeMap<(usize, i32), i64>,
    session: (i32, i32),
}

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

impl World {
    fn new(seed: u64) -> World {
        let all = (0..TOPICS.len()).flat_map(|topic| (0..5).map(move |partition| (topic, partition)));
        let truth = Truth { error: ErrorCode::None, high_watermark: 0, log_start: 0 };
        World {
            rng: Rng(seed | 1),
            truths: all.map(|key| (key, truth)).collect(),
            wanted: BTreeMap::new(),
            told: BTreeMap::new(),
            session: (0, 0),
        }
    }

    fn change(&mut self) {
        let keys: Vec<_> = self.truths.keys().copied().collect();
        for key in keys {
            let truth = self.truths.get_mut(&key).unwrap();
            match self.rng.below(12) {
                0 => truth.high_watermark += 3,
                1 => truth.log_start = (truth.log_start + 1).min(truth.high_watermark),
                2 => truth.error = ErrorCode::NotLeaderOrFollower,
                3 | 4 => truth.error = ErrorCode::None,
                5 if self.rng.below(4) == 0 => {
                    self.wanted.remove(&key);
                }
                6 => {
                    let new = Known { error: ErrorCode::None, high_watermark: -1, log_start: -1, fetched: 0 };
                    self.wanted.entry(key).or_insert(new);
                }
                _ => {}
            }
        }
    }

    /// As Kafka's client: says what is new, moved or no longer wanted.
    fn request(&mut self) -> FetchRequest {
        let is_full = self.session.1 <= 0;
        let mut request =
            FetchRequest { session_id: self.session.0, session_epoch: self.session.1, ..request((0, 0), &[]) };
        if is_full {
            self.told.clear();
        }
        for ((topic, partition), known) in &self.wanted {
            if self.told.get(&(*topic, *partition)) == Some(&known.fetched) {
                continue;
            }
            let mut asked = self::request((0, 0), &[(TOPICS[*topic], *partition)]).topics;
            asked[0].partitions[0].fetch_offset = known.fetched;
            request.topics.append(&mut asked);
            self.told.insert((*topic, *partition), known.fetched);
        }
        let gone: Vec<_> = self.told.keys().filter(|key| !self.wanted.contains_key(key)).copied().collect();
        for key in gone {
            self.told.remove(&key);
            request.forgotten_topics_data.push(ForgottenTopic {
                topic: Str::from(TOPICS[key.0]),
                partitions: vec![key.1],
                ..Default::default()
            });
        }
        request
    }

    /// Serves and applies one answer: at most two partitions give records, the rest what they are.
    fn answer(&mut self, plan: &mut FetchPlan<u64>) {
        let is_full = !plan.is_incremental();
        let asked = |plan: &FetchPlan<u64>, at: usize| {
            let topic = TOPICS.iter().position(|name| plan.topic(at).name == **name).unwrap();
            (topic, plan.asked(at).partition)
        };
        let all: BTreeMap<_, _> = (0..plan.len()).map(|at| (asked(plan, at), plan.asked(at).fetch_offset)).collect();
        assert_eq!(all.len(), plan.len(), "no partition stands twice");
        assert_eq!(all, self.told, "the session asks what the client asks");
        let mut records_left = 2;
        for at in 0..plan.len() {
            let key = asked(plan, at);
            let truth = self.truths[&key];
            let has_failed = truth.error != ErrorCode::None;
            let from = plan.asked(at).fetch_offset;
            let has_records = !has_failed && records_left > 0 && from < truth.high_watermark;
            records_left -= i32::from(has_records);
            let Truth { error, high_watermark, log_start } = truth;
            let outcome = Outcome { error, high_watermark, log_start, has_records, has_advice: false };
            let known = self.wanted.get_mut(&key).unwrap();
            if plan.settle(at, &outcome) {
                let fetched = if has_records { truth.high_watermark } else { from };
                *known = Known { error, high_watermark, log_start, fetched };
            } else {
                assert!(!is_full);
            }
            // What a full answer would have told. What failed and is told no more has not failed.
            let full = (truth.error, truth.high_watermark, truth.log_start);
            assert_eq!((known.error, known.high_watermark, known.log_start), full, "{key:?}");
        }
    }
}

#[test]
fn a_client_with_sessions_knows_what_one_with_full_fetches_knows() {
    for seed in 1..=100_u64 {
        println!("seed {seed}");
        let sessions = sessions(4, 40);
        let mut world = World::new(seed * 0x9e37_79b9);
        for step in 0..60 {
            world.change();
            if world.rng.below(20) == 0 && world.session.1 > 0 {
                world.session.1 = 0;
            }
            if world.rng.below(25) == 0 {
                // Another client takes memory, and with luck the session's next addition ends it.
                let others: Vec<_> = (0..20).map(|partition| ("z", partition)).collect();
                create(&sessions, &others);
            }
            let mut request = world.request();
            match sessions.begin(&mut request, NAMES, Timestamp(NOW.0 + step * 9_000)) {
                Ok(mut plan) => {
                    world.answer(&mut plan);
                    let was = world.session;
                    let id = plan.finish(Timestamp(NOW.0 + step * 9_000));
                    world.session = match id {
                        SESSION_NONE => (0, 0),
                        id if id == was.0 => (id, next_epoch(was.1)),
                        id => (id, EPOCH_FIRST),
                    };
                }
                Err(error) => {
                    assert_eq!(error, ErrorCode::FetchSessionIdNotFound);
                    world.session = (world.session.0, 0);
                }
            }
            let counts = sessions.counts();
            assert!(counts.sessions <= 4 && counts.partitions <= 40, "{counts:?}");
        }
    }
}

#[test]
fn with_room_for_one_at_a_time_no_partition_starves() {
    let sessions = sessions(4, 40);
    let id = create(&sessions, &[("a", 0), ("a", 1), ("b", 0), ("c", 0)]);
    let mut served = BTreeMap::new();
    for epoch in 1..=8 {
        let mut plan = begin(&sessions, request((id, epoch), &[])).unwrap();
        // All have data; the first fills the answer.
        *served.entry(names(&plan)[0].clone()).or_insert(0) += 1;
        for at in 0..plan.len() {
            plan.settle(at, &Outcome { has_records: at == 0, ..QUIET });
        }
        plan.finish(NOW);
    }
    assert_eq!(served.into_values().collect::<Vec<_>>(), [2, 2, 2, 2]);
}
