//! The simulated store: a map of keys, with the conditional puts of S3, that fails by seed. A request has two points at
//! which its caller may be crashed: before the effect, and between the effect and the reply.
//!
//! The store is also the witness. It notes what no store may ever see: content under a key that had content, a root that
//! does not succeed the one before it. And it carries the mutations: each breaks one rule of the protocol, to show that a
//! check notices.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tiering_manifest::{Doom, Key, Root};

use crate::random::Random;

/// How long after it was sent a request can still take effect: a store refuses older signatures.
pub(crate) const REQUEST_LIFE_MS: i64 = 15 * 60 * 1000;

/// A rule of the protocol that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// The protocol as it is.
    None,
    /// The fence is skipped: a swap wins whatever the key holds.
    SkipFence,
    /// An id is used again: an object is written over the one that its key holds.
    ReuseId,
    /// Commit before put: objects of the log are acknowledged and dropped.
    CommitWithoutPut,
    /// Dead writers' ids are forgotten and not occupied.
    NoOccupy,
    /// What a root condemns is deleted before the root is swapped in.
    DeleteBeforeSwap,
    /// Local data is deleted before the root that covers it is durable.
    DeleteLocalEarly,
    /// A committed range is lost from the root.
    DropEntry,
    /// Another bit than the log's reaches the bucket.
    FlipBit,
}

/// What the store holds under a key.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The content.
    pub(crate) bytes: Bytes,
    /// The version.
    pub(crate) etag: u64,
}

struct Late {
    key: String,
    bytes: Bytes,
    mode: PutMode,
    sent: i64,
}

/// Everything that a seed decides and that checks look at.
pub(crate) struct State {
    /// The content of the store.
    pub(crate) objects: BTreeMap<String, Stored>,
    /// The virtual time in milliseconds.
    pub(crate) now: i64,
    /// Counts effects, so that checks run only when something changed.
    pub(crate) changes: u64,
    /// What the witness saw that may never be, by promise.
    pub(crate) witnessed: Vec<(&'static str, String)>,
    /// What happened, in order.
    pub(crate) trace: Vec<String>,
    /// One in so many requests fails in some way; 0 for never.
    pub(crate) fault_in: u64,
    random: Random,
    mutation: Mutation,
    late: Vec<Late>,
    ever: BTreeSet<String>,
    last_root: Option<Root>,
    /// The root as its writer believes it is, where a mutation changed it.
    shadow: Option<Bytes>,
    etags: u64,
    /// Counts the faults and the parts of the protocol that were met, by name.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// The store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimStore(pub(crate) Arc<Mutex<State>>);

impl SimStore {
    /// An empty store.
    pub(crate) fn new(seed: u64, mutation: Mutation) -> SimStore {
        SimStore(Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            now: 1_700_000_000_000,
            changes: 0,
            witnessed: Vec::new(),
            trace: Vec::new(),
            fault_in: 12,
            random: Random::new(seed ^ 0x5707_e5ee),
            mutation,
            late: Vec::new(),
            ever: BTreeSet::new(),
            last_root: None,
            shadow: None,
            etags: 0,
            faults: BTreeMap::new(),
        })))
    }

    /// Moves the clock; what was sent too long ago never arrives.
    pub(crate) fn pass(&self, ms: i64) {
        let mut state = self.0.lock();
        state.now += ms;
        let now = state.now;
        state.late.retain(|late| now - late.sent <= REQUEST_LIFE_MS);
        state.note(format!("clock +{ms}"));
    }

    /// Lets one late put arrive.
    pub(crate) fn release_one(&self) {
        let mut state = self.0.lock();
        if state.late.is_empty() {
            return;
        }
        let count = state.late.len() as u64;
        let at = state.random.below(count) as usize;
        let late = state.late.remove(at);
        let outcome = state.put(&late.key, late.bytes, &late.mode);
        state.met(if outcome.is_ok() { "late put arrives" } else { "late put is refused" });
        state.note(format!("late put {} {}", late.key, if outcome.is_ok() { "arrives" } else { "is refused" }));
    }
}

impl State {
    fn note(&mut self, line: String) {
        self.trace.push(line);
    }

    fn met(&mut self, what: &'static str) {
        *self.faults.entry(what).or_default() += 1;
    }

    /// Notes what the step from one root to the next is, so that a test can see that all of them are reached.
    fn meet_root(&mut self, root: &Root) {
        let Some(last) = self.last_root.take() else { return };
        let members = |root: &Root| root.condemned.iter().filter(|row| row.doom != Doom::File).count();
        let met = [
            (root.writer != last.writer, "takeover"),
            (root.end > last.end, "commit"),
            (root.groups.len() > last.groups.len(), "new group"),
            (
                root.groups.last().map(|group| group.base) == last.groups.last().map(|group| group.base)
                    && root.groups.last().map(|group| group.count) > last.groups.last().map(|group| group.count),
                "grown group",
            ),
            (members(root) > members(&last), "members condemned"),
            (root.start > last.start, "start advances"),
            (root.occupied.len() > last.occupied.len(), "occupy"),
            (root.occupied.len() < last.occupied.len(), "vacate"),
            (root.condemned.len() < last.condemned.len(), "forget"),
            (root.state != last.state, "deleted"),
        ];
        for (happened, what) in met {
            if happened {
                self.met(what);
            }
        }
    }

    /// Decides about a request.
    fn fault(&mut self, kinds: &[&'static str]) -> Option<&'static str> {
        if self.fault_in == 0 || self.random.below(self.fault_in) != 0 {
            return None;
        }
        let kind = kinds.get(self.random.below(kinds.len() as u64) as usize).copied()?;
        *self.faults.entry(kind).or_default() += 1;
        Some(kind)
    }

    fn is_root(key: &str) -> bool {
        matches!(Key::parse(key), Ok(Key::Root(_)))
    }

    fn is_data(key: &str) -> bool {
        matches!(Key::parse(key), Ok(Key::Object(_, name)) if name.kind == tiering_manifest::ObjectKind::Data)
    }

    /// The effect of a put, under its condition.
    fn put(&mut self, key: &str, bytes: Bytes, mode: &PutMode) -> Result<u64> {
        let held = self.objects.get(key).map(|stored| stored.etag);
        let allowed = match mode {
            PutMode::Overwrite => true,
            PutMode::Create => held.is_none() || (self.mutation == Mutation::ReuseId && State::is_data(key)),
            PutMode::Update(version) => {
                let expected = version.e_tag.as_ref().and_then(|tag| tag.trim_matches('"').parse().ok());
                held.is_some() && (held == expected || self.mutation == Mutation::SkipFence)
            }
        };
        if !allowed {
            let path = key.to_owned();
            let source = "the condition does not hold".into();
            return match mode {
                PutMode::Create => Err(Error::AlreadyExists { path, source }),
                _ => Err(Error::Precondition { path, source }),
            };
        }
        let bytes = if State::is_root(key) { self.witness_root(bytes) } else { self.witness_object(key, bytes) };
        self.etags += 1;
        let etag = self.etags;
        if let Some(bytes) = bytes {
            self.objects.insert(key.to_owned(), Stored { bytes, etag });
        }
        self.changes += 1;
        Ok(etag)
    }

    fn witness_object(&mut self, key: &str, bytes: Bytes) -> Option<Bytes> {
        if !bytes.is_empty() && !self.ever.insert(key.to_owned()) {
            self.witnessed.push(("TIER-4", format!("{key} is written twice with content")));
        }
        match self.mutation {
            Mutation::CommitWithoutPut if State::is_data(key) && self.random.below(8) == 0 => None,
            Mutation::FlipBit if State::is_data(key) && bytes.len() > 40 && self.random.below(4) == 0 => {
                let mut flipped = bytes.to_vec();
                if let Some(byte) = flipped.get_mut(30) {
                    *byte ^= 1;
                }
                Some(Bytes::from(flipped))
            }
            _ => Some(bytes),
        }
    }

    /// A root must succeed the one before it. Mutations change it on its way; its writer is shown what it sent.
    fn witness_root(&mut self, bytes: Bytes) -> Option<Bytes> {
        let Ok(root) = Root::decode(&bytes) else {
            self.witnessed.push(("TIER-1", "a root was sent that cannot be read".to_owned()));
            return Some(bytes);
        };
        if let Some(last) = &self.last_root
            && let Err(conflict) = root.succeeds(last)
        {
            self.witnessed.push(("TIER-4", conflict.to_string()));
        }
        self.trace.push(format!("root {} sequence {} end {}", root.writer, root.sequence, root.end));
        self.meet_root(&root);
        self.last_root = Some(root.clone());
        let mut changed = root.clone();
        match self.mutation {
            Mutation::NoOccupy => {
                changed.occupied.clear();
                changed.registered.retain(|row| row.writer == root.writer);
            }
            Mutation::DropEntry if changed.entries.len() > 2 => drop(changed.entries.remove(1)),
            _ => {}
        }
        self.shadow = None;
        if changed == root {
            return Some(bytes);
        }
        self.shadow = Some(bytes);
        Some(Bytes::from(changed.encode()))
    }

    fn get(&self, key: &str) -> Option<Stored> {
        let stored = self.objects.get(key)?.clone();
        match &self.shadow {
            Some(shadow) if State::is_root(key) => Some(Stored { bytes: shadow.clone(), ..stored }),
            _ => Some(stored),
        }
    }

    /// Under [`Mutation::DeleteBeforeSwap`]: the keys that this root condemns and the one before it did not.
    fn deleted_first(&self, key: &str, bytes: &Bytes) -> Vec<String> {
        if self.mutation != Mutation::DeleteBeforeSwap || !State::is_root(key) {
            return Vec::new();
        }
        let (Ok(root), Some(directory)) = (Root::decode(bytes), key.strip_suffix("manifest.json")) else {
            return Vec::new();
        };
        let known: BTreeSet<&str> =
            self.last_root.iter().flat_map(|last| &last.condemned).map(|row| row.key.as_str()).collect();
        let fresh = root.condemned.iter().filter(|row| !known.contains(row.key.as_str()));
        fresh.map(|row| format!("{directory}{}", row.key)).collect()
    }
}

/// A point at which the caller may be crashed, or another writer may run.
async fn point() {
    let mut passed = false;
    poll_fn(move |context| {
        if passed {
            return Poll::Ready(());
        }
        passed = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn failed(detail: &'static str) -> Error {
    Error::Generic { store: "sim", source: detail.into() }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimStore")
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimStore")
    }
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let key = location.to_string();
        let bytes = Bytes::from(payload);
        let (fault, sent, first) = {
            let mut state = self.0.lock();
            let fault = state.fault(&["503", "lost reply", "late", "lost reply", "late"]);
            let line = format!("put {key} {} bytes {fault:?}", bytes.len());
            state.note(line);
            (fault, state.now, state.deleted_first(&key, &bytes))
        };
        for key in first {
            self.0.lock().objects.remove(&key);
            self.0.lock().changes += 1;
            point().await;
        }
        point().await;
        if fault == Some("503") {
            return Err(failed("503 Slow Down"));
        }
        if fault == Some("late") {
            self.0.lock().late.push(Late { key, bytes, mode: opts.mode, sent });
            point().await;
            return Err(failed("timed out"));
        }
        let result = {
            let mut state = self.0.lock();
            if state.now - sent > REQUEST_LIFE_MS {
                return Err(failed("403 RequestTimeTooSkewed"));
            }
            state.put(&key, bytes, &opts.mode)
        };
        point().await;
        if fault == Some("lost reply") {
            return Err(failed("the reply was lost"));
        }
        let etag = result?.to_string();
        Ok(PutResult { e_tag: Some(etag), version: None, extensions: Default::default() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(failed("not simulated"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let key = location.to_string();
        let fault = self.0.lock().fault(&["503", "torn"]);
        point().await;
        if fault == Some("503") {
            return Err(failed("503 Slow Down"));
        }
        let stored = self.0.lock().get(&key);
        let Some(stored) = stored else {
            return Err(Error::NotFound { path: key, source: "no such key".into() });
        };
        let size = stored.bytes.len() as u64;
        let range = match options.range {
            Some(GetRange::Bounded(range)) => range.start.min(size)..range.end.min(size),
            Some(GetRange::Offset(from)) => from.min(size)..size,
            Some(GetRange::Suffix(last)) => size.saturating_sub(last)..size,
            None => 0..size,
        };
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: Default::default(),
            size,
            e_tag: Some(stored.etag.to_string()),
            version: None,
        };
        let body = stored.bytes.slice(range.start as usize..range.end as usize);
        let parts = if fault == Some("torn") {
            vec![Ok(body.slice(..body.len() / 2)), Err(failed("connection reset"))]
        } else {
            vec![Ok(body)]
        };
        let payload = GetResultPayload::Stream(futures::stream::iter(parts).boxed());
        point().await;
        Ok(GetResult { payload, meta, range, attributes: Default::default(), extensions: Default::default() })
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        Err(failed("not simulated"))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    let fault = this.0.lock().fault(&["503", "lost reply"]);
                    point().await;
                    if fault == Some("503") {
                        return Err(failed("503 Slow Down"));
                    }
                    {
                        let mut state = this.0.lock();
                        state.objects.remove(location.as_ref());
                        state.changes += 1;
                        state.note(format!("delete {location} {fault:?}"));
                    }
                    point().await;
                    if fault.is_some() { Err(failed("the reply was lost")) } else { Ok(location) }
                }
            })
            .boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::once(async { Err(failed("steady state makes no LIST")) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(failed("steady state makes no LIST"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(failed("not simulated"))
    }
}
