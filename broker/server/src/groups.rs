//! The group coordinators: one machine for each partition of `__consumer_offsets`, loaded when it is first asked.
//!
//! A request goes into its machine's queue at once, also while the machine is still reading its log. The log beneath a
//! machine is the partition's own log, so that consumers can read `__consumer_offsets` as any other topic.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use broker_group::{GroupMachine, Output, Request, partition_for};
use broker_model::PartitionIndex;
use broker_model::machine::Refusal;
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
        Groups { shared: Arc::new(Shared { settings, topics, handles: Mutex::default(), runtime, stop }) }
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

    /// The machines that run.
    #[must_use]
    pub fn running(&self) -> Vec<Handle<Request, Output>> {
        self.shared.handles.lock().values().filter(|handle| handle.is_open()).cloned().collect()
    }

    /// Tells every machine that runs that these topics are gone, so that their offsets go too.
    pub fn topics_deleted(&self, names: &[String]) {
        for handle in self.running() {
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
        self.shared.runtime.spawn(own(machine, partition.clone(), inbox, self.shared.stop.clone()));
        handle
    }
}

/// Loads a machine from its partition and serves its queue.
async fn own(machine: GroupMachine, partition: Arc<Partition>, inbox: Inbox<GroupMachine>, stop: CancellationToken) {
    let is_durable = partition.config().flush_messages == 1;
    let flush = if is_durable { Flush::BeforeCommit } else { Flush::Never };
    let log = match partition.shared_log() {
        Ok(log) => FileLog::new(log, flush).with_damage(Damage::LeaveOut),
        Err(error) => return error!(%partition, ?error, "group coordinator has no log"),
    };
    let epoch = log.next_epoch();
    match Driver::load(machine, log, epoch, clock::now()) {
        Ok(driver) => {
            info!(%partition, "group coordinator loaded");
            coordinator::run(driver, inbox, |_| partition.refresh(), stop).await;
        }
        Err(error) => error!(%partition, %error, "group coordinator cannot load its log"),
    }
}
