//! The bucket itself, through the AWS SDK: is it there, may we make it, does it verify checksums.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use crate::{S3Config, StoreError, StoreErrorKind};

/// What to do where the bucket does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingBucket {
    /// Make it.
    Create,
    /// Say so.
    Refuse,
}

/// SHA-256 of the empty string in base64: wrong for any content but that.
const WRONG_SHA256: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

async fn client(config: &S3Config) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(config.region().to_owned()));
    if let (Some(key), Some(secret)) = (&config.access_key, &config.secret_key) {
        loader = loader.credentials_provider(Credentials::new(
            key.clone(),
            secret.clone(),
            config.session_token.clone(),
            None,
            "strata",
        ));
    }
    let shared = loader.load().await;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(3))
        .operation_timeout(Duration::from_secs(10))
        .build();
    let mut builder = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(!config.virtual_hosted)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(timeouts);
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Client::from_conf(builder.build())
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn failed<E: ProvideErrorMetadata + std::error::Error + 'static>(
    operation: &'static str,
    key: &str,
    error: &SdkError<E>,
) -> StoreError {
    let kind = match status(error) {
        Some(401 | 403) => StoreErrorKind::Refused,
        Some(404) => StoreErrorKind::NotFound,
        Some(400) => StoreErrorKind::Invalid,
        _ => StoreErrorKind::Unreachable,
    };
    let code = error.code().unwrap_or("no answer");
    StoreError::new(kind, operation, key, &format!("{code}: {}", root_cause(error)))
}

/// The innermost error: what lies between it and the operation only wraps it.
fn root_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

/// Makes sure that the bucket is there.
pub(super) async fn ensure(config: &S3Config, bucket: &str, missing: MissingBucket) -> Result<(), StoreError> {
    let client = client(config).await;
    let error = match client.head_bucket().bucket(bucket).send().await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    if status(&error) != Some(404) {
        return Err(failed("head bucket", bucket, &error));
    }
    if missing == MissingBucket::Refuse {
        let detail = "the bucket does not exist: create it, or set strata.tier.s3.create.bucket=true";
        return Err(StoreError::new(StoreErrorKind::NotFound, "head bucket", bucket, detail));
    }
    let mut request = client.create_bucket().bucket(bucket);
    if config.region() != "us-east-1" {
        let place = BucketLocationConstraint::from(config.region());
        request = request
            .create_bucket_configuration(CreateBucketConfiguration::builder().location_constraint(place).build());
    }
    match request.send().await {
        Ok(_) => Ok(()),
        // Another node of the cluster was quicker.
        Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
        Err(error) => Err(failed("create bucket", bucket, &error)),
    }
}

/// True where the store refuses an object whose checksum header does not match its body.
pub(super) async fn refuses_wrong_checksum(config: &S3Config, bucket: &str, path: &str) -> Result<bool, StoreError> {
    let request = client(config)
        .await
        .put_object()
        .bucket(bucket)
        .key(path)
        .checksum_sha256(WRONG_SHA256)
        .body(ByteStream::from_static(b"this is not the empty string"));
    match request.send().await {
        Ok(_) => Ok(false),
        Err(error) if status(&error) == Some(400) => Ok(true),
        Err(error) => Err(failed("put with a wrong checksum", path, &error)),
    }
}
