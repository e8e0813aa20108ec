//! A store that fails, for tests: by script (the next request of a kind fails so) or by seed (each request may fail).
//! It is a decorator, so that what survives it survives every store beneath.
//!
//! Faults are those that S3 and its like show: an error before the effect, an error after it, an effect long after the
//! caller gave up, a body that is cut, a delay, an outage, and a swap that lets two win. Everything is decided from the
//! seed and the order of requests; the trace says what was decided, so that two runs can be held against each other.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use crate::Operation;

/// How a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 before any effect.
    Unavailable,
    /// The effect, and then no reply.
    LostReply,
    /// No reply, and for a put the effect when the test says so ([`Faulty::release`]).
    Late,
    /// The body of a read breaks off in the middle with an error.
    Torn,
    /// The body of a read is shorter than promised, without an error.
    Short,
    /// No reply ever, and no effect: what a process that dies here leaves behind.
    Hang,
    /// The effect, and no reply ever.
    HangAfter,
    /// One bit of a read's body is flipped.
    Flipped,
    /// The answer comes after this many milliseconds.
    Delay(u64),
    /// A conditional put ignores its condition and wins.
    TwoWinners,
    /// 409, as S3 answers to writers that race: nothing happened, and the same may be tried again.
    ConflictToRetry,
}

/// Faults by chance: each is one in so many requests, 0 for never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The seed.
    pub seed: u64,
    /// [`Fault::Unavailable`].
    pub unavailable: u32,
    /// [`Fault::LostReply`] of puts and deletes.
    pub lost_reply: u32,
    /// [`Fault::Late`] of puts.
    pub late: u32,
    /// [`Fault::Torn`] of reads.
    pub torn: u32,
    /// [`Fault::Delay`] of 1 to 1,000 ms.
    pub delay: u32,
}

struct Held {
    location: Path,
    payload: PutPayload,
    opts: PutOptions,
}

#[derive(Default)]
struct State {
    plan: FaultPlan,
    random: u64,
    script: VecDeque<(Operation, String, Fault)>,
    outage: bool,
    held: VecDeque<Held>,
    trace: Vec<String>,
}

impl State {
    /// SplitMix64: small, and the same everywhere.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, chances: u32) -> bool {
        chances > 0 && self.next().is_multiple_of(u64::from(chances))
    }

    fn by_chance(&mut self, operation: Operation) -> Option<Fault> {
        let plan = self.plan;
        if self.one_in(plan.unavailable) {
            return Some(Fault::Unavailable);
        }
        let writes = matches!(operation, Operation::Put | Operation::Delete);
        if writes && self.one_in(plan.lost_reply) {
            return Some(Fault::LostReply);
        }
        if operation == Operation::Put && self.one_in(plan.late) {
            return Some(Fault::Late);
        }
        if operation == Operation::Get && self.one_in(plan.torn) {
            return Some(Fault::Torn);
        }
        if self.one_in(plan.delay) {
            return Some(Fault::Delay(1 + self.next() % 1000));
        }
        None
    }
}

/// Fails requests to the store beneath.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.inner)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

impl Faulty {
    /// A store that fails only when told to.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>) -> Faulty {
        Faulty { inner, state: Arc::default() }
    }

    /// From now on requests fail by chance; the default plan means never.
    pub fn plan(&self, plan: FaultPlan) {
        self.with(|state| {
            state.plan = plan;
            state.random = plan.seed;
        });
    }

    /// The next request of this kind whose key contains `key` fails so. Scripted faults go in order.
    pub fn next(&self, operation: Operation, key: &str, fault: Fault) {
        self.with(|state| state.script.push_back((operation, key.to_owned(), fault)));
    }

    /// Scripted faults that no request has met yet.
    #[must_use]
    pub fn unmet(&self) -> usize {
        self.with(|state| state.script.len())
    }

    /// While on, every request fails before its effect.
    pub fn outage(&self, state: Outage) {
        self.with(|inner| inner.outage = state == Outage::Begins);
    }

    /// Lets the puts take effect whose replies were late, in order; says how each ended.
    pub async fn release(&self) -> Vec<(Path, Result<PutResult>)> {
        let held = self.with(|state| std::mem::take(&mut state.held));
        let mut results = Vec::new();
        for put in held {
            let result = self.inner.put_opts(&put.location, put.payload, put.opts).await;
            self.note("late put", &put.location, if result.is_ok() { "took effect" } else { "was refused" });
            results.push((put.location, result));
        }
        results
    }

    /// Puts that wait to take effect.
    #[must_use]
    pub fn held(&self) -> usize {
        self.with(|state| state.held.len())
    }

    /// What was asked and decided so far.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.with(|state| state.trace.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, operation: &str, location: &Path, outcome: &str) {
        self.with(|state| state.trace.push(format!("{operation} {location} {outcome}")));
    }

    /// Decides about a request; waits and fails here where the fault comes before the effect.
    async fn decide(&self, operation: Operation, location: &Path) -> Result<Option<Fault>> {
        let fault = self.with(|state| {
            let scripted = state
                .script
                .iter()
                .position(|(kind, key, _)| *kind == operation && location.as_ref().contains(key.as_str()));
            let fault = match scripted {
                _ if state.outage => Some(Fault::Unavailable),
                Some(at) => state.script.remove(at).map(|(_, _, fault)| fault),
                None => state.by_chance(operation),
            };
            state.trace.push(format!("{} {location} {fault:?}", operation.word()));
            fault
        });
        match fault {
            Some(Fault::Unavailable) => Err(failed("503 Slow Down")),
            Some(Fault::ConflictToRetry) => Err(Error::AlreadyExists {
                path: location.to_string(),
                source: "409 ConditionalRequestConflict".into(),
            }),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Delay(ms)) => {
                tokio::time::sleep(Duration::from_millis(ms)).await;
                Ok(None)
            }
            other => Ok(other),
        }
    }
}

/// Whether an outage begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// From now on nothing succeeds.
    Begins,
    /// The store is back.
    Ends,
}

fn failed(detail: &'static str) -> Error {
    Error::Generic { store: "Faulty", source: detail.into() }
}

async fn spoil(result: GetResult, fault: Fault) -> Result<GetResult> {
    let (meta, range) = (result.meta.clone(), result.range.clone());
    let (attributes, extensions) = (result.attributes.clone(), result.extensions.clone());
    let content = result.bytes().await?;
    let half = content.len() / 2;
    let parts = match fault {
        Fault::Torn => vec![Ok(content.slice(..half)), Err(failed("connection reset"))],
        Fault::Short => vec![Ok(content.slice(..half))],
        _ => {
            let mut flipped = content.to_vec();
            if let Some(byte) = flipped.get_mut(half) {
                *byte ^= 0x10;
            }
            vec![Ok(Bytes::from(flipped))]
        }
    };
    let payload = GetResultPayload::Stream(futures::stream::iter(parts).boxed());
    Ok(GetResult { payload, meta, range, attributes, extensions })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut opts: PutOptions) -> Result<PutResult> {
        match self.decide(Operation::Put, location).await? {
            Some(Fault::LostReply) => {
                let result = self.inner.put_opts(location, payload, opts).await;
                self.note("put", location, if result.is_ok() { "took effect" } else { "was refused" });
                Err(failed("the reply was lost"))
            }
            Some(Fault::Late) => {
                let location = location.clone();
                self.with(|state| state.held.push_back(Held { location, payload, opts }));
                Err(failed("timed out"))
            }
            Some(Fault::HangAfter) => {
                let result = self.inner.put_opts(location, payload, opts).await;
                self.note("put", location, if result.is_ok() { "took effect" } else { "was refused" });
                std::future::pending().await
            }
            Some(Fault::TwoWinners) => {
                opts.mode = PutMode::Overwrite;
                self.inner.put_opts(location, payload, opts).await
            }
            _ => self.inner.put_opts(location, payload, opts).await,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.decide(Operation::Put, location).await?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        let fault = self.decide(operation, location).await?;
        let result = self.inner.get_opts(location, options).await?;
        match fault {
            Some(fault @ (Fault::Torn | Fault::Short | Fault::Flipped)) => spoil(result, fault).await,
            Some(Fault::LostReply | Fault::Late) => Err(failed("the reply was lost")),
            _ => Ok(result),
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.decide(Operation::Get, location).await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    let fault = this.decide(Operation::Delete, &location).await?;
                    let one = futures::stream::once({
                        let location = location.clone();
                        async move { Ok(location) }
                    });
                    let mut results = this.inner.delete_stream(one.boxed());
                    let result = results.next().await.unwrap_or(Ok(location));
                    match fault {
                        Some(Fault::LostReply | Fault::Late) => Err(failed("the reply was lost")),
                        Some(Fault::HangAfter) => std::future::pending().await,
                        _ => result,
                    }
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.with(|state| state.outage) {
            return futures::stream::once(async { Err(failed("503 Slow Down")) }).boxed();
        }
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.decide(Operation::List, &prefix.cloned().unwrap_or_default()).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.decide(Operation::Copy, to).await?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.decide(Operation::Copy, to).await?;
        self.inner.rename_opts(from, to, options).await
    }
}
