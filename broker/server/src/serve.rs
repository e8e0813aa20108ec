//! `strata serve`: puts the parts together, in the order in which they need one another, and takes them apart again.
//!
//! Start: directory (lock, identity) → metadata log (this process's incarnation, the topics) → listeners → banner → tier,
//! gateway, housekeeping. Listeners open before the store is asked anything, so that an unreachable bucket delays nobody.
//! Logs open on first use.
//!
//! Three runtimes. The data plane has max(8, 2 × cores) threads, because a write to a file may block one of them for
//! tens of milliseconds under writeback. Cold work (uploads, exports, purges) has its own, so that it cannot starve hot
//! work (ISO-1). Coordinators, timers and the gateway share the third.
//!
//! Stop: no more connections, coordinators end, logs close, and the directory is marked clean.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_log::{DiskFiles, Identity, Log, LogConfig, OpenError, OpenHints};
use broker_metadata::{BeginIncarnation, ClusterImage, Incarnation, MetadataMachine, Output, Request};
use broker_model::config::broker as config;
use broker_model::machine::{CallId, Input};
use broker_model::{PartitionIndex, TopicId, TopicPartition};
use broker_partition::Durability;
use broker_quorum::file::Flush;
use broker_quorum::{Driver, FileLog, LoadError};
use gateway_http::{GatewayState, Sources};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::broker::{Broker, Parts};
use crate::disk::{DirsError, LogDirs};
use crate::groups::Groups;
use crate::housekeeping::{self, House};
use crate::http::{self, HotEnd};
use crate::net::listener;
use crate::replica::Disk;
use crate::replicas::Replicas;
use crate::settings::{Bound, HostPort, Settings, banner};
use crate::tier::{self, Tier};
use crate::topics::TopicTable;
use crate::values::Values;
use crate::{clock, coordinator, lag, scrub, system};

/// The name and id of the metadata log, as Kafka's.
const METADATA: (&str, TopicId) = ("__cluster_metadata", TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
const DATA_THREADS_MIN: usize = 8;

/// The program could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The log directories cannot be used, or failed.
    #[error(transparent)]
    Directories(#[from] DirsError),
    /// The metadata log cannot be opened.
    #[error("the metadata log cannot be opened")]
    MetadataLog(#[source] OpenError),
    /// The metadata log cannot be loaded.
    #[error(
        "the metadata in {} cannot be loaded: restore that directory, or begin anew with an empty one: what is in the bucket \
         stays there",
        path.display()
    )]
    Metadata {
        /// The directory of the metadata log.
        path: PathBuf,
        /// Why.
        source: LoadError,
    },
    /// The metadata log does not take this process.
    #[error(
        "the metadata log in {} refuses this process: {why}. The meta.properties beside it must name the cluster and the node \
         of that log: restore it if it was changed",
        root.display()
    )]
    Incarnation {
        /// The metadata directory.
        root: PathBuf,
        /// What the log says.
        why: String,
    },
    /// A listener cannot be bound.
    #[error("{address} cannot be listened on: stop who uses it, or set {key} to another address")]
    Bind {
        /// The address.
        address: String,
        /// The config that says it.
        key: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The tier's settings give no store.
    #[error(transparent)]
    Store(#[from] tiering_store::OpenError),
    /// The tier is required and cannot be used.
    #[error("the tier cannot be used, and strata.tier.required is true: {0}")]
    Tier(String),
    /// The system gives no threads or signals.
    #[error("the system failed")]
    System(#[from] io::Error),
}

/// Serves until the process is told to stop.
///
/// # Errors
/// Why it could not start.
pub fn run(settings: Settings) -> Result<(), ServeError> {
    system::raise_open_files();
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let data = runtime("data", settings.network.threads.unwrap_or(DATA_THREADS_MIN.max(2 * cores)))?;
    let cold = runtime("cold", cores.max(2))?;
    let control = runtime("control", cores.max(2))?;
    control.block_on(async {
        // From here on, so that who is told to stop while it starts ends cleanly too.
        let mut signals = Signals::hear()?;
        let stop = CancellationToken::new();
        let node = Node::start(&settings, (&data, &cold), stop.clone()).await?;
        let ended: Result<(), ServeError> = tokio::select! {
            () = signals.told_to_stop() => Ok(()),
            failed = node.dirs.watch() => Err(failed.into()),
        };
        info!("stopping");
        stop.cancel();
        node.end(Duration::from_millis(u64::try_from(settings.shutdown_timeout_ms).unwrap_or(0))).await;
        ended
    })?;
    data.shutdown_timeout(Duration::from_secs(1));
    cold.shutdown_timeout(Duration::from_secs(1));
    control.shutdown_timeout(Duration::from_secs(1));
    info!("stopped");
    Ok(())
}

fn runtime(name: &'static str, threads: usize) -> io::Result<Runtime> {
    runtime::Builder::new_multi_thread().worker_threads(threads).thread_name(name).enable_all().build()
}

/// The signals that end the program. What came since [`Signals::hear`] counts.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn hear() -> io::Result<Signals> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Signals { terminate, interrupt })
    }

    async fn told_to_stop(&mut self) {
        tokio::select! { _ = self.terminate.recv() => {}, _ = self.interrupt.recv() => {} }
    }
}

/// A node that runs.
struct Node {
    dirs: Arc<LogDirs>,
    topics: Arc<ArcSwap<TopicTable>>,
    tasks: TaskTracker,
}

impl Node {
    async fn start(
        settings: &Settings,
        (data, cold): (&Runtime, &Runtime),
        stop: CancellationToken,
    ) -> Result<Node, ServeError> {
        let (dirs, identity) = LogDirs::open(&settings.dirs, settings.node.node_id)?;
        let dirs = Arc::new(dirs);
        let tasks = TaskTracker::new();
        let topics = Arc::new(ArcSwap::from_pointee(TopicTable::default()));
        let tier = Arc::new(Tier::new(settings, &identity.cluster_id)?);
        let groups = Groups::new(group_settings(settings), topics.clone(), (runtime::Handle::current(), stop.clone()));
        let values = Arc::new(Values::new(settings.node.node_id, settings.values.clone()));
        let replicas =
            Replicas { topics: topics.clone(), values: values.clone(), dirs: dirs.clone(), cold: tier.clone() };
        let (driver, incarnation) = load_metadata(settings, &dirs, &identity)?;
        dirs.keep_room();
        let image = driver.committed().map(|image| image.hard.clone()).unwrap_or_default();
        replicas.reconcile(&image);
        dirs.settle(&topics.load());
        let threads = usize::try_from(values.get(config::NUM_RECOVERY_THREADS)).unwrap_or(1);
        dirs.recover(&topics.load(), threads, &stop);
        let (images, watched) = watch::channel(Arc::new(image));
        let (metadata, inbox) = coordinator::queue::<MetadataMachine>();
        let parts = Parts {
            values,
            cluster_id: incarnation.cluster_id,
            topics: topics.clone(),
            metadata,
            groups: groups.clone(),
            dirs: dirs.clone(),
        };
        let broker = Arc::new(Broker::new(settings, parts));
        let publish = publisher(replicas, groups, images);
        tasks.spawn(coordinator::run(driver, inbox, publish, stop.clone()));
        let bound = listen(settings, &broker, (data, &tasks, &stop), (&tier, &dirs)).await?;
        say(settings, &bound);
        let checkpoint: Arc<dyn Fn() + Send + Sync> = Arc::new({
            let (dirs, topics) = (dirs.clone(), topics.clone());
            move || dirs.checkpoint(&topics)
        });
        let house = House { topics: topics.clone(), checkpoint };
        tasks.spawn(housekeeping::run(house, settings.logs.clone(), stop.clone()));
        tasks.spawn(lag::run(broker.clone(), stop.clone()));
        let scrub = scrub::run(broker.clone(), settings.logs.scrub_bytes_per_second, stop.clone());
        tasks.spawn_on(scrub, cold.handle());
        tier::start(tier, broker, watched, (&tasks, cold.handle(), stop)).await.map_err(ServeError::Tier)?;
        tasks.close();
        Ok(Node { dirs, topics, tasks })
    }

    async fn end(self, patience: Duration) {
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            warn!("something did not end in time");
        }
        let (dirs, topics) = (self.dirs, self.topics);
        if let Err(error) = tokio::task::spawn_blocking(move || dirs.close(&topics, clock::now())).await {
            warn!(%error, "logs were not closed");
        }
    }
}

fn group_settings(settings: &Settings) -> broker_group::Settings {
    let groups = &settings.groups;
    broker_group::Settings {
        session_timeout_ms_min: groups.session_timeout_ms_min,
        session_timeout_ms_max: groups.session_timeout_ms_max,
        initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
        members_max: usize::try_from(groups.members_max).unwrap_or(usize::MAX),
        offset_metadata_bytes_max: usize::try_from(groups.offset_metadata_bytes_max).unwrap_or(0),
        offsets_retention_ms: groups.offsets_retention_ms,
        retention_check_ms: groups.offsets_expiration_check_ms,
    }
}

/// The metadata machine over its log.
type MetadataDriver = Driver<MetadataMachine, FileLog<DiskFiles>>;

/// Opens the metadata log, leads it, and begins this process's incarnation in it.
fn load_metadata(
    settings: &Settings,
    dirs: &LogDirs,
    identity: &Identity,
) -> Result<(MetadataDriver, Incarnation), ServeError> {
    let (name, topic) = METADATA;
    let partition = TopicPartition { topic, partition: PartitionIndex(0) };
    let directory = dirs.metadata();
    let hints = OpenHints { clean: false, ..directory.hints(name, partition, clock::now()) };
    let config = LogConfig { durability: Durability::Disk, ..LogConfig::default() };
    let path = directory.root().join(format!("{name}-0"));
    let (log, _) = Log::open_in(directory.place(), path.clone(), config, &hints).map_err(ServeError::MetadataLog)?;
    let log = FileLog::new(Arc::new(Mutex::new(log)), Flush::BeforeCommit);
    let epoch = log.next_epoch();
    let driver = Driver::load(MetadataMachine, log, epoch, clock::now());
    let mut driver = driver.map_err(|source| ServeError::Metadata { path, source })?;
    let begin = Request::BeginIncarnation(BeginIncarnation {
        node: settings.node.node_id,
        cluster_id: identity.cluster_id.clone(),
        incarnation: uuid::Uuid::new_v4().into_bytes(),
        directory: identity.directory_id.parse().map_or([0; 16], |TopicId(id)| id),
    });
    driver.handle(clock::now(), Input::Request(CallId(0), begin));
    driver.pump(clock::now());
    let refused = |why| Err(ServeError::Incarnation { root: directory.root().to_owned(), why });
    match driver.drain().into_iter().next() {
        Some((_, Ok(Output::Incarnation(incarnation)))) => Ok((driver, incarnation)),
        Some((_, Ok(Output::Refused(error)))) => refused(error.to_string()),
        Some((_, Err(refusal))) => refused(refusal.to_string()),
        other => refused(format!("it answered {other:?}")),
    }
}

/// What happens to each new image before anybody hears of it.
fn publisher(
    replicas: Replicas,
    groups: Groups,
    images: watch::Sender<Arc<ClusterImage>>,
) -> impl FnMut(&MetadataDriver) {
    let mut seen = None;
    move |driver| {
        let Some(image) = driver.committed().filter(|image| seen != Some(image.end)) else { return };
        seen = Some(image.end);
        let gone = replicas.reconcile(&image.hard);
        if !gone.is_empty() {
            groups.topics_deleted(&gone);
        }
        images.send_replace(Arc::new(image.hard.clone()));
    }
}

/// Binds all listeners, and only then accepts: every endpoint is known before a client can ask for one.
async fn listen(
    settings: &Settings,
    broker: &Arc<Broker>,
    (data, tasks, stop): (&Runtime, &TaskTracker, &CancellationToken),
    (tier, dirs): (&Arc<Tier>, &Arc<LogDirs>),
) -> Result<Bound, ServeError> {
    let (mut kafka, mut endpoints) = (Vec::new(), BTreeMap::new());
    for listener in &settings.listeners {
        let (socket, address) = bind(&listener.bind, ("listeners", data)).await?;
        let mut advertised = listener.advertised.clone();
        if advertised.port == 0 {
            advertised.port = address.port();
        }
        endpoints.insert(listener.name.clone(), advertised);
        kafka.push((socket, address, listener.name.clone()));
    }
    broker.advertise(endpoints);
    let mut http = Vec::new();
    for listener in &settings.http {
        let (socket, address) = bind(&listener.bind, ("strata.http.listeners", &runtime::Handle::current())).await?;
        http.push(address);
        let (app, stop) = (gateway_http::app(gateway(broker, tier, dirs)), stop.clone());
        tasks.spawn(async move {
            if let Err(error) = gateway_http::serve(socket, app, stop.cancelled_owned()).await {
                warn!(%error, "gateway ended");
            }
        });
    }
    let mut bound = Bound { program: program(), kafka: Vec::new(), http };
    for (socket, address, name) in kafka {
        bound.kafka.push(address);
        tasks.spawn_on(listener::accept(broker.clone(), socket, name.into(), stop.clone()), data.handle());
    }
    Ok(bound)
}

fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "strata".to_owned())
}

/// A place whose reactor a socket can belong to.
trait Reactor {
    fn enter(&self) -> runtime::EnterGuard<'_>;
}

impl Reactor for &Runtime {
    fn enter(&self) -> runtime::EnterGuard<'_> {
        Runtime::enter(self)
    }
}

impl Reactor for &runtime::Handle {
    fn enter(&self) -> runtime::EnterGuard<'_> {
        runtime::Handle::enter(self)
    }
}

async fn bind(
    place: &HostPort,
    (key, on): (&'static str, impl Reactor),
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let address = format!("{}:{}", place.bind_host(), place.port);
    let fail = |source| ServeError::Bind { address: address.clone(), key, source };
    let found = tokio::net::lookup_host(&address).await.map_err(fail)?.next();
    let found = found.ok_or_else(|| fail(io::ErrorKind::AddrNotAvailable.into()))?;
    let socket = if found.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
    let socket = socket.map_err(fail)?;
    socket.set_reuseaddr(true).map_err(fail)?;
    socket.bind(found).map_err(fail)?;
    // The socket belongs to the runtime that accepts on it.
    let listener = {
        let _entered = on.enter();
        socket.listen(1024).map_err(fail)?
    };
    let address = listener.local_addr().map_err(fail)?;
    Ok((listener, address))
}

fn gateway(broker: &Arc<Broker>, tier: &Arc<Tier>, dirs: &Arc<LogDirs>) -> Arc<GatewayState> {
    let sources = Sources { hot: Arc::new(HotEnd::new(broker.clone())), cold: Some(tier.cold_source()) };
    let (metrics, readiness) = ((broker.clone(), tier.clone(), dirs.clone()), tier.clone());
    let state = GatewayState::new(sources)
        .with_metrics(move || {
            let (broker, tier, dirs) = &metrics;
            http::families(broker).into_iter().chain(tier.families()).chain(dirs.families()).collect()
        })
        .with_readiness(move || readiness.not_ready());
    Arc::new(state)
}

#[expect(clippy::print_stdout, reason = "the banner is what the person who started the program reads")]
fn say(settings: &Settings, bound: &Bound) {
    print!("{}", banner(settings, bound));
    // Whoever reads a pipe learns the ports from it.
    drop(io::Write::flush(&mut io::stdout()));
}
