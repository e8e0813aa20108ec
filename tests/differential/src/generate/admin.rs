//! Topics: created, deleted, widened, described; the cluster; elections and reassignments.

use broker_model::TopicId;
use broker_wire::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use broker_wire::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use broker_wire::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use broker_wire::messages::delete_topics_request::DeleteTopicState;
use broker_wire::messages::describe_log_dirs_request::DescribableLogDirTopic;
use broker_wire::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use broker_wire::messages::elect_leaders_request::TopicPartitions;
use broker_wire::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use broker_wire::messages::metadata_request::MetadataRequestTopic;
use broker_wire::messages::{
    AlterPartitionReassignmentsRequest, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, MetadataRequest,
};
use broker_wire::{ApiKey, RequestBody, Str};

use super::configs::config;
use super::{Ends, Plan};
use crate::step::View;

/// A topic's name in a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Name {
    Slot(u8),
    Literal(&'static str),
    /// This many letters.
    Long(usize),
}

impl Name {
    pub(super) fn text(self, view: &View<'_>) -> Str {
        match self {
            Name::Slot(slot) => view.topic(slot),
            Name::Literal(text) => Str::from_static(text),
            Name::Long(length) => Str::from("x".repeat(length)),
        }
    }
}

/// A name: mostly a topic's, sometimes one that cannot be one.
pub(super) fn name(plan: &mut Plan<'_>) -> Name {
    match plan.dice.below(14) {
        0 => Name::Literal(plan.dice.of(&["", ".", "..", "a/b", "a b", "ü", "a\u{0}"])),
        1 => Name::Long(plan.dice.of(&[250, 1_000])),
        _ => Name::Slot(plan.topic()),
    }
}

/// Creates a topic as most people do.
pub(super) fn create_plain(plan: &mut Plan<'_>, slot: u8) {
    let partitions = plan.dice.weighted(&[(5, 1), (4, 2), (3, 3)]);
    let stamps = plan.dice.percent(15).then_some(("message.timestamp.type", Some("LogAppendTime")));
    create(plan, "create-topics/plain", &[(Name::Slot(slot), partitions, 1)], stamps.as_slice());
}

type Created = (Name, i32, i16);

fn create(
    plan: &mut Plan<'_>,
    kind: &'static str,
    topics: &[Created],
    configs: &[(&'static str, Option<&'static str>)],
) {
    let validate_only = kind == "create-topics/validate";
    for (name, partitions, replicas) in topics {
        if let (Name::Slot(slot), 1, 1 | -1) = (*name, topics.len(), *replicas)
            && let Some(place @ None) = plan.world.topics.get_mut(usize::from(slot))
            && !validate_only
            && (*partitions > 0 || *partitions == -1)
            && kind != "create-topics/configs"
        {
            *place = Some(vec![Ends::default(); partitions.unsigned_abs() as usize]);
        }
    }
    let (topics, configs) = (topics.to_vec(), configs.to_vec());
    let made = plan.add(kind, ApiKey::CreateTopics, move |view| {
        let topic = |(name, num_partitions, replication_factor): &Created| CreatableTopic {
            name: name.text(view),
            num_partitions: *num_partitions,
            replication_factor: *replication_factor,
            assignments: Vec::new(),
            configs: configs.iter().map(|(name, value)| config(name, *value)).collect(),
        };
        let topics = topics.iter().map(topic).collect();
        RequestBody::CreateTopics(CreateTopicsRequest { topics, timeout_ms: 20_000, validate_only })
    });
    if let Some(step) = made {
        step.settles = true;
    }
}

/// Any request about topics and the cluster.
pub(super) fn admin(plan: &mut Plan<'_>) {
    match plan.dice.below(24) {
        0..4 => {
            let slot = plan.dice.below(4) as u8;
            create_plain(plan, slot);
        }
        4..7 => create_odd(plan),
        7 => create_assigned(plan),
        8..10 => super::configs::create_with(plan, create),
        10..14 => delete(plan),
        14..18 => widen(plan),
        18..20 => log_dirs(plan),
        20 => elect(plan),
        21 | 22 => reassign(plan),
        _ => cluster(plan),
    }
}

fn create_odd(plan: &mut Plan<'_>) {
    let count = plan.dice.weighted(&[(6, 1), (2, 2), (1, 3), (1, 0)]);
    let kind = plan.dice.of(&["create-topics/odd", "create-topics/validate"]);
    let topics: Vec<Created> = (0..count)
        .map(|_| {
            let partitions = plan.dice.weighted(&[(6, 1), (3, -1), (1, 0), (1, -2), (1, 4)]);
            (name(plan), partitions, plan.dice.weighted(&[(8, 1), (3, -1), (2, 2), (1, 0), (1, -2), (1, 3)]))
        })
        .collect();
    create(plan, kind, &topics, &[]);
}

fn create_assigned(plan: &mut Plan<'_>) {
    let slot = plan.dice.below(4) as u8;
    let lists: &[&[(i32, &[i32])]] = &[
        &[(0, &[1])],
        &[(0, &[1]), (1, &[1])],
        &[(1, &[1])],
        &[(0, &[1]), (2, &[1])],
        &[(0, &[])],
        &[(0, &[1, 1])],
        &[(0, &[2])],
        &[(0, &[1]), (0, &[1])],
        &[(-1, &[1])],
        &[(0, &[1]), (1, &[1, 2])],
        &[(0, &[-1])],
    ];
    let list = plan.dice.of(lists);
    let (partitions, replicas) = plan.dice.weighted(&[(8, (-1, -1)), (1, (1, -1)), (1, (-1, 1)), (1, (1, 1))]);
    let made = plan.add("create-topics/assigned", ApiKey::CreateTopics, move |view| {
        let assignment = |(partition_index, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: brokers.to_vec(),
        };
        let topic = CreatableTopic {
            name: view.topic(slot),
            num_partitions: partitions,
            replication_factor: replicas,
            assignments: list.iter().map(assignment).collect(),
            configs: Vec::new(),
        };
        RequestBody::CreateTopics(CreateTopicsRequest { topics: vec![topic], timeout_ms: 20_000, validate_only: false })
    });
    if let Some(step) = made {
        step.settles = true;
    }
    if list.len() <= 2 && plan.partitions(slot) == 0 && list.iter().all(|(_, brokers)| *brokers == [1]) {
        // Only a guess: what follows may find it missing.
        if let Some(place) = plan.world.topics.get_mut(usize::from(slot)) {
            *place = Some(vec![Ends::default(); list.len()]);
        }
    }
}

fn delete(plan: &mut Plan<'_>) {
    let count = plan.dice.weighted(&[(8, 1), (3, 2), (1, 0)]);
    let names: Vec<Name> = (0..count).map(|_| name(plan)).collect();
    for name in &names {
        if let Name::Slot(slot) = name
            && let Some(place) = plan.world.topics.get_mut(usize::from(*slot))
        {
            *place = None;
        }
    }
    let by = plan.dice.below(12);
    let kind = match by {
        0..5 => "delete-topics/by-name",
        5..8 => "delete-topics/by-id",
        8 => "delete-topics/by-both",
        9 => "delete-topics/by-neither",
        10 => "delete-topics/by-unknown-id",
        _ => "delete-topics/twice",
    };
    let made = plan.add(kind, ApiKey::DeleteTopics, move |view| {
        let mut topics = Vec::new();
        for name in &names {
            let slot = if let Name::Slot(slot) = name { *slot } else { super::NOWHERE };
            let text = Some(name.text(view));
            let state = match by {
                5..8 => DeleteTopicState { name: None, topic_id: view.topic_id(slot) },
                8 => DeleteTopicState { name: text, topic_id: view.topic_id(slot) },
                9 => DeleteTopicState { name: None, topic_id: TopicId::ZERO },
                10 => DeleteTopicState { name: None, topic_id: TopicId([9; 16]) },
                _ => DeleteTopicState { name: text, topic_id: TopicId::ZERO },
            };
            topics.push(state.clone());
            if by == 11 {
                topics.push(state);
            }
        }
        let topic_names = names.iter().map(|name| name.text(view)).collect();
        RequestBody::DeleteTopics(DeleteTopicsRequest { topics, topic_names, timeout_ms: 20_000 })
    });
    if let Some(step) = made {
        step.settles = true;
    }
}

fn widen(plan: &mut Plan<'_>) {
    let target = name(plan);
    let now = if let Name::Slot(slot) = target { plan.partitions(slot) } else { 1 };
    let count = plan.dice.weighted(&[(8, now + 1), (3, now), (2, now - 1), (1, 0), (1, -1), (2, now + 2)]);
    let assigned: Option<&'static [&'static [i32]]> = match plan.dice.below(10) {
        0 => Some(&[&[1]]),
        1 => Some(&[&[2]]),
        2 => Some(&[&[1], &[1]]),
        3 => Some(&[&[1, 1]]),
        4 => Some(&[]),
        _ => None,
    };
    let validate_only = plan.dice.percent(20);
    let twice = plan.dice.percent(5);
    if let Name::Slot(slot) = target
        && let Some(Some(list)) = plan.world.topics.get_mut(usize::from(slot))
        && count > now
        && !validate_only
        && !twice
        && assigned.is_none_or(|list| list == [&[1][..]] && count == now + 1)
        && count < 6
    {
        list.resize(count.unsigned_abs() as usize, Ends::default());
    }
    let count = count.min(6);
    let made = plan.add("create-partitions", ApiKey::CreatePartitions, move |view| {
        let assignment = |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec() };
        let assignments = assigned.map(|list| list.iter().map(assignment).collect());
        let topic = CreatePartitionsTopic { name: target.text(view), count, assignments };
        let topics = vec![topic; if twice { 2 } else { 1 }];
        RequestBody::CreatePartitions(CreatePartitionsRequest { topics, timeout_ms: 20_000, validate_only })
    });
    if let Some(step) = made {
        step.settles = true;
    }
}

fn log_dirs(plan: &mut Plan<'_>) {
    let places: Vec<(u8, i32)> = (0..1 + plan.dice.below(2))
        .map(|_| {
            let topic = plan.topic();
            (topic, plan.partition(topic))
        })
        .collect();
    let is_empty = plan.dice.percent(10);
    plan.add("describe-log-dirs", ApiKey::DescribeLogDirs, move |view| {
        let topic = |(topic, partition): &(u8, i32)| DescribableLogDirTopic {
            topic: view.topic(*topic),
            partitions: vec![*partition],
        };
        let topics = if is_empty { Vec::new() } else { places.iter().map(topic).collect() };
        RequestBody::DescribeLogDirs(DescribeLogDirsRequest { topics: Some(topics) })
    });
}

fn elect(plan: &mut Plan<'_>) {
    let election_type = plan.dice.weighted(&[(4, 0), (2, 1), (1, 2), (1, -1)]);
    let topic = plan.topic();
    let partition = plan.partition(topic);
    plan.add("elect-leaders", ApiKey::ElectLeaders, move |view| {
        let topics = vec![TopicPartitions { topic: view.topic(topic), partitions: vec![partition] }];
        RequestBody::ElectLeaders(ElectLeadersRequest {
            election_type,
            topic_partitions: Some(topics),
            timeout_ms: 20_000,
        })
    });
}

fn reassign(plan: &mut Plan<'_>) {
    let topic = plan.topic();
    let partition = plan.partition(topic);
    if plan.dice.percent(40) {
        let all = plan.dice.percent(30);
        plan.add("list-reassignments", ApiKey::ListPartitionReassignments, move |view| {
            let one = ListPartitionReassignmentsTopics { name: view.topic(topic), partition_indexes: vec![partition] };
            let topics = (!all).then(|| vec![one]);
            RequestBody::ListPartitionReassignments(ListPartitionReassignmentsRequest { timeout_ms: 20_000, topics })
        });
        return;
    }
    let replicas: Option<&'static [i32]> =
        plan.dice.weighted(&[(4, Some(&[1][..])), (3, None), (2, Some(&[2])), (1, Some(&[])), (1, Some(&[1, 1]))]);
    plan.add("reassign", ApiKey::AlterPartitionReassignments, move |view| {
        let part = ReassignablePartition { partition_index: partition, replicas: replicas.map(<[i32]>::to_vec) };
        let topics = vec![ReassignableTopic { name: view.topic(topic), partitions: vec![part] }];
        RequestBody::AlterPartitionReassignments(AlterPartitionReassignmentsRequest {
            timeout_ms: 20_000,
            topics,
            ..Default::default()
        })
    });
}

fn cluster(plan: &mut Plan<'_>) {
    let endpoint_type = plan.dice.weighted(&[(10, 1), (1, 2), (1, 0), (1, 3)]);
    let authorized = plan.dice.percent(30);
    let fenced = plan.dice.percent(30);
    plan.add("describe-cluster", ApiKey::DescribeCluster, move |_| {
        RequestBody::DescribeCluster(DescribeClusterRequest {
            include_cluster_authorized_operations: authorized,
            endpoint_type,
            include_fenced_brokers: fenced,
        })
    });
}

/// What clients ask about topics.
pub(super) fn metadata(plan: &mut Plan<'_>) {
    match plan.dice.below(10) {
        0..5 => by_name(plan),
        5 | 6 => by_id(plan),
        7 => {
            let is_null = plan.dice.percent(60);
            plan.add("metadata/all", ApiKey::Metadata, move |_| {
                let topics = if is_null { None } else { Some(Vec::new()) };
                RequestBody::Metadata(MetadataRequest { topics, ..Default::default() })
            });
        }
        8 => topic_partitions(plan),
        _ => cluster(plan),
    }
}

fn by_name(plan: &mut Plan<'_>) {
    let count = plan.dice.weighted(&[(6, 1), (3, 2), (1, 3)]);
    let names: Vec<Name> = (0..count).map(|_| name(plan)).collect();
    let creates = plan.dice.percent(15);
    let authorized = plan.dice.percent(30);
    let cluster = plan.dice.percent(20);
    let made = plan.add("metadata/by-name", ApiKey::Metadata, move |view| {
        let topic = |name: &Name| MetadataRequestTopic { topic_id: TopicId::ZERO, name: Some(name.text(view)) };
        RequestBody::Metadata(MetadataRequest {
            topics: Some(names.iter().map(topic).collect()),
            allow_auto_topic_creation: creates,
            include_cluster_authorized_operations: cluster,
            include_topic_authorized_operations: authorized,
        })
    });
    if let Some(step) = made {
        // Before version 4 a request always lets the broker create topics.
        step.settles = creates || step.version < 4;
    }
}

fn by_id(plan: &mut Plan<'_>) {
    let topic = plan.topic();
    let kind = plan.dice.weighted(&[(6, 0), (1, 1), (1, 3)]);
    let made = plan.add("metadata/by-id", ApiKey::Metadata, move |view| {
        let topic = match kind {
            0 if !view.topic_id(topic).is_zero() => MetadataRequestTopic { topic_id: view.topic_id(topic), name: None },
            1 => MetadataRequestTopic { topic_id: TopicId([5; 16]), name: None },
            _ => MetadataRequestTopic { topic_id: view.topic_id(topic), name: Some(view.topic(topic)) },
        };
        let plain = MetadataRequest::default();
        RequestBody::Metadata(MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..plain })
    });
    if let Some(step) = made {
        step.version = step.version.max(10);
    }
}

fn topic_partitions(plan: &mut Plan<'_>) {
    let count = plan.dice.weighted(&[(6, 1), (3, 2), (1, 3)]);
    let names: Vec<Name> = (0..count).map(|_| name(plan)).collect();
    let limit = plan.dice.weighted(&[(4, 2_000), (3, 1), (2, 2), (1, 0), (1, -1)]);
    let cursor = plan.dice.percent(35).then(|| (plan.topic(), plan.dice.weighted(&[(3, 0), (3, 1), (1, -1), (1, 9)])));
    plan.add("describe-topic-partitions", ApiKey::DescribeTopicPartitions, move |view| {
        RequestBody::DescribeTopicPartitions(DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: name.text(view) }).collect(),
            response_partition_limit: limit,
            cursor: cursor
                .map(|(topic, partition)| Cursor { topic_name: view.topic(topic), partition_index: partition }),
        })
    });
}
