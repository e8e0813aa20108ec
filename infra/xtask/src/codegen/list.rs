//! What is generated. The next API is one line in [`APIS`], the next record one line in [`RECORDS`].

/// A message to generate.
pub(super) struct Wanted {
    /// The schema's name.
    pub(super) name: String,
    /// Reaches below the schema's valid versions, where its fields still tell the layout.
    pub(super) versions_from: Option<i16>,
}

/// APIs by name, each with a request and a response.
const APIS: &[&str] = &[
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "DescribeConfigs",
    "AlterConfigs",
    "DescribeLogDirs",
    "CreatePartitions",
    "DeleteGroups",
    "ElectLeaders",
    "IncrementalAlterConfigs",
    "AlterPartitionReassignments",
    "ListPartitionReassignments",
    "OffsetDelete",
    "DescribeCluster",
    "DescribeTopicPartitions",
];

/// Heads, embedded protocols and records of coordinators.
const RECORDS: &[&str] = &[
    "RequestHeader",
    "ResponseHeader",
    "ConsumerProtocolSubscription",
    "ConsumerProtocolAssignment",
    "OffsetCommitKey",
    "OffsetCommitValue",
    "GroupMetadataKey",
    "GroupMetadataValue",
];

/// Produce is advertised from 0 for the sake of old clients (KAFKA-18659), so that 0 to 2 must be read to be refused.
const VERSIONS_FROM: &[(&str, i16)] = &[("Produce", 0)];

/// All messages, in a fixed order.
pub(super) fn wanted() -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for api in APIS {
        let versions_from = VERSIONS_FROM.iter().find(|(name, _)| name == api).map(|(_, from)| *from);
        for kind in ["Request", "Response"] {
            wanted.push(Wanted { name: format!("{api}{kind}"), versions_from });
        }
    }
    wanted.extend(RECORDS.iter().map(|name| Wanted { name: (*name).to_owned(), versions_from: None }));
    wanted
}
