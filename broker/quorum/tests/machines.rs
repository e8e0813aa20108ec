//! The metadata machine and the group coordinator under the driver: delayed, refused, lost and foreign batches, snapshots,
//! compaction and reloads, all from one seed.
//!
//! Held: a batch lands only on the state that it was decided on; what is released was decided on what is committed; each
//! caller is answered once; each load, from any snapshot and compacted log, finds all that was committed.

use std::collections::BTreeMap;
use std::fmt::Debug;

use broker_group::request::{
    CommitOffsets, CommitPartition, CommitTopic, CommittedOffset, FetchOffsets, FirstJoin, Join, Leave, LeavingMember,
    MemberRef, Protocol, Sync,
};
use broker_group::{GroupMachine, Groups};
use broker_metadata::{
    AlterConfigs, ArchiveChange, BeginIncarnation, ClusterImage, ConfigChange, ConfigOwner, CreateMode,
    CreatePartitions, CreateTopics, Existing, MetadataMachine, MorePartitions, NewTopic, TopicRef,
};
use broker_model::machine::{CallId, Effects, Input, Machine, Refusal};
use broker_model::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, TopicId};
use broker_quorum::memory::Written;
use broker_quorum::{Driver, MemoryLog, snapshot};

struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What one machine is asked, and which of its answers come within the step or with its batch.
trait Script {
    type Machine: Machine<Hard: PartialEq + Debug, Output: Debug, Request: Clone>;
    fn machine() -> Self::Machine;
    fn request(
        rng: &mut Rng,
        fresh: u64,
        hard: &<Self::Machine as Machine>::Hard,
    ) -> <Self::Machine as Machine>::Request;
    fn may_wait(request: &<Self::Machine as Machine>::Request) -> bool;
}

struct Metadata;

impl Script for Metadata {
    type Machine = MetadataMachine;

    fn machine() -> MetadataMachine {
        MetadataMachine
    }

    fn request(rng: &mut Rng, fresh: u64, hard: &ClusterImage) -> broker_metadata::Request {
        use broker_metadata::Request;
        let name = format!("t{}{}", [".", "_", "-"][rng.below(3) as usize], rng.below(3));
        let known = hard.topics().next().map_or(TopicId([9; 16]), |topic| topic.id);
        let topic = [TopicRef::Name(name.clone()), TopicRef::Id(known)][rng.below(2) as usize].clone();
        match rng.below(10) {
            0 => Request::BeginIncarnation(BeginIncarnation {
                node: NodeId(rng.below(2) as i32),
                cluster_id: "one".into(),
                incarnation: [fresh as u8; 16],
                directory: [1; 16],
            }),
            1..=3 => {
                let topic = |name: String, id: u64| NewTopic {
                    name,
                    id: TopicId(u128::from(id).to_be_bytes()),
                    partitions: rng.0 as i32 & 3,
                    replication_factor: 1,
                    configs: BTreeMap::from([("retention.ms".into(), fresh.to_string())]),
                };
                let topics = vec![topic(name, fresh * 2 + 1), topic(format!("other{}", fresh % 4), fresh * 2 + 2)];
                let existing = [Existing::Refuse, Existing::Return][rng.below(2) as usize];
                Request::CreateTopics(CreateTopics { topics, mode: CreateMode::Apply, existing })
            }
            4 | 5 => Request::DeleteTopics(vec![topic, TopicRef::Id(known)]),
            6 => {
                let expected = hard.topic(&name).map(|topic| (*topic.configs).clone()).unwrap_or_default();
                let configs = BTreeMap::from([("segment.ms".into(), fresh.to_string())]);
                let archive = [ArchiveChange::Keep, ArchiveChange::Begin, ArchiveChange::Purge][rng.below(3) as usize];
                let owner = match rng.below(3) {
                    0 => ConfigOwner::Broker(Some(NodeId(rng.below(2) as i32)).filter(|node| node.0 > 0)),
                    _ => ConfigOwner::Topic(name),
                };
                let change = ConfigChange { owner, expected, configs, archive };
                Request::AlterConfigs(AlterConfigs { changes: vec![change], mode: CreateMode::Apply })
            }
            8 => {
                let count = 1 + rng.below(6) as i32;
                let topics = vec![MorePartitions { name, count, assignments: None }];
                Request::CreatePartitions(CreatePartitions { topics, mode: CreateMode::Apply })
            }
            7 => Request::PurgeFinished(hard.purges().next().map_or(known, |(id, _)| id)),
            _ => Request::AllocateProducerIds,
        }
    }

    fn may_wait(_: &broker_metadata::Request) -> bool {
        false
    }
}

struct Group;

impl Script for Group {
    type Machine = GroupMachine;

    fn machine() -> GroupMachine {
        GroupMachine::default()
    }

    fn request(rng: &mut Rng, fresh: u64, hard: &Groups) -> broker_group::Request {
        use broker_group::Request;
        let group = format!("g{}", rng.below(2));
        let meta = hard.get(&group).and_then(|group| group.meta.as_ref());
        let known = meta.and_then(|meta| meta.members.first()).map(|member| member.member.clone());
        let generation = meta.map_or(1, |meta| meta.generation + rng.below(2) as i32);
        // Direct joins name their members c-0 to c-2, so that requests often meet one.
        let member = known.filter(|_| rng.below(2) == 0).unwrap_or(format!("c-{}", rng.below(3)));
        let who = MemberRef { group: group.clone(), member: member.clone(), instance: None, generation };
        match rng.below(12) {
            0..=2 => Request::Join(Join {
                group,
                member: if rng.below(2) == 0 { String::new() } else { member },
                client_id: "c".into(),
                unique: rng.below(3).to_string(),
                session_timeout_ms: 6_000,
                rebalance_timeout_ms: 9_000,
                protocol_type: "consumer".into(),
                protocols: vec![Protocol { name: "range".into(), metadata: vec![fresh as u8] }],
                first_join: FirstJoin::Direct,
                ..Join::default()
            }),
            3..=5 => Request::Sync(Sync { who, assignments: vec![(member, vec![1])], ..Sync::default() }),
            6 => Request::Heartbeat(who),
            7 => Request::Leave(Leave { group, members: vec![LeavingMember { member, instance: None }] }),
            8 | 9 => {
                let who =
                    if rng.below(2) == 0 { who } else { MemberRef { group, generation: -1, ..MemberRef::default() } };
                let offset = CommittedOffset {
                    offset: Offset(fresh as i64),
                    leader_epoch: LeaderEpoch(-1),
                    metadata: String::new(),
                };
                let partition = PartitionIndex(rng.below(2) as i32);
                let partitions = vec![CommitPartition { partition, error: ErrorCode::None, offset }];
                let topic = CommitTopic { topic: "t".into(), id: TopicId::ZERO, error: ErrorCode::None, partitions };
                Request::CommitOffsets(CommitOffsets { who, topics: vec![topic], ..CommitOffsets::default() })
            }
            10 => Request::FetchOffsets(vec![FetchOffsets { group, topics: None }]),
            _ => Request::Delete(vec![group]),
        }
    }

    fn may_wait(request: &broker_group::Request) -> bool {
        matches!(request, broker_group::Request::Join(_) | broker_group::Request::Sync(_))
    }
}

type Hard<S> = <<S as Script>::Machine as Machine>::Hard;

struct World<S: Script> {
    rng: Rng,
    now: Timestamp,
    driver: Driver<S::Machine, MemoryLog>,
    /// The model: what all that was ever committed led to, without any compaction.
    truth: Hard<S>,
    truth_end: Offset,
    history: Vec<Hard<S>>,
    waiting: BTreeMap<CallId, Option<Hard<S>>>,
    trace: Vec<String>,
    next_call: u64,
}

impl<S: Script> World<S> {
    fn new(seed: u64) -> Self {
        let driver =
            Driver::load(S::machine(), MemoryLog::delayed(), LeaderEpoch(1), Timestamp(0)).expect("it is empty");
        World {
            rng: Rng::new(seed),
            now: Timestamp(0),
            driver,
            truth: Hard::<S>::default(),
            truth_end: Offset::ZERO,
            history: vec![Hard::<S>::default()],
            waiting: BTreeMap::new(),
            trace: Vec::new(),
            next_call: 0,
        }
    }

    fn act(&mut self) {
        self.now = self.now.plus_ms(self.rng.below(400) as i64);
        if !self.driver.is_leading() {
            return self.reload();
        }
        if self.driver.next_deadline().is_some_and(|due| due <= self.now) {
            self.driver.tick(self.now);
            assert!(self.driver.next_deadline().is_none_or(|due| due > self.now), "the driver would spin");
            return self.drain();
        }
        match self.rng.below(60) {
            0..=27 => self.ask(),
            28..=47 => self.judge(),
            48 | 49 => {
                let why = [Refusal::Unavailable, Refusal::TooLarge][self.rng.below(2) as usize];
                self.driver.log_mut().refuse_next(why);
            }
            50 => {
                let written = [Written::Yes, Written::No][self.rng.below(2) as usize];
                self.driver.log_mut().lose_next(written);
            }
            51 => self.foreign(),
            52 => self.driver.fail_all(),
            53 | 54 => self.keep_snapshot(),
            55 | 56 => self.driver.log_mut().compact(),
            _ => {
                let room = self.rng.below(500);
                self.driver.compact_if_dirty(self.now, room);
            }
        }
        self.drain();
    }

    fn ask(&mut self) {
        let call = CallId(self.next_call);
        self.next_call += 1;
        let hard = &self.driver.speculative().expect("it leads").hard;
        let request = S::request(&mut self.rng, call.0, hard);
        let may_wait = S::may_wait(&request);
        self.driver.handle(self.now, Input::Request(call, request));
        let decided_on = self.driver.speculative().filter(|_| !may_wait).map(|image| image.hard.clone());
        self.waiting.insert(call, decided_on);
    }

    fn judge(&mut self) {
        self.driver.log_mut().judge();
        self.learn();
        self.driver.pump(self.now);
    }

    /// The model takes what was appended.
    fn learn(&mut self) {
        let (log, machine) = (self.driver.log(), S::machine());
        for (at, record) in log.items().iter().filter(|(at, _)| *at >= self.truth_end) {
            machine.apply(&mut self.truth, *at, record).expect("a machine reads what it wrote");
        }
        if self.truth_end < log.end() {
            self.truth_end = log.end();
            self.history.push(self.truth.clone());
        }
        machine.check(&self.truth).expect("whole batches keep the invariants");
    }

    fn foreign(&mut self) {
        let machine = S::machine();
        let request = S::request(&mut self.rng, 1_000_000 + self.next_call, &self.truth);
        self.next_call += 1;
        let mut soft = machine.recover(&self.truth, self.now);
        let input = Input::Request(CallId(u64::MAX), request);
        let Effects { batch, .. } = machine.step(&self.truth, &mut soft, self.now, input);
        self.driver.log_mut().foreign(&batch);
        self.learn();
    }

    fn keep_snapshot(&mut self) {
        let image = self.driver.committed().expect("it leads").clone();
        let bytes = self.driver.snapshot().expect("it leads");
        assert_eq!(snapshot::decode(&S::machine(), &bytes).as_ref(), Ok(&image), "decode(encode(image)) == image");
        self.driver.log_mut().keep_snapshot(image.end, bytes);
    }

    fn reload(&mut self) {
        let epoch = LeaderEpoch(self.driver.log().epoch().0 + 1);
        self.driver.reload(epoch, self.now).expect("what was committed can be read");
        let committed = self.driver.committed().expect("it leads");
        assert_eq!(committed.hard, self.truth, "what was committed was taken back, or what was not is there");
        assert_eq!(committed.end, self.truth_end);
        self.trace.push(format!("loads {}", self.truth_end));
    }

    fn drain(&mut self) {
        for (call, reply) in self.driver.drain() {
            let decided_on = self.waiting.remove(&call).expect("one reply to each call");
            if let (Ok(_), Some(decided_on)) = (&reply, &decided_on) {
                // A leader that does not know yet that it is deposed may answer from an older committed state.
                let is_now = self.driver.committed().is_none_or(|image| image.hard == *decided_on);
                let was_ever = self.history.iter().rev().any(|then| then == decided_on);
                assert!(is_now && was_ever, "what is not committed was released");
            }
            self.trace.push(format!("{call:?} {reply:?}"));
        }
        match self.driver.committed() {
            Some(image) if image.end == self.truth_end => assert_eq!(image.hard, self.truth),
            Some(_) => {} // Another has written, and this one does not know yet.
            None => assert!(self.waiting.is_empty(), "all who wait are told: {:?}", self.waiting.keys()),
        }
    }
}

fn simulate<S: Script>(seed: u64) -> Vec<String> {
    let mut world = World::<S>::new(seed);
    for _ in 0..400 {
        world.act();
    }
    world.driver.fail_all();
    world.drain();
    world.trace
}

/// One seed; of some the trace is kept, and made twice.
fn simulate_into<S: Script>(seed: u64, seen: &mut String) {
    let trace = simulate::<S>(seed);
    if seed.is_multiple_of(50) {
        assert_eq!(trace, simulate::<S>(seed), "one seed, one trace");
        seen.extend(trace);
    }
}

#[test]
fn metadata_keeps_what_it_told() {
    let mut seen = String::new();
    for seed in 0..1_000 {
        println!("seed {seed}"); // Shown by a failure only.
        simulate_into::<Metadata>(seed, &mut seen);
    }
    for word in [
        "Unavailable",
        "NotLeader",
        "Conflict",
        "loads",
        "ProducerIds",
        "Created",
        "Deleted",
        "Altered([Ok",
        "PartitionsCreated([Ok",
    ] {
        assert!(seen.contains(word), "{word} never happened");
    }
}

#[test]
fn groups_keep_what_they_told() {
    let mut seen = String::new();
    for seed in 0..2_000 {
        println!("seed {seed}"); // Shown by a failure only.
        simulate_into::<Group>(seed, &mut seen);
    }
    for word in
        ["Unavailable", "NotLeader", "Conflict", "loads", "Joined", "Synced { error: None", "Committed", "Fetched"]
    {
        assert!(seen.contains(word), "{word} never happened");
    }
}
