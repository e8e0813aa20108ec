//! `strata group`: list, describe, delete. [`crate::reset`] moves offsets.

use std::collections::{BTreeMap, BTreeSet};

use broker_client::groups::{Group, GroupMember};
use broker_client::{Client, Committed, Place};
use serde_json::{Value, json};

use crate::args::{GroupAction, GroupWords};
use crate::output::{Align, Screen, Table};
use crate::{Failure, Style, Surroundings, connect, ends, reset, text};

pub(crate) async fn run(words: GroupWords, surroundings: &Surroundings) -> Result<(), Failure> {
    let mut client = connect::client(&words.connect, surroundings)?;
    let mut screen = Screen::new(surroundings.style);
    match words.action {
        GroupAction::List => list(&mut client, &mut screen).await?,
        GroupAction::Describe { groups } => {
            let mut told = Vec::new();
            for group in groups {
                told.push(look(&mut client, &group).await?);
            }
            show(&mut screen, &told)?;
        }
        GroupAction::Reset(words) => reset::run(&mut client, &mut screen, words, (surroundings.now)()).await?,
        GroupAction::Delete { groups } => {
            for group in groups {
                client.delete_group(&group).await?;
                match screen.style() {
                    Style::Json => screen.json(&json!({"group": group, "deleted": true}))?,
                    Style::Text => screen.line(&format!("deleted {group}"))?,
                }
            }
        }
    }
    Ok(screen.flush()?)
}

async fn list(client: &mut Client, screen: &mut Screen) -> Result<(), Failure> {
    let groups = client.list_groups().await?;
    if screen.style() == Style::Json {
        let row = |group: &broker_wire::messages::list_groups_response::ListedGroup| {
            json!({
                "group": group.group_id.as_str(), "state": group.group_state.as_str(),
                "type": group.group_type.as_str(), "protocol": group.protocol_type.as_str(),
            })
        };
        return Ok(screen.json(&groups.iter().map(row).collect())?);
    }
    let mut table =
        Table::new(&[("GROUP", Align::Left), ("STATE", Align::Left), ("TYPE", Align::Left), ("PROTOCOL", Align::Left)]);
    for group in groups {
        let cells = [group.group_id, group.group_state, group.group_type, group.protocol_type];
        table.row(cells.map(|cell| cell.to_string()));
    }
    Ok(screen.table(&table)?)
}

/// What there is to tell of a group.
struct Told {
    group: Group,
    partitions: Vec<ToldPartition>,
}

struct ToldPartition {
    place: Place,
    committed: Option<i64>,
    /// None where the topic is gone.
    end: Option<i64>,
    member: Option<GroupMember>,
}

impl ToldPartition {
    fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.committed?).max(0))
    }
}

async fn look(client: &mut Client, id: &str) -> Result<Told, Failure> {
    let group = client.describe_group(id).await?;
    let committed = client.committed(id, None).await?;
    if is_nothing(&group, &committed) {
        return Err(Failure::new(format!("there is no group {id:?}")).hint("`strata group list` shows what is there"));
    }
    let readers: BTreeMap<&Place, &GroupMember> =
        group.members.iter().flat_map(|member| member.partitions.iter().map(move |place| (place, member))).collect();
    let places: BTreeSet<Place> =
        readers.keys().map(|place| (*place).clone()).chain(committed.keys().cloned()).collect();
    let ends = ends::of(client, &places).await?;
    let row = |place: Place| ToldPartition {
        committed: committed.get(&place).map(|committed| committed.offset),
        end: ends.get(&place).copied(),
        member: readers.get(&place).map(|member| (*member).clone()),
        place,
    };
    let partitions = places.into_iter().map(row).collect();
    Ok(Told { partitions, group })
}

fn is_nothing(group: &Group, committed: &BTreeMap<Place, Committed>) -> bool {
    group.state == "Dead" && group.members.is_empty() && committed.is_empty()
}

fn show(screen: &mut Screen, groups: &[Told]) -> Result<(), Failure> {
    if screen.style() == Style::Json {
        return Ok(screen.json(&groups.iter().map(json).collect())?);
    }
    for (number, told) in groups.iter().enumerate() {
        if number > 0 {
            screen.line("")?;
        }
        let Group { id, state, assignor, coordinator, members } = &told.group;
        let how = if assignor.is_empty() { String::new() } else { format!(", {assignor}") };
        let members = text::count(members.len() as u64, "member");
        let lag: i64 = told.partitions.iter().filter_map(ToldPartition::lag).sum();
        screen.line(&format!("{id}  {state}{how}, {members}, lag {lag}, coordinated by broker {coordinator}"))?;
        let mut table = Table::new(&[
            ("TOPIC", Align::Left),
            ("PARTITION", Align::Right),
            ("COMMITTED", Align::Right),
            ("END", Align::Right),
            ("LAG", Align::Right),
            ("MEMBER", Align::Left),
            ("HOST", Align::Left),
        ]);
        for row in &told.partitions {
            table.row([
                row.place.topic.clone(),
                row.place.partition.to_string(),
                text::or_dash(row.committed),
                text::or_dash(row.end),
                text::or_dash(row.lag()),
                text::or_dash(row.member.as_ref().map(|member| &member.id)),
                text::or_dash(row.member.as_ref().map(|member| &member.host)),
            ]);
        }
        screen.table(&table)?;
        for member in told.group.members.iter().filter(|member| member.partitions.is_empty()) {
            screen.line(&crate::output::printable(&format!("{} at {} reads nothing", member.id, member.host)))?;
        }
    }
    Ok(())
}

fn json(told: &Told) -> Value {
    let partition = |row: &ToldPartition| {
        json!({
            "topic": row.place.topic, "partition": row.place.partition, "committed": row.committed, "end": row.end,
            "lag": row.lag(), "member": row.member.as_ref().map(|member| &member.id),
        })
    };
    let place = |place: &Place| json!({"topic": place.topic, "partition": place.partition});
    let member = |member: &GroupMember| {
        json!({
            "id": member.id, "instance": member.instance, "client_id": member.client_id, "host": member.host,
            "partitions": member.partitions.iter().map(place).collect::<Vec<_>>(),
        })
    };
    json!({
        "group": told.group.id,
        "state": told.group.state,
        "assignor": told.group.assignor,
        "coordinator": told.group.coordinator,
        "members": told.group.members.iter().map(member).collect::<Vec<_>>(),
        "partitions": told.partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}
