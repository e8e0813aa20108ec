//! Sources and precedence, listeners, the bucket's place, and the text of a start.

use std::io::Write;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment { variables, host_name: "machine".to_owned() }
}

fn load(sets: &[&str]) -> Result<Settings, String> {
    load_in(sets, &[])
}

fn load_in(sets: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    let sources = Sources { file: None, sets, environment: environment(variables) };
    Settings::load(&sources).map_err(|error| error.to_string())
}

fn load_file(text: &str, sets: &[&str]) -> Result<Settings, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_owned();
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    let sources = Sources { file: Some(path.clone()), sets, environment: environment(&[]) };
    Settings::load(&sources).map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

fn s3(settings: &Settings) -> &S3Place {
    match &settings.tier.place {
        TierPlace::S3(place) => place,
        place => panic!("{place:?} is no bucket of S3"),
    }
}

#[test]
fn without_anything_the_defaults_are_a_newcomers() {
    let settings = load(&[]).unwrap();
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.listeners[0].bind.to_string(), "127.0.0.1:9092");
    assert_eq!(settings.listeners[0].advertised.to_string(), "127.0.0.1:9092");
    assert_eq!(settings.http[0].bind.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.data_dir, PathBuf::from("./strata-data"));
    assert_eq!(settings.tier.place.url(), "file://./strata-data/bucket");
    assert_eq!(settings.values.get(broker::LOG_LOCAL_RETENTION_MS), 3_600_000);
    assert_eq!(settings.tier.object_bytes, 128 << 20);
    assert_eq!(settings.groups.offsets_partitions, 50);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn a_file_brings_kafkas_local_retention_and_set_stands_above_it() {
    let settings = load_file("num.partitions=3\nlog.dirs=/data", &["num.partitions=6", "num.partitions=7"]).unwrap();
    assert_eq!(settings.topics.partitions_default, 7);
    assert_eq!(settings.values.get(broker::LOG_LOCAL_RETENTION_MS), -2);
    assert_eq!(settings.tier.place.url(), "file:///data/bucket");
    assert!(settings.file.is_some());
    let chosen = load(&["log.local.retention.ms=5"]).unwrap();
    assert_eq!(chosen.values.get(broker::LOG_LOCAL_RETENTION_MS), 5);
}

#[test]
fn unknown_keys_warn_and_bad_values_stop() {
    let settings = load_file("num.partition=3\n", &["zookeeper.connect=a:1"]).unwrap();
    assert_eq!(
        settings.warnings,
        [
            "FILE line 1: unknown config num.partition, did you mean num.partitions?"
                .replace("FILE", &place_of(&settings)),
            "--set: zookeeper.connect has no effect: Strata needs no ZooKeeper".to_owned(),
        ]
    );
    for (text, message) in [
        ("\nnum.partitions=x", "FILE line 2: num.partitions=x: expected a whole number of 32 bits from 1 to 10000"),
        ("a=\\u1", "FILE: line 1: \\u must be followed by four hexadecimal digits that are a character"),
        ("log.dirs=/a,/b,/a/", "log.dirs=/a,/b,/a/: expected directories separated by commas, each once"),
    ] {
        assert_eq!(load_file(text, &[]).unwrap_err(), message);
    }
    assert_eq!(load(&["num.partitions"]).unwrap_err(), "--set num.partitions: expected key=value");
    assert_eq!(
        load(&["fetch.max.bytes=0"]).unwrap_err(),
        "--set: fetch.max.bytes=0: expected a whole number of 32 bits, at least 1024"
    );
    assert_eq!(
        load(&["group.min.session.timeout.ms=10", "group.max.session.timeout.ms=9"]).unwrap_err(),
        "group.min.session.timeout.ms=10: expected at most group.max.session.timeout.ms, which is 9"
    );
    let missing = Sources { file: Some(PathBuf::from("/nowhere/server.properties")), ..Sources::default() };
    let message = Settings::load(&missing).unwrap_err().to_string();
    assert!(message.starts_with("cannot read the configuration file /nowhere/server.properties: "), "{message}");
}

#[test]
fn directories_resolve_as_kafkas_do() {
    let dirs = |sets: &[&str]| load(sets).map(|settings| (settings.data_dir.clone(), settings.dirs.clone()));
    let path = PathBuf::from;
    let (data, alone) = dirs(&[]).unwrap();
    assert_eq!(
        (data, alone.logs, alone.metadata),
        (path("./strata-data"), vec![path("./strata-data")], path("./strata-data"))
    );
    assert_eq!((alone.recovery_threads, alone.open_files_max), (2, None));
    let (data, both) = dirs(&["log.dirs=/b, /a", "log.dir=/c", "num.recovery.threads.per.data.dir=4"]).unwrap();
    assert_eq!((data, both.logs), (path("/b"), vec![path("/b"), path("/a")]));
    assert_eq!((both.metadata, both.recovery_threads), (path("/b"), 4));
    assert_eq!(dirs(&["log.dir=/c, ,/d"]).unwrap().1.logs, [path("/c"), path("/d")]);
    let (data, apart) = dirs(&["log.dirs=/b,/a", "metadata.log.dir=/m", "strata.log.open.files.max=100"]).unwrap();
    assert_eq!((data, apart.metadata, apart.open_files_max), (path("/b"), path("/m"), Some(100)));
    for bad in ["log.dirs=/a,/a", "log.dir=/a,/b,/a", "log.dir=,", "log.dirs=", "metadata.log.dir="] {
        assert!(load(&[bad]).is_err(), "{bad}");
    }
    let text = banner(&load(&["log.dirs=/b,/a", "metadata.log.dir=/m"]).unwrap(), &Bound::default());
    assert!(text.contains("  Data    /b, /a\n  Meta    /m\n"), "{text}");
}

#[test]
fn the_memory_of_requests_holds_the_largest() {
    let queued = |sets: &[&str]| load(sets).map(|settings| settings.network.queued_bytes_max);
    assert_eq!(queued(&[]).unwrap(), None);
    assert_eq!(queued(&["queued.max.request.bytes=200000000"]).unwrap(), Some(200_000_000));
    assert_eq!(
        queued(&["queued.max.request.bytes=4096"]).unwrap_err(),
        "queued.max.request.bytes=4096: expected -1, or at least socket.request.max.bytes, which is 104857600"
    );
    assert_eq!(load(&["max.incremental.fetch.session.cache.slots=7"]).unwrap().network.fetch_sessions_max, 7);
}

/// The path in the first warning.
fn place_of(settings: &Settings) -> String {
    settings.warnings[0].split(" line ").next().unwrap().to_owned()
}

#[test]
fn what_changes_nothing_is_said() {
    let settings = load(&["num.network.threads=3", "min.insync.replicas=2"]).unwrap();
    assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
    assert_eq!(settings.warnings[0], "num.network.threads has no effect: Strata sizes its threads by the machine");
    let twice = load_file("num.partitions=1\nnum.partitions=2", &[]).unwrap();
    assert!(twice.warnings[0].ends_with("line 2: num.partitions stands in line 1 too; this one holds"));
}

#[test]
fn kafkas_own_single_node_file_is_taken() {
    let settings = load_file(
        "process.roles=broker,controller\nnode.id=4\ncontroller.quorum.bootstrap.servers=localhost:9093\n\
         listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ninter.broker.listener.name=PLAINTEXT\n\
         advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n\
         controller.listener.names=CONTROLLER\nnum.network.threads=3\nnum.io.threads=8\nlog.dirs=/data/logs\n\
         offsets.topic.replication.factor=1\nlog.retention.hours=168\nlog.segment.bytes=1073741824\n",
        &[],
    )
    .unwrap();
    assert_eq!(settings.node.node_id, NodeId(4));
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.listeners[0].bind.bind_host(), "0.0.0.0");
    assert_eq!(settings.listeners[0].advertised.to_string(), "localhost:9092");
    assert!(settings.warnings.iter().all(|warning| warning.contains("no effect")), "{:?}", settings.warnings);
    assert_eq!(load(&["broker.id=7"]).unwrap().node.node_id, NodeId(7));
}

#[test]
fn listeners_follow_kafkas_rules() {
    let one = |text: &str| load(&[&format!("listeners={text}")]).map(|settings| settings.listeners[0].clone());
    assert_eq!(one("PLAINTEXT://[::1]:9").unwrap().bind, HostPort { host: "::1".to_owned(), port: 9 });
    assert_eq!(one("PLAINTEXT://[::1]:9").unwrap().bind.to_string(), "[::1]:9");
    assert_eq!(one("plaintext://h:0").unwrap().name, "PLAINTEXT");
    assert_eq!(one("PLAINTEXT://0.0.0.0:9").unwrap().advertised.to_string(), "machine:9");
    for bad in
        ["PLAINTEXT:h:1", "://h:1", "PLAINTEXT://h", "PLAINTEXT://h:99999", "PLAINTEXT://::1:9", "PLAINTEXT://a b:1"]
    {
        let message = one(bad).unwrap_err();
        assert_eq!(message, format!("listeners={bad}: expected NAME://host:port, separated by commas"));
    }
    for secured in ["SSL://h:1", "SASL_SSL://h:1", "SASL_PLAINTEXT://h:1"] {
        let message = one(secured).unwrap_err();
        assert!(message.contains("TLS and SASL are not served yet"), "{message}");
    }
    assert!(one("PLAINTEXT://h:1,PLAINTEXT://h:2").unwrap_err().ends_with("each listener name once"));
    let mapped = |map: &str| load(&["listeners=IN://h:1,OUT://h:2", map]);
    assert_eq!(mapped("listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT").unwrap().listeners.len(), 2);
    assert!(mapped("listener.security.protocol.map=IN:PLAINTEXT").unwrap_err().contains("OUT:PLAINTEXT"));
    assert!(mapped("listener.security.protocol.map=IN:SSL,OUT:SSL").unwrap_err().contains("not served yet"));
    for (advertised, message) in [
        ("PLAINTEXT://0.0.0.0:1", "a host that clients can connect to"),
        ("OTHER://h:1", "names that stand in listeners"),
    ] {
        assert!(load(&[&format!("advertised.listeners={advertised}")]).unwrap_err().ends_with(message));
    }
    assert!(load(&["controller.listener.names=PLAINTEXT"]).unwrap_err().contains("at least one listener"));
    assert!(load(&["strata.http.listeners="]).unwrap().http.is_empty());
    assert!(load(&["strata.http.listeners=https://h:1"]).unwrap_err().ends_with("TLS is not served yet"));
    assert!(load(&["strata.http.listeners=h:1"]).unwrap_err().ends_with("expected http://host:port"));
}

#[test]
fn the_bucket_is_a_url_with_credentials_from_one_place() {
    let settings = load_in(&["strata.tier.url=s3://lake/a/b/"], &[]).unwrap();
    let place = s3(&settings);
    assert_eq!((place.bucket.as_str(), place.prefix.as_str(), place.region.as_str()), ("lake", "a/b", "us-east-1"));
    assert!(place.credentials.is_none() && !place.path_style && place.endpoint.is_none());
    assert_eq!(settings.tier.place.url(), "s3://lake/a/b");

    let variables = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hush"), ("AWS_REGION", "eu-west-1")];
    let settings =
        load_in(&["strata.tier.url=s3://lake", "strata.tier.s3.endpoint=http://localhost:4566/"], &variables).unwrap();
    let place = s3(&settings);
    assert_eq!(place.endpoint.as_deref(), Some("http://localhost:4566"));
    assert!(place.path_style && place.region == "eu-west-1");
    assert_eq!(place.credentials.as_ref().map(|pair| pair.secret_access_key.reveal()), Some("hush"));
    assert!(!format!("{settings:?}").contains("hush"));

    let own =
        ["strata.tier.url=s3://lake", "strata.tier.s3.access.key.id=mine", "strata.tier.s3.secret.access.key=own"];
    assert_eq!(s3(&load_in(&own, &variables).unwrap()).credentials.as_ref().unwrap().access_key_id, "mine");
    let half = load_in(&["strata.tier.url=s3://lake", "strata.tier.s3.secret.access.key=own"], &variables).unwrap_err();
    assert_eq!(half, "strata.tier.s3.secret.access.key=[hidden]: expected strata.tier.s3.access.key.id beside it");

    for bad in ["gs://lake", "s3://", "s3://Lake", "file://relative", "lake"] {
        assert!(
            load(&[&format!("strata.tier.url={bad}")])
                .unwrap_err()
                .starts_with(&format!("strata.tier.url={bad}: expected"))
        );
    }
    assert!(load(&["strata.tier.url=s3://lake", "strata.tier.s3.endpoint=localhost"]).is_err());
    assert_eq!(load(&["strata.tier.rpo.ms=-1"]).unwrap().tier.rpo_ms, None);
}

#[test]
fn the_banner_names_addresses_defaults_and_commands() {
    let settings = load(&["listeners=PLAINTEXT://127.0.0.1:0"]).unwrap();
    let bound = Bound {
        program: "target/release/strata".to_owned(),
        kafka: vec!["127.0.0.1:41001".parse().unwrap()],
        http: vec!["0.0.0.0:8080".parse().unwrap()],
    };
    let text = banner(&settings, &bound);
    for part in [
        "Kafka   127.0.0.1:41001 (PLAINTEXT, clients are told 127.0.0.1:41001)",
        "HTTP    http://0.0.0.0:8080",
        "Bucket  ./strata-data/bucket (a directory)",
        "log.local.retention.ms=3600000 (1 hour)",
        "kcat -b 127.0.0.1:41001 -t greetings -P",
        "curl 'http://127.0.0.1:8080/v1/topics/greetings/records?limit=10'",
        "No TLS, no authentication",
        "  target/release/strata tier ls\n",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    let kept = load_file("num.partitions=2", &["log.dirs=/data", "num.partitions=3"]).unwrap();
    let bound = Bound { program: "strata".to_owned(), ..bound };
    let text = banner(&kept, &bound);
    assert!(text.contains("log.local.retention.ms=-2"), "{text}");
    let path = kept.file.as_ref().unwrap().display();
    assert!(text.contains(&format!("  strata --config {path} --set log.dirs=/data tier ls\n")), "{text}");
}

fn load_all(file: &str, variables: &[(&str, &str)], sets: &[&str]) -> Result<Settings, String> {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    config.write_all(file.as_bytes()).unwrap();
    let path = config.path().to_str().unwrap();
    let on_path = format!("/nowhere/server.properties:{path}");
    let variables: Vec<_> = variables.iter().copied().chain([("STRATA_CONFIG_PATH", on_path.as_str())]).collect();
    load_in(sets, &variables)
}

#[test]
fn the_environment_stands_between_file_and_words() {
    let file = "num.partitions=2\nnode.id=2\nbroker.rack=two";
    let variables = [("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_NODE_ID", "3")];
    let settings = load_all(file, &variables, &["num.partitions=4"]).unwrap();
    assert_eq!(settings.topics.partitions_default, 4);
    assert_eq!(settings.node, NodeSettings { node_id: NodeId(3), rack: Some("two".to_owned()) });
    assert_eq!((settings.variables, settings.file.is_some()), (2, true));
    assert_eq!(settings.values.get(broker::LOG_LOCAL_RETENTION_MS), -2);
    let text = banner(&settings, &Bound::default());
    assert!(text.contains(", 2 of KAFKA_* variables\n"), "{text}");
    assert_eq!(
        load_in(&[], &[("KAFKA_NUM_PARTITIONS", "many")]).unwrap_err(),
        "KAFKA_NUM_PARTITIONS: num.partitions=many: expected a whole number of 32 bits from 1 to 10000"
    );
    let unknown = load_in(&[], &[("KAFKA_NUM_PARTITION", "3"), ("KAFKA_ZOOKEEPER_CONNECT", "z:1")]).unwrap();
    assert_eq!(
        unknown.warnings,
        [
            "KAFKA_NUM_PARTITION: unknown config num.partition, did you mean num.partitions?",
            "KAFKA_ZOOKEEPER_CONNECT: zookeeper.connect has no effect: Strata needs no ZooKeeper",
        ]
    );
    // A file that says nothing, and no variable: a newcomer.
    assert_eq!(load_all("# nothing\n", &[], &[]).unwrap().values.get(broker::LOG_LOCAL_RETENTION_MS), 3_600_000);
    assert_eq!(load_in(&[], &variables).unwrap().values.get(broker::LOG_LOCAL_RETENTION_MS), -2);
}

#[test]
fn what_an_image_brings_stands_below_all_and_gives_way_in_listeners() {
    let mut defaults = tempfile::NamedTempFile::new().unwrap();
    defaults
        .write_all(b"listeners=PLAINTEXT://:9092\nadvertised.listeners=PLAINTEXT://localhost:9092\nlog.dirs=/var/lib/kafka/data\n")
        .unwrap();
    let defaults = defaults.path().to_str().unwrap().to_owned();
    let load = |variables: &[(&str, &str)], sets: &[&str]| {
        let variables: Vec<_> = variables.iter().copied().chain([("STRATA_CONFIG_DEFAULTS", &*defaults)]).collect();
        load_in(sets, &variables).unwrap()
    };
    let shown = |settings: &Settings| -> Vec<String> {
        let one = |it: &Listener| format!("{} {} {}", it.name, it.bind.bind_host(), it.advertised);
        settings.listeners.iter().map(one).collect()
    };
    let alone = load(&[], &[]);
    assert_eq!(shown(&alone), ["PLAINTEXT 0.0.0.0 localhost:9092"]);
    assert_eq!(alone.data_dir, PathBuf::from("/var/lib/kafka/data"));
    assert_eq!(alone.values.get(broker::LOG_LOCAL_RETENTION_MS), 3_600_000);
    let named =
        load(&[("KAFKA_LISTENERS", "IN://:29092"), ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "IN:PLAINTEXT")], &[]);
    assert_eq!(shown(&named), ["IN 0.0.0.0 machine:29092"]);
    let told = load(&[("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:29092")], &[]);
    assert_eq!(shown(&told), ["PLAINTEXT 0.0.0.0 kafka:29092"]);
    assert_eq!(told.listeners[0].bind.port, 29092);
    // Words name the listeners: the environment tells clients another port, as with a port of the host.
    let mapped = load(&[("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://h:7")], &["listeners=PLAINTEXT://:9"]);
    assert_eq!((shown(&mapped), mapped.listeners[0].bind.port), (vec!["PLAINTEXT 0.0.0.0 h:7".to_owned()], 9));
    let missing = load_in(&[], &[("STRATA_CONFIG_DEFAULTS", "/nowhere/defaults")]).unwrap_err();
    assert!(missing.starts_with("cannot read the configuration file /nowhere/defaults: "), "{missing}");
}

#[test]
fn nodes_of_a_cluster_do_not_start_one_by_one() {
    let one = ["process.roles=broker,controller", "controller.quorum.voters=1@kafka:9093"];
    let settings = load(&one).unwrap();
    assert_eq!(
        settings.warnings,
        ["controller.quorum.voters, process.roles have no effect: Strata is one node so far, its own controller"]
    );
    for (set, expected) in [
        ("process.roles=controller", "so leave out nodes that are nothing else"),
        ("controller.quorum.voters=1@a:1,2@b:1,3@c:1", "Run one node and leave the others out"),
        ("controller.quorum.bootstrap.servers=a:1,b:1", "Run one node and leave the others out"),
    ] {
        let message = load(&[set]).unwrap_err();
        assert!(message.starts_with(set) && message.ends_with(expected), "{message}");
    }
}

#[test]
fn families_that_are_not_served_are_named() {
    let settings =
        load_in(&[], &[("KAFKA_SSL_KEYSTORE_PASSWORD", "hush"), ("KAFKA_CONFLUENT_BALANCER_ENABLE", "true")]);
    let warnings = settings.unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "KAFKA_CONFLUENT_BALANCER_ENABLE: confluent.balancer.enable has no effect: it belongs to Confluent's own parts",
            "KAFKA_SSL_KEYSTORE_PASSWORD: ssl.keystore.password has no effect: TLS, SASL and ACLs are not served yet",
        ]
    );
}
