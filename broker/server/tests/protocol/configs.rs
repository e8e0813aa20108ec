//! DescribeConfigs: values with their sources and synonyms, of topics and of this broker.

use broker_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use broker_wire::messages::describe_configs_response::DescribeConfigsResult;

use crate::support::requests::{create, only};
use crate::support::{Client, Server};

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;

pub(crate) fn describe(client: &mut Client, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let configuration_keys = keys.map(|keys| keys.iter().map(|key| (*key).into()).collect());
    let resource = DescribeConfigsResource { resource_type: kind, resource_name: name.into(), configuration_keys };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: true };
    only(client.call(4, &request).results)
}

#[test]
fn a_topics_values_say_where_they_come_from() {
    let server = Server::with(&["log.segment.bytes=2097152"]);
    let mut client = server.connect();
    create(&mut client, "t", 1, &[("retention.ms", "1234")]);
    let result = describe(&mut client, TOPIC, "t", None);
    assert_eq!(result.error_code, 0);
    let find = |name: &str| result.configs.iter().find(|config| config.name == name).unwrap();
    let retention = find("retention.ms");
    assert_eq!((retention.value.as_deref(), retention.config_source, retention.config_type), (Some("1234"), 1, 5));
    let first = retention.synonyms.first().unwrap();
    assert_eq!((&*first.name, first.value.as_deref(), first.source), ("retention.ms", Some("1234"), 1));
    assert!(retention.synonyms.iter().any(|place| place.name == "log.retention.ms"), "{:?}", retention.synonyms);
    assert!(find("remote.log.copy.disable").synonyms.is_empty(), "the broker has no config of this kind");
    let segment = find("segment.bytes");
    assert_eq!((segment.value.as_deref(), segment.config_source), (Some("2097152"), 4), "from the broker's settings");
    let cleanup = find("cleanup.policy");
    assert_eq!((cleanup.value.as_deref(), cleanup.config_source), (Some("delete"), 5), "a default");
    for config in &result.configs {
        assert!(config.documentation.as_ref().is_some_and(|text| !text.is_empty()), "{}", &*config.name);
        assert!(!config.read_only && !config.is_sensitive && config.config_type > 0, "{config:?}");
    }
}

#[test]
fn keys_choose_what_is_answered() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    let result = describe(&mut client, TOPIC, "t", Some(&["retention.ms", "no.such.key", "cleanup.policy"]));
    let mut names: Vec<&str> = result.configs.iter().map(|config| &*config.name).collect();
    names.sort_unstable();
    assert_eq!((result.error_code, names), (0, vec!["cleanup.policy", "retention.ms"]));
    let all = describe(&mut client, TOPIC, "t", None).configs.len();
    assert_eq!(describe(&mut client, TOPIC, "t", Some(&[])).configs.len(), all, "no keys are all keys");
}

#[test]
fn a_brokers_values_are_described_and_secrets_are_not() {
    let secret = "verysecret";
    let server = Server::with(&["num.partitions=7", &format!("strata.tier.s3.secret.access.key={secret}")]);
    let mut client = server.connect();
    let result = describe(&mut client, BROKER, "1", None);
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    let partitions = result.configs.iter().find(|config| config.name == "num.partitions").unwrap();
    assert_eq!((partitions.value.as_deref(), partitions.config_source, partitions.read_only), (Some("7"), 4, true));
    assert!(result.configs.iter().all(|config| config.documentation.as_ref().is_some_and(|text| !text.is_empty())));
    assert!(result.configs.iter().any(|config| config.name == "log.retention.ms" && !config.read_only));
    assert_eq!(describe(&mut client, BROKER, "", None).configs.len(), 0, "nothing was given for all brokers");
    assert!(!format!("{result:?}").contains(secret));
    for config in result.configs.iter().filter(|config| config.is_sensitive) {
        assert_eq!(config.value, None, "{}", &*config.name);
    }
}

#[test]
fn what_is_not_there_is_told_beside_what_is() {
    let server = Server::start();
    let mut client = server.connect();
    create(&mut client, "t", 1, &[]);
    for (kind, name, error) in [
        (TOPIC, "nobody", 3),
        (TOPIC, "no name", 17),
        (BROKER, "2", 42),
        (BROKER, "one", 42),
        (8, "1", 42),
        (16, "metrics", 42),
        (32, "group", 42),
        (99, "x", 42),
        (TOPIC, "t", 0),
    ] {
        let result = describe(&mut client, kind, name, None);
        assert_eq!(
            (result.error_code, result.error_message.as_deref() == Some("")),
            (error, error == 0),
            "{kind} {name}"
        );
        assert_eq!((result.resource_type, &*result.resource_name), (kind, name));
    }
}
