//! Bounds requests and bytes in flight. Each class has a pool of its own: a month of replay can fill the pool of cold
//! reads and no other, so that the upload of the tail never waits behind it (ISO-1). A read holds its turn until its body
//! is consumed or dropped. Whole reads without a range count for [`WHOLE_READ_BYTES`]: they are roots and groups.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Class;

/// What a whole read counts for.
const WHOLE_READ_BYTES: u64 = 256 << 10;
/// Bytes are counted in units of this size, so that a pool's permits fit a semaphore.
const UNIT: u64 = 4 << 10;

/// The pools. Index by class: tail upload, cold read, background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight, by class; at least 1.
    pub requests: [usize; 3],
    /// Bytes in flight, by class. A larger request waits until it is alone.
    pub bytes: [u64; 3],
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { requests: [8, 32, 4], bytes: [1 << 30, 128 << 20, 64 << 20] }
    }
}

#[derive(Debug)]
struct Pool {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    units: u32,
}

/// The turn of one request; dropping it gives the turn to the next.
#[derive(Debug)]
struct Turn {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// Lets a bounded number of requests and bytes through, by class.
#[derive(Debug)]
pub struct Limited<S> {
    inner: S,
    pools: [Pool; 3],
}

impl<S: ObjectStore> Limited<S> {
    /// Bounds requests to `inner`.
    pub fn new(inner: S, limits: Limits) -> Limited<S> {
        let pools = Class::ALL.map(|class| {
            let units = u32::try_from((limits.bytes[class.index()] / UNIT).max(1)).unwrap_or(u32::MAX >> 4);
            Pool {
                requests: Arc::new(Semaphore::new(limits.requests[class.index()].max(1))),
                bytes: Arc::new(Semaphore::new(units as usize)),
                units,
            }
        });
        Limited { inner, pools }
    }

    async fn turn(&self, class: Class, bytes: u64) -> Turn {
        let pool = &self.pools[class.index()];
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(pool.units);
        // Bytes first: who waits for bytes must not hold a request that others could use.
        let bytes = Arc::clone(&pool.bytes).acquire_many_owned(units).await.expect("the semaphore is never closed");
        let request = Arc::clone(&pool.requests).acquire_owned().await.expect("the semaphore is never closed");
        Turn { _request: request, _bytes: bytes }
    }
}

impl<S: ObjectStore> fmt::Display for Limited<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limited({})", self.inner)
    }
}

fn bytes_asked(options: &GetOptions) -> u64 {
    match &options.range {
        _ if options.head => 0,
        Some(GetRange::Bounded(range)) => range.end.saturating_sub(range.start),
        Some(GetRange::Suffix(bytes)) => *bytes,
        Some(GetRange::Offset(_)) | None => WHOLE_READ_BYTES,
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for Limited<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let _turn = self.turn(Class::of(&opts.extensions), payload.content_length() as u64).await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let _turn = self.turn(Class::of(&opts.extensions), 0).await;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let turn = self.turn(Class::of(&options.extensions), bytes_asked(&options)).await;
        let mut result = self.inner.get_opts(location, options).await?;
        if let GetResultPayload::Stream(stream) = result.payload {
            let held = stream.map(move |part| {
                let _held = &turn;
                part
            });
            result.payload = GetResultPayload::Stream(held.boxed());
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        let _turn = self.turn(Class::Background, bytes).await;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let _turn = self.turn(Class::Background, 0).await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let _turn = self.turn(Class::Background, 0).await;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let _turn = self.turn(Class::Background, 0).await;
        self.inner.rename_opts(from, to, options).await
    }
}
