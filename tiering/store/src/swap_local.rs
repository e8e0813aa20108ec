//! A local directory as a store. `object_store`'s own lacks a conditional update and does not fsync by default; this adds
//! both, so that a directory gives the promises of S3.
//!
//! The version of a small file is a checksum of its content: inode and time, which the plain store uses, come back when
//! files are replaced quickly. A swap and a delete hold an exclusive lock on the directory (flock), so that two processes
//! on one directory cannot both win. Files beyond [`TAGGED_BYTES_MAX`], and reads of ranges, have no version: nobody swaps
//! them. What it does not do: keep two machines apart that share the directory over a network file system.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UpdateVersion,
};
use std::sync::Arc;

/// Files up to this size have a version. Roots are smaller, by their own limit.
const TAGGED_BYTES_MAX: u64 = broker_model::limits::ROOT_BYTES_MAX as u64;

/// A directory with create, conditional update and fsync.
#[derive(Clone, Debug)]
pub struct SwapLocal {
    inner: Arc<LocalFileSystem>,
    directory: PathBuf,
}

impl SwapLocal {
    /// Opens the directory, and makes it when it is missing.
    ///
    /// # Errors
    /// The directory cannot be made or opened.
    pub fn open(directory: &FilePath) -> std::io::Result<SwapLocal> {
        std::fs::create_dir_all(directory)?;
        let inner = LocalFileSystem::new_with_prefix(directory)
            .map_err(std::io::Error::other)?
            .with_fsync(true)
            .with_automatic_cleanup(true);
        Ok(SwapLocal { inner: Arc::new(inner), directory: directory.to_owned() })
    }

    /// Waits for the directory's lock; it is given back when the descriptor is dropped.
    async fn lock(&self) -> Result<OwnedFd> {
        let directory = self.directory.clone();
        let locked = tokio::task::spawn_blocking(move || -> std::io::Result<OwnedFd> {
            let descriptor = OwnedFd::from(File::open(directory)?);
            rustix::fs::flock(&descriptor, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(descriptor)
        });
        locked.await?.map_err(|source| Error::Generic { store: "SwapLocal", source: Box::new(source) })
    }

    async fn update(&self, location: &Path, payload: PutPayload, expected: UpdateVersion) -> Result<PutResult> {
        let _lock = self.lock().await?;
        let found = match self.inner.get(location).await {
            Ok(found) => Some(tag(&found.bytes().await?)),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        if found.is_none() || found != expected.e_tag {
            return Err(Error::Precondition {
                path: location.to_string(),
                source: format!("the file holds {found:?}, expected was {:?}", expected.e_tag).into(),
            });
        }
        self.inner.put_opts(location, payload, PutOptions::default()).await
    }
}

impl fmt::Display for SwapLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwapLocal({})", self.directory.display())
    }
}

/// The version of a file with this content.
fn tag(content: &[u8]) -> String {
    let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, content);
    format!("\"{checksum:016x}-{:x}\"", content.len())
}

fn tag_of_payload(payload: &PutPayload) -> Option<String> {
    if payload.content_length() as u64 > TAGGED_BYTES_MAX {
        return None;
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    payload.iter().for_each(|part| digest.update(part));
    Some(format!("\"{:016x}-{:x}\"", digest.finalize(), payload.content_length()))
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for SwapLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        let e_tag = tag_of_payload(&payload);
        let mode = std::mem::take(&mut opts.mode);
        let result = match mode {
            PutMode::Update(expected) => self.update(location, payload, expected).await?,
            mode => self.inner.put_opts(location, payload, PutOptions { mode, ..opts }).await?,
        };
        Ok(PutResult { e_tag, ..result })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.if_match.is_some() || options.if_none_match.is_some() {
            return Err(Error::NotImplemented {
                operation: "a read on condition of a version".to_owned(),
                implementer: self.to_string(),
            });
        }
        let whole = options.range.is_none() && !options.head;
        let mut result = self.inner.get_opts(location, options).await?;
        result.meta.e_tag = None;
        if !whole || result.meta.size > TAGGED_BYTES_MAX {
            return Ok(result);
        }
        let mut meta = result.meta.clone();
        let (attributes, extensions) = (result.attributes.clone(), result.extensions.clone());
        let content = result.bytes().await?;
        meta.e_tag = Some(tag(&content));
        meta.size = content.len() as u64;
        let range = 0..meta.size;
        let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(content) }).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .and_then(move |location| {
                let this = this.clone();
                async move {
                    let _lock = this.lock().await?;
                    this.inner.delete(&location).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
