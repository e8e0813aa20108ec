//! Random clients against invariants and a model: what is answered is in the log, each caller is answered once, soft state
//! is whole after each step, and groups settle when the trouble ends.

use std::collections::{BTreeMap, BTreeSet};

use broker_model::ErrorCode;
use broker_model::machine::{CallId, Machine, Refusal};

use super::bench::{Bench, commit, direct};
use crate::live::{Live, LiveGroup, Phase, Waiting};
use crate::request::{
    FirstJoin, GroupState, Join, Joined, Leave, LeavingMember, MemberRef, Output, Protocol, Request, Sync, Synced,
};
use crate::settings::Settings;

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

#[derive(Clone, Debug, PartialEq)]
enum State {
    Out,
    Joining(CallId),
    Joined,
    Syncing(CallId),
    Stable,
}

/// A client as well-behaved as real ones: it does what the last answer says.
struct Client {
    number: usize,
    who: MemberRef,
    state: State,
    leads: Vec<String>,
    metadata: u8,
}

impl Client {
    fn new(number: usize) -> Client {
        let instance = (number >= 4).then(|| format!("s{number}"));
        let who = MemberRef { group: "g".into(), member: String::new(), instance, generation: -1 };
        Client { number, who, state: State::Out, leads: Vec::new(), metadata: 0 }
    }

    fn reset(&mut self) {
        self.who.member = String::new();
        self.who.generation = -1;
        self.state = State::Out;
    }

    fn join(&mut self, bench: &mut Bench, unique: u64) {
        let protocol = |name: &str| Protocol { name: name.into(), metadata: vec![self.metadata] };
        let join = Join {
            member: self.who.member.clone(),
            instance: self.who.instance.clone(),
            unique: unique.to_string(),
            rebalance_timeout_ms: 20_000,
            protocols: vec![protocol("range"), protocol("sticky")],
            first_join: if self.number == 0 { FirstJoin::Direct } else { FirstJoin::IdRequired },
            ..direct("")
        };
        self.state = State::Joining(bench.start_join(join));
    }

    fn sync(&mut self, bench: &mut Bench) {
        let assign = |member: &String| (member.clone(), assigned(self.who.generation, member));
        let assignments = self.leads.iter().map(assign).collect();
        let request = Sync { who: self.who.clone(), assignments, ..Sync::default() };
        self.state = State::Syncing(bench.start(Request::Sync(request)));
    }

    /// Takes the answer that it waits for, if it is there.
    fn read(&mut self, bench: &mut Bench) {
        let (State::Joining(call) | State::Syncing(call)) = self.state else { return };
        match bench.outputs.remove(&call) {
            None if bench.refused.contains(&call) => self.state = State::Out,
            None => {}
            Some(Output::Joined(joined)) => self.read_join(bench, joined),
            Some(Output::Synced(synced)) => self.read_sync(bench, synced),
            Some(other) => panic!("{other:?}"),
        }
    }

    fn read_join(&mut self, bench: &Bench, joined: Joined) {
        let Joined { error, generation, leader, member, members, .. } = joined;
        match error {
            ErrorCode::None => {
                // An answer may be read late; if its generation still holds it agrees with it, but that a static
                // leader may have come back since.
                let live = bench.live.groups.get("g").filter(|live| live.generation == generation);
                let live = live.filter(|live| !matches!(live.phase, Phase::Preparing { .. }));
                if let Some(live) = live.filter(|live| live.members.contains_key(&member) && leader.starts_with('c')) {
                    assert_eq!(live.leader.as_ref(), Some(&leader));
                    assert_eq!(members.is_empty(), leader != member);
                }
                self.who.member = member;
                self.who.generation = generation;
                self.leads = members.into_iter().map(|member| member.member).collect();
                self.state = State::Joined;
            }
            ErrorCode::MemberIdRequired => {
                self.who.member = member;
                self.state = State::Out;
            }
            ErrorCode::RebalanceInProgress => self.state = State::Out,
            // The group is full of those that crashed, until their sessions end.
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId | ErrorCode::GroupMaxSizeReached => self.reset(),
            other => panic!("{other:?}"),
        }
    }

    fn read_sync(&mut self, _: &Bench, synced: Synced) {
        match synced.error {
            ErrorCode::None => {
                assert_eq!(synced.assignment, assigned(self.who.generation, &self.who.member), "as its leader said");
                self.state = State::Stable;
            }
            error => self.back(error),
        }
    }

    /// What a client does about an error to a sync, a heartbeat or a commit.
    fn back(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.reset(),
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::UnknownServerError => self.state = State::Out,
            other => panic!("{other:?}"),
        }
    }

    /// The next thing that a healthy client does.
    fn go_on(&mut self, bench: &mut Bench, unique: u64) {
        self.read(bench);
        match self.state {
            State::Out => self.join(bench, unique),
            State::Joined => self.sync(bench),
            State::Stable => self.beat(bench),
            State::Joining(_) | State::Syncing(_) => {}
        }
        self.read(bench);
    }

    fn beat(&mut self, bench: &mut Bench) {
        let error = bench.heartbeat(self.who.clone());
        self.back(error);
    }
}

/// A static member's assignment is its instance's, whatever member id it has now.
fn assigned(generation: i32, member: &str) -> Vec<u8> {
    let member = if member.starts_with('s') { member.split('-').next().unwrap_or(member) } else { member };
    format!("{generation}:{member}").into_bytes()
}

struct World {
    rng: Rng,
    bench: Bench,
    clients: Vec<Client>,
    offsets: BTreeMap<String, i64>,
    unique: u64,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let delay = [0, 3_000][rng.below(2) as usize];
        let settings = Settings { initial_rebalance_delay_ms: delay, members_max: 8, ..Settings::default() };
        let clients = (0..6).map(Client::new).collect();
        World { rng, bench: Bench::new(settings), clients, offsets: BTreeMap::new(), unique: 0, trace: Vec::new() }
    }

    fn unique(&mut self) -> u64 {
        self.unique += 1;
        self.unique
    }

    fn act(&mut self) {
        let at = self.rng.below(6) as usize;
        let unique = self.unique();
        match self.rng.below(100) {
            0..=59 => self.clients[at].go_on(&mut self.bench, unique),
            60..=69 => self.commit(at),
            70..=84 => {
                let ms = [1, 50, 1_000, 4_000][self.rng.below(4) as usize];
                self.bench.wait(ms);
            }
            85..=87 => self.leave(at),
            88..=90 => self.crash(at),
            91..=92 => self.clients[at].metadata ^= 1,
            93..=94 => {
                let why = [Refusal::Unavailable, Refusal::Conflict, Refusal::TooLarge][self.rng.below(3) as usize];
                self.bench.refuse_next = Some(why);
            }
            95 => self.restart(),
            96 => {
                // It joins though nobody asked it to.
                if !matches!(self.clients[at].state, State::Joining(_) | State::Syncing(_)) {
                    self.clients[at].join(&mut self.bench, unique);
                }
            }
            97 => {
                // Its connection broke, and it asks again.
                if matches!(self.clients[at].state, State::Joining(_)) {
                    self.clients[at].join(&mut self.bench, unique);
                }
            }
            _ => self.compare_offsets(),
        }
        self.check();
    }

    fn commit(&mut self, at: usize) {
        let (topic, offset) = (format!("t{}", self.rng.below(3)), self.rng.below(1_000) as i64);
        let client = &mut self.clients[at];
        let call = self.bench.start(commit(client.who.clone(), &topic, offset, ""));
        let Some(output) = self.bench.outputs.remove(&call) else { return }; // refused: the driver says so
        let Output::Committed(topics) = output else { panic!("{output:?}") };
        match topics[0].partitions[0].1 {
            ErrorCode::None => drop(self.offsets.insert(topic, offset)),
            _ if client.state == State::Out => {}
            error if client.state == State::Stable => client.back(error),
            _ => {}
        }
    }

    fn leave(&mut self, at: usize) {
        let Client { who, .. } = &self.clients[at];
        if who.member.is_empty() {
            return;
        }
        let leaving = LeavingMember { member: who.member.clone(), instance: who.instance.clone() };
        self.bench.start(Request::Leave(Leave { group: "g".into(), members: vec![leaving] }));
        self.clients[at].reset();
    }

    fn crash(&mut self, at: usize) {
        self.clients[at].reset();
    }

    /// The coordinator starts again: who waits is told by the driver, which asks the machine who that is.
    fn restart(&mut self) {
        let settings = self.bench.machine.clone();
        let live = std::mem::replace(&mut self.bench.live, settings.recover(&self.bench.hard, self.bench.now));
        let callers: BTreeSet<CallId> = settings.callers(live).into_iter().collect();
        for client in &mut self.clients {
            client.read(&mut self.bench);
            if let State::Joining(call) | State::Syncing(call) = client.state {
                assert!(callers.contains(&call), "a caller who waits was forgotten");
                client.state = State::Out;
            }
        }
        self.bench.restart();
    }

    fn compare_offsets(&mut self) {
        assert_eq!(self.bench.offsets(), self.offsets);
    }

    fn check(&mut self) {
        check_live(&self.bench);
        let next = self.bench.machine.next_deadline(&self.bench.hard, &self.bench.live);
        assert!(next > Some(self.bench.now), "the driver would spin");
        for client in &self.clients {
            if let State::Joining(call) | State::Syncing(call) = client.state {
                let waits = waiting(&self.bench.live).contains(&call);
                let is_told = self.bench.outputs.contains_key(&call) || self.bench.refused.contains(&call);
                assert!(waits != is_told, "{call:?} waits or is answered");
            }
        }
        let state = self.bench.live.groups.get("g").map_or(GroupState::Dead, LiveGroup::state);
        self.trace.push(format!("{} {state:?}", self.bench.now));
    }

    /// No more trouble: the group comes to rest with all clients in it, each with what it is assigned.
    fn settle(&mut self) {
        self.bench.refuse_next = None;
        for _ in 0..200 {
            for at in 0..self.clients.len() {
                let unique = self.unique();
                self.clients[at].go_on(&mut self.bench, unique);
                self.check();
            }
            if self.clients.iter().all(|client| client.state == State::Stable)
                && self.bench.describe().members.len() == 6
            {
                break;
            }
            self.bench.wait(1_000);
        }
        let described = self.bench.describe();
        assert_eq!((described.state, described.members.len()), (GroupState::Stable, 6));
        let generations: BTreeSet<i32> = self.clients.iter().map(|client| client.who.generation).collect();
        assert_eq!(generations.len(), 1);
        assert!(self.clients.iter().all(|client| client.state == State::Stable));
        self.compare_offsets();
    }
}

fn waiting(live: &Live) -> BTreeSet<CallId> {
    let members = live.groups.values().flat_map(|group| group.members.values());
    members
        .filter_map(|member| match member.waiting {
            Waiting::Join(call, _) | Waiting::Sync(call) => Some(call),
            Waiting::None => None,
        })
        .collect()
}

/// What holds for soft state between any two steps.
fn check_live(bench: &Bench) {
    for group in bench.live.groups.values() {
        let statics: BTreeMap<_, _> =
            group.members.iter().filter_map(|(id, member)| Some((member.instance.clone()?, id.clone()))).collect();
        assert_eq!(statics, group.statics);
        assert!(group.joining() <= 8);
        assert!(group.pending.keys().all(|id| !group.members.contains_key(id)));
        assert!(group.leader.as_ref().is_none_or(|leader| group.members.contains_key(leader)));
        assert_eq!(group.members.is_empty(), group.phase == Phase::Empty, "no members is what empty means");
        for member in group.members.values() {
            let (is_join, is_sync) =
                (matches!(member.waiting, Waiting::Join(..)), matches!(member.waiting, Waiting::Sync(_)));
            assert!(!is_join || matches!(group.phase, Phase::Preparing { .. }));
            assert!(!is_sync || matches!(group.phase, Phase::Completing { .. }));
            if let (Phase::Stable | Phase::Completing { .. }, Some(protocol)) = (&group.phase, &group.protocol) {
                assert!(member.protocols.iter().any(|known| known.name == *protocol));
            }
        }
        if let Phase::Stable = group.phase {
            let written = bench.hard.meta("g").expect("a stable group is written");
            assert_eq!(written.generation, group.generation);
            assert!(group.leader.is_some());
        }
    }
}

fn simulate(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..300 {
        world.act();
    }
    world.settle();
    world.trace
}

#[test]
fn groups_keep_their_rules_and_settle() {
    let mut seen = String::new();
    for seed in 0..2_000 {
        println!("seed {seed}"); // Shown by a failure only.
        let trace = simulate(seed);
        if seed % 100 == 0 {
            assert_eq!(trace, simulate(seed), "one seed, one trace");
            seen.extend(trace);
        }
    }
    for state in ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead"] {
        assert!(seen.contains(state), "{state} never happened");
    }
}
