//! Broker configs of Strata's own: the tier, the gateway, the export, tests.

use super::def::configs;
use super::value::Password;

configs! { BrokerKey, Broker;
    /// Where the HTTP gateway listens: http://host:port, separated by commas. Empty means no gateway.
    HTTP_LISTENERS: Vec<String> = "strata.http.listeners", Some("http://127.0.0.1:8080");
    /// The bucket: s3://bucket/prefix or file:///directory. Absent means the directory bucket below log.dirs.
    TIER_URL: Option<String> = "strata.tier.url", None, not_empty();
    /// The S3 endpoint, where it is not Amazon's: http://host:port.
    TIER_S3_ENDPOINT: Option<String> = "strata.tier.s3.endpoint", None, not_empty();
    /// The S3 region.
    TIER_S3_REGION: Option<String> = "strata.tier.s3.region", None, not_empty();
    /// The access key. Absent means AWS_ACCESS_KEY_ID of the environment.
    TIER_S3_ACCESS_KEY_ID: Option<String> = "strata.tier.s3.access.key.id", None, not_empty();
    /// The secret key. Absent means AWS_SECRET_ACCESS_KEY of the environment.
    TIER_S3_SECRET_ACCESS_KEY: Option<Password> = "strata.tier.s3.secret.access.key", None, not_empty();
    /// The session token. Absent means AWS_SESSION_TOKEN of the environment.
    TIER_S3_SESSION_TOKEN: Option<Password> = "strata.tier.s3.session.token", None, not_empty();
    /// The bucket's name stands in the path and not in the host. Absent means so where an endpoint is given.
    TIER_S3_PATH_STYLE: Option<bool> = "strata.tier.s3.path.style", None;
    /// A range of a partition is shipped when it has so many bytes.
    TIER_OBJECT_BYTES: i64 = "strata.tier.object.bytes", Some("134217728"), range(1 << 10, 4 << 30);
    /// A record is shipped when it is this old, however small its object then is: it says how much may be lost with
    /// this machine. -1 means that only size and closed segments count.
    TIER_RPO_MS: i64 = "strata.tier.rpo.ms", Some("300000"), at_least(-1);
    /// The broker does not start without a bucket that is reachable and safe. Otherwise the hot part is served alone.
    TIER_REQUIRED: bool = "strata.tier.required", Some("false");
    /// Memory for blocks that were read from the bucket.
    TIER_CACHE_BYTES: i64 = "strata.tier.cache.bytes", Some("67108864"), at_least(1 << 20);
    /// Local disk for blocks that were read from the bucket. 0 means none.
    TIER_CACHE_DISK_BYTES: i64 = "strata.tier.cache.disk.bytes", Some("1073741824"), at_least(0);
    /// Topics are tiered when they do not say otherwise. Internal topics and those that are compacted never are.
    REMOTE_STORAGE_ENABLE_DEFAULT: bool = "strata.remote.storage.enable.default", Some("true");
    /// Topics are exported to Parquet when they do not say otherwise.
    EXPORT_ENABLE_DEFAULT: bool = "strata.export.enable.default", Some("false");
    /// Shipped records wait this long for more before they are exported, so that files do not become small.
    EXPORT_INTERVAL_MS: i64 = "strata.export.interval.ms", Some("60000"), at_least(0);
    /// How long the broker waits for requests and uploads in flight when it shuts down.
    SHUTDOWN_TIMEOUT_MS: i64 = "strata.shutdown.timeout.ms", Some("30000"), at_least(0);
    /// For tests: the process kills itself at this point of the commit protocol.
    TEST_CRASH_POINT: Option<String> = "strata.test.crash.point", None, not_empty();
}
