//! `strata group reset`: where a group goes on.
//!
//! Only a group without members is moved: members would go on from where they are and commit over it.

use std::collections::{BTreeMap, BTreeSet};

use broker_client::{Client, Place};
use broker_model::Timestamp;
use serde_json::json;

use crate::args::GroupReset;
use crate::output::{Align, Screen, Table};
use crate::{Failure, Style, ends, position, text};

pub(crate) async fn run(
    client: &mut Client,
    screen: &mut Screen,
    words: GroupReset,
    now: Timestamp,
) -> Result<(), Failure> {
    let described = client.describe_group(&words.group).await?;
    if !described.members.is_empty() {
        let count = text::count(described.members.len() as u64, "member");
        let what = format!("group {} is {} and has {count}: its offsets are theirs", words.group, described.state);
        return Err(Failure::new(what).hint("stop its members, and try again when they have left"));
    }
    let committed = client.committed(&words.group, None).await?;
    let places = match words.all_topics {
        true => {
            let places: BTreeSet<Place> = committed.keys().cloned().collect();
            ends::of(client, &places).await?.into_keys().collect()
        }
        false => chosen(client, &words.topics).await?,
    };
    if places.is_empty() {
        let what = format!("group {} has committed nothing for a topic that is there", words.group);
        return Err(Failure::new(what).hint("name what it reads with --topic"));
    }
    let wanted = position::resolve(client, &places, words.to, now).await?;
    if !words.dry_run {
        client.commit(&words.group, &wanted).await?;
    }
    let before = |place: &Place| committed.get(place).map(|committed| committed.offset);
    let rows: Vec<(&Place, Option<i64>, i64)> =
        wanted.iter().map(|(place, after)| (place, before(place), *after)).collect();
    match screen.style() {
        Style::Json => {
            let row = |(place, before, after): &(&Place, Option<i64>, i64)| json!({"topic": place.topic, "partition": place.partition, "before": before, "after": after});
            let rows: Vec<_> = rows.iter().map(row).collect();
            screen.json(&json!({"group": words.group, "dry_run": words.dry_run, "partitions": rows}))?;
        }
        Style::Text => {
            let mut table = Table::new(&[
                ("TOPIC", Align::Left),
                ("PARTITION", Align::Right),
                ("BEFORE", Align::Right),
                ("AFTER", Align::Right),
            ]);
            for (place, before, after) in rows {
                let cells =
                    [place.topic.clone(), place.partition.to_string(), text::or_dash(before), after.to_string()];
                table.row(cells);
            }
            screen.table(&table)?;
            if words.dry_run {
                screen.line("nothing was changed: this was a dry run")?;
            }
        }
    }
    Ok(())
}

/// The partitions of `orders` or `orders:0,3`.
async fn chosen(client: &mut Client, topics: &[String]) -> Result<Vec<Place>, Failure> {
    let mut places = BTreeMap::new();
    for text in topics {
        let (topic, numbers) = parse(text)?;
        let found = client.topic(topic).await?;
        let count = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
        for partition in if numbers.is_empty() { (0..count).collect() } else { numbers } {
            places.insert(Place { topic: topic.to_owned(), partition }, ());
        }
    }
    Ok(places.into_keys().collect())
}

fn parse(text: &str) -> Result<(&str, Vec<i32>), Failure> {
    let Some((topic, list)) = text.split_once(':') else { return Ok((text, Vec::new())) };
    let numbers: Result<Vec<i32>, _> = list.split(',').map(|number| number.trim().parse::<i32>()).collect();
    match numbers {
        Ok(numbers) if !topic.is_empty() && numbers.iter().all(|number| *number >= 0) => Ok((topic, numbers)),
        _ => Err(Failure::usage(format!("--topic {text}: expected is TOPIC, or TOPIC:NUMBER,NUMBER"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_may_name_partitions() {
        assert_eq!(parse("orders").unwrap(), ("orders", vec![]));
        assert_eq!(parse("orders:0, 3").unwrap(), ("orders", vec![0, 3]));
        for wrong in [":1", "orders:", "orders:x", "orders:-1"] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
