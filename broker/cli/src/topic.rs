//! `strata topic`.

use std::collections::BTreeMap;

use broker_client::configs::{Config, ConfigChange};
use broker_client::topics::NewTopic;
use broker_client::{Client, ClientError, Place, TimeSpec};
use broker_model::ErrorCode;
use serde_json::{Value, json};

use crate::args::{TopicAction, TopicAlter, TopicCreate, TopicWords};
use crate::output::{Align, Screen, Table};
use crate::{Failure, Style, Surroundings, connect, text};

pub(crate) async fn run(words: TopicWords, surroundings: &Surroundings) -> Result<(), Failure> {
    let mut client = connect::client(&words.connect, surroundings)?;
    let mut screen = Screen::new(surroundings.style);
    match words.action {
        TopicAction::Create(words) => create(&mut client, &mut screen, words).await?,
        TopicAction::List { internal } => list(&mut client, &mut screen, internal).await?,
        TopicAction::Describe { topics, all_configs } => {
            let mut told = Vec::new();
            for topic in topics {
                told.push(look(&mut client, &topic).await?);
            }
            show(&mut screen, &told, all_configs)?;
        }
        TopicAction::Alter(words) => alter(&mut client, &mut screen, words).await?,
        TopicAction::Delete { topics, if_exists } => {
            for topic in topics {
                let deleted = match client.delete_topic(&topic).await {
                    Err(error) if if_exists && is_unknown(&error) => false,
                    done => done.map(|()| true)?,
                };
                match (screen.style(), deleted) {
                    (Style::Json, _) => screen.json(&json!({"topic": topic, "deleted": deleted}))?,
                    (Style::Text, true) => screen.line(&format!("deleted {topic}"))?,
                    (Style::Text, false) => screen.line(&format!("{topic} is not there"))?,
                }
            }
        }
    }
    Ok(screen.flush()?)
}

fn is_unknown(error: &ClientError) -> bool {
    matches!(error, ClientError::UnknownTopic { .. }) || error.code() == Some(ErrorCode::UnknownTopicOrPartition)
}

async fn create(client: &mut Client, screen: &mut Screen, words: TopicCreate) -> Result<(), Failure> {
    let topic = NewTopic {
        name: words.topic,
        partitions: words.partitions.unwrap_or(-1),
        replication_factor: words.replication_factor.unwrap_or(-1),
        configs: words.configs,
    };
    let name = &topic.name;
    let created = match client.create_topic(&topic).await {
        Err(error) if words.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => None,
        made => Some(made?),
    };
    match (screen.style(), created) {
        (Style::Json, Some(made)) => screen.json(&json!({
            "topic": name, "created": true, "partitions": made.partitions,
            "replication_factor": made.replication_factor,
        }))?,
        (Style::Json, None) => screen.json(&json!({"topic": name, "created": false}))?,
        (Style::Text, Some(made)) if made.partitions > 0 => {
            let count = text::count(u64::from(made.partitions.unsigned_abs()), "partition");
            screen.line(&format!("created {name} with {count}"))?;
        }
        (Style::Text, Some(_)) => screen.line(&format!("created {name}"))?,
        (Style::Text, None) => screen.line(&format!("{name} is there already"))?,
    }
    Ok(())
}

async fn list(client: &mut Client, screen: &mut Screen, internal: bool) -> Result<(), Failure> {
    let topics = client.topics().await?;
    let mut table = Table::new(&[("TOPIC", Align::Left), ("PARTITIONS", Align::Right), ("REPLICAS", Align::Right)]);
    let mut rows = Vec::new();
    for topic in topics.iter().filter(|topic| internal || !topic.is_internal) {
        let name = topic.name.as_deref().unwrap_or_default();
        let replicas = topic.partitions.iter().map(|partition| partition.replica_nodes.len()).max().unwrap_or(0);
        table.row([name.to_owned(), topic.partitions.len().to_string(), replicas.to_string()]);
        rows.push(json!({
            "name": name, "id": topic.topic_id.to_string(), "internal": topic.is_internal,
            "partitions": topic.partitions.len(), "replicas": replicas,
        }));
    }
    match screen.style() {
        Style::Json => screen.json(&Value::Array(rows))?,
        Style::Text => screen.table(&table)?,
    }
    Ok(())
}

/// What there is to tell of a topic.
struct Told {
    name: String,
    id: String,
    partitions: Vec<ToldPartition>,
    configs: Vec<Config>,
}

struct ToldPartition {
    number: i32,
    leader: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    /// Start and end; none where there is no leader to ask.
    offsets: Option<(i64, i64)>,
}

async fn look(client: &mut Client, name: &str) -> Result<Told, Failure> {
    let topic = client.topic(name).await?;
    let led = topic.partitions.iter().filter(|partition| partition.leader_id >= 0);
    let places: Vec<Place> =
        led.map(|partition| Place { topic: name.to_owned(), partition: partition.partition_index }).collect();
    let starts = client.list_offsets(&places, TimeSpec::Start).await?;
    let ends = client.list_offsets(&places, TimeSpec::End).await?;
    let offsets: BTreeMap<i32, (i64, i64)> =
        ends.iter().filter_map(|(place, end)| Some((place.partition, (*starts.get(place)?, *end)))).collect();
    let mut partitions: Vec<ToldPartition> = topic
        .partitions
        .iter()
        .map(|partition| ToldPartition {
            number: partition.partition_index,
            leader: partition.leader_id,
            replicas: partition.replica_nodes.clone(),
            isr: partition.isr_nodes.clone(),
            offsets: offsets.get(&partition.partition_index).copied(),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.number);
    let configs = client.topic_configs(name).await?;
    Ok(Told { name: name.to_owned(), id: topic.topic_id.to_string(), partitions, configs })
}

fn show(screen: &mut Screen, topics: &[Told], all_configs: bool) -> Result<(), Failure> {
    let wanted = |config: &&Config| all_configs || config.is_own;
    if screen.style() == Style::Json {
        return Ok(screen.json(&topics.iter().map(|topic| json(topic, wanted)).collect())?);
    }
    for (number, topic) in topics.iter().enumerate() {
        if number > 0 {
            screen.line("")?;
        }
        let partitions = text::count(topic.partitions.len() as u64, "partition");
        let held = topic.partitions.iter().filter_map(|partition| partition.offsets);
        let records = held.map(|(start, end)| end.saturating_sub(start).unsigned_abs()).sum();
        // Compaction and transactions leave offsets without records.
        let offsets = text::count(records, "offset");
        screen.line(&format!("{}  {partitions}, {offsets}, id {}", topic.name, topic.id))?;
        let mut table = Table::new(&[
            ("PARTITION", Align::Right),
            ("START", Align::Right),
            ("END", Align::Right),
            ("LEADER", Align::Right),
            ("REPLICAS", Align::Left),
            ("IN SYNC", Align::Left),
        ]);
        for partition in &topic.partitions {
            table.row([
                partition.number.to_string(),
                text::or_dash(partition.offsets.map(|(start, _)| start)),
                text::or_dash(partition.offsets.map(|(_, end)| end)),
                if partition.leader < 0 { "none".to_owned() } else { partition.leader.to_string() },
                numbers(&partition.replicas),
                numbers(&partition.isr),
            ]);
        }
        screen.table(&table)?;
        let mut table = Table::new(&[("CONFIG", Align::Left), ("VALUE", Align::Left), ("FROM", Align::Left)]);
        for config in topic.configs.iter().filter(wanted) {
            table.row([config.name.clone(), text::or_dash(config.value.as_ref()), config.source.to_owned()]);
        }
        if !table.is_empty() {
            screen.table(&table)?;
        }
    }
    Ok(())
}

fn json(topic: &Told, wanted: impl Fn(&&Config) -> bool) -> Value {
    let partition = |partition: &ToldPartition| {
        json!({
            "partition": partition.number, "leader": partition.leader, "replicas": partition.replicas,
            "isr": partition.isr, "start": partition.offsets.map(|(start, _)| start),
            "end": partition.offsets.map(|(_, end)| end),
        })
    };
    let config = |config: &Config| (config.name.clone(), json!({"value": config.value, "source": config.source}));
    json!({
        "name": topic.name,
        "id": topic.id,
        "partitions": topic.partitions.iter().map(partition).collect::<Vec<_>>(),
        "configs": topic.configs.iter().filter(wanted).map(config).collect::<serde_json::Map<_, _>>(),
    })
}

fn numbers(nodes: &[i32]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

async fn alter(client: &mut Client, screen: &mut Screen, words: TopicAlter) -> Result<(), Failure> {
    let topic = &words.topic;
    client.topic(topic).await?;
    let mut done = Vec::new();
    let set = words.configs.iter().map(|(name, value)| ConfigChange::Set(name.clone(), value.clone()));
    let deleted = words.deleted.iter().map(|name| ConfigChange::Delete(name.clone()));
    let changes: Vec<ConfigChange> = set.chain(deleted).collect();
    if !changes.is_empty() {
        client.alter_topic_configs(topic, &changes).await?;
        done.extend(words.configs.iter().map(|(name, value)| format!("{name}={value}")));
        done.extend(words.deleted.iter().map(|name| format!("{name} has its default")));
    }
    if let Some(partitions) = words.partitions {
        client.create_partitions(topic, partitions).await?;
        done.push(text::count(u64::from(partitions.unsigned_abs()), "partition"));
    }
    match screen.style() {
        Style::Json => screen.json(&json!({"topic": topic, "altered": done}))?,
        Style::Text => screen.line(&format!("altered {topic}: {}", done.join(", ")))?,
    }
    Ok(())
}
