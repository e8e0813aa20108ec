//! Many sequences on one pair of brokers, some at a time.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use broker_wire::messages::{FindCoordinatorRequest, InitProducerIdRequest};
use broker_wire::tree::Node;
use broker_wire::{ApiKey, RequestBody, Str};
use tokio::time::sleep;

use crate::attempt::{Attempt, Cluster, Outcome};
use crate::compare::Uses;
use crate::generate;
use crate::link::{self, Link};
use crate::report::{Finding, Report};
use crate::show::show;
use crate::shrink::shrink;
use crate::step::Step;
use crate::versions::Versions;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) addresses: [String; 2],
    /// The first sequence's seed; the others follow.
    pub(crate) seed: u64,
    pub(crate) sequences: u64,
    /// How many sequences run at the same time.
    pub(crate) workers: usize,
    /// Differences of this many kinds end the run.
    pub(crate) findings_max: usize,
    /// No sequence begins after so many milliseconds.
    pub(crate) budget_ms: i64,
}

/// Names of topics and groups that no other run of a sequence uses.
#[derive(Debug)]
pub(crate) struct Names {
    run: u32,
    next: AtomicU64,
}

impl Names {
    /// With a digit at its end that no other prefix of one changed digit has: a name with a flipped bit is nobody's.
    fn prefix(&self) -> String {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        let check = (0..6).fold(0, |check, digit| check ^ (next >> (4 * digit) & 0xf));
        format!("d{:08x}x{next:06x}{check:x}", self.run)
    }
}

/// Milliseconds of Unix time.
#[expect(clippy::disallowed_methods, reason = "records are stamped with the time at which a sequence begins")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Runs steps once, under new names.
pub(crate) async fn attempt(cluster: &Cluster, names: &Names, steps: &[Step]) -> Result<Outcome, String> {
    let prefix = names.prefix();
    Attempt::new(cluster, steps, &prefix, now()).run().await
}

/// Runs all sequences.
pub(crate) fn run(wanted: &Wanted) -> Result<Report, String> {
    let runtime = runtime()?;
    let versions = runtime.block_on(async {
        for address in &wanted.addresses {
            warm_up(address).await?;
        }
        Versions::ask(&wanted.addresses).await
    })?;
    let shared = Shared {
        wanted,
        cluster: Cluster { addresses: wanted.addresses.clone(), uses: Uses::new() },
        names: Names { run: now() as u32, next: AtomicU64::new(0) },
        next: AtomicU64::new(0),
        report: Mutex::new(Report::default()),
        versions,
        deadline: now().saturating_add(wanted.budget_ms),
    };
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..wanted.workers.max(1)).map(|_| scope.spawn(|| shared.work())).collect();
        let ends =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err("a worker panicked".to_owned())));
        ends.filter_map(Result::err).collect()
    });
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure);
    }
    let mut report = shared.report.into_inner().map_err(|_| "a worker panicked".to_owned())?;
    report.finish(&shared.versions, &shared.cluster.uses);
    Ok(report)
}

struct Shared<'a> {
    wanted: &'a Wanted,
    cluster: Cluster,
    names: Names,
    next: AtomicU64,
    report: Mutex<Report>,
    versions: Versions,
    deadline: i64,
}

impl Shared<'_> {
    fn work(&self) -> Result<(), String> {
        runtime()?.block_on(async {
            loop {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                let is_enough = self.report(|report| report.findings.len() >= self.wanted.findings_max);
                if index >= self.wanted.sequences || is_enough || now() > self.deadline {
                    return Ok(());
                }
                self.one(self.wanted.seed.wrapping_add(index)).await?;
            }
        })
    }

    fn report<T>(&self, act: impl FnOnce(&mut Report) -> T) -> T {
        act(&mut self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    async fn one(&self, seed: u64) -> Result<(), String> {
        let steps = generate::sequence(seed, &self.versions);
        let outcome =
            attempt(&self.cluster, &self.names, &steps).await.map_err(|error| format!("seed {seed}: {error}"))?;
        self.report(|report| report.note(&steps, &outcome));
        let Some(failure) = outcome.failure else { return Ok(()) };
        let signature = failure.signature();
        if self.report(|report| report.is_known(&signature)) {
            return Ok(());
        }
        let shrunk = shrink(&self.cluster, &self.names, &steps, (failure.step, &signature)).await?;
        self.report(|report| match shrunk {
            None => {
                let finding = Finding::new(seed, failure, outcome.story);
                tell(&format!("NOT REPEATED: {}", finding.text()));
                report.unrepeated.push(finding);
            }
            Some(shrunk) => {
                if let Some(failure) = shrunk.failure {
                    let finding = Finding::new(seed, failure, shrunk.story);
                    tell(&finding.text());
                    report.add(finding);
                }
            }
        });
        Ok(())
    }
}

/// Differences are told at once: a long run may be broken off.
fn tell(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

/// Waits until a broker has its coordinators: Kafka makes the topic of offsets when it is first asked.
async fn warm_up(address: &str) -> Result<(), String> {
    let find = FindCoordinatorRequest {
        key: Str::from_static("warm-up"),
        key_type: 0,
        coordinator_keys: vec![Str::from_static("warm-up")],
    };
    let producer = InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 1, ..Default::default() };
    let asked = [
        (ApiKey::FindCoordinator, 3, RequestBody::FindCoordinator(find)),
        (ApiKey::InitProducerId, 4, RequestBody::InitProducerId(producer)),
    ];
    let mut link = Link::open(address).await.map_err(|error| format!("{address}: {error}"))?;
    for (api, version, body) in asked {
        let frame = link::encode(api, version, 1, &body)?;
        let mut tries = 0..600;
        loop {
            link.send(&frame).await;
            let answer = link.next().await.ok_or_else(|| format!("{address} closes the connection"))?;
            let answer = link::decode(api, version, 1, answer)?;
            if answer.field("error_code") == Some(&Node::Number(0)) {
                break;
            }
            tries.next().ok_or_else(|| format!("{address} does not get ready: {} {}", api.name(), show(&answer)))?;
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Counts by name.
pub(crate) type Counts = BTreeMap<String, u64>;
