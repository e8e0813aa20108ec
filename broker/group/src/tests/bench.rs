//! A machine with a log that decides at once: what comes back is by call.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::machine::{CallId, Effects, Input, Machine, Record, Refusal};
use broker_model::{ErrorCode, Offset, Timestamp};

use crate::request::{
    CommitOffsets, CommitPartition, CommitTopic, CommittedOffset, DescribedGroup, FetchOffsets, GroupState, Join,
    Joined, Leave, LeavingMember, MemberRef, Output, Protocol, Request, Sync, Synced,
};
use crate::{GroupMachine, Groups, Live, Settings};

pub(super) struct Bench {
    pub(super) machine: GroupMachine,
    pub(super) hard: Groups,
    pub(super) live: Live,
    pub(super) now: Timestamp,
    pub(super) log: Vec<Record>,
    pub(super) outputs: BTreeMap<CallId, Output>,
    pub(super) refuse_next: Option<Refusal>,
    /// Whose answer fell with its batch; the driver tells them.
    pub(super) refused: BTreeSet<CallId>,
    next_call: u64,
}

impl Bench {
    pub(super) fn new(settings: Settings) -> Bench {
        let machine = GroupMachine::new(settings);
        let hard = Groups::default();
        let live = machine.recover(&hard, Timestamp(0));
        let (log, outputs) = (Vec::new(), BTreeMap::new());
        Bench {
            machine,
            hard,
            live,
            now: Timestamp(0),
            log,
            outputs,
            refuse_next: None,
            refused: BTreeSet::new(),
            next_call: 0,
        }
    }

    /// No initial delay, so that a first member joins at once.
    pub(super) fn quick() -> Bench {
        Bench::new(Settings { initial_rebalance_delay_ms: 0, ..Settings::default() })
    }

    pub(super) fn start(&mut self, request: Request) -> CallId {
        let call = CallId(self.next_call);
        self.next_call += 1;
        self.give(Input::Request(call, request));
        call
    }

    pub(super) fn give(&mut self, input: Input<Request>) {
        let effects = self.machine.step(&self.hard, &mut self.live, self.now, input);
        let Effects { batch, outputs } = effects;
        let refusal = if batch.is_empty() { None } else { self.refuse_next.take() };
        for (call, output) in outputs {
            if refusal.is_some() {
                self.refused.insert(call);
            } else {
                assert!(self.outputs.insert(call, output).is_none(), "{call:?} was answered twice");
            }
        }
        if batch.is_empty() {
            return;
        }
        let from = self.log.len() as i64;
        let items = (from..).map(Offset).zip(batch.iter().cloned()).collect();
        if let Some(why) = refusal {
            return self.give(Input::Refused(why, items));
        }
        for record in batch {
            self.machine.apply(&mut self.hard, Offset(self.log.len() as i64), &record).expect("its own record");
            self.log.push(record);
        }
        self.machine.check(&self.hard).expect("a step keeps the invariants");
        self.give(Input::Appended(items));
    }

    /// Lets time pass with all ticks that fall into it.
    pub(super) fn wait(&mut self, ms: i64) {
        let end = self.now.plus_ms(ms);
        while let Some(due) = self.machine.next_deadline(&self.hard, &self.live).filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.give(Input::Tick);
            let next = self.machine.next_deadline(&self.hard, &self.live);
            assert!(next > Some(self.now), "the driver would spin");
        }
        self.now = end;
    }

    /// The process starts again with what the log holds.
    pub(super) fn restart(&mut self) {
        let mut hard = Groups::default();
        for (at, record) in self.log.iter().enumerate() {
            self.machine.apply(&mut hard, Offset(at as i64), record).expect("what was written can be read");
        }
        assert_eq!(hard, self.hard);
        self.live = self.machine.recover(&self.hard, self.now);
    }

    pub(super) fn answer(&mut self, call: CallId) -> Output {
        self.outputs.remove(&call).expect("it is answered")
    }

    pub(super) fn waits(&self, call: CallId) -> bool {
        !self.outputs.contains_key(&call)
    }

    pub(super) fn joined(&mut self, call: CallId) -> Joined {
        match self.answer(call) {
            Output::Joined(joined) => joined,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn join(&mut self, join: Join) -> Joined {
        let call = self.start(Request::Join(join));
        self.joined(call)
    }

    pub(super) fn start_join(&mut self, join: Join) -> CallId {
        self.start(Request::Join(join))
    }

    pub(super) fn synced(&mut self, call: CallId) -> Synced {
        match self.answer(call) {
            Output::Synced(synced) => synced,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn start_sync(&mut self, who: MemberRef, assignments: &[(&str, &str)]) -> CallId {
        let assignments = assignments.iter().map(|(to, what)| ((*to).to_owned(), what.as_bytes().to_vec())).collect();
        self.start(Request::Sync(Sync { who, assignments, ..Sync::default() }))
    }

    pub(super) fn sync(&mut self, who: MemberRef, assignments: &[(&str, &str)]) -> Synced {
        let call = self.start_sync(who, assignments);
        self.synced(call)
    }

    pub(super) fn heartbeat(&mut self, who: MemberRef) -> ErrorCode {
        let call = self.start(Request::Heartbeat(who));
        match self.answer(call) {
            Output::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let members = members.iter().map(|(member, instance)| LeavingMember {
            member: (*member).to_owned(),
            instance: instance.map(str::to_owned),
        });
        let call = self.start(Request::Leave(Leave { group: "g".into(), members: members.collect() }));
        match self.answer(call) {
            Output::Left(left) => left.members.into_iter().map(|(_, error)| error).collect(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn commit(&mut self, who: MemberRef, topic: &str, offset: i64) -> ErrorCode {
        let call = self.start(commit(who, topic, offset, ""));
        match self.answer(call) {
            Output::Committed(topics) => topics[0].partitions[0].1,
            other => panic!("{other:?}"),
        }
    }

    /// All offsets of the group, by topic.
    pub(super) fn offsets(&mut self) -> BTreeMap<String, i64> {
        let call = self.start(Request::FetchOffsets(vec![FetchOffsets { group: "g".into(), topics: None }]));
        match self.answer(call) {
            Output::Fetched(groups) => {
                let topics = groups.into_iter().flat_map(|group| group.topics);
                topics.map(|(topic, partitions)| (topic, partitions[0].1.offset.0)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn describe(&mut self) -> DescribedGroup {
        let call = self.start(Request::Describe(vec!["g".into()]));
        match self.answer(call) {
            Output::Described(groups) => groups.into_iter().next().expect("one was asked"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn state(&mut self) -> GroupState {
        self.describe().state
    }

    /// A stable group of these members, the first leading; each is assigned its own name. Returns the generation.
    pub(super) fn stable(&mut self, members: &[&str]) -> i32 {
        let calls: Vec<CallId> = members.iter().map(|member| self.start_join(direct(member))).collect();
        // With two and more, those that joined before the last are asked again.
        let generation = match members {
            [_] => self.joined(calls[0]).generation,
            _ => {
                let again: Vec<CallId> = members
                    .iter()
                    .zip(&calls)
                    .filter(|(_, call)| !self.waits(**call))
                    .map(|(member, _)| *member)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .map(|member| self.start_join(again(member)))
                    .collect();
                self.joined(again[0]).generation
            }
        };
        let assignments: Vec<(String, String)> =
            members.iter().map(|member| (format!("c-{member}"), (*member).to_owned())).collect();
        let assignments: Vec<(&str, &str)> =
            assignments.iter().map(|(id, what)| (id.as_str(), what.as_str())).collect();
        for member in members.iter().rev() {
            let who = who(member, generation);
            self.start_sync(who, &assignments);
        }
        assert_eq!(self.state(), GroupState::Stable);
        self.outputs.clear();
        generation
    }
}

/// A new member that gets in at once; its id will be `c-<name>`.
pub(super) fn direct(name: &str) -> Join {
    Join {
        group: "g".into(),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        unique: name.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: name.into() }],
        first_join: crate::request::FirstJoin::Direct,
        ..Join::default()
    }
}

/// The member with id `c-<name>` joins again.
pub(super) fn again(name: &str) -> Join {
    Join { member: format!("c-{name}"), unique: format!("again-{name}"), ..direct(name) }
}

pub(super) fn who(name: &str, generation: i32) -> MemberRef {
    MemberRef { group: "g".into(), member: format!("c-{name}"), instance: None, generation }
}

pub(super) fn nobody() -> MemberRef {
    MemberRef { group: "g".into(), generation: -1, ..MemberRef::default() }
}

pub(super) fn commit(who: MemberRef, topic: &str, offset: i64, metadata: &str) -> Request {
    let offset = CommittedOffset {
        offset: Offset(offset),
        leader_epoch: broker_model::LeaderEpoch(-1),
        metadata: metadata.into(),
    };
    let partition = CommitPartition { partition: broker_model::PartitionIndex(0), error: ErrorCode::None, offset };
    let topic = CommitTopic {
        topic: topic.into(),
        id: broker_model::TopicId::ZERO,
        error: ErrorCode::None,
        partitions: vec![partition],
    };
    Request::CommitOffsets(CommitOffsets { who, topics: vec![topic], ..CommitOffsets::default() })
}

/// What a consumer says: its topics, and what it owns as some assignors have it.
pub(super) fn subscription(topics: &[&str], owned: &'static [u8]) -> Protocol {
    let topics = topics.iter().map(|topic| (*topic).into()).collect();
    let user_data = Some(owned.into());
    let said = broker_wire::messages::ConsumerProtocolSubscription { topics, user_data, ..Default::default() };
    Protocol { name: "range".into(), metadata: said.encode_prefixed(1).expect("it is short").to_vec() }
}
