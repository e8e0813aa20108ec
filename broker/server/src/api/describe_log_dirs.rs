//! DescribeLogDirs (KIP-113, KIP-827): the log directories, how much room they have, and the size of each partition there.
//!
//! A directory that failed is told with an error and nothing else. The metadata log is no partition of this list. Sizes are
//! those of the local logs; what is in the bucket does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_model::ErrorCode;
use broker_wire::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use broker_wire::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use tokio::task::spawn_blocking;

use super::{Call, Pending};
use crate::context::{Operation, Resource};
use crate::disk::Directory;
use crate::replica::{Disk, Partition};

/// From here a response can say that the request failed as a whole.
const VERSION_ERROR: i16 = 3;

/// The partitions that are asked; `None` for all.
type Asked = Option<BTreeSet<(String, i32)>>;

/// Looks at the directories on a thread that may wait for the disk.
pub(super) fn start(call: Call, request: DescribeLogDirsRequest) -> Pending {
    if !call.context.is_allowed(Resource::Cluster, Operation::Describe, "") {
        let error =
            if call.context.version < VERSION_ERROR { ErrorCode::None } else { ErrorCode::ClusterAuthorizationFailed };
        return call.ready(&DescribeLogDirsResponse { error_code: error.code(), ..Default::default() });
    }
    let asked: Asked = request.topics.map(|topics| {
        let named = topics.into_iter().flat_map(|topic| {
            let name = topic.topic.to_string();
            topic.partitions.into_iter().map(move |index| (name.clone(), index))
        });
        named.collect()
    });
    Pending::wait(async move {
        let broker = call.broker.clone();
        let results = spawn_blocking(move || {
            let topics = broker.topics.load();
            let partitions: Vec<_> = topics.iter().flat_map(|topic| topic.partitions()).collect();
            let describe = |directory: &Arc<Directory>| describe(directory, &partitions, &asked);
            broker.dirs.directories().iter().map(describe).collect()
        });
        let mut response =
            DescribeLogDirsResponse { throttle_time_ms: call.context.throttle_ms(), ..Default::default() };
        match results.await {
            Ok(results) => response.results = results,
            Err(_) if call.context.version >= VERSION_ERROR => {
                response.error_code = ErrorCode::UnknownServerError.code();
            }
            Err(_) => {}
        }
        call.reply(&response)
    })
}

fn describe(directory: &Directory, partitions: &[&Arc<Partition>], asked: &Asked) -> DescribeLogDirsResult {
    let root = directory.root();
    let log_dir = std::path::absolute(root).unwrap_or_else(|_| root.to_owned()).display().to_string().into();
    let Some(room) = directory.room().filter(|_| !directory.is_offline()) else {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir,
            ..Default::default()
        };
    };
    let is_asked = |partition: &&&Arc<Partition>| {
        let place = (partition.topic.to_string(), partition.id.partition.0);
        asked.as_ref().is_none_or(|asked| asked.contains(&place))
    };
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in partitions.iter().filter(|partition| directory.has(partition)).filter(is_asked) {
        let partition_size = i64::try_from(partition.local_bytes()).unwrap_or(i64::MAX);
        let partition_index = partition.id.partition.0;
        let described = DescribeLogDirsPartition { partition_index, partition_size, ..Default::default() };
        topics.entry(&partition.topic).or_default().push(described);
    }
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        error_code: ErrorCode::None.code(),
        log_dir,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic { name: name.into(), partitions })
            .collect(),
        total_bytes: size(room.total_bytes),
        usable_bytes: size(room.free_bytes),
        ..Default::default()
    }
}
