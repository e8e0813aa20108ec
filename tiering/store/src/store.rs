//! The handle through which the tier speaks to a store: a root prefix, and the few operations of the commit protocol
//! with answers that mean the same on every store.
//!
//! How doubt is resolved: after any answer but a plain success, the key is read back. A swap whose bytes are what the key
//! holds is done, whoever's reply was lost, because every root carries its writer's nonce and a sequence number and so no
//! two writers write the same bytes. An object whose length and tail are ours is ours, because the tail is a footer with
//! the checksums of all blocks. Only where the read fails too, the answer is [`StoreErrorKind::Indeterminate`].

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion};

use crate::{Class, StoreError, StoreErrorKind};

/// The whole body of an object, or how it broke off.
type Body = Result<Bytes, object_store::Error>;

/// How often the same write is tried before the doubt is the caller's.
const WRITE_ATTEMPTS: u32 = 3;
/// How much of an object's end is compared with what was written.
const TAIL_BYTES_MAX: usize = 64 << 10;

/// The version of an object, as the store gave it. Opaque: only equality has a meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    /// The version with this text, such as one that was kept on disk.
    #[must_use]
    pub fn new(text: &str) -> Version {
        Version(text.to_owned())
    }

    /// The store's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn unquoted(&self) -> &str {
        self.0.trim_start_matches("W/").trim_matches('"')
    }

    /// The same version without its quotes.
    pub(crate) fn bare(&self) -> Version {
        Version(self.unquoted().to_owned())
    }

    /// True for the same version, with quotes or without.
    #[must_use]
    pub fn matches(&self, other: &Version) -> bool {
        self.unquoted() == other.unquoted()
    }
}

/// The content of a key, and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The content.
    pub bytes: Bytes,
    /// The version to swap against.
    pub version: Version,
}

/// What became of a swap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The key holds the new bytes.
    Done(Version),
    /// The key holds something else, or nothing. The swap did not happen, and will not.
    Conflict(Option<Versioned>),
}

/// What became of an object that was to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The key holds the object.
    Stored,
    /// The key holds something else, of this many bytes: it was occupied, and the object was not written.
    Occupied {
        /// Bytes of what is there.
        bytes: u64,
    },
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key, relative to the store's root.
    pub key: String,
    /// Bytes of the object.
    pub bytes: u64,
}

/// A store under a root prefix. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<dyn ObjectStore>,
    prefix: Arc<str>,
}

impl Store {
    /// A handle on `inner` below `prefix`, which has no slashes at its ends and may be empty.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: &str) -> Store {
        Store { inner, prefix: prefix.trim_matches('/').into() }
    }

    /// The store beneath, whose paths include the prefix.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn ObjectStore> {
        &self.inner
    }

    /// The prefix of all keys, without slashes at its ends.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The path of a key in the store beneath.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] where the key is no legal path.
    pub fn path(&self, key: &str) -> Result<Path, StoreError> {
        let full = if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) };
        Path::parse(full).map_err(|e| StoreError::new(StoreErrorKind::Invalid, "path", key, &e.to_string()))
    }

    /// The content and version of a key; `None` where there is none.
    ///
    /// # Errors
    /// Unreachable, Refused, or Unsafe where the store gives no version.
    pub async fn load(&self, key: &str, class: Class) -> Result<Option<Versioned>, StoreError> {
        let Some((mut meta, mut body)) = self.get(key, class).await? else { return Ok(None) };
        if body.is_err() {
            // The connection broke within the body, which nothing below tries again.
            let Some(again) = self.get(key, class).await? else { return Ok(None) };
            (meta, body) = again;
        }
        let (version, size) = (meta.e_tag, meta.size);
        let bytes = body.map_err(|error| StoreError::read("read", key, &error))?;
        if bytes.len() as u64 != size {
            return Err(StoreError::new(StoreErrorKind::Unreachable, "read", key, "the body was cut off"));
        }
        let Some(version) = version else {
            return Err(StoreError::new(StoreErrorKind::Unsafe, "read", key, "the store gives no ETag"));
        };
        Ok(Some(Versioned { bytes, version: Version(version) }))
    }

    /// What is said of an object, and what came of its body.
    async fn get(&self, key: &str, class: Class) -> Result<Option<(ObjectMeta, Body)>, StoreError> {
        let options = GetOptions { extensions: class.extensions(), ..GetOptions::default() };
        match self.inner.get_opts(&self.path(key)?, options).await {
            Ok(found) => Ok(Some((found.meta.clone(), found.bytes().await))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StoreError::read("read", key, &error)),
        }
    }

    /// Replaces the content of a key when it still has the `expected` version, or creates it when `None` is expected.
    /// The bytes must be unlike any other writer's.
    ///
    /// # Errors
    /// [`StoreErrorKind::Indeterminate`]: it may have happened, or may yet; the only safe next step is the same swap
    /// with the same bytes. Refused and Unsafe: it did not happen.
    pub async fn swap(
        &self,
        key: &str,
        expected: Option<&Version>,
        bytes: &Bytes,
        class: Class,
    ) -> Result<Swap, StoreError> {
        let mut sent = expected.cloned();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.put_if(key, sent.as_ref(), bytes.clone(), class).await {
                Ok(Some(version)) => return Ok(Swap::Done(version)),
                Ok(None) => None,
                Err(error) if matches!(error.kind(), StoreErrorKind::Refused | StoreErrorKind::Unsafe) => {
                    return Err(error);
                }
                Err(error) => Some(error),
            };
            let current = match self.load(key, class).await {
                Ok(current) => current,
                Err(_) if attempt < WRITE_ATTEMPTS => continue,
                Err(_) => return Err(indeterminate("swap", key, error.as_ref())),
            };
            if let Some(found) = current.as_ref().filter(|found| found.bytes == *bytes) {
                return Ok(Swap::Done(found.version.clone()));
            }
            let unchanged = match (expected, &current) {
                (None, None) => true,
                (Some(expected), Some(found)) => expected.matches(&found.version),
                _ => false,
            };
            if !unchanged {
                return Ok(Swap::Conflict(current));
            }
            if attempt >= WRITE_ATTEMPTS {
                return Err(indeterminate("swap", key, error.as_ref()));
            }
            // The key is as expected and yet the condition failed: some stores compare without the quotes, some want the
            // same once more. Both are tried in turn.
            if error.is_none_or(|error| error.kind() == StoreErrorKind::Conflict) {
                let bare = attempt % 2 == 1;
                sent = expected.map(|version| if bare { version.bare() } else { version.clone() });
            }
        }
    }

    /// One conditional write. `None` where it succeeded and the store did not name the version.
    pub(crate) async fn put_if(
        &self,
        key: &str,
        expected: Option<&Version>,
        bytes: Bytes,
        class: Class,
    ) -> Result<Option<Version>, StoreError> {
        let mode = match expected {
            None => PutMode::Create,
            Some(version) => PutMode::Update(UpdateVersion { e_tag: Some(version.0.clone()), version: None }),
        };
        let options = PutOptions { mode, extensions: class.extensions(), ..PutOptions::default() };
        let result = self.inner.put_opts(&self.path(key)?, PutPayload::from_bytes(bytes), options).await;
        match result {
            Ok(result) => Ok(result.e_tag.map(Version)),
            Err(error) => Err(StoreError::write("swap", key, &error)),
        }
    }

    /// Creates an immutable object. Its checksum travels with the request, so that the reply is the verification.
    /// `tail` is how the object ends: its footer, by which it is known again when the reply was lost.
    ///
    /// # Errors
    /// [`StoreErrorKind::Indeterminate`]: it may be there, or may yet come; the same put may be tried again.
    pub async fn put_object(
        &self,
        key: &str,
        payload: PutPayload,
        tail: &Bytes,
        class: Class,
    ) -> Result<Put, StoreError> {
        self.put_object_while(key, (payload, tail), class, &|| true).await
    }

    /// The same, and no request is signed once `may_sign` says no: a process that was stopped for a day must not write
    /// under a key that was given up meanwhile.
    ///
    /// # Errors
    /// As [`Store::put_object`]; Unreachable where the time was over before the first request.
    pub async fn put_object_while(
        &self,
        key: &str,
        (payload, tail): (PutPayload, &Bytes),
        class: Class,
        may_sign: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Put, StoreError> {
        let path = self.path(key)?;
        let mut last = None;
        for _ in 0..WRITE_ATTEMPTS {
            if !may_sign() {
                let over = || StoreError::new(StoreErrorKind::Unreachable, "put", key, "the time to write it is over");
                return Err(last.map_or_else(over, |error| indeterminate("put", key, Some(&error))));
            }
            let options = PutOptions { mode: PutMode::Create, extensions: class.extensions(), ..PutOptions::default() };
            let error = match self.inner.put_opts(&path, payload.clone(), options).await {
                Ok(_) => return Ok(Put::Stored),
                Err(error) => StoreError::write("put", key, &error),
            };
            if matches!(error.kind(), StoreErrorKind::Refused | StoreErrorKind::Unsafe | StoreErrorKind::Invalid) {
                return Err(error);
            }
            last = Some(error);
            // Where it is not there, or cannot be asked for, the same put is tried again.
            if let Ok(Some(found)) = self.found(key, payload.content_length() as u64, tail, class).await {
                return Ok(found);
            }
        }
        Err(indeterminate("put", key, last.as_ref()))
    }

    /// What a key holds, held against an object of this length and tail. `None` where it holds nothing.
    async fn found(&self, key: &str, bytes: u64, tail: &Bytes, class: Class) -> Result<Option<Put>, StoreError> {
        let Some(size) = self.size(key, class).await? else { return Ok(None) };
        if size != bytes {
            return Ok(Some(Put::Occupied { bytes: size }));
        }
        let compared = tail.len().min(TAIL_BYTES_MAX);
        let ours = tail.slice(tail.len() - compared..);
        if compared == 0 || self.read(key, size - compared as u64..size, class).await? == ours {
            return Ok(Some(Put::Stored));
        }
        Ok(Some(Put::Occupied { bytes: size }))
    }

    /// A range of an object, whole.
    ///
    /// # Errors
    /// NotFound, Unreachable, Refused; Corrupt where the object ends before the range.
    pub async fn read(&self, key: &str, range: Range<u64>, class: Class) -> Result<Bytes, StoreError> {
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            extensions: class.extensions(),
            ..GetOptions::default()
        };
        let found = self.inner.get_opts(&self.path(key)?, options).await;
        let found = found.map_err(|error| StoreError::read("read", key, &error))?;
        let promised = found.range.end.saturating_sub(found.range.start);
        let bytes = found.bytes().await.map_err(|error| StoreError::read("read", key, &error))?;
        if bytes.len() as u64 == wanted {
            return Ok(bytes);
        }
        let kind = if promised == wanted { StoreErrorKind::Unreachable } else { StoreErrorKind::Corrupt };
        Err(StoreError::new(kind, "read", key, &format!("{} of {wanted} bytes came", bytes.len())))
    }

    /// Bytes of an object; `None` where there is none.
    ///
    /// # Errors
    /// Unreachable, Refused.
    pub async fn size(&self, key: &str, class: Class) -> Result<Option<u64>, StoreError> {
        let options = GetOptions { head: true, extensions: class.extensions(), ..GetOptions::default() };
        match self.inner.get_opts(&self.path(key)?, options).await {
            Ok(found) => Ok(Some(found.meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StoreError::read("head", key, &error)),
        }
    }

    /// Deletes objects; that one is not there is a success. Stops at the first failure.
    ///
    /// # Errors
    /// Indeterminate: the same delete may be tried again.
    pub async fn delete(&self, keys: &[String]) -> Result<(), StoreError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        let mut deleted = self.inner.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
        let first = keys.first().map_or("", String::as_str);
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(StoreError::write("delete", first, &error)),
            }
        }
        Ok(())
    }

    /// The directories in a directory of keys, without their slashes, in order.
    ///
    /// # Errors
    /// Unreachable, Refused; Invalid where the path is not legal.
    pub async fn directories(&self, directory: &str) -> Result<Vec<String>, StoreError> {
        let path = self.path(directory.trim_end_matches('/'))?;
        let prefix = (!path.as_ref().is_empty()).then_some(&path);
        let found = self.inner.list_with_delimiter(prefix).await;
        let found = found.map_err(|error| StoreError::read("list", directory, &error))?;
        let cut = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let relative = |path: &Path| path.as_ref().get(cut..).unwrap_or_default().to_owned();
        let mut names: Vec<String> = found.common_prefixes.iter().map(relative).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// All objects below a directory of keys (`""` for all). In no promised order.
    ///
    /// # Errors
    /// The path is not legal; each row may fail as a read does.
    pub fn list(&self, directory: &str) -> Result<BoxStream<'static, Result<Listed, StoreError>>, StoreError> {
        let path = self.path(directory.trim_end_matches('/'))?;
        let prefix = (!path.as_ref().is_empty()).then_some(&path);
        let cut = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let named = directory.to_owned();
        let rows = self.inner.list(prefix).map_err(move |error| StoreError::read("list", &named, &error));
        Ok(rows
            .map_ok(move |row| Listed {
                key: row.location.as_ref().get(cut..).unwrap_or_default().to_owned(),
                bytes: row.size,
            })
            .boxed())
    }
}

fn indeterminate(operation: &'static str, key: &str, cause: Option<&StoreError>) -> StoreError {
    let detail = cause.map_or_else(|| "no version came back".to_owned(), ToString::to_string);
    StoreError::new(StoreErrorKind::Indeterminate, operation, key, &detail)
}

#[cfg(test)]
mod tests;
