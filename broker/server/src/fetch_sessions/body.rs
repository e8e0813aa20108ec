//! The partitions of one request or session, and the bound on the memory of those that are kept.
//!
//! A full request is a plain list in its own order. Only what becomes a session gets a directory: an order that rotates,
//! and a look-up by topic and partition. Places in the list are stable: what is forgotten leaves a hole for the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use broker_model::TopicId;
use broker_wire::Str;
use broker_wire::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};

/// What a client asks of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The partition's number in its topic, as the client says it: it may not exist.
    pub partition: i32,
    /// The leader epoch that the client knows, -1 for none.
    pub current_leader_epoch: i32,
    /// The first offset that is wanted.
    pub fetch_offset: i64,
    /// The epoch of the last batch that the client has, -1 for none (KIP-595).
    pub last_fetched_epoch: i32,
    /// The most bytes that are wanted of this partition.
    pub partition_max_bytes: i32,
    /// The log start of a follower that fetches, else -1.
    pub log_start_offset: i64,
}

/// A topic as the client names it: by name up to version 12, by id from 13.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanTopic {
    /// Empty where the id counts.
    pub name: Str,
    /// Zero where the name counts.
    pub id: TopicId,
}

/// No more partitions can be kept, or one stands twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Cached partitions of all sessions.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) max: usize,
    pub(super) used: AtomicUsize,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
struct Reserved {
    budget: Arc<Budget>,
    count: usize,
}

#[derive(Debug, Default)]
pub(super) struct Entry<T> {
    pub(super) asked: Asked,
    /// As the client was told last; -1 when it must be told.
    pub(super) high_watermark: i64,
    pub(super) log_start: i64,
    /// Its place in the topics.
    pub(super) topic: u32,
    /// The answer in the making has records of it.
    pub(super) is_served: bool,
    pub(super) cached: T,
}

#[derive(Debug, Default)]
struct Topic {
    topic: PlanTopic,
    partitions: u32,
}

/// What makes a list a session.
#[derive(Debug)]
struct Directory {
    /// Places in the list, those first that are served first.
    order: Vec<u32>,
    free: Vec<u32>,
    topics: Names,
    topics_free: Vec<u32>,
    places: HashMap<(u32, i32), u32>,
    /// Scratch of a rotation.
    served: Vec<u32>,
    reserved: Reserved,
}

/// Where topics lie, by what the session names them with.
#[derive(Debug)]
enum Names {
    ByName(HashMap<Str, u32>),
    ById(HashMap<TopicId, u32>),
}

#[derive(Debug)]
pub(super) struct Body<T> {
    entries: Vec<Entry<T>>,
    topics: Vec<Topic>,
    directory: Option<Box<Directory>>,
    is_double: bool,
}

impl<T> Default for Body<T> {
    fn default() -> Self {
        Body { entries: Vec::new(), topics: Vec::new(), directory: None, is_double: false }
    }
}

impl<T: Default> Body<T> {
    /// The partitions in the order of the request.
    pub(super) fn of_request(asked: Vec<FetchTopic>) -> Body<T> {
        let mut topics = Vec::with_capacity(asked.len());
        let mut entries = Vec::with_capacity(asked.iter().map(|topic| topic.partitions.len()).sum());
        for FetchTopic { topic: name, topic_id: id, partitions } in asked {
            let place = small(topics.len());
            topics.push(Topic { topic: PlanTopic { name, id }, partitions: small(partitions.len()) });
            entries.extend(partitions.iter().map(|partition| Entry::new(place, partition)));
        }
        Body { entries, topics, directory: None, is_double: false }
    }

    /// Makes the list one that is kept. A list that names a partition twice is not.
    pub(super) fn cache(&mut self, budget: &Arc<Budget>, by_id: bool) -> Result<(), Full> {
        let mut reserved = Reserved { budget: budget.clone(), count: 0 };
        reserved.grow(self.entries.len())?;
        let names = Names::new(by_id);
        let mut directory = Directory::new(names, reserved);
        // A topic may be named in two parts of a request; the later parts join the first.
        let mut joined = Vec::with_capacity(self.topics.len());
        for (place, topic) in self.topics.iter_mut().enumerate() {
            topic.topic.name = topic.topic.name.detached();
            joined.push(directory.topics.place_or_insert(&topic.topic, small(place)));
        }
        for (place, entry) in self.entries.iter_mut().enumerate() {
            entry.topic = joined.get(entry.topic as usize).copied().expect("an entry's topic is in the list");
            let key = (entry.topic, entry.asked.partition);
            self.is_double |= directory.places.insert(key, small(place)).is_some();
            directory.order.push(small(place));
        }
        if self.is_double {
            return Err(Full);
        }
        self.topics.iter_mut().for_each(|topic| topic.partitions = 0);
        for entry in &self.entries {
            topic_mut(&mut self.topics, entry.topic).partitions += 1;
        }
        let empty = (0u32..).zip(&self.topics).filter(|(_, topic)| topic.partitions == 0);
        for (place, topic) in empty {
            directory.topics.remove(&topic.topic, place);
            directory.topics_free.push(place);
        }
        self.directory = Some(Box::new(directory));
        Ok(())
    }

    /// Adds and changes what the request names, and removes what it forgets.
    pub(super) fn update(&mut self, request: &mut FetchRequest) -> Result<(), Full> {
        let directory = self.directory.as_deref_mut().expect("only sessions are updated, and they have a directory");
        let mut list = List { entries: &mut self.entries, topics: &mut self.topics, directory };
        for FetchTopic { topic: name, topic_id: id, partitions } in std::mem::take(&mut request.topics) {
            let topic = PlanTopic { name, id };
            for partition in &partitions {
                list.put(&topic, partition)?;
            }
        }
        let mut has_holes = false;
        for forgotten in std::mem::take(&mut request.forgotten_topics_data) {
            let topic = PlanTopic { name: forgotten.topic, id: forgotten.topic_id };
            for partition in forgotten.partitions {
                has_holes |= list.forget(&topic, partition);
            }
        }
        if has_holes {
            list.close_holes();
        }
        Ok(())
    }
}

impl<T> Body<T> {
    pub(super) fn len(&self) -> usize {
        self.directory.as_ref().map_or(self.entries.len(), |directory| directory.order.len())
    }

    /// True when the list cannot be kept because it names a partition twice.
    pub(super) fn is_double(&self) -> bool {
        self.is_double
    }

    pub(super) fn entry(&self, position: usize) -> &Entry<T> {
        self.entries.get(self.place(position)).expect("a position of the plan is below its length")
    }

    pub(super) fn entry_mut(&mut self, position: usize) -> &mut Entry<T> {
        let place = self.place(position);
        self.entries.get_mut(place).expect("a position of the plan is below its length")
    }

    pub(super) fn topic(&self, place: u32) -> &PlanTopic {
        let topic = self.topics.get(place as usize);
        &topic.expect("an entry's topic is in the list").topic
    }

    /// Moves what was served behind what was not, so that no partition starves.
    pub(super) fn rotate(&mut self) {
        let Some(directory) = self.directory.as_deref_mut() else { return };
        let Directory { order, served, .. } = directory;
        order.retain(|place| {
            let entry = self.entries.get_mut(*place as usize).expect("the order names places in the list");
            let is_served = std::mem::take(&mut entry.is_served);
            if is_served {
                served.push(*place);
            }
            !is_served
        });
        order.append(served);
    }

    fn place(&self, position: usize) -> usize {
        match &self.directory {
            None => position,
            Some(directory) => directory.order.get(position).map_or(usize::MAX, |place| *place as usize),
        }
    }
}

/// A session's list while it is changed.
struct List<'a, T> {
    entries: &'a mut Vec<Entry<T>>,
    topics: &'a mut Vec<Topic>,
    directory: &'a mut Directory,
}

impl<T: Default> List<'_, T> {
    fn put(&mut self, topic: &PlanTopic, asked: &FetchPartition) -> Result<(), Full> {
        let known = self.directory.topics.place(topic);
        let place = known.and_then(|known| self.directory.places.get(&(known, asked.partition)));
        if let Some(place) = place {
            let entry = self.entries.get_mut(*place as usize).expect("the directory names places in the list");
            entry.asked = Asked::from(asked);
            return Ok(());
        }
        let free = match self.directory.free.pop() {
            Some(free) => free,
            None => {
                self.directory.reserved.grow(1)?;
                self.entries.push(Entry::default());
                small(self.entries.len() - 1)
            }
        };
        let topic = known.unwrap_or_else(|| self.add_topic(topic));
        topic_mut(self.topics, topic).partitions += 1;
        let entry = self.entries.get_mut(free as usize).expect("a free place is in the list");
        *entry = Entry::new(topic, asked);
        self.directory.places.insert((topic, asked.partition), free);
        self.directory.order.push(free);
        Ok(())
    }

    fn add_topic(&mut self, topic: &PlanTopic) -> u32 {
        let topic = PlanTopic { name: topic.name.detached(), id: topic.id };
        let place = self.directory.topics_free.pop().unwrap_or_else(|| {
            self.topics.push(Topic::default());
            small(self.topics.len() - 1)
        });
        self.directory.topics.place_or_insert(&topic, place);
        *topic_mut(self.topics, place) = Topic { topic, partitions: 0 };
        place
    }

    /// Marks the place as a hole: it stands in the order until [`List::close_holes`].
    fn forget(&mut self, topic: &PlanTopic, partition: i32) -> bool {
        let Some(place) = self.directory.topics.place(topic) else { return false };
        let Some(hole) = self.directory.places.remove(&(place, partition)) else { return false };
        let entry = self.entries.get_mut(hole as usize).expect("the directory names places in the list");
        *entry = Entry { topic: HOLE, ..Entry::default() };
        let known = topic_mut(self.topics, place);
        known.partitions -= 1;
        if known.partitions == 0 {
            self.directory.topics.remove(&known.topic, place);
            *known = Topic::default();
            self.directory.topics_free.push(place);
        }
        true
    }

    fn close_holes(&mut self) {
        let Directory { order, free, .. } = &mut *self.directory;
        order.retain(|place| {
            let is_hole = self.entries.get(*place as usize).is_none_or(|entry| entry.topic == HOLE);
            if is_hole {
                free.push(*place);
            }
            !is_hole
        });
    }
}

/// The topic of a place that nothing lies in.
const HOLE: u32 = u32::MAX;

impl<T: Default> Entry<T> {
    fn new(topic: u32, asked: &FetchPartition) -> Entry<T> {
        let asked = Asked::from(asked);
        Entry { asked, high_watermark: -1, log_start: -1, topic, is_served: false, cached: T::default() }
    }
}

impl From<&FetchPartition> for Asked {
    fn from(asked: &FetchPartition) -> Self {
        Asked {
            partition: asked.partition,
            current_leader_epoch: asked.current_leader_epoch,
            fetch_offset: asked.fetch_offset,
            last_fetched_epoch: asked.last_fetched_epoch,
            partition_max_bytes: asked.partition_max_bytes,
            log_start_offset: asked.log_start_offset,
        }
    }
}

impl Directory {
    fn new(topics: Names, reserved: Reserved) -> Directory {
        let count = reserved.count;
        Directory {
            order: Vec::with_capacity(count),
            free: Vec::new(),
            topics,
            topics_free: Vec::new(),
            places: HashMap::with_capacity(count),
            served: Vec::new(),
            reserved,
        }
    }
}

impl Names {
    fn new(by_id: bool) -> Names {
        if by_id { Names::ById(HashMap::new()) } else { Names::ByName(HashMap::new()) }
    }

    fn place(&self, topic: &PlanTopic) -> Option<u32> {
        match self {
            Names::ByName(names) => names.get(topic.name.as_str()).copied(),
            Names::ById(ids) => ids.get(&topic.id).copied(),
        }
    }

    /// Where the topic lies; at `place` if it is new.
    fn place_or_insert(&mut self, topic: &PlanTopic, place: u32) -> u32 {
        match self {
            Names::ByName(names) => *names.entry(topic.name.clone()).or_insert(place),
            Names::ById(ids) => *ids.entry(topic.id).or_insert(place),
        }
    }

    /// Forgets the topic, if it lies at `place`.
    fn remove(&mut self, topic: &PlanTopic, place: u32) {
        if self.place(topic) != Some(place) {
            return;
        }
        match self {
            Names::ByName(names) => names.remove(topic.name.as_str()),
            Names::ById(ids) => ids.remove(&topic.id),
        };
    }
}

impl Reserved {
    fn grow(&mut self, count: usize) -> Result<(), Full> {
        let Budget { max, used } = &*self.budget;
        let grow = |used: usize| used.checked_add(count).filter(|sum| sum <= max);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).map_err(|_used| Full)?;
        self.count += count;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.count, Ordering::Relaxed);
    }
}

fn topic_mut(topics: &mut [Topic], place: u32) -> &mut Topic {
    topics.get_mut(place as usize).expect("an entry's topic is in the list")
}

/// A frame is bounded far below 4 G entries.
fn small(count: usize) -> u32 {
    u32::try_from(count).expect("a request's partitions are bounded by its frame")
}
