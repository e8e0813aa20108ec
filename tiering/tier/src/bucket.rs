//! The files that describe: whose bucket it is, and which topics are in it. Topics are found by their directories, a
//! handful of listings with a delimiter that never touch data objects.

use std::collections::BTreeMap;

use broker_model::TopicId;
use bytes::Bytes;
use tiering_manifest::{BucketFile, DecodeError, Key, KeyError, TopicFile, keys};
use tiering_store::{Class, Store, StoreError, StoreErrorKind, Swap};

/// The describing files cannot be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BucketError {
    /// A request failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file is damaged, or too new.
    #[error("{key} cannot be read: {source}")]
    Decode {
        /// The key.
        key: String,
        /// Why.
        source: DecodeError,
    },
    /// The bucket is another cluster's.
    #[error(
        "this bucket prefix belongs to cluster {owner} (\"{name}\"), not to {asker}: use another prefix in \
         strata.tier.url, or restore from this one"
    )]
    Stranger {
        /// Whose it is.
        owner: String,
        /// The owner's name.
        name: String,
        /// Who asked.
        asker: String,
    },
    /// The topic's name is not legal.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Makes the bucket this cluster's where it is nobody's, and gives what its file says.
///
/// # Errors
/// The store fails, the file is damaged, or the bucket is another cluster's.
pub async fn claim(store: &Store, wanted: &BucketFile) -> Result<BucketFile, BucketError> {
    let bytes = Bytes::from(wanted.encode());
    let stored = match store.swap(keys::BUCKET_FILE, None, &bytes, Class::TailUpload).await? {
        Swap::Done(_) => return Ok(wanted.clone()),
        Swap::Conflict(Some(stored)) => stored.bytes,
        Swap::Conflict(None) => return Err(vanished(keys::BUCKET_FILE)),
    };
    let file = BucketFile::decode(&stored)
        .map_err(|source| BucketError::Decode { key: keys::BUCKET_FILE.to_owned(), source })?;
    ours(file, &wanted.cluster_id)
}

/// Refuses a bucket that is another cluster's, without writing anything into it.
///
/// # Errors
/// [`BucketError::Stranger`]; or the store fails, or the file is damaged.
pub async fn refuse_stranger(store: &Store, cluster_id: &str) -> Result<(), BucketError> {
    let Some(file) = owner(store).await? else { return Ok(()) };
    ours(file, cluster_id).map(|_| ())
}

fn ours(file: BucketFile, asker: &str) -> Result<BucketFile, BucketError> {
    if file.cluster_id == asker {
        return Ok(file);
    }
    Err(BucketError::Stranger { owner: file.cluster_id, name: file.name, asker: asker.to_owned() })
}

fn vanished(key: &str) -> BucketError {
    StoreError::new(StoreErrorKind::Unreachable, "swap", key, "the file vanished while it was read").into()
}

/// Writes a topic's description where it is not there or says something else.
///
/// # Errors
/// The store fails, or others write the same file at the same time.
pub async fn describe_topic(store: &Store, topic: &TopicFile) -> Result<(), BucketError> {
    let key = keys::topic_file(&topic.name, &topic.id)?;
    let bytes = Bytes::from(topic.encode());
    let mut expected = None;
    for _ in 0..3 {
        match store.swap(&key, expected.as_ref(), &bytes, Class::TailUpload).await? {
            Swap::Done(_) => return Ok(()),
            Swap::Conflict(stored) => expected = stored.map(|stored| stored.version),
        }
    }
    Err(vanished(&key))
}

/// Deletes a topic's description, after all its partitions are purged.
///
/// # Errors
/// The store fails.
pub async fn forget_topic(store: &Store, name: &str, id: &TopicId) -> Result<(), BucketError> {
    Ok(store.delete(&[keys::topic_file(name, id)?]).await?)
}

/// Whose bucket it is; None where it is nobody's.
///
/// # Errors
/// The store fails, or the file is damaged.
pub async fn owner(store: &Store) -> Result<Option<BucketFile>, BucketError> {
    let Some(found) = store.load(keys::BUCKET_FILE, Class::ColdRead).await? else { return Ok(None) };
    let file = BucketFile::decode(&found.bytes);
    file.map(Some).map_err(|source| BucketError::Decode { key: keys::BUCKET_FILE.to_owned(), source })
}

/// All topics that have a description, by name and id.
///
/// # Errors
/// The store fails, or a description is damaged.
pub async fn topics(store: &Store) -> Result<Vec<TopicFile>, BucketError> {
    let mut topics = BTreeMap::new();
    for shard in directories(store, "topics").await? {
        for topic in directories(store, &shard).await? {
            let key = format!("{topic}/{}", keys::TOPIC_FILE);
            if !matches!(Key::parse(&key), Ok(Key::Topic(..))) {
                continue;
            }
            let Some(found) = store.load(&key, Class::ColdRead).await? else { continue };
            let file = TopicFile::decode(&found.bytes).map_err(|source| BucketError::Decode { key, source })?;
            topics.insert((file.name.clone(), file.id), file);
        }
    }
    Ok(topics.into_values().collect())
}

/// The directories in a directory, relative to the store's root, in order.
async fn directories(store: &Store, directory: &str) -> Result<Vec<String>, BucketError> {
    store.directories(directory).await.map_err(BucketError::from)
}
