//! `strata tier ls`: what the bucket holds, by the roots of its partitions. Nothing is listed and no object is opened.
//!
//! A partition's row is its root with its groups. A root that cannot be read ends the command: what follows would be wrong.

use std::error::Error;
use std::io;

use broker_cli::progress::{Progress, Unit};
use broker_cli::{Align, Failure, Screen, Style, Table, text};
use broker_model::PartitionIndex;
use broker_model::limits::TIER_BLOCK_BYTES;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tiering_manifest::{DecodeError, Entry, Group, PartitionPrefix, Root, State, TopicFile};
use tiering_store::{Class, Store};

use super::prices::Prices;
use super::unknown_topic;
use crate::cli::TierLsArgs;
use crate::settings::TierSettings;

/// Roots that are read at the same time.
const AT_ONCE: usize = 16;

/// A partition as its root has it.
struct Listed {
    prefix: PartitionPrefix,
    root: Root,
    entries: Vec<Entry>,
}

impl Listed {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.length).sum()
    }

    /// When the first and the last range were appended, and the newest time of a record; -1 where there is none. The oldest
    /// time of a record is not known: shipping looks at heads of batches, which have the newest only.
    fn times(&self) -> [i64; 3] {
        let first = self.entries.first().map_or(-1, |entry| entry.append_time.0);
        let last = self.entries.last().map_or(-1, |entry| entry.append_time.0);
        let newest = self.entries.iter().map(|entry| entry.max_timestamp.0).max();
        [first, last, newest.unwrap_or(-1)]
    }
}

/// Lists.
pub(super) async fn run(
    settings: &TierSettings,
    store: &Store,
    topics: &[TopicFile],
    words: &TierLsArgs,
    screen: &mut Screen,
) -> Result<(), Box<dyn Error>> {
    let wanted: Vec<&TopicFile> =
        topics.iter().filter(|topic| words.topic.as_ref().is_none_or(|name| topic.name == *name)).collect();
    if let (Some(name), true) = (&words.topic, wanted.is_empty()) {
        return Err(unknown_topic(name, topics).into());
    }
    let mut prefixes = Vec::new();
    for topic in wanted {
        let count = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        for partition in (0..count).map(PartitionIndex) {
            prefixes.push(PartitionPrefix::new(&topic.name, topic.id, partition)?);
        }
    }
    let bar = Progress::new("reading manifests", Unit::Things("partitions"), Some(prefixes.len() as u64));
    let mut listed = Vec::new();
    {
        let mut reading = stream::iter(prefixes).map(|prefix| read(store, prefix)).buffered(AT_ONCE);
        let mut done = 0;
        while let Some(one) = reading.try_next().await? {
            done += 1;
            bar.at(done);
            listed.extend(one);
        }
    }
    bar.end();
    let prices = Prices::new(&settings.place, words);
    let url = settings.place.url();
    let shown = match screen.style() {
        Style::Json => screen.json(&json(&url, &listed, &prices, words.topic.is_some())).and_then(|()| screen.flush()),
        Style::Text => show(screen, &url, &listed, (&prices, words.topic.is_some())),
    };
    Ok(shown.map_err(Failure::from)?)
}

/// None where nothing was shipped yet.
async fn read(store: &Store, prefix: PartitionPrefix) -> Result<Option<Listed>, Box<dyn Error>> {
    let Some(stored) = store.load(&prefix.root(), Class::ColdRead).await? else { return Ok(None) };
    let damaged = |key: &str, error: DecodeError| {
        Failure::new(format!("{key} cannot be read: {error}")).hint("`strata tier verify` shows all that is damaged")
    };
    let root = Root::decode(&stored.bytes).map_err(|error| damaged(&prefix.root(), error))?;
    let mut entries = Vec::new();
    for group in &root.groups {
        let key = prefix.object(&group.name);
        let missing =
            || Failure::new(format!("{key} is missing")).hint("`strata tier verify` shows all that is damaged");
        let stored = store.load(&key, Class::ColdRead).await?.ok_or_else(missing)?;
        let content = Group::open(&stored.bytes, group).map_err(|error| damaged(&key, error))?;
        entries.extend(content.entries.into_iter().skip(group.skip as usize));
    }
    entries.extend(root.entries.iter().cloned());
    Ok(Some(Listed { prefix, root, entries }))
}

fn show(screen: &mut Screen, url: &str, listed: &[Listed], (prices, with_ranges): (&Prices, bool)) -> io::Result<()> {
    let mut table = Table::new(&[
        ("TOPIC", Align::Left),
        ("PARTITION", Align::Right),
        ("START", Align::Right),
        ("END", Align::Right),
        ("OBJECTS", Align::Right),
        ("SIZE", Align::Right),
        ("APPENDED FROM", Align::Left),
        ("APPENDED TO", Align::Left),
        ("NEWEST RECORD", Align::Left),
        ("A MONTH", Align::Right),
        ("", Align::Left),
    ]);
    for one in listed {
        let [first, last, newest] = one.times();
        table.row([
            one.prefix.topic_name().to_owned(),
            one.prefix.partition().to_string(),
            one.root.log_start.to_string(),
            one.root.end.to_string(),
            one.entries.len().to_string(),
            text::bytes(one.bytes()),
            text::time(first),
            text::time(last),
            text::time(newest),
            text::dollars(prices.month(one.bytes())),
            if one.root.state == State::Deleted { "deleted".to_owned() } else { String::new() },
        ]);
    }
    screen.table(&table)?;
    if with_ranges {
        screen.line("")?;
        screen.table(&ranges(listed))?;
    }
    let bytes = listed.iter().map(Listed::bytes).sum();
    let objects: usize = listed.iter().map(|one| one.entries.len()).sum();
    let (month, inside, outside) = costs(prices, bytes);
    screen.line("")?;
    screen.line(&format!("{} in {} at {url}", text::bytes(bytes), text::count(objects as u64, "object")))?;
    if month + outside > 0.0 {
        let (month, inside, outside) = (text::dollars(month), text::dollars(inside), text::dollars(outside));
        screen.line(&format!(
            "about {month} a month; {inside} for each GB read within the region, {outside} for each GB read from outside"
        ))?;
    }
    screen.flush()
}

/// A month of storage, and reading a GB within the region and from outside, by reads of one block each.
fn costs(prices: &Prices, bytes: u64) -> (f64, f64, f64) {
    let block = TIER_BLOCK_BYTES as u64;
    (prices.month(bytes), prices.read_gb_inside(block), prices.read_gb_outside(block))
}

fn ranges(listed: &[Listed]) -> Table {
    let mut table = Table::new(&[
        ("PARTITION", Align::Right),
        ("FROM", Align::Right),
        ("TO", Align::Right),
        ("SIZE", Align::Right),
        ("APPENDED", Align::Left),
        ("NEWEST RECORD", Align::Left),
        ("OBJECT", Align::Left),
    ]);
    for one in listed {
        for entry in &one.entries {
            table.row([
                one.prefix.partition().to_string(),
                entry.base.to_string(),
                entry.end.to_string(),
                text::bytes(entry.length),
                text::time(entry.append_time.0),
                text::time(entry.max_timestamp.0),
                one.prefix.join(&entry.key),
            ]);
        }
    }
    table
}

fn json(url: &str, listed: &[Listed], prices: &Prices, with_ranges: bool) -> Value {
    let range = |one: &Listed, entry: &Entry| {
        json!({
            "from": entry.base.0, "to": entry.end.0, "bytes": entry.length, "key": one.prefix.join(&entry.key),
            "appended": known(entry.append_time.0), "newest_record": known(entry.max_timestamp.0),
        })
    };
    let partition = |one: &Listed| {
        let [first, last, newest] = one.times();
        let mut object = json!({
            "topic": one.prefix.topic_name(), "partition": one.prefix.partition().0,
            "deleted": one.root.state == State::Deleted, "start": one.root.log_start.0, "end": one.root.end.0,
            "objects": one.entries.len(), "bytes": one.bytes(), "appended_from": known(first), "appended_to": known(last),
            "newest_record": known(newest),
            "dollars_a_month": prices.month(one.bytes()),
        });
        if let (true, Some(object)) = (with_ranges, object.as_object_mut()) {
            object.insert("ranges".to_owned(), one.entries.iter().map(|entry| range(one, entry)).collect());
        }
        object
    };
    let bytes = listed.iter().map(Listed::bytes).sum();
    let (month, inside, outside) = costs(prices, bytes);
    json!({
        "bucket": url,
        "objects": listed.iter().map(|one| one.entries.len()).sum::<usize>(),
        "bytes": bytes,
        "dollars_a_month": month,
        "dollars_a_gb_read_inside": inside,
        "dollars_a_gb_read_outside": outside,
        "partitions": listed.iter().map(partition).collect::<Vec<_>>(),
    })
}

/// A time in milliseconds, or null.
fn known(ms: i64) -> Option<i64> {
    (ms >= 0).then_some(ms)
}
