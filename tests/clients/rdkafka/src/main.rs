//! rdkafka as its documentation teaches it: `FutureProducer`, `StreamConsumer`, `BaseConsumer` and `AdminClient`.

mod capability;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

use futures::StreamExt;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};

use capability::{ensure, run_all, settled, yesterday, Capability, Order, Outcome, Shelf, PATIENCE};

const TOPIC: &str = "rdkafka-orders";
const GROUP: &str = "rdkafka-billing";
const COUNT: usize = 1200;
const PARTITIONS: i32 = 3;

/// The time of order 0, in milliseconds.
static START: OnceLock<i64> = OnceLock::new();

fn config() -> ClientConfig {
    let mut config = ClientConfig::new();
    let bootstrap = std::env::var("STRATA_CLIENTS_BOOTSTRAP").unwrap_or_else(|_| "127.0.0.1:9092".to_owned());
    config.set("bootstrap.servers", bootstrap);
    config
}

fn consumer_config(group: &str) -> ClientConfig {
    let mut config = config();
    config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config
}

fn stream(group: &str) -> Result<StreamConsumer, KafkaError> {
    let consumer: StreamConsumer = consumer_config(group).create()?;
    consumer.subscribe(&[TOPIC])?;
    Ok(consumer)
}

fn admin() -> Result<AdminClient<DefaultClientContext>, KafkaError> {
    config().create()
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(PATIENCE))
}

/// The result of a request for one thing.
fn only<T>(told: Vec<Result<T, (String, RDKafkaErrorCode)>>) -> Result<T, String> {
    let one = told.into_iter().next().ok_or("nothing was answered")?;
    one.map_err(|(name, code)| format!("{name}: {code}"))
}

async fn read(consumer: &StreamConsumer, shelf: &mut Shelf, count: usize) -> Result<(), String> {
    let mut records = consumer.stream();
    while shelf.numbers.len() < count {
        let next = tokio::time::timeout(PATIENCE, records.next()).await;
        let next = next.map_err(|_| format!("{} of {count} records came", shelf.numbers.len()))?;
        shelf.add(&next.ok_or("the stream ended")?.map_err(|error| error.to_string())?)?;
    }
    Ok(())
}

async fn create_topic() -> Outcome {
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1)).set("max.message.bytes", "2000000");
    only(admin()?.create_topics([&topic], &options()).await?)?;
    let again = admin()?.create_topics([&topic], &options()).await?;
    let code = again.into_iter().next().and_then(Result::err).map(|(_, code)| code);
    ensure(code == Some(RDKafkaErrorCode::TopicAlreadyExists), || format!("a second time: {code:?}"))?;
    Ok(String::new())
}

async fn produce() -> Outcome {
    let start = *START.get_or_init(yesterday);
    let codecs = ["none", "gzip", "snappy", "lz4"];
    let share = COUNT / codecs.len();
    let mut places: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (turn, codec) in codecs.iter().enumerate() {
        let mut config = config();
        config.set("compression.type", *codec).set("enable.idempotence", "true").set("linger.ms", "5");
        let producer: FutureProducer = config.create()?;
        let orders: Vec<_> = (turn * share..(turn + 1) * share).map(|number| Order::new(number, start)).collect();
        let mut sent = Vec::new();
        for order in &orders {
            let record = FutureRecord::to(TOPIC).key(&order.key).payload(&order.value);
            let record = record.headers(order.headers.clone()).timestamp(order.timestamp);
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for told in sent {
            let delivery = told.await?.map_err(|(error, _)| error)?;
            places.entry(delivery.partition).or_default().push(delivery.offset);
        }
        producer.flush(PATIENCE)?;
    }
    for (partition, offsets) in &places {
        ensure(offsets.iter().copied().eq((0..).take(offsets.len())), || {
            format!("offsets of {partition}: {offsets:?}")
        })?;
    }
    settled(TOPIC)?;
    Ok(format!("{COUNT} records"))
}

async fn consume_with_a_group() -> Outcome {
    let consumer = stream(GROUP)?;
    let mut shelf = Shelf::default();
    read(&consumer, &mut shelf, COUNT).await?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    shelf.check(COUNT)
}

async fn go_on() -> Outcome {
    let mut shelf = Shelf::default();
    {
        let first = stream("rdkafka-resume")?;
        read(&first, &mut shelf, 100).await?;
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in &shelf.next {
            offsets.add_partition_offset(TOPIC, *partition, Offset::Offset(*next))?;
        }
        first.commit(&offsets, CommitMode::Sync)?;
    }
    let second = stream("rdkafka-resume")?;
    read(&second, &mut shelf, COUNT).await?;
    shelf.check(COUNT)
}

fn assigned(group: &str, partition: i32, offset: i64) -> Result<BaseConsumer, KafkaError> {
    let consumer: BaseConsumer = consumer_config(group).create()?;
    let mut places = TopicPartitionList::new();
    places.add_partition_offset(TOPIC, partition, Offset::Offset(offset))?;
    consumer.assign(&places)?;
    Ok(consumer)
}

/// The offset of the next record.
fn next_offset(consumer: &BaseConsumer) -> Result<i64, String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(told) = consumer.poll(std::time::Duration::from_millis(200)) {
            return told.map(|message| message.offset()).map_err(|error| error.to_string());
        }
    }
    Err("no record came".to_owned())
}

async fn seek() -> Outcome {
    let consumer = assigned("rdkafka-seek", 0, 40)?;
    let first = next_offset(&consumer)?;
    consumer.seek(TOPIC, 0, Offset::Offset(7), PATIENCE)?;
    let back = next_offset(&consumer)?;
    ensure((first, back) == (40, 7), || format!("{first}, then {back}"))?;
    Ok(String::new())
}

async fn pause_and_resume() -> Outcome {
    let consumer = stream("rdkafka-pause")?;
    let mut shelf = Shelf::default();
    read(&consumer, &mut shelf, 1).await?;
    let places = consumer.assignment()?;
    consumer.pause(&places)?;
    let silent = tokio::time::timeout(std::time::Duration::from_millis(700), async {
        loop {
            // What was fetched before the pause is dropped by the client.
            if consumer.recv().await.is_ok() {
                return;
            }
        }
    });
    ensure(silent.await.is_err(), || "a paused assignment gave records".to_owned())?;
    consumer.resume(&places)?;
    read(&consumer, &mut shelf, COUNT).await?;
    shelf.check(COUNT)
}

async fn offsets_by_time() -> Outcome {
    let start = START.get().ok_or("nothing was produced")?;
    let consumer = assigned("rdkafka-times", 0, 33)?;
    let (low, high) = consumer.fetch_watermarks(TOPIC, 0, PATIENCE)?;
    ensure(low == 0 && high > 33, || format!("watermarks {low} and {high}"))?;
    let deadline = Instant::now() + PATIENCE;
    let at = loop {
        ensure(Instant::now() < deadline, || "no record came".to_owned())?;
        if let Some(told) = consumer.poll(std::time::Duration::from_millis(200)) {
            break told?.timestamp().to_millis().ok_or("no timestamp")?;
        }
    };
    ensure(at > *start, || format!("timestamp {at}"))?;
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(TOPIC, 0, Offset::Offset(at))?;
    let found = consumer.offsets_for_times(wanted, PATIENCE)?;
    let offset = found.find_partition(TOPIC, 0).map(|place| place.offset());
    ensure(offset == Some(Offset::Offset(33)), || format!("found {offset:?}"))?;
    Ok(String::new())
}

async fn rebalance() -> Outcome {
    let member = || -> Result<StreamConsumer, KafkaError> {
        let mut config = consumer_config("rdkafka-share");
        config.set("partition.assignment.strategy", "cooperative-sticky").set("session.timeout.ms", "6000");
        let consumer: StreamConsumer = config.create()?;
        consumer.subscribe(&[TOPIC])?;
        Ok(consumer)
    };
    let first = member()?;
    read(&first, &mut Shelf::default(), 1).await?;
    let second = member()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        ensure(Instant::now() < deadline, || "they do not share".to_owned())?;
        // Receiving serves the rebalance callbacks.
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), first.recv()).await;
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), second.recv()).await;
        let mut counts = [first.assignment()?.count(), second.assignment()?.count()];
        counts.sort_unstable();
        if counts == [1, 2] {
            return Ok(String::new());
        }
    }
}

async fn group_list() -> Outcome {
    let consumer: BaseConsumer = consumer_config("rdkafka-list").create()?;
    let groups = consumer.fetch_group_list(Some(GROUP), PATIENCE)?;
    let found = groups.groups().first().ok_or("the group is not listed")?;
    ensure(found.name() == GROUP && found.state() == "Empty", || format!("{} is {}", found.name(), found.state()))?;
    Ok(String::new())
}

async fn metadata() -> Outcome {
    let consumer: BaseConsumer = consumer_config("rdkafka-metadata").create()?;
    let told = consumer.fetch_metadata(Some(TOPIC), PATIENCE)?;
    let partitions = told.topics().first().ok_or("no topic")?.partitions();
    ensure(told.brokers().len() == 1, || "more than one broker".to_owned())?;
    ensure(partitions.len() == 3 && partitions.iter().all(|one| one.isr().len() == 1), || "partitions".to_owned())?;
    Ok(String::new())
}

async fn configs() -> Outcome {
    let admin = admin()?;
    let alter = AlterConfig::new(ResourceSpecifier::Topic(TOPIC));
    let alter = alter.set("retention.ms", "864000000").set("max.message.bytes", "2000000");
    let told = admin.alter_configs([&alter], &options()).await?;
    told.into_iter().next().ok_or("nothing was answered")?.map_err(|(_, code)| code)?;
    let told = admin.describe_configs([&ResourceSpecifier::Topic(TOPIC)], &options()).await?;
    let resource = told.into_iter().next().ok_or("nothing was answered")??;
    let value = resource.get("retention.ms").and_then(|entry| entry.value.clone());
    ensure(value.as_deref() == Some("864000000"), || format!("retention.ms is {value:?}"))?;
    Ok(String::new())
}

async fn delete_groups() -> Outcome {
    only(admin()?.delete_groups(&[GROUP], &options()).await?)?;
    let consumer: BaseConsumer = consumer_config("rdkafka-list").create()?;
    let groups = consumer.fetch_group_list(None, PATIENCE)?;
    ensure(groups.groups().iter().all(|one| one.name() != GROUP), || "it is listed still".to_owned())?;
    Ok(String::new())
}

async fn delete_records() -> Outcome {
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(TOPIC, 2, Offset::Offset(25))?;
    let told = admin()?.delete_records(&before, &options()).await?;
    let place = told.find_partition(TOPIC, 2).ok_or("nothing was answered")?;
    place.error()?;
    ensure(place.offset() == Offset::Offset(25), || format!("low watermark {:?}", place.offset()))?;
    let consumer = stream("rdkafka-deleted")?;
    let mut shelf = Shelf::default();
    read(&consumer, &mut shelf, COUNT - 25).await?;
    let (low, _) = consumer.fetch_watermarks(TOPIC, 2, PATIENCE)?;
    ensure(low == 25, || format!("it begins at {low}"))?;
    Ok(String::new())
}

async fn create_partitions() -> Outcome {
    let more = NewPartitions::new(TOPIC, 4);
    only(admin()?.create_partitions([&more], &options()).await?)?;
    let producer: FutureProducer = config().create()?;
    let record = FutureRecord::<str, str>::to(TOPIC).partition(3).payload("first");
    let delivery = producer.send(record, PATIENCE).await.map_err(|(error, _)| error)?;
    ensure((delivery.partition, delivery.offset) == (3, 0), || format!("{delivery:?}"))?;
    Ok(String::new())
}

async fn delete_topic() -> Outcome {
    only(admin()?.delete_topics(&[TOPIC], &options()).await?)?;
    Ok(String::new())
}

#[tokio::main]
async fn main() {
    let capabilities = [
        Capability("create topic", "create_topics with a config; a second time it is TopicAlreadyExists", || {
            Box::pin(create_topic())
        }),
        Capability("produce with every codec", "idempotent FutureProducers with none, gzip, snappy and lz4", || {
            Box::pin(produce())
        }),
        Capability(
            "consume with a group",
            "a StreamConsumer reads every record once, in order, with key and headers",
            || Box::pin(consume_with_a_group()),
        ),
        Capability("go on after the committed offset", "a sync commit; the next member reads only the rest", || {
            Box::pin(go_on())
        }),
        Capability("seek", "a BaseConsumer with an assignment at an offset seeks back", || Box::pin(seek())),
        Capability("pause and resume", "a paused assignment gives nothing, resumed it gives the rest", || {
            Box::pin(pause_and_resume())
        }),
        Capability("offsets by time", "fetch_watermarks and offsets_for_times", || Box::pin(offsets_by_time())),
        Capability("rebalance cooperatively", "two members share the partitions", || Box::pin(rebalance())),
        Capability("group list", "fetch_group_list shows the group and its state", || Box::pin(group_list())),
        Capability("metadata", "fetch_metadata: one broker, leaders, in-sync replicas", || Box::pin(metadata())),
        Capability(
            "alter and describe configs",
            "alter_configs replaces what was set, describe_configs shows it",
            || Box::pin(configs()),
        ),
        Capability("delete groups", "delete_groups removes it from the list", || Box::pin(delete_groups())),
        Capability(
            "delete records",
            "delete_records moves the start; a consumer from the beginning starts there",
            || Box::pin(delete_records()),
        ),
        Capability("create partitions", "create_partitions, and the new partition takes records", || {
            Box::pin(create_partitions())
        }),
        Capability("delete topic", "delete_topics", || Box::pin(delete_topic())),
    ];
    run_all("rdkafka", RDKAFKA_VERSION, &capabilities).await;
}

/// As Cargo.lock pins it.
const RDKAFKA_VERSION: &str = "0.39.0";
