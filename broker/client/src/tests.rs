//! What needs no broker: addresses, names of codes, who gets which partition. The conversation itself is tested against real
//! brokers in `tests/it/test_cli.py`; here a scripted one shows what is repeated and what is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_wire::messages::api_versions_response::ApiVersion;
use broker_wire::messages::create_topics_response::CreatableTopicResult;
use broker_wire::messages::{ApiVersionsResponse, CreateTopicsResponse, MetadataResponse};
use broker_wire::{ApiKey, RequestHead, Str, encode_response};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::producer::partition_of;
use crate::topics::NewTopic;
use crate::{Address, Client, ClientError, ClientSettings, Place, assignor, code_name};

#[test]
fn addresses_are_read_as_people_write_them() {
    for (text, expect) in [
        ("localhost:9092", Some("localhost:9092")),
        ("localhost", Some("localhost:9092")),
        ("[::1]:19092", Some("[::1]:19092")),
        ("broker-1.example.org:1", Some("broker-1.example.org:1")),
        ("", None),
        (":9092", None),
        ("host:", None),
        ("host:0", None),
        ("host:70000", None),
        ("http://host:9092", None),
        ("[::1", None),
    ] {
        let read = text.parse::<Address>().ok().map(|address| address.to_string());
        assert_eq!(read.as_deref(), expect, "{text}");
    }
    assert_eq!(Address::list("a:1, b:2,").unwrap().len(), 2);
    assert!(Address::list("").is_err());
}

#[test]
fn codes_have_kafkas_names() {
    assert_eq!(code_name(36), "TOPIC_ALREADY_EXISTS (36)");
    assert_eq!(code_name(-1), "UNKNOWN_SERVER_ERROR (-1)");
    assert_eq!(code_name(30_000), "error code 30000");
}

#[test]
fn keys_go_where_java_sends_them() {
    // What Utils.murmur2 of kafka-clients gives for these, with the sign bit cleared, modulo 1000.
    for (key, expect) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("abc", 479_470_107),
    ] {
        let hash: i32 = expect;
        assert_eq!(partition_of(key.as_bytes(), 1000), (hash & 0x7fff_ffff) % 1000, "{key}");
    }
}

fn places(topic: &str, partitions: &[i32]) -> Vec<Place> {
    partitions.iter().map(|partition| Place { topic: topic.to_owned(), partition: *partition }).collect()
}

#[test]
fn ranges_follow_one_another_and_each_partition_has_one_reader() {
    let both = vec!["one".to_owned(), "two".to_owned()];
    let members = BTreeMap::from([
        ("a".to_owned(), both.clone()),
        ("b".to_owned(), both),
        ("c".to_owned(), vec!["two".to_owned()]),
    ]);
    let given = assignor::range(&members, &BTreeMap::from([("one".to_owned(), 3), ("two".to_owned(), 4)]));
    assert_eq!(given["a"], [places("one", &[0, 1]), places("two", &[0, 1])].concat());
    assert_eq!(given["b"], [places("one", &[2]), places("two", &[2])].concat());
    assert_eq!(given["c"], places("two", &[3]));
    let none = assignor::range(&members, &BTreeMap::new());
    assert!(none.values().all(Vec::is_empty), "a topic that is not there has no partitions");
}

#[test]
fn assignments_come_back_as_they_went() {
    let places = [places("one", &[0, 2]), places("two", &[1])].concat();
    assert_eq!(assignor::read_assignment(assignor::assignment(&places).unwrap()).unwrap(), places);
    assert_eq!(assignor::read_assignment(Bytes::new()).unwrap(), []);
    let topics = vec!["one".to_owned(), "two".to_owned()];
    assert_eq!(assignor::read_subscription(assignor::subscription(&topics).unwrap()).unwrap(), topics);
}

/// What the scripted broker does with a request other than ApiVersions.
#[derive(Clone, Copy, Debug)]
enum Act {
    Refuse(i16),
    Serve,
    HangUp,
}

/// A broker that serves Metadata and CreateTopics as the script says, each request the next act; then it serves.
async fn scripted(script: Vec<Act>) -> (Client, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Some(head) = next_request(&mut stream).await {
                let act = match head.api_key == ApiKey::ApiVersions.code() {
                    true => Act::Serve,
                    false => script.get(counted.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(Act::Serve),
                };
                let Some(answer) = answer(&head, act) else { break };
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    let patience = Duration::from_secs(20);
    let settings =
        ClientSettings { bootstrap: vec![address], client_id: "test".to_owned(), request_timeout: patience, patience };
    (Client::new(settings), asked)
}

async fn next_request(stream: &mut TcpStream) -> Option<RequestHead> {
    let length = stream.read_i32().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut frame).await.ok()?;
    Some(RequestHead::parse(Bytes::from(frame)).unwrap().0)
}

fn answer(head: &RequestHead, act: Act) -> Option<Bytes> {
    let (version, api) = (head.version, ApiKey::from_code(head.api_key).unwrap());
    let code = match act {
        Act::HangUp => return None,
        Act::Refuse(code) => code,
        Act::Serve => 0,
    };
    let encoded = encode_response(api, version, head.correlation_id, |out| match api {
        ApiKey::ApiVersions => {
            let served = [(ApiKey::Metadata, 12), (ApiKey::CreateTopics, 7)];
            let row =
                |(api, max_version): (ApiKey, i16)| ApiVersion { api_key: api.code(), min_version: 2, max_version };
            ApiVersionsResponse { api_keys: served.map(row).to_vec(), ..Default::default() }.encode(out, version)
        }
        ApiKey::CreateTopics => {
            let row = CreatableTopicResult { name: Str::from_static("t"), error_code: code, ..Default::default() };
            CreateTopicsResponse { topics: vec![row], ..Default::default() }.encode(out, version)
        }
        _ => MetadataResponse::default().encode(out, version),
    });
    Some(encoded.unwrap().0)
}

fn topic() -> NewTopic {
    NewTopic { name: "t".to_owned(), partitions: 1, replication_factor: 1, configs: Vec::new() }
}

#[tokio::test]
async fn what_the_broker_did_not_do_is_asked_again() {
    let not_controller = broker_model::ErrorCode::NotController.code();
    let (mut client, asked) = scripted(vec![Act::Refuse(not_controller), Act::Refuse(not_controller)]).await;
    client.create_topic(&topic()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refusal_for_good_is_told_at_once() {
    let (mut client, asked) = scripted(vec![Act::Refuse(broker_model::ErrorCode::TopicAlreadyExists.code())]).await;
    let error = client.create_topic(&topic()).await.unwrap_err();
    assert_eq!(error.to_string(), "topic t is not created: TOPIC_ALREADY_EXISTS (36)");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_lost_answer_repeats_only_what_may_happen_twice() {
    let (mut client, asked) = scripted(vec![Act::HangUp]).await;
    assert!(matches!(client.create_topic(&topic()).await, Err(ClientError::Broken { .. })));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let (mut client, asked) = scripted(vec![Act::HangUp]).await;
    client.metadata(None).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (mut client, _) = scripted(Vec::new()).await;
    let mut settings = client.settings().clone();
    settings.bootstrap = Address::list(&address).unwrap();
    client = Client::new(settings);
    let error = client.metadata(None).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no Kafka broker can be reached: {address}: connection refused"));
}

#[tokio::test]
async fn an_api_that_the_broker_lacks_is_named() {
    let (mut client, _) = scripted(Vec::new()).await;
    let error = client.alter_topic_configs("t", &[]).await.unwrap_err();
    assert!(error.to_string().contains("does not serve IncrementalAlterConfigs"), "{error}");
}
