//! The table root in the store: load, take over, swap.
//!
//! One swap is one change. A conflict that is not one's own lost reply is a halt: another writer holds the root. A swap in
//! doubt is made again with the same bytes before anything else happens. Names of dead intents are occupied (created empty)
//! before their range gets a new id: from then on a late PUT of the dead writer fails.

use broker_model::{Timestamp, TopicId};
use bytes::Bytes;
use object_store::PutPayload;
use tiering_manifest::keys::TABLE_FILE;
use tiering_manifest::{Intent, ObjectId, ObjectKind, ObjectName, TableDraft, TableRoot, Writer};
use tiering_store::{Class, Put, Store, StoreErrorKind, Swap, Version};
use tokio::time::Instant;

use crate::error::ExportError;

/// How long after its registration a PUT may be signed.
const INTENT_MS: i64 = 60 * 60 * 1000;
/// A PUT is not begun when the deadline of its intent is nearer.
const PUT_MS: i64 = 15 * 60 * 1000;
/// How much of a file's end tells it from another.
const TAIL_BYTES: usize = 4 << 10;
const CLASS: Class = Class::Background;

/// The keys of the data files that a root commits, in the order of partition and offset, relative to the table's
/// directory. This is what a reader reads.
#[must_use]
pub fn committed(root: &TableRoot) -> Vec<String> {
    let mut files: Vec<_> = root.files.iter().filter(|file| file.name.kind == ObjectKind::Table).collect();
    files.sort_by_key(|file| (file.partition, file.base));
    files.into_iter().map(|file| file.name.to_string()).collect()
}

/// The time: what the caller said, plus what has passed since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    said: Timestamp,
    since: Instant,
}

impl Clock {
    pub(crate) fn starting(now: Timestamp) -> Clock {
        Clock { said: now, since: Instant::now() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.said.plus_ms(i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// The table of one topic, or of one export, as one writer sees it.
pub(crate) struct Table {
    store: Store,
    /// The directory, with its slash.
    prefix: String,
    topic: TopicId,
    writer: Writer,
    known: Option<(TableRoot, Version)>,
    /// A swap whose reply was lost, with the version that it expects.
    doubt: Option<(TableRoot, Option<Version>)>,
    /// This writer has lost its right, for good.
    fenced: bool,
}

impl Table {
    pub(crate) fn new(store: Store, prefix: String, topic: TopicId, writer: Writer) -> Table {
        Table { store, prefix, topic, writer, known: None, doubt: None, fenced: false }
    }

    pub(crate) fn root(&self) -> Option<&TableRoot> {
        self.known.as_ref().map(|(root, _)| root)
    }

    pub(crate) fn key(&self) -> String {
        format!("{}{TABLE_FILE}", self.prefix)
    }

    /// Makes sure that this writer holds the root, and that every intent in it is its own. A table without a root stays so
    /// until the first swap.
    pub(crate) async fn open(&mut self, clock: Clock) -> Result<(), ExportError> {
        if self.fenced {
            return Err(ExportError::Fenced { holder: None });
        }
        if let Some((root, expected)) = self.doubt.take() {
            self.swap_root(root, expected).await?;
        }
        if self.known.is_none() {
            let Some(found) = self.store.load(&self.key(), CLASS).await? else { return Ok(()) };
            let root = TableRoot::decode(&found.bytes)?;
            if root.topic != self.topic {
                return Err(ExportError::Stranger { key: self.key(), detail: "it is of another topic" });
            }
            self.known = Some((root, found.version));
        }
        match self.root() {
            Some(root) if root.writer != self.writer => self.take_over(clock).await,
            _ => Ok(()),
        }
    }

    async fn take_over(&mut self, clock: Clock) -> Result<(), ExportError> {
        let Some((root, _)) = &self.known else { return Ok(()) };
        let taken = root.take_over(&self.writer).map_err(|error| {
            self.fenced = true;
            ExportError::from(error)
        });
        let mut draft = match taken {
            Ok(draft) => draft,
            Err(error) => return Err(error),
        };
        let foreign: Vec<Intent> = draft.root().foreign().copied().collect();
        tracing::info!(key = %self.key(), intents = foreign.len(), "table root is taken over");
        for intent in foreign {
            self.occupy(&intent).await?;
            let now = clock.now();
            draft = draft.renew(intent.id, now, now.plus_ms(INTENT_MS))?;
        }
        self.swap(draft).await
    }

    /// Begins a change; without a root, the first one.
    pub(crate) fn draft(&self) -> Result<TableDraft, ExportError> {
        match &self.known {
            Some((root, _)) => Ok(root.draft(&self.writer)?),
            None => Ok(TableRoot::create(self.topic, self.writer)),
        }
    }

    /// Swaps the changed root in.
    pub(crate) async fn swap(&mut self, draft: TableDraft) -> Result<(), ExportError> {
        let root = draft.finish()?;
        let expected = self.known.as_ref().map(|(_, version)| version.clone());
        self.swap_root(root, expected).await
    }

    async fn swap_root(&mut self, root: TableRoot, expected: Option<Version>) -> Result<(), ExportError> {
        let bytes = Bytes::from(root.encode());
        // Whatever becomes of this future, the swap was in doubt from here on.
        self.known = None;
        self.doubt = Some((root, expected.clone()));
        match self.store.swap(&self.key(), expected.as_ref(), &bytes, CLASS).await {
            Ok(Swap::Done(version)) => {
                self.known = self.doubt.take().map(|(root, _)| (root, version));
                Ok(())
            }
            Ok(Swap::Conflict(found)) => {
                self.doubt = None;
                self.fenced = true;
                let holder = found.and_then(|found| TableRoot::decode(&found.bytes).ok()).map(|root| root.writer);
                Err(ExportError::Fenced { holder })
            }
            Err(error) => {
                if error.kind() != StoreErrorKind::Indeterminate {
                    self.doubt = None;
                }
                Err(error.into())
            }
        }
    }

    /// Creates both names of an intent, empty, where they are free.
    async fn occupy(&self, intent: &Intent) -> Result<(), ExportError> {
        for name in intent.names() {
            let key = self.object(&name);
            // Stored: it is empty now. Occupied: something is there. Either way a late PUT fails.
            self.store.put_object(&key, PutPayload::from_bytes(Bytes::new()), &Bytes::new(), CLASS).await?;
        }
        Ok(())
    }

    /// Gives the range of an intent a new id, because its name cannot be used any more.
    pub(crate) async fn renew(&mut self, intent: &Intent, clock: Clock) -> Result<(), ExportError> {
        self.occupy(intent).await?;
        let now = clock.now();
        let draft = self.draft()?.renew(intent.id, now, now.plus_ms(INTENT_MS))?;
        self.swap(draft).await
    }

    /// Drops occupied names whose time is past, with what lies there.
    pub(crate) async fn tidy(&mut self, clock: Clock) -> Result<(), ExportError> {
        let now = clock.now();
        let past: Vec<_> = match self.root() {
            Some(root) => root.occupied.iter().filter(|row| row.until <= now).copied().collect(),
            None => Vec::new(),
        };
        if past.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = past.iter().map(|row| self.object(&row.name)).collect();
        self.store.delete(&keys).await?;
        let draft = self.draft()?.vacate(&past, now)?;
        self.swap(draft).await
    }

    /// Intents that are still to be carried out, in order.
    pub(crate) fn open_intents(&self) -> Vec<Intent> {
        self.root().map(|root| root.intents.clone()).unwrap_or_default()
    }

    /// The intent of this id.
    pub(crate) fn intent(&self, id: ObjectId) -> Option<Intent> {
        self.root().and_then(|root| root.intents.iter().find(|intent| intent.id == id)).copied()
    }

    /// The deadline of an intent that is registered now.
    pub(crate) fn deadline(clock: Clock) -> Timestamp {
        clock.now().plus_ms(INTENT_MS)
    }

    /// True while a PUT may be begun.
    pub(crate) fn may_put(intent: &Intent, clock: Clock) -> bool {
        clock.now().plus_ms(PUT_MS) < intent.deadline
    }

    /// Puts an intent's data file. [`Put::Occupied`] where the name is taken by other bytes.
    pub(crate) async fn put(&self, name: &ObjectName, bytes: &Bytes) -> Result<Put, ExportError> {
        let tail = bytes.slice(bytes.len().saturating_sub(TAIL_BYTES)..);
        let payload = PutPayload::from_bytes(bytes.clone());
        Ok(self.store.put_object(&self.object(name), payload, &tail, CLASS).await?)
    }

    fn object(&self, name: &ObjectName) -> String {
        format!("{}{name}", self.prefix)
    }
}
