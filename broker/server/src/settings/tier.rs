//! Settings of the tier: where the bucket is, with which credentials, and how data goes there.
//!
//! Credentials come whole from the configuration or whole from the environment, never half from each. Where neither has
//! them the store looks for the machine's own (instance role).

use std::path::{Path, PathBuf};

use broker_model::config::{ConfigError, ConfigValues, Password, tier as keys};

use super::refuse;
use super::sources::Environment;

/// The tier.
#[derive(Clone, Debug)]
pub struct TierSettings {
    /// Where the bucket is.
    pub place: TierPlace,
    /// Bytes of a range that is shipped at once.
    pub object_bytes: i64,
    /// The age in milliseconds at which a record is shipped however small its object is; `None` means never for age.
    pub rpo_ms: Option<i64>,
    /// The broker does not start without a bucket that is reachable and safe.
    pub required: bool,
    /// Memory for blocks, in bytes.
    pub cache_bytes: i64,
    /// Disk for blocks, in bytes; 0 means none.
    pub cache_disk_bytes: i64,
    /// The directory of the blocks on disk, below the data directory.
    pub cache_dir: PathBuf,
    /// How long shipped records wait for more before they are exported, in milliseconds.
    pub export_interval_ms: i64,
}

/// Where the bucket is.
#[derive(Clone, Debug)]
pub enum TierPlace {
    /// A local directory.
    Directory(PathBuf),
    /// S3, or what speaks like it.
    S3(S3Place),
}

/// A bucket of S3.
#[derive(Clone, Debug)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// The prefix of all keys, without slashes at its ends; empty means none.
    pub prefix: String,
    /// Where it is not Amazon's: `http://host:port` or `https://…`.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// The bucket stands in the path and not in the host's name.
    pub path_style: bool,
    /// `None` means those of the machine.
    pub credentials: Option<S3Credentials>,
}

/// Credentials of S3.
#[derive(Clone, Debug)]
pub struct S3Credentials {
    /// The access key.
    pub access_key_id: String,
    /// The secret key.
    pub secret_access_key: Password,
    /// The session token of temporary credentials.
    pub session_token: Option<Password>,
}

impl TierPlace {
    /// The place as a URL, as `strata.tier.url` would name it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            TierPlace::Directory(path) => format!("file://{}", path.display()),
            TierPlace::S3(place) if place.prefix.is_empty() => format!("s3://{}", place.bucket),
            TierPlace::S3(place) => format!("s3://{}/{}", place.bucket, place.prefix),
        }
    }
}

/// The region where nobody names one; stores beside Amazon's take any.
const REGION_DEFAULT: &str = "us-east-1";
const URL_FORM: &str = "s3://bucket/prefix or file:///directory";

pub(super) fn settings(
    values: &ConfigValues,
    environment: &Environment,
    data_dir: &Path,
) -> Result<TierSettings, ConfigError> {
    let place = match values.get(keys::TIER_URL) {
        None => TierPlace::Directory(data_dir.join("bucket")),
        Some(url) => place(&url, values, environment)?,
    };
    let rpo_ms = values.get(keys::TIER_RPO_MS);
    Ok(TierSettings {
        place,
        object_bytes: values.get(keys::TIER_OBJECT_BYTES),
        rpo_ms: (rpo_ms >= 0).then_some(rpo_ms),
        required: values.get(keys::TIER_REQUIRED),
        cache_bytes: values.get(keys::TIER_CACHE_BYTES),
        cache_disk_bytes: values.get(keys::TIER_CACHE_DISK_BYTES),
        cache_dir: data_dir.join("cache"),
        export_interval_ms: values.get(keys::EXPORT_INTERVAL_MS),
    })
}

fn place(url: &str, values: &ConfigValues, environment: &Environment) -> Result<TierPlace, ConfigError> {
    if let Some(path) = url.strip_prefix("file://") {
        if !path.starts_with('/') {
            return Err(refuse(keys::TIER_URL, url, "file:///directory, with the directory's whole path"));
        }
        return Ok(TierPlace::Directory(PathBuf::from(path)));
    }
    let Some(rest) = url.strip_prefix("s3://") else {
        return Err(refuse(keys::TIER_URL, url, URL_FORM));
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    let legal = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-_".contains(letter);
    if bucket.is_empty() || !bucket.chars().all(legal) || prefix.contains("//") {
        return Err(refuse(keys::TIER_URL, url, URL_FORM));
    }
    let endpoint = endpoint(values, environment)?;
    Ok(TierPlace::S3(S3Place {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        path_style: values.get(keys::TIER_S3_PATH_STYLE).unwrap_or(endpoint.is_some()),
        endpoint,
        region: region(values, environment),
        credentials: credentials(values, environment)?,
    }))
}

fn endpoint(values: &ConfigValues, environment: &Environment) -> Result<Option<String>, ConfigError> {
    let from_environment = || environment.get("AWS_ENDPOINT_URL_S3").or_else(|| environment.get("AWS_ENDPOINT_URL"));
    let given = values.get(keys::TIER_S3_ENDPOINT).or_else(|| from_environment().map(str::to_owned));
    match given {
        Some(text) if !text.starts_with("http://") && !text.starts_with("https://") => {
            Err(refuse(keys::TIER_S3_ENDPOINT, &text, "http://host:port or https://host:port"))
        }
        Some(text) => Ok(Some(text.trim_end_matches('/').to_owned())),
        None => Ok(None),
    }
}

fn region(values: &ConfigValues, environment: &Environment) -> String {
    let from_environment = || environment.get("AWS_REGION").or_else(|| environment.get("AWS_DEFAULT_REGION"));
    let given = values.get(keys::TIER_S3_REGION).or_else(|| from_environment().map(str::to_owned));
    given.unwrap_or_else(|| REGION_DEFAULT.to_owned())
}

fn credentials(values: &ConfigValues, environment: &Environment) -> Result<Option<S3Credentials>, ConfigError> {
    let secret = |text: &str| Password::new(text.to_owned());
    match (values.get(keys::TIER_S3_ACCESS_KEY_ID), values.get(keys::TIER_S3_SECRET_ACCESS_KEY)) {
        (Some(access_key_id), Some(secret_access_key)) => {
            let session_token = values.get(keys::TIER_S3_SESSION_TOKEN);
            Ok(Some(S3Credentials { access_key_id, secret_access_key, session_token }))
        }
        (Some(access_key_id), None) => {
            let expected = format!("{} beside it", keys::TIER_S3_SECRET_ACCESS_KEY.name());
            Err(refuse(keys::TIER_S3_ACCESS_KEY_ID, &access_key_id, &expected))
        }
        (None, Some(_)) => {
            let expected = format!("{} beside it", keys::TIER_S3_ACCESS_KEY_ID.name());
            Err(refuse(keys::TIER_S3_SECRET_ACCESS_KEY, "[hidden]", &expected))
        }
        (None, None) => {
            let pair = (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"));
            let (Some(access_key_id), Some(secret_access_key)) = pair else {
                return Ok(None);
            };
            Ok(Some(S3Credentials {
                access_key_id: access_key_id.to_owned(),
                secret_access_key: secret(secret_access_key),
                session_token: environment.get("AWS_SESSION_TOKEN").map(secret),
            }))
        }
    }
}
