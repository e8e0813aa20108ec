//! What Strata serves: the versions of each API that ApiVersions tells to clients.
//!
//! Only what works is advertised, with one exception for old clients, which look for single versions before they use a
//! feature: Produce from 0 (KAFKA-18659). Its versions 0 to 2 are decoded and answered UNSUPPORTED_VERSION. A minimum is
//! never raised above Kafka 4's, and the maxima are those of one Kafka release (4.2), because kafka-python guesses the
//! release from them.

use crate::messages::ApiKey;
use crate::messages::ApiVersionsResponse;
use crate::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use crate::text::Str;

/// An API that is advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The API.
    pub api: ApiKey,
    /// The oldest version that clients are told of.
    pub first: i16,
    /// The newest version.
    pub last: i16,
    /// The oldest version that is really served; older ones are answered UNSUPPORTED_VERSION.
    pub served_from: i16,
}

const fn served(api: ApiKey, first: i16, last: i16) -> Advertised {
    Advertised { api, first, last, served_from: first }
}

const fn advertised(api: ApiKey, first: i16, last: i16, served_from: i16) -> Advertised {
    Advertised { api, first, last, served_from }
}

/// All APIs that are served, in the order of their numbers.
pub const ADVERTISED: &[Advertised] = &[
    advertised(ApiKey::Produce, 0, 13, 3),
    served(ApiKey::Fetch, 4, 18),
    served(ApiKey::ListOffsets, 1, 11),
    served(ApiKey::Metadata, 0, 13),
    served(ApiKey::OffsetCommit, 2, 10),
    served(ApiKey::OffsetFetch, 1, 10),
    served(ApiKey::FindCoordinator, 0, 6),
    served(ApiKey::JoinGroup, 0, 9),
    served(ApiKey::Heartbeat, 0, 4),
    served(ApiKey::LeaveGroup, 0, 5),
    served(ApiKey::SyncGroup, 0, 5),
    served(ApiKey::DescribeGroups, 0, 6),
    served(ApiKey::ListGroups, 0, 5),
    served(ApiKey::ApiVersions, 0, 4),
    served(ApiKey::CreateTopics, 2, 7),
    served(ApiKey::DeleteTopics, 1, 6),
    served(ApiKey::DeleteRecords, 0, 2),
    served(ApiKey::InitProducerId, 0, 5),
    served(ApiKey::OffsetForLeaderEpoch, 2, 4),
    served(ApiKey::DescribeConfigs, 1, 4),
    served(ApiKey::AlterConfigs, 0, 2),
    served(ApiKey::DescribeLogDirs, 1, 4),
    served(ApiKey::CreatePartitions, 0, 3),
    served(ApiKey::DeleteGroups, 0, 2),
    served(ApiKey::ElectLeaders, 0, 2),
    served(ApiKey::IncrementalAlterConfigs, 0, 1),
    served(ApiKey::AlterPartitionReassignments, 0, 1),
    served(ApiKey::ListPartitionReassignments, 0, 0),
    served(ApiKey::OffsetDelete, 0, 0),
    served(ApiKey::DescribeCluster, 0, 2),
    served(ApiKey::DescribeTopicPartitions, 0, 0),
];

const _: () = {
    let mut rest = ADVERTISED;
    let mut previous = -1;
    while let [entry, tail @ ..] = rest {
        assert!(entry.api.code() > previous);
        assert!(entry.api.version_first() <= entry.first && entry.last <= entry.api.version_last());
        assert!(entry.first <= entry.served_from && entry.served_from <= entry.last);
        previous = entry.api.code();
        rest = tail;
    }
};

/// What to do with a request, by its key and version alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Decode and serve it.
    Serve(ApiKey),
    /// An ApiVersions request of a version that is not known: the answer is a v0 body with error 35 (KIP-511).
    AnswerApiVersions,
    /// An advertised version that is not served: decode it and answer with error 35 in the fields of its response.
    Refuse(ApiKey),
    /// Nothing is advertised of this kind: the connection is closed, as Kafka does.
    Close,
}

/// Decides from the key and version on the wire.
#[must_use]
pub fn service(api_key: i16, version: i16) -> Service {
    let Some(entry) = ADVERTISED.iter().find(|entry| entry.api.code() == api_key) else { return Service::Close };
    match version {
        version if (entry.served_from..=entry.last).contains(&version) => Service::Serve(entry.api),
        _ if entry.api == ApiKey::ApiVersions => Service::AnswerApiVersions,
        version if (entry.first..=entry.last).contains(&version) => Service::Refuse(entry.api),
        _ => Service::Close,
    }
}

/// A feature of the cluster (KIP-584).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name of it.
    pub name: &'static str,
    /// The lowest level that this program supports.
    pub level_min: i16,
    /// The highest level that this program supports.
    pub level_max: i16,
    /// The level that the cluster uses; 0 where it does not.
    pub finalized: i16,
}

/// The answer to ApiVersions. `features` is empty and `finalized_epoch` -1 where nothing is known of them yet; the
/// epoch is the metadata log's offset that they were read at.
#[must_use]
pub fn api_versions(version: i16, features: &[Feature], finalized_epoch: i64) -> ApiVersionsResponse {
    // Clients that speak less than version 4 do not expect a minimum of 0 (KAFKA-17011).
    let supported = features.iter().filter(|feature| version >= 4 || feature.level_min > 0);
    let finalized = features.iter().filter(|feature| feature.finalized > 0);
    ApiVersionsResponse {
        api_keys: ADVERTISED.iter().map(api_version).collect(),
        supported_features: supported
            .map(|feature| SupportedFeatureKey {
                name: Str::from_static(feature.name),
                min_version: feature.level_min,
                max_version: feature.level_max,
            })
            .collect(),
        finalized_features_epoch: finalized_epoch,
        finalized_features: finalized
            .map(|feature| FinalizedFeatureKey {
                name: Str::from_static(feature.name),
                max_version_level: feature.finalized,
                min_version_level: feature.finalized,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    }
}

/// The answer to an ApiVersions request of an unknown version, to be encoded as version 0: error 35, and only the range
/// of ApiVersions itself (KIP-511).
#[must_use]
pub fn api_versions_unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: broker_model::ErrorCode::UnsupportedVersion.code(),
        api_keys: ADVERTISED.iter().filter(|entry| entry.api == ApiKey::ApiVersions).map(api_version).collect(),
        ..ApiVersionsResponse::default()
    }
}

fn api_version(entry: &Advertised) -> ApiVersion {
    ApiVersion { api_key: entry.api.code(), min_version: entry.first, max_version: entry.last }
}
