//! Counts requests, bytes and errors by operation and class. The counters are what `/metrics` shows and what a bill is
//! made of; tests read them to bound requests per object. Counting never fails and never waits.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::Class;

/// A kind of request, as stores bill them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A write of a whole object.
    Put,
    /// A read of an object or of a range.
    Get,
    /// A question about an object.
    Head,
    /// The removal of one object.
    Delete,
    /// A listing.
    List,
    /// A copy or rename.
    Copy,
}

impl Operation {
    /// All operations, in the order of their counters.
    pub const ALL: [Operation; 6] =
        [Operation::Put, Operation::Get, Operation::Head, Operation::Delete, Operation::List, Operation::Copy];

    /// The word in metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Operation::Put => "put",
            Operation::Get => "get",
            Operation::Head => "head",
            Operation::Delete => "delete",
            Operation::List => "list",
            Operation::Copy => "copy",
        }
    }
}

/// The numbers of one operation and class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests, also failed ones.
    pub requests: u64,
    /// Bytes of bodies, sent by puts and asked for by gets.
    pub bytes: u64,
    /// Failed requests. An object that is not there is no failure.
    pub errors: u64,
}

#[derive(Debug, Default)]
struct Cell {
    requests: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

/// The counters of a store.
#[derive(Debug, Default)]
pub struct Meter {
    cells: [[Cell; 3]; 6],
}

impl Meter {
    /// The numbers of one operation and class.
    #[must_use]
    pub fn count(&self, operation: Operation, class: Class) -> Count {
        let cell = self.cell(operation, class);
        Count {
            requests: cell.requests.load(Ordering::Relaxed),
            bytes: cell.bytes.load(Ordering::Relaxed),
            errors: cell.errors.load(Ordering::Relaxed),
        }
    }

    /// All numbers, in a fixed order.
    pub fn counts(&self) -> impl Iterator<Item = (Operation, Class, Count)> + '_ {
        Operation::ALL
            .into_iter()
            .flat_map(move |operation| Class::ALL.map(|class| (operation, class, self.count(operation, class))))
    }

    /// Requests of an operation, over all classes.
    #[must_use]
    pub fn requests(&self, operation: Operation) -> u64 {
        Class::ALL.iter().map(|class| self.count(operation, *class).requests).sum()
    }

    fn cell(&self, operation: Operation, class: Class) -> &Cell {
        &self.cells[operation as usize][class.index()]
    }

    fn note<T>(&self, operation: Operation, class: Class, bytes: u64, result: &Result<T>) {
        let cell = self.cell(operation, class);
        cell.requests.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(_) => {
                cell.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(_) => {
                cell.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Counts what passes through.
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    meter: Arc<Meter>,
}

impl<S: ObjectStore> Metered<S> {
    /// Counts requests to `inner` in `meter`.
    pub fn new(inner: S, meter: Arc<Meter>) -> Metered<S> {
        Metered { inner, meter }
    }
}

impl<S: ObjectStore> fmt::Display for Metered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metered({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: ObjectStore> ObjectStore for Metered<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (class, bytes) = (Class::of(&opts.extensions), payload.content_length() as u64);
        let result = self.inner.put_opts(location, payload, opts).await;
        self.meter.note(Operation::Put, class, bytes, &result);
        result
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let class = Class::of(&opts.extensions);
        let result = self.inner.put_multipart_opts(location, opts).await;
        self.meter.note(Operation::Put, class, 0, &result);
        result
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let class = Class::of(&options.extensions);
        let operation = if options.head { Operation::Head } else { Operation::Get };
        let result = self.inner.get_opts(location, options).await;
        let bytes = match &result {
            Ok(found) if operation == Operation::Get => found.range.end.saturating_sub(found.range.start),
            _ => 0,
        };
        self.meter.note(operation, class, bytes, &result);
        result
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let result = self.inner.get_ranges(location, ranges).await;
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.meter.note(Operation::Get, Class::default(), bytes, &result);
        result
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let meter = Arc::clone(&self.meter);
        self.inner
            .delete_stream(locations)
            .inspect(move |result| meter.note(Operation::Delete, Class::Background, 0, result))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter.note(Operation::List, Class::Background, 0, &Ok(()));
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter.note(Operation::List, Class::Background, 0, &Ok(()));
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let result = self.inner.list_with_delimiter(prefix).await;
        self.meter.note(Operation::List, Class::Background, 0, &result);
        result
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let result = self.inner.copy_opts(from, to, options).await;
        self.meter.note(Operation::Copy, Class::Background, 0, &result);
        result
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let result = self.inner.rename_opts(from, to, options).await;
        self.meter.note(Operation::Copy, Class::Background, 0, &result);
        result
    }
}
