//! Broker configs: identity, listeners, connections and requests, coordinators.

use super::def::configs;

configs! { BrokerKey, Broker;
    /// The number of this broker in its cluster.
    NODE_ID: i32 = "node.id", Some("1"), at_least(0);
    /// The rack that this broker stands in. Clients that name the same rack may read nearer replicas.
    BROKER_RACK: Option<String> = "broker.rack", None;
    /// Where the broker accepts Kafka clients: name://host:port, separated by commas. An empty host means all
    /// interfaces. Kafka's default is all interfaces; ours is this machine only, because nothing is secured yet.
    LISTENERS: Vec<String> = "listeners", Some("PLAINTEXT://127.0.0.1:9092"), not_empty();
    /// What clients are told to connect to, by listener name. Absent means the listeners themselves.
    ADVERTISED_LISTENERS: Option<Vec<String>> = "advertised.listeners", None, not_empty();
    /// The security protocol of each listener name: NAME:PROTOCOL, separated by commas. Only PLAINTEXT is served so far.
    LISTENER_SECURITY_PROTOCOL_MAP: Vec<String> = "listener.security.protocol.map",
        Some("PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT");
    /// The listeners of the controller. They may stand in `listeners`; as this node is its own controller, they are not
    /// opened.
    CONTROLLER_LISTENER_NAMES: Vec<String> = "controller.listener.names", Some("");
    /// The largest request in bytes. A larger one closes its connection.
    SOCKET_REQUEST_MAX_BYTES: i32 = "socket.request.max.bytes", Some("104857600"), at_least(1024);
    /// Bytes of the requests of all connections together; who sends more waits. -1 means 256 MiB.
    QUEUED_MAX_REQUEST_BYTES: i64 = "queued.max.request.bytes", Some("-1"), at_least(-1);
    /// Threads that serve connections and requests. When it is not given there are at least 8, and two for each core.
    NUM_IO_THREADS: i32 = "num.io.threads", Some("8"), at_least(1);
    /// The send buffer of a connection in bytes; -1 leaves it to the system. Small ones keep what consumers are sent in
    /// the processor's cache; over long distances a larger one, or -1, fills the line.
    SOCKET_SEND_BUFFER_BYTES: i32 = "socket.send.buffer.bytes", Some("102400"), at_least(-1);
    /// Connections that wait to be accepted, per listener.
    SOCKET_LISTEN_BACKLOG_SIZE: i32 = "socket.listen.backlog.size", Some("50"), at_least(1);
    /// A connection without a request for so long is closed.
    CONNECTIONS_MAX_IDLE_MS: i64 = "connections.max.idle.ms", Some("600000"), at_least(1);
    /// Connections that the broker holds at once, over all listeners.
    MAX_CONNECTIONS: i32 = "max.connections", Some("2147483647"), at_least(0), dynamic();
    /// The largest answer to one fetch in bytes. The first batch of an answer is sent whole even when it is larger.
    FETCH_MAX_BYTES: i32 = "fetch.max.bytes", Some("57671680"), at_least(1024);
    /// Incremental fetch sessions that the broker keeps; 0 means none.
    FETCH_SESSION_SLOTS: i32 = "max.incremental.fetch.session.cache.slots", Some("1000"), at_least(0);
    /// Partitions that one answer to DescribeTopicPartitions names at most.
    MAX_REQUEST_PARTITION_SIZE_LIMIT: i32 = "max.request.partition.size.limit", Some("2000"), at_least(1);
    /// The shortest session timeout that a group member may ask for.
    GROUP_MIN_SESSION_TIMEOUT_MS: i32 = "group.min.session.timeout.ms", Some("6000"), at_least(1);
    /// The longest session timeout that a group member may ask for.
    GROUP_MAX_SESSION_TIMEOUT_MS: i32 = "group.max.session.timeout.ms", Some("1800000"), at_least(1);
    /// How long the first rebalance of an empty group waits for more members.
    GROUP_INITIAL_REBALANCE_DELAY_MS: i32 = "group.initial.rebalance.delay.ms", Some("3000"), at_least(0);
    /// Members that a group may have.
    GROUP_MAX_SIZE: i32 = "group.max.size", Some("2147483647"), at_least(1);
    /// The longest metadata text of a committed offset in bytes.
    OFFSET_METADATA_MAX_BYTES: i32 = "offset.metadata.max.bytes", Some("4096"), at_least(0);
    /// How long the offsets of an empty group are kept.
    OFFSETS_RETENTION_MINUTES: i32 = "offsets.retention.minutes", Some("10080"), at_least(1);
    /// How often expired offsets are looked for.
    OFFSETS_RETENTION_CHECK_INTERVAL_MS: i64 = "offsets.retention.check.interval.ms", Some("600000"), at_least(1);
    /// Partitions of the topic that keeps the groups and their offsets. It cannot change once the topic exists.
    OFFSETS_TOPIC_NUM_PARTITIONS: i32 = "offsets.topic.num.partitions", Some("50"), range(1, 10_000);
    /// Segment size of that topic in bytes.
    OFFSETS_TOPIC_SEGMENT_BYTES: i32 = "offsets.topic.segment.bytes", Some("104857600"), at_least(1 << 20);
    /// How long a commit of offsets may take to become durable.
    OFFSETS_COMMIT_TIMEOUT_MS: i32 = "offsets.commit.timeout.ms", Some("5000"), at_least(1);
}
