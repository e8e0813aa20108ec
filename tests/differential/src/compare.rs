//! Two answers, field by field, under the table of justified differences.
//!
//! Invariants: a value that a broker hands out is bound to the other broker's at the first place where both stand, and
//! must be the same pair everywhere after; a rule is counted only where it excused something. A path has `[]` for each
//! array; a place has the index.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use broker_wire::ApiKey;
use broker_wire::tree::Node;

use crate::differences::rules;
use crate::rule::{How, Kind, Rule};
use crate::show::show;
use crate::step::{Damage, Side};

/// How far apart two brokers' clocks may be read within one sequence, in milliseconds.
const NEAR_MS: i64 = 60_000;

/// The random part at the end of a member's id as it is shown, with the quote behind it.
const UUID_CHARS: usize = 37;

/// A field that is not the same.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) path: String,
    pub(crate) place: String,
    pub(crate) strata: String,
    pub(crate) kafka: String,
}

/// Which value of Strata stands for which of Kafka.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    to_kafka: HashMap<(Kind, String), String>,
    to_strata: HashMap<(Kind, String), String>,
}

impl Bindings {
    /// What a member is sorted by: those that are bound by Kafka's name, all others behind them by what stands in front of
    /// the random part of their ids.
    fn member(&self, id: String, side: Side) -> Key {
        let front = id.get(..id.len().saturating_sub(UUID_CHARS)).unwrap_or_default().to_owned();
        let kafkas = match side {
            Side::Strata => self.to_kafka.get(&(Kind::Member, id)).cloned(),
            Side::Kafka => self.to_strata.contains_key(&(Kind::Member, id.clone())).then_some(id),
        };
        kafkas.map_or(Key::Unknown(front), Key::Text)
    }

    fn kafkas(&self, kind: Kind, strata: String) -> String {
        self.to_kafka.get(&(kind, strata.clone())).cloned().unwrap_or(strata)
    }

    fn agrees(&mut self, kind: Kind, strata: String, kafka: String) -> bool {
        let forth = (kind, strata.clone());
        let back = (kind, kafka.clone());
        match (self.to_kafka.get(&forth), self.to_strata.get(&back)) {
            (None, None) => {
                self.to_kafka.insert(forth, kafka);
                self.to_strata.insert(back, strata);
                true
            }
            (Some(known), _) => *known == kafka,
            (None, Some(_)) => false,
        }
    }
}

/// What stands for an element that is not there.
const ABSENT: Node = Node::Null;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(String),
    Unknown(String),
}

/// How often each rule excused a difference.
#[derive(Debug)]
pub(crate) struct Uses(Vec<AtomicU64>);

impl Uses {
    pub(crate) fn new() -> Uses {
        Uses(rules().map(|_| AtomicU64::new(0)).collect())
    }

    fn note(&self, rule: usize) {
        if let Some(count) = self.0.get(rule) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static Rule, u64)> {
        rules().zip(&self.0).map(|(rule, count)| (rule, count.load(Ordering::Relaxed)))
    }
}

/// A pair of answers to one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    /// Kafka's request.
    pub(crate) request: &'a Node,
    pub(crate) strata: &'a Node,
    pub(crate) kafka: &'a Node,
    /// In front of the names of this sequence.
    pub(crate) prefix: &'a str,
    pub(crate) damage: Option<&'a Damage>,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) differences: Vec<Difference>,
    /// A justified difference after which the two brokers' states are no longer the same.
    pub(crate) parts: bool,
}

/// Compares.
pub(crate) fn compare(case: Case<'_>, bindings: &mut Bindings, uses: &Uses) -> Verdict {
    let mut comparison = Comparison { case, bindings, uses, verdict: Verdict::default() };
    comparison.node("", "", case.strata, case.kafka);
    comparison.verdict
}

struct Comparison<'a> {
    case: Case<'a>,
    bindings: &'a mut Bindings,
    uses: &'a Uses,
    verdict: Verdict,
}

impl Comparison<'_> {
    fn node(&mut self, path: &str, place: &str, strata: &Node, kafka: &Node) {
        if self.is_excused(path, strata, kafka) {
            return;
        }
        match (strata, kafka) {
            (Node::Fields(left), Node::Fields(right)) => self.fields(path, place, left, right),
            (Node::List(left), Node::List(right)) => self.list(path, place, left, right),
            (left, right) if left == right => (),
            _ => self.differ(path, place, strata, kafka),
        }
    }

    fn fields(&mut self, path: &str, place: &str, left: &[(&'static str, Node)], right: &[(&'static str, Node)]) {
        for ((name, strata), (other, kafka)) in left.iter().zip(right) {
            let join = |to: &str| if to.is_empty() { (*name).to_owned() } else { format!("{to}.{name}") };
            if name != other {
                self.differ(&join(path), &join(place), strata, kafka);
            } else {
                self.node(&join(path), &join(place), strata, kafka);
            }
        }
    }

    fn list(&mut self, path: &str, place: &str, left: &[Node], right: &[Node]) {
        let (mut left, mut right) = (left.to_vec(), right.to_vec());
        for (index, rule) in self.rules(path) {
            self.arrange(index, rule, &mut left, &mut right);
        }
        if left.len() != right.len() {
            self.only_one_has(path, place, (&mut left, &mut right));
        }
        for (strata, kafka) in left.iter().zip(&right) {
            self.node(&format!("{path}[]"), &format!("{place}[{}]", name_of(kafka)), strata, kafka);
        }
    }

    /// Tells which elements only one of two lists has, and takes them out.
    fn only_one_has(&mut self, path: &str, place: &str, (left, right): (&mut Vec<Node>, &mut Vec<Node>)) {
        let name = |item: &Node, is_ours: bool| match item {
            Node::Fields(fields) => match fields.first() {
                Some((_, id @ Node::Uuid(_))) if is_ours => self.bindings.kafkas(Kind::TopicId, show(id)),
                _ => name_of(item),
            },
            other => show(other),
        };
        let (ours, theirs): (Vec<_>, Vec<_>) =
            (left.iter().map(|item| name(item, true)).collect(), right.iter().map(|item| name(item, false)).collect());
        let path = format!("{path}[]");
        for (list, others, is_ours) in [(&mut *left, &theirs, true), (right, &ours, false)] {
            let own = if is_ours { &ours } else { &theirs };
            let mut own = own.iter();
            list.retain(|item| {
                let is_common = own.next().is_some_and(|name| others.contains(name));
                if !is_common {
                    let (strata, kafka) = if is_ours { (item, &ABSENT) } else { (&ABSENT, item) };
                    if !self.is_excused(&path, strata, kafka) {
                        self.differ(&path, &format!("{place}[{}]", name_of(item)), strata, kafka);
                    }
                }
                is_common
            });
        }
    }

    /// Applies a rule about lists: which elements count, and in which order.
    fn arrange(&mut self, index: usize, rule: &Rule, left: &mut Vec<Node>, right: &mut Vec<Node>) {
        let prefix = self.case.prefix;
        let before = (left.len(), right.len());
        match rule.how {
            How::Set(keys) => {
                let (old_left, old_right) = (left.clone(), right.clone());
                self.sort(left, keys, Side::Strata);
                self.sort(right, keys, Side::Kafka);
                if *left != old_left || *right != old_right {
                    self.uses.note(index);
                }
            }
            How::Joined(keys, inner) => {
                for list in [&mut *left, right] {
                    *list = joined(std::mem::take(list), keys, inner);
                }
            }
            How::Mine(field) => {
                let mine = |item: &Node| text(item, field).is_some_and(|name| name.starts_with(prefix));
                left.retain(mine);
                right.retain(mine);
            }
            How::Without(field, names) => {
                let stays = |item: &Node| text(item, field).is_none_or(|name| !names.contains(&name));
                left.retain(stays);
                right.retain(stays);
            }
            _ => (),
        }
        if before != (left.len(), right.len()) {
            self.uses.note(index);
        }
    }

    /// Sorts by keys. Members that are not bound yet and that nothing tells apart lose their ids: which one is which is
    /// seen when they are asked for.
    fn sort(&self, items: &mut Vec<Node>, keys: &[&str], side: Side) {
        let mut keyed: Vec<_> =
            std::mem::take(items).into_iter().map(|item| (self.key(&item, keys, side), item)).collect();
        keyed.sort_by(|(left, _), (right, _)| left.cmp(right));
        let is_unknown = |key: &[Key]| matches!(key.first(), Some(Key::Unknown(_)));
        let same = |at: usize| keyed.get(at).zip(keyed.get(at + 1)).is_some_and(|((one, _), (next, _))| one == next);
        let alike: Vec<bool> = (0..keyed.len()).map(|at| same(at) || at.checked_sub(1).is_some_and(same)).collect();
        for ((key, mut item), is_alike) in keyed.into_iter().zip(alike) {
            if let Node::Fields(fields) = &mut item
                && is_alike
                && is_unknown(&key)
            {
                fields.iter_mut().filter(|(name, _)| *name == "member_id").for_each(|(_, id)| *id = Node::Null);
            }
            items.push(item);
        }
    }

    fn is_excused(&mut self, path: &str, strata: &Node, kafka: &Node) -> bool {
        for (index, rule) in self.rules(path) {
            let is_excused = match &rule.how {
                How::Bound(kind) => match (handed_out(*kind, strata), handed_out(*kind, kafka)) {
                    (Some(left), Some(right)) => self.bindings.agrees(*kind, left, right),
                    (left, right) => left.is_none() && right.is_none() && strata == kafka,
                },
                How::Message => match (strata, kafka) {
                    (Node::Text(_), Node::Text(_)) => true,
                    // Strata may explain an error where Kafka has nothing to say.
                    (Node::Text(ours), Node::Null) => !ours.is_empty(),
                    _ => strata == kafka,
                },
                How::Near => match (strata, kafka) {
                    (Node::Number(left), Node::Number(right)) => {
                        left == right || (*left > 0 && *right > 0 && left.abs_diff(*right) < NEAR_MS.unsigned_abs())
                    }
                    _ => false,
                },
                How::Ignored => true,
                How::Pair(left, right) => show(strata) == *left && show(kafka) == *right,
                How::When(holds) | How::Parts(holds) => strata != kafka && holds(&self.case, strata, kafka),
                How::Set(_) | How::Joined(..) | How::Mine(_) | How::Without(..) => false,
            };
            if is_excused {
                if strata != kafka {
                    self.uses.note(index);
                    self.verdict.parts |= matches!(rule.how, How::Parts(_));
                }
                return true;
            }
        }
        false
    }

    /// What a list is sorted by. An id that Strata handed out counts as the one of Kafka that it is bound to.
    fn key(&self, item: &Node, keys: &[&str], side: Side) -> Vec<Key> {
        let one = |(name, node): (&&str, &Node)| match node {
            Node::Number(value) => Key::Number(*value),
            Node::Uuid(_) if side == Side::Strata => Key::Text(self.bindings.kafkas(Kind::TopicId, show(node))),
            Node::Text(_) if *name == "member_id" => self.bindings.member(show(node), side),
            other => Key::Text(show(other)),
        };
        keys.iter().filter_map(|name| Some((name, item.field(name)?))).map(one).collect()
    }

    fn rules(&self, path: &str) -> Vec<(usize, &'static Rule)> {
        let (api, version) = (self.case.api, self.case.version);
        rules().enumerate().filter(|(_, rule)| rule.is_for(api, version, path)).collect()
    }

    fn differ(&mut self, path: &str, place: &str, strata: &Node, kafka: &Node) {
        self.verdict.differences.push(Difference {
            path: path.to_owned(),
            place: place.to_owned(),
            strata: show(strata),
            kafka: show(kafka),
        });
    }
}

/// A value that a broker hands out; none for what says that there is none.
fn handed_out(kind: Kind, node: &Node) -> Option<String> {
    match node {
        Node::Number(0) if kind == Kind::Producer => Some(show(node)),
        Node::Number(-1 | 0) | Node::Null => None,
        Node::Text(text) if text.is_empty() => None,
        Node::Uuid(id) if id.is_nil() => None,
        other => Some(show(other)),
    }
}

fn text<'a>(item: &'a Node, field: &str) -> Option<&'a str> {
    let item = if field.is_empty() { item } else { item.field(field)? };
    match item {
        Node::Text(text) => Some(text.as_str()),
        _ => None,
    }
}

/// Puts the inner lists of elements of the same name together.
fn joined(list: Vec<Node>, keys: &[&str], inner: &str) -> Vec<Node> {
    let mut found: Vec<Node> = Vec::new();
    for item in list {
        let is_same = |other: &&mut Node| keys.iter().all(|key| other.field(key) == item.field(key));
        let Some(Node::Fields(fields)) = found.iter_mut().find(is_same) else {
            found.push(item);
            continue;
        };
        let place = fields.iter_mut().find(|(name, _)| *name == inner);
        if let Some((_, Node::List(items))) = place {
            items.extend_from_slice(item.field(inner).map(Node::items).unwrap_or_default());
        }
    }
    found
}

/// What an element is called by its first field.
fn name_of(item: &Node) -> String {
    match item {
        Node::Fields(fields) => fields.first().map(|(_, value)| show(value)).unwrap_or_default(),
        other => show(other),
    }
}
