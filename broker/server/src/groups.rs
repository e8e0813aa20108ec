//! The group coordinators: one machine for each partition of `__consumer_offsets`, loaded when it is first asked.
//!
//! All are loaded where all groups matter: for a list of them, when topics were deleted, and in time for offsets to expire.
//! A request goes into its machine's queue at once, also while the machine is still reading its log. The log beneath a
//! machine is the partition's own log, so that consumers can read `__consumer_offsets` as any other topic.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use broker_group::{GroupMachine, Output, Request, partition_for};
use broker_log::DiskFiles;
use broker_model::PartitionIndex;
use broker_model::machine::{CallId, Input, Refusal};
use broker_quorum::file::{Damage, Flush};
use broker_quorum::{Driver, FileLog};
use parking_lot::Mutex;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock;
use crate::coordinator::{self, Asked, Handle, Inbox};
use crate::replica::Partition;
use crate::topics::{OFFSETS_TOPIC, TopicTable};

type GroupDriver = Driver<GroupMachine, FileLog<DiskFiles>>;

/// All group coordinators of this broker.
#[derive(Clone, Debug)]
pub struct Groups {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: broker_group::Settings,
    topics: Arc<ArcSwap<TopicTable>>,
    handles: Mutex<HashMap<PartitionIndex, Handle<Request, Output>>>,
    runtime: runtime::Handle,
    stop: CancellationToken,
}

impl Groups {
    /// Coordinators whose machines run on `runtime` until `stop`.
    #[must_use]
    pub fn new(
        settings: broker_group::Settings,
        topics: Arc<ArcSwap<TopicTable>>,
        (runtime, stop): (runtime::Handle, CancellationToken),
    ) -> Groups {
        let shared = Shared { settings, topics, handles: Mutex::default(), runtime, stop };
        let groups = Groups { shared: Arc::new(shared) };
        groups.shared.runtime.spawn(keep_loaded(groups.clone()));
        groups
    }

    /// Asks the machine of this group.
    pub fn ask(&self, group: &str, request: Request) -> Asked<Output> {
        let topics = self.shared.topics.load();
        let Some(topic) = topics.by_name(OFFSETS_TOPIC) else { return Asked::refused(Refusal::NotLeader) };
        let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        match topic.partition(partition_for(group, count)) {
            Some(partition) => self.handle(partition).ask(request),
            None => Asked::refused(Refusal::NotLeader),
        }
    }

    /// All machines. Those that do not run yet begin to load.
    #[must_use]
    pub fn all(&self) -> Vec<Handle<Request, Output>> {
        let topics = self.shared.topics.load();
        let partitions = topics.by_name(OFFSETS_TOPIC).into_iter().flat_map(|topic| topic.partitions());
        partitions.map(|partition| self.handle(partition)).collect()
    }

    /// The machines that run.
    #[must_use]
    pub fn running(&self) -> Vec<Handle<Request, Output>> {
        self.shared.handles.lock().values().filter(|handle| handle.is_open()).cloned().collect()
    }

    /// Tells every machine that these topics are gone, so that their offsets go too.
    pub fn topics_deleted(&self, names: &[String]) {
        for handle in self.all() {
            drop(handle.ask(Request::TopicsDeleted(names.to_vec())));
        }
    }

    fn handle(&self, partition: &Arc<Partition>) -> Handle<Request, Output> {
        let mut handles = self.shared.handles.lock();
        if let Some(handle) = handles.get(&partition.id.partition).filter(|handle| handle.is_open()) {
            return handle.clone();
        }
        let (handle, inbox) = coordinator::queue::<GroupMachine>();
        handles.insert(partition.id.partition, handle.clone());
        let machine = GroupMachine::new(self.shared.settings.clone());
        self.shared.runtime.spawn(own(self.clone(), (machine, partition.clone()), inbox));
        handle
    }
}

/// Loads, after a time, what nobody asked for: a machine that does not run does not let offsets expire.
async fn keep_loaded(groups: Groups) {
    let pause = u64::try_from(groups.shared.settings.retention_check_ms.max(1)).unwrap_or(u64::MAX);
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause)) => drop(groups.all()),
            () = groups.shared.stop.cancelled() => return,
        }
    }
}

/// Loads a machine from its partition and serves its queue.
async fn own(groups: Groups, (machine, partition): (GroupMachine, Arc<Partition>), inbox: Inbox<GroupMachine>) {
    let is_durable = partition.config().flush_messages == 1;
    let flush = if is_durable { Flush::BeforeCommit } else { Flush::Never };
    let log = match partition.shared_log() {
        Ok(log) => FileLog::new(log, flush).with_damage(Damage::LeaveOut),
        Err(error) => return error!(%partition, ?error, "group coordinator has no log"),
    };
    let epoch = log.next_epoch();
    match Driver::load(machine, log, epoch, clock::now()) {
        Ok(mut driver) => {
            info!(%partition, "group coordinator loaded");
            bury_orphans(&mut driver, &groups.shared.topics.load());
            coordinator::run(driver, inbox, |_| partition.refresh(), groups.shared.stop.clone()).await;
        }
        Err(error) => error!(%partition, %error, "group coordinator cannot load its log"),
    }
}

/// Offsets of topics that are not there go: a crash can come between the end of a topic and that of its offsets.
fn bury_orphans(driver: &mut GroupDriver, topics: &TopicTable) {
    let Some(image) = driver.committed() else { return };
    let known = image.hard.iter().flat_map(|(_, group)| group.offsets.keys().map(|(topic, _)| topic));
    let gone: BTreeSet<String> = known.filter(|topic| topics.by_name(topic).is_none()).cloned().collect();
    if !gone.is_empty() {
        let request = Request::TopicsDeleted(gone.into_iter().collect());
        driver.handle(clock::now(), Input::Request(CallId(0), request));
        driver.pump(clock::now());
        drop(driver.drain());
    }
}
