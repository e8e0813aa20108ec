//! Broker configs of Kafka that are taken and change nothing, so that a Kafka file works as it is. Each says why.
//!
//! A config that protects something is not noted: `authorizer.class.name` stops the broker, because going on
//! without it would open what its owner wants closed.

use super::def::configs;

const ONE_NODE: &str = "Strata is one node so far, its own controller";
const OWN_THREADS: &str = "Strata sizes its threads by the machine";
const NO_TRANSACTIONS: &str = "Strata has no transactions yet";
const NO_SHARE_GROUPS: &str = "Strata has no share groups yet";
const NO_CLEANER: &str = "Strata does not compact yet: compacted topics keep every record";

configs! { BrokerKey, Broker;
    /// Kafka's older name of node.id.
    BROKER_ID: Option<i32> = "broker.id", None, noted("node.id names the broker");
    /// What a node does in Kafka's cluster. Strata's node is broker and controller.
    PROCESS_ROLES: Vec<String> = "process.roles", Some("broker,controller"), one_of(&["broker", "controller"]), noted(ONE_NODE);
    /// The controllers to begin with.
    CONTROLLER_QUORUM_BOOTSTRAP_SERVERS: Vec<String> = "controller.quorum.bootstrap.servers", Some(""), noted(ONE_NODE);
    /// The controllers.
    CONTROLLER_QUORUM_VOTERS: Vec<String> = "controller.quorum.voters", Some(""), noted(ONE_NODE);
    /// The listener between brokers.
    INTER_BROKER_LISTENER_NAME: Option<String> = "inter.broker.listener.name", None, noted(ONE_NODE);
    /// Replicas of the topic of groups and offsets.
    OFFSETS_TOPIC_REPLICATION_FACTOR: i32 = "offsets.topic.replication.factor", Some("3"), at_least(1), noted(ONE_NODE);
    /// How far a replica may lag in time and be in sync.
    REPLICA_LAG_TIME_MAX_MS: i64 = "replica.lag.time.max.ms", Some("30000"), noted(ONE_NODE);
    /// Threads that fetch from leaders.
    NUM_REPLICA_FETCHERS: i32 = "num.replica.fetchers", Some("1"), dynamic(), noted(ONE_NODE);
    /// Leaders are moved back to preferred replicas.
    AUTO_LEADER_REBALANCE_ENABLE: bool = "auto.leader.rebalance.enable", Some("true"), noted(ONE_NODE);
    /// Leaders are moved away before a broker stops.
    CONTROLLED_SHUTDOWN_ENABLE: bool = "controlled.shutdown.enable", Some("true"), noted(ONE_NODE);

    /// Threads for the network.
    NUM_NETWORK_THREADS: i32 = "num.network.threads", Some("3"), dynamic(), noted(OWN_THREADS);
    /// Threads for the background.
    BACKGROUND_THREADS: i32 = "background.threads", Some("10"), dynamic(), noted(OWN_THREADS);
    /// Requests that wait for a thread.
    QUEUED_MAX_REQUESTS: i32 = "queued.max.requests", Some("500"), noted("a connection has at most 16 requests in flight");
    /// The receive buffer of a socket in bytes.
    SOCKET_RECEIVE_BUFFER_BYTES: i32 = "socket.receive.buffer.bytes", Some("102400"),
        noted("the kernel sizes receive buffers");

    /// Partitions of the topic of transactions.
    TRANSACTION_STATE_LOG_NUM_PARTITIONS: i32 = "transaction.state.log.num.partitions", Some("50"), noted(NO_TRANSACTIONS);
    /// Replicas of the topic of transactions.
    TRANSACTION_STATE_LOG_REPLICATION_FACTOR: i32 = "transaction.state.log.replication.factor", Some("3"),
        noted(NO_TRANSACTIONS);
    /// Replicas of the topic of transactions that must be in sync.
    TRANSACTION_STATE_LOG_MIN_ISR: i32 = "transaction.state.log.min.isr", Some("2"), noted(NO_TRANSACTIONS);
    /// The longest transaction.
    TRANSACTION_MAX_TIMEOUT_MS: i32 = "transaction.max.timeout.ms", Some("900000"), noted(NO_TRANSACTIONS);
    /// Replicas of the topic of share groups.
    SHARE_STATE_TOPIC_REPLICATION_FACTOR: i32 = "share.coordinator.state.topic.replication.factor", Some("3"),
        noted(NO_SHARE_GROUPS);
    /// Replicas of the topic of share groups that must be in sync.
    SHARE_STATE_TOPIC_MIN_ISR: i32 = "share.coordinator.state.topic.min.isr", Some("2"), noted(NO_SHARE_GROUPS);

    /// The cleaner runs.
    LOG_CLEANER_ENABLE: bool = "log.cleaner.enable", Some("true"), noted(NO_CLEANER);
    /// How dirty a compacted log may be.
    LOG_CLEANER_MIN_CLEANABLE_RATIO: f64 = "log.cleaner.min.cleanable.ratio", Some("0.5"), share(), dynamic(),
        noted(NO_CLEANER);
    /// How young a record is never compacted away.
    LOG_CLEANER_MIN_COMPACTION_LAG_MS: i64 = "log.cleaner.min.compaction.lag.ms", Some("0"), at_least(0), dynamic(),
        noted(NO_CLEANER);
    /// How old a record is compacted at last.
    LOG_CLEANER_MAX_COMPACTION_LAG_MS: i64 = "log.cleaner.max.compaction.lag.ms", Some("9223372036854775807"), at_least(1),
        dynamic(), noted(NO_CLEANER);
    /// How long a tombstone is kept.
    LOG_CLEANER_DELETE_RETENTION_MS: i64 = "log.cleaner.delete.retention.ms", Some("86400000"), at_least(0), dynamic(),
        noted(NO_CLEANER);
    /// Kafka's switch of tiered storage for the whole broker.
    REMOTE_LOG_STORAGE_SYSTEM_ENABLE: bool = "remote.log.storage.system.enable", Some("true"),
        noted("the tier is always there; strata.remote.storage.enable.default and remote.storage.enable choose the topics");

    /// Who decides what a principal may do.
    AUTHORIZER_CLASS_NAME: String = "authorizer.class.name", Some(""),
        empty("Strata has no ACLs yet, and does not start as if it had");
}
