//! Opening a store from settings. `file:///dir` is a local directory with conditional writes and fsync added, `s3://…` is
//! S3 or what speaks it, `memory:///` is for tests. Retries are short (about 10 s in all): whoever waits for the store has
//! a back-off of its own, and a long silence in here would only hide that the store is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, Checksum, S3ConditionalPut};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::{Limited, Limits, Meter, Metered, Store, SwapLocal};

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A directory of this machine.
    File {
        /// The directory; it is created when missing.
        directory: PathBuf,
    },
    /// A bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The prefix of all keys, without slashes at its ends; may be empty.
        prefix: String,
    },
    /// Memory of this process, for tests.
    Memory,
}

impl StoreUrl {
    /// Parses `file:///absolute/dir`, `s3://bucket/prefix` or `memory:///`.
    ///
    /// # Errors
    /// The URL has another form.
    pub fn parse(url: &str) -> Result<StoreUrl, OpenError> {
        let wrong = || OpenError::Url { url: url.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        match scheme {
            "file" if rest.starts_with('/') => Ok(StoreUrl::File { directory: PathBuf::from(rest) }),
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = prefix.trim_matches('/');
                if bucket.is_empty() || Path::parse(prefix).is_err() {
                    return Err(wrong());
                }
                Ok(StoreUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            "memory" => Ok(StoreUrl::Memory),
            _ => Err(wrong()),
        }
    }
}

/// How to reach S3.
#[derive(Clone, Default)]
pub struct S3Config {
    /// `http://host:port` of a store that is not AWS.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` when absent.
    pub region: Option<String>,
    /// The access key id. Without one the machine's role is asked.
    pub access_key: Option<String>,
    /// The secret access key.
    pub secret_key: Option<String>,
    /// The session token.
    pub session_token: Option<String>,
    /// Bucket in the host name instead of the path.
    pub virtual_hosted: bool,
}

impl std::fmt::Debug for S3Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Config")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

impl S3Config {
    /// The region, or the default one.
    #[must_use]
    pub fn region(&self) -> &str {
        self.region.as_deref().unwrap_or("us-east-1")
    }
}

/// The settings of a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// See [`StoreUrl::parse`].
    pub url: String,
    /// Used with `s3://` only.
    pub s3: S3Config,
    /// A connection that takes longer has failed.
    pub connect_timeout: Duration,
    /// A request that takes longer has failed. It must leave time for the largest object.
    pub request_timeout: Duration,
    /// No retry begins later than this after the first attempt.
    pub retry_timeout: Duration,
    /// The pools of the classes.
    pub limits: Limits,
}

impl StoreConfig {
    /// The defaults for this URL.
    #[must_use]
    pub fn new(url: &str) -> StoreConfig {
        StoreConfig {
            url: url.to_owned(),
            s3: S3Config::default(),
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(60),
            retry_timeout: Duration::from_secs(10),
            limits: Limits::default(),
        }
    }
}

/// The settings do not give a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL's form is unknown.
    #[error("{url:?} is not a store: expected file:///absolute/directory or s3://bucket/prefix")]
    Url {
        /// The URL.
        url: String,
    },
    /// The directory cannot be made or opened.
    #[error("cannot open the directory {directory:?}: {source}")]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The client refuses the settings.
    #[error("the store's settings are not usable: {0}")]
    Client(#[from] object_store::Error),
}

/// Opens the store. No request is made: whether it can be reached, and whether it is safe, says [`crate::probe()`].
///
/// # Errors
/// The URL or the settings are wrong, or the local directory cannot be made.
pub fn open(config: &StoreConfig) -> Result<(Store, Arc<Meter>), OpenError> {
    match StoreUrl::parse(&config.url)? {
        StoreUrl::File { directory } => {
            let local = SwapLocal::open(&directory)
                .map_err(|source| OpenError::Directory { directory: directory.clone(), source })?;
            Ok(dress(local, config, ""))
        }
        StoreUrl::S3 { bucket, prefix } => Ok(dress(s3(config, &bucket)?, config, &prefix)),
        StoreUrl::Memory => Ok(dress(InMemory::new(), config, "")),
    }
}

fn dress(inner: impl ObjectStore, config: &StoreConfig, prefix: &str) -> (Store, Arc<Meter>) {
    let meter = Arc::new(Meter::default());
    let metered = Metered::new(inner, Arc::clone(&meter));
    let limited = Limited::new(metered, config.limits);
    (Store::new(Arc::new(limited), prefix), meter)
}

fn s3(config: &StoreConfig, bucket: &str) -> Result<impl ObjectStore, OpenError> {
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: config.retry_timeout,
    };
    let client = ClientOptions::new()
        .with_connect_timeout(config.connect_timeout)
        .with_timeout(config.request_timeout)
        .with_allow_http(true);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(config.s3.region())
        .with_retry(retry)
        .with_client_options(client)
        .with_virtual_hosted_style_request(config.s3.virtual_hosted)
        // The signature needs this digest anyway, so the checksum costs a header and makes the reply the verification.
        .with_checksum_algorithm(Checksum::SHA256)
        .with_conditional_put(S3ConditionalPut::ETagMatch);
    if let Some(endpoint) = &config.s3.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    if let (Some(key), Some(secret)) = (&config.s3.access_key, &config.s3.secret_key) {
        builder = builder.with_access_key_id(key).with_secret_access_key(secret);
    }
    if let Some(token) = &config.s3.session_token {
        builder = builder.with_token(token);
    }
    Ok(builder.build()?)
}
