//! Settings: what the configuration file, the command line and the environment say, as small structs that each part takes.
//!
//! Order of precedence, the strongest last: built-in default, what an image brings, file, `KAFKA_*` variables, `--set` from
//! left to right. Credentials and region that the configuration leaves open come from the usual `AWS_*` variables. Where
//! neither file nor variables configure anything, `log.local.retention.ms` is one hour, so that a newcomer sees records go
//! cold.
//!
//! An unknown key is a warning that names the nearest known one, because Kafka files carry keys of plug-ins. A value that
//! does not fit stops the program with key, value and what is expected. Keys that are taken and do nothing are reported
//! too: nothing is ignored in silence.
//!
//! Below this module nobody reads files, environment or a global configuration. Start reading at [`Settings::load`].

mod banner;
mod kafka_variables;
mod listeners;
mod node;
mod properties;
mod sources;
mod strangers;
mod tier;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use broker_model::NodeId;
use broker_model::config::{
    BrokerKey, ConfigError, ConfigType, ConfigValues, Standing, TopicClass, TopicConfig, broker, network, tier as keys,
};

pub use banner::{Bound, banner};
pub use listeners::{HostPort, HttpListener, Listener, Protocol};
pub use properties::{Properties, PropertiesError, Property};
use sources::Read;
pub use sources::{Environment, SettingsError, Sources};
pub use tier::{S3Credentials, S3Place, TierPlace, TierSettings};

/// `log.local.retention.ms` when neither a file nor the environment configures anything: 1 hour.
pub const LOCAL_RETENTION_MS_WITHOUT_FILE: i64 = 3_600_000;

/// Everything that the program was told, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// All broker configs: the snapshot from which topic configs resolve and DescribeConfigs answers.
    pub values: Arc<ConfigValues>,
    /// The configuration file, where one was read.
    pub file: Option<PathBuf>,
    /// How many configs came from `KAFKA_*` variables.
    pub variables: usize,
    /// The words of the command line that let another command find the same bucket; no secrets.
    pub place_words: Vec<String>,
    /// This node.
    pub node: NodeSettings,
    /// The first of the log directories: the bucket and its caches lie below it where nothing else is said.
    pub data_dir: PathBuf,
    /// Where logs and metadata lie.
    pub dirs: DirSettings,
    /// The Kafka listeners; at least one.
    pub listeners: Vec<Listener>,
    /// The HTTP listeners; none means no gateway.
    pub http: Vec<HttpListener>,
    /// Connections and requests.
    pub network: NetworkSettings,
    /// Topics that are made without being told how.
    pub topics: TopicSettings,
    /// Background work on the logs.
    pub logs: LogSettings,
    /// The group coordinator.
    pub groups: GroupSettings,
    /// The bucket.
    pub tier: TierSettings,
    /// How long a shutdown waits for what is in flight, in milliseconds.
    pub shutdown_timeout_ms: i64,
    /// For tests: the point of the commit protocol at which the process kills itself.
    pub crash_point: Option<String>,
    /// What the operator should know: unknown keys, keys without effect, values that do not go well together.
    pub warnings: Vec<String>,
}

/// This node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// `node.id`.
    pub node_id: NodeId,
    /// `broker.rack`.
    pub rack: Option<String>,
}

/// Where logs and metadata lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirSettings {
    /// `log.dirs`, in its order; at least one, each once.
    pub logs: Vec<PathBuf>,
    /// `metadata.log.dir`; it may be one of the above.
    pub metadata: PathBuf,
    /// Threads that recover logs in the background, for each directory.
    pub recovery_threads: usize,
    /// Files of all logs that are open at once; `None` means what the system's own limit allows.
    pub open_files_max: Option<usize>,
}

/// Connections and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The largest request frame in bytes.
    pub request_bytes_max: i32,
    /// The bytes of all requests together; `None` means the broker's own bound.
    pub queued_bytes_max: Option<usize>,
    /// Incremental fetch sessions that are kept.
    pub fetch_sessions_max: usize,
    /// Threads that serve connections and requests; `None` leaves it to the machine's size.
    pub threads: Option<usize>,
    /// Bytes of a connection's send buffer; `None` leaves it to the system.
    pub send_buffer_bytes: Option<usize>,
    /// Connections that wait to be accepted.
    pub backlog: i32,
    /// Connections at once.
    pub connections_max: i32,
    /// An idle connection is closed after so many milliseconds.
    pub idle_ms_max: i64,
    /// The largest answer to a fetch in bytes, the first batch aside.
    pub fetch_bytes_max: i32,
}

/// Topics that are made without being told how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// A topic that a client names comes into being.
    pub auto_create: bool,
    /// Topics can be deleted.
    pub delete_enabled: bool,
    /// Partitions.
    pub partitions_default: i32,
    /// Replicas.
    pub replication_factor_default: i32,
}

/// Background work on the logs. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Between two looks for segments to delete.
    pub retention_check_ms: i64,
    /// Between two checkpoints of recovery points.
    pub checkpoint_ms: i64,
    /// Between two looks for logs to flush; [`i64::MAX`] means never.
    pub flush_check_ms: i64,
    /// A producer is forgotten after so long without a batch.
    pub producer_expiration_ms: i64,
    /// Bytes a second that the scrub reads, 0 for none.
    pub scrub_bytes_per_second: u64,
}

/// The group coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// The shortest session timeout in milliseconds.
    pub session_timeout_ms_min: i32,
    /// The longest session timeout in milliseconds.
    pub session_timeout_ms_max: i32,
    /// How long the first rebalance waits for members, in milliseconds.
    pub initial_rebalance_delay_ms: i32,
    /// Members of one group.
    pub members_max: i32,
    /// Metadata of one committed offset, in bytes.
    pub offset_metadata_bytes_max: i32,
    /// Offsets of an empty group are kept so long, in milliseconds.
    pub offsets_retention_ms: i64,
    /// Between two looks for expired offsets, in milliseconds.
    pub offsets_expiration_check_ms: i64,
    /// Partitions of `__consumer_offsets`.
    pub offsets_partitions: i32,
    /// Segment size of `__consumer_offsets` in bytes.
    pub offsets_segment_bytes: i32,
}

impl Settings {
    /// Reads all sources and checks them.
    ///
    /// # Errors
    /// [`SettingsError`]: a file that cannot be read, a value that does not fit, or two that do not fit each other.
    pub fn load(sources: &Sources) -> Result<Settings, SettingsError> {
        let Read { values, mut warnings, file, variables } = sources.read()?;
        node::check_alone(&values)?;
        let dirs = dirs(&values)?;
        let data_dir = dirs.logs.first().cloned().expect("the list of log directories is not empty");
        let listeners = listeners::kafka(&values, &sources.environment)?;
        let http = listeners::http(&values)?;
        let tier = tier::settings(&values, &sources.environment, &data_dir)?;
        check_together(&values)?;
        warnings.extend(without_effect(&values));
        warnings.extend(odd_together(&values));
        Ok(Settings {
            file,
            variables,
            place_words: sources.place_words(),
            node: NodeSettings { node_id: NodeId(node::id(&values)), rack: values.get(network::BROKER_RACK) },
            data_dir,
            dirs,
            listeners,
            http,
            network: network_settings(&values),
            topics: topic_settings(&values),
            logs: log_settings(&values),
            groups: group_settings(&values),
            tier,
            shutdown_timeout_ms: values.get(keys::SHUTDOWN_TIMEOUT_MS),
            crash_point: values.get(keys::TEST_CRASH_POINT),
            warnings,
            values: Arc::new(values),
        })
    }
}

fn dirs(values: &ConfigValues) -> Result<DirSettings, ConfigError> {
    let logs = match values.get(broker::LOG_DIRS) {
        Some(dirs) => dir_list(broker::LOG_DIRS, dirs)?,
        None => {
            let text = values.get(broker::LOG_DIR);
            dir_list(broker::LOG_DIR, text.split(',').map(|dir| dir.trim().to_owned()).collect())?
        }
    };
    let metadata = values.get(broker::METADATA_LOG_DIR).map(PathBuf::from);
    let size = |count: i32| usize::try_from(count).unwrap_or(0);
    Ok(DirSettings {
        metadata: metadata.or_else(|| logs.first().cloned()).expect("the list of log directories is not empty"),
        logs,
        recovery_threads: size(values.get(broker::NUM_RECOVERY_THREADS)),
        open_files_max: values.get(broker::LOG_OPEN_FILES_MAX).map(size),
    })
}

const DIR_LIST: &str = "directories separated by commas, each once";

/// Directories that are named, each once. As in Kafka, nothing between two commas names none.
fn dir_list<T: ConfigType>(key: BrokerKey<T>, dirs: Vec<String>) -> Result<Vec<PathBuf>, ConfigError> {
    let text = dirs.join(",");
    let mut paths: Vec<PathBuf> = Vec::with_capacity(dirs.len());
    for dir in dirs.into_iter().filter(|dir| !dir.is_empty()) {
        // Paths compare by their components: a slash at the end makes no other directory.
        let path = PathBuf::from(dir);
        if paths.contains(&path) {
            return Err(refuse(key, &text, DIR_LIST));
        }
        paths.push(path);
    }
    if paths.is_empty() { Err(refuse(key, &text, DIR_LIST)) } else { Ok(paths) }
}

fn network_settings(values: &ConfigValues) -> NetworkSettings {
    NetworkSettings {
        request_bytes_max: values.get(network::SOCKET_REQUEST_MAX_BYTES),
        queued_bytes_max: usize::try_from(values.get(network::QUEUED_MAX_REQUEST_BYTES)).ok(),
        fetch_sessions_max: usize::try_from(values.get(network::FETCH_SESSION_SLOTS)).unwrap_or(0),
        threads: values
            .is_set(network::NUM_IO_THREADS)
            .then(|| values.get(network::NUM_IO_THREADS).unsigned_abs() as usize),
        send_buffer_bytes: usize::try_from(values.get(network::SOCKET_SEND_BUFFER_BYTES)).ok(),
        backlog: values.get(network::SOCKET_LISTEN_BACKLOG_SIZE),
        connections_max: values.get(network::MAX_CONNECTIONS),
        idle_ms_max: values.get(network::CONNECTIONS_MAX_IDLE_MS),
        fetch_bytes_max: values.get(network::FETCH_MAX_BYTES),
    }
}

fn topic_settings(values: &ConfigValues) -> TopicSettings {
    TopicSettings {
        auto_create: values.get(broker::AUTO_CREATE_TOPICS_ENABLE),
        delete_enabled: values.get(broker::DELETE_TOPIC_ENABLE),
        partitions_default: values.get(broker::NUM_PARTITIONS),
        replication_factor_default: values.get(broker::DEFAULT_REPLICATION_FACTOR),
    }
}

fn log_settings(values: &ConfigValues) -> LogSettings {
    LogSettings {
        retention_check_ms: values.get(broker::LOG_RETENTION_CHECK_INTERVAL_MS),
        checkpoint_ms: i64::from(values.get(broker::LOG_FLUSH_OFFSET_CHECKPOINT_INTERVAL_MS)),
        flush_check_ms: values.get(broker::LOG_FLUSH_SCHEDULER_INTERVAL_MS),
        producer_expiration_ms: i64::from(values.get(broker::PRODUCER_ID_EXPIRATION_MS)),
        scrub_bytes_per_second: u64::try_from(values.get(broker::LOG_SCRUB_BYTES_PER_SECOND)).unwrap_or(0),
    }
}

fn group_settings(values: &ConfigValues) -> GroupSettings {
    GroupSettings {
        session_timeout_ms_min: values.get(network::GROUP_MIN_SESSION_TIMEOUT_MS),
        session_timeout_ms_max: values.get(network::GROUP_MAX_SESSION_TIMEOUT_MS),
        initial_rebalance_delay_ms: values.get(network::GROUP_INITIAL_REBALANCE_DELAY_MS),
        members_max: values.get(network::GROUP_MAX_SIZE),
        offset_metadata_bytes_max: values.get(network::OFFSET_METADATA_MAX_BYTES),
        offsets_retention_ms: i64::from(values.get(network::OFFSETS_RETENTION_MINUTES)) * 60_000,
        offsets_expiration_check_ms: values.get(network::OFFSETS_RETENTION_CHECK_INTERVAL_MS),
        offsets_partitions: values.get(network::OFFSETS_TOPIC_NUM_PARTITIONS),
        offsets_segment_bytes: values.get(network::OFFSETS_TOPIC_SEGMENT_BYTES),
    }
}

/// Values that cannot hold together.
fn check_together(values: &ConfigValues) -> Result<(), ConfigError> {
    let shortest = values.get(network::GROUP_MIN_SESSION_TIMEOUT_MS);
    let longest = values.get(network::GROUP_MAX_SESSION_TIMEOUT_MS);
    if shortest > longest {
        let expected = format!("at most {}, which is {longest}", network::GROUP_MAX_SESSION_TIMEOUT_MS.name());
        return Err(refuse(network::GROUP_MIN_SESSION_TIMEOUT_MS, &shortest.to_string(), &expected));
    }
    let (queued, largest) =
        (values.get(network::QUEUED_MAX_REQUEST_BYTES), values.get(network::SOCKET_REQUEST_MAX_BYTES));
    if (0..i64::from(largest)).contains(&queued) {
        let expected = format!("-1, or at least {}, which is {largest}", network::SOCKET_REQUEST_MAX_BYTES.name());
        return Err(refuse(network::QUEUED_MAX_REQUEST_BYTES, &queued.to_string(), &expected));
    }
    // What a topic without configs of its own gets must be a legal configuration.
    TopicConfig::resolve(&BTreeMap::new(), values, TopicClass::User).map(|_| ())
}

/// Keys that were given and change nothing, one text for each reason.
fn without_effect(values: &ConfigValues) -> Vec<String> {
    let mut told: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for def in values.given() {
        let Standing::Noted(why) = def.standing else { continue };
        match told.iter_mut().find(|(other, _)| *other == why) {
            Some((_, names)) => names.push(def.name),
            None => told.push((why, vec![def.name])),
        }
    }
    let text = |(why, names): (&str, Vec<&str>)| {
        let have = if names.len() == 1 { "has" } else { "have" };
        format!("{} {have} no effect: {why}", names.join(", "))
    };
    told.into_iter().map(text).collect()
}

/// Values that are legal and probably not meant.
fn odd_together(values: &ConfigValues) -> Vec<String> {
    let mut odd = Vec::new();
    if values.get(broker::DEFAULT_REPLICATION_FACTOR) > 1 {
        odd.push(
            "default.replication.factor is above 1, and there is one node: creating a topic without a replication \
                  factor will fail"
                .to_owned(),
        );
    }
    if values.get(broker::MESSAGE_MAX_BYTES) > values.get(network::SOCKET_REQUEST_MAX_BYTES) {
        odd.push("message.max.bytes is above socket.request.max.bytes: the largest batches cannot arrive".to_owned());
    }
    odd
}

fn refuse<T: ConfigType>(key: BrokerKey<T>, value: &str, expected: &str) -> ConfigError {
    ConfigError::BadValue { key: key.name().to_owned(), value: value.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests;
