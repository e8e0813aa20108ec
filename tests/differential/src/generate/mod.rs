//! Sequences from seeds.
//!
//! A [`Plan`] predicts what both brokers will hold (topics, ends of partitions, members), so that most requests are
//! about something that is there; the prediction may be wrong, which only makes a request less interesting. Each file
//! here makes the requests of one part of the protocol, valid ones and wrong ones.

mod admin;
mod batch;
mod configs;
mod damage;
mod data;
mod fetch;
mod groups;
mod offsets;

use std::sync::Arc;

use broker_wire::messages::InitProducerIdRequest;
use broker_wire::{ApiKey, RequestBody};

use crate::dice::Dice;
use crate::step::{Step, View};
use crate::versions::Versions;

/// The lane of requests that belong to no member.
const MAIN: u8 = 0;
/// A topic that no request creates on purpose.
pub(crate) const NOWHERE: u8 = 8;

/// A partition as it should be.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    start: i64,
    end: i64,
}

/// What both brokers should hold at this point of a sequence.
#[derive(Clone, Debug, Default)]
struct World {
    /// By slot; none where the topic does not exist.
    topics: [Option<Vec<Ends>>; crate::settle::TOPICS as usize],
    /// Next sequences by producer, topic and partition.
    sequences: std::collections::HashMap<(u8, u8, i32), i32>,
    /// Epochs of fetch sessions.
    sessions: [i32; 2],
}

/// A sequence in the making.
struct Plan<'a> {
    dice: Dice,
    versions: &'a Versions,
    world: World,
    steps: Vec<Step>,
}

/// What a sequence is mostly about.
#[derive(Clone, Copy, Debug)]
enum Theme {
    Data,
    Admin,
    Groups,
    Everything,
}

/// The sequence of a seed.
pub(crate) fn sequence(seed: u64, versions: &Versions) -> Vec<Step> {
    let mut plan = Plan { dice: Dice::new(seed), versions, world: World::default(), steps: Vec::new() };
    let theme = plan.dice.weighted(&[(4, Theme::Data), (2, Theme::Admin), (3, Theme::Groups), (3, Theme::Everything)]);
    plan.begin(theme);
    let count = 10 + plan.dice.below(31);
    while plan.steps.len() < count {
        plan.next(theme);
    }
    plan.steps
}

/// Puts what is about the same topic together, as clients do. The order is that of first sight.
fn grouped<T: Clone>(list: &[T], topic: impl Fn(&T) -> u8) -> Vec<(u8, Vec<T>)> {
    let mut found: Vec<(u8, Vec<T>)> = Vec::new();
    for item in list {
        match found.iter_mut().find(|(name, _)| *name == topic(item)) {
            Some((_, items)) => items.push(item.clone()),
            None => found.push((topic(item), vec![item.clone()])),
        }
    }
    found
}

impl Plan<'_> {
    /// Most sequences begin with a topic, some with a producer.
    fn begin(&mut self, theme: Theme) {
        if !matches!(theme, Theme::Admin) || self.dice.percent(70) {
            admin::create_plain(self, 0);
        }
        if self.dice.percent(30) {
            admin::create_plain(self, 1);
        }
        if matches!(theme, Theme::Data | Theme::Everything) {
            self.init_producer(0);
            for _ in 0..self.dice.below(4) {
                data::produce_well(self);
            }
        }
    }

    fn next(&mut self, theme: Theme) {
        let part: fn(&mut Plan<'_>) = match theme {
            Theme::Data => self.dice.weighted::<fn(&mut Plan<'_>)>(&[
                (30, data::produce),
                (30, fetch::fetch),
                (20, data::look),
                (4, admin::admin),
                (3, configs::configs),
                (2, damage::damage),
                (3, admin::metadata),
            ]),
            Theme::Admin => self.dice.weighted::<fn(&mut Plan<'_>)>(&[
                (30, admin::admin),
                (30, configs::configs),
                (20, admin::metadata),
                (5, data::produce),
                (5, data::look),
                (3, damage::damage),
                (4, offsets::offsets),
            ]),
            Theme::Groups => self.dice.weighted::<fn(&mut Plan<'_>)>(&[
                (60, groups::groups),
                (25, offsets::offsets),
                (2, admin::admin),
                (2, data::produce),
                (2, damage::damage),
            ]),
            Theme::Everything => self.dice.weighted::<fn(&mut Plan<'_>)>(&[
                (15, data::produce),
                (15, fetch::fetch),
                (15, data::look),
                (10, admin::admin),
                (8, configs::configs),
                (10, admin::metadata),
                (20, groups::groups),
                (12, offsets::offsets),
                (6, damage::damage),
            ]),
        };
        part(self);
    }

    /// Adds a request of a version that both brokers have; none where they have no such API.
    fn add(
        &mut self,
        kind: &'static str,
        api: ApiKey,
        make: impl Fn(&View<'_>) -> RequestBody + Send + Sync + 'static,
    ) -> Option<&mut Step> {
        let (first, last) = self.versions.range(api)?;
        let version = if self.dice.percent(40) { last } else { self.dice.between(first.into(), last.into()) as i16 };
        self.steps.push(Step {
            lane: MAIN,
            kind,
            api,
            version,
            make: Arc::new(make),
            damage: None,
            slot: 0,
            is_answered: true,
            settles: false,
        });
        self.steps.last_mut()
    }

    /// A topic: mostly one that exists, sometimes one that may, rarely one that does not.
    fn topic(&mut self) -> u8 {
        let there: Vec<u8> = (0..crate::settle::TOPICS).filter(|slot| self.partitions(*slot) > 0).collect();
        match self.dice.below(20) {
            0 => NOWHERE,
            1 | 2 => self.dice.below(usize::from(crate::settle::TOPICS)) as u8,
            _ if there.is_empty() => 0,
            _ => self.dice.of(&there),
        }
    }

    fn partitions(&self, topic: u8) -> i32 {
        self.world.topics.get(usize::from(topic)).and_then(Option::as_ref).map_or(0, |list| list.len() as i32)
    }

    /// A partition: mostly one that exists.
    fn partition(&mut self, topic: u8) -> i32 {
        let count = self.partitions(topic);
        match self.dice.below(25) {
            0 => -1,
            1 => count,
            2 => self.dice.of(&[i32::MAX, i32::MIN, 1000]),
            _ => self.dice.below(count.max(1) as usize) as i32,
        }
    }

    fn ends(&self, topic: u8, partition: i32) -> Ends {
        let list = self.world.topics.get(usize::from(topic)).and_then(Option::as_ref);
        list.and_then(|list| list.get(usize::try_from(partition).ok()?)).copied().unwrap_or_default()
    }

    fn ends_mut(&mut self, topic: u8, partition: i32) -> Option<&mut Ends> {
        self.world.topics.get_mut(usize::from(topic))?.as_mut()?.get_mut(usize::try_from(partition).ok()?)
    }

    /// An offset: below, in, at the end of or beyond a partition.
    fn offset(&mut self, topic: u8, partition: i32) -> i64 {
        let Ends { start, end } = self.ends(topic, partition);
        match self.dice.below(14) {
            0 => -1,
            1 => self.dice.of(&[-2, -3, -100, i64::MIN]),
            2 => end,
            3 => end + 1,
            4 => self.dice.of(&[1_000, i64::MAX, i64::MAX - 1]),
            5 => start - 1,
            6 => start,
            _ => self.dice.between(start, end.max(start + 1) - 1),
        }
    }

    /// An epoch of a leader as a client may know it.
    fn leader_epoch(&mut self) -> i32 {
        self.dice.weighted(&[(10, -1), (4, 0), (1, 1), (1, 5), (1, -2), (1, i32::MAX)])
    }

    fn init_producer(&mut self, slot: u8) {
        let made = self.add("init-producer/new", ApiKey::InitProducerId, |_| {
            RequestBody::InitProducerId(InitProducerIdRequest {
                transaction_timeout_ms: i32::MAX,
                producer_id: -1,
                producer_epoch: -1,
                ..Default::default()
            })
        });
        if let Some(step) = made {
            step.slot = slot;
        }
    }
}
