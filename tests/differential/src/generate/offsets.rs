//! Offsets of groups: committed by members and by those who are in no group, fetched, deleted.

use broker_wire::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use broker_wire::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use broker_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use broker_wire::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};
use broker_wire::{ApiKey, RequestBody, Str};

use super::groups::{group, who};
use super::{Plan, grouped};

/// Any request about offsets.
pub(super) fn offsets(plan: &mut Plan<'_>) {
    match plan.dice.below(10) {
        0..3 => commit_of_member(plan),
        3..5 => commit_alone(plan),
        5..9 => fetch(plan),
        _ => delete(plan),
    }
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    topic: u8,
    partition: i32,
    offset: i64,
    epoch: i32,
    metadata: Option<usize>,
}

fn commits(plan: &mut Plan<'_>) -> Vec<Commit> {
    (0..plan.dice.weighted(&[(8, 1), (3, 2), (1, 0)]))
        .map(|_| {
            let topic = plan.topic();
            Commit {
                topic,
                partition: plan.partition(topic),
                offset: plan.dice.weighted(&[(6, 5), (4, 0), (2, 77), (1, -1), (1, -5), (1, i64::MAX)]),
                epoch: plan.dice.weighted(&[(6, -1), (4, 0), (1, 3)]),
                metadata: plan.dice.weighted(&[
                    (4, None),
                    (4, Some(0)),
                    (4, Some(5)),
                    (1, Some(4_096)),
                    (1, Some(4_097)),
                ]),
            }
        })
        .collect()
}

fn topics(view: &crate::step::View<'_>, list: &[Commit]) -> Vec<OffsetCommitRequestTopic> {
    let partition = |commit: &Commit| OffsetCommitRequestPartition {
        partition_index: commit.partition,
        committed_offset: commit.offset,
        committed_leader_epoch: commit.epoch,
        committed_metadata: commit.metadata.map(|length| Str::from("m".repeat(length))),
    };
    let topic = |(topic, commits): (u8, Vec<Commit>)| OffsetCommitRequestTopic {
        name: view.topic(topic),
        topic_id: view.topic_id(topic),
        partitions: commits.iter().map(partition).collect(),
    };
    grouped(list, |commit| commit.topic).into_iter().map(topic).collect()
}

fn commit_of_member(plan: &mut Plan<'_>) {
    let who = who(plan);
    let list = commits(plan);
    plan.add("offset-commit/member", ApiKey::OffsetCommit, move |view| {
        RequestBody::OffsetCommit(OffsetCommitRequest {
            group_id: who.group.text(view),
            generation_id_or_member_epoch: who.generation(view),
            member_id: who.member_id(view),
            group_instance_id: who.instance(),
            retention_time_ms: -1,
            topics: topics(view, &list),
        })
    });
}

fn commit_alone(plan: &mut Plan<'_>) {
    let group = group(plan);
    let list = commits(plan);
    let generation = plan.dice.weighted(&[(12, -1), (1, -2), (1, 0)]);
    let retention = plan.dice.weighted(&[(6, -1), (1, 86_400_000)]);
    plan.add("offset-commit/alone", ApiKey::OffsetCommit, move |view| {
        RequestBody::OffsetCommit(OffsetCommitRequest {
            group_id: group.text(view),
            generation_id_or_member_epoch: generation,
            retention_time_ms: retention,
            topics: topics(view, &list),
            ..Default::default()
        })
    });
}

fn fetch(plan: &mut Plan<'_>) {
    let names = (group(plan), group(plan));
    let count = plan.dice.weighted(&[(8, 1), (2, 2), (1, 0)]);
    let all = plan.dice.percent(35);
    let places: Vec<(u8, i32)> = (0..plan.dice.weighted(&[(8, 1), (4, 2), (1, 0)]))
        .map(|_| {
            let topic = plan.topic();
            (topic, plan.partition(topic))
        })
        .collect();
    let require_stable = plan.dice.percent(30);
    plan.add("offset-fetch", ApiKey::OffsetFetch, move |view| {
        let places = grouped(&places, |place| place.0);
        let indexes = |places: &[(u8, i32)]| places.iter().map(|place| place.1).collect();
        let old = |(topic, places): &(u8, Vec<(u8, i32)>)| OffsetFetchRequestTopic {
            name: view.topic(*topic),
            partition_indexes: indexes(places),
        };
        let new = |(topic, places): &(u8, Vec<(u8, i32)>)| OffsetFetchRequestTopics {
            name: view.topic(*topic),
            topic_id: view.topic_id(*topic),
            partition_indexes: indexes(places),
        };
        let group = |name: super::groups::Group| OffsetFetchRequestGroup {
            group_id: name.text(view),
            topics: (!all).then(|| places.iter().map(new).collect()),
            ..Default::default()
        };
        RequestBody::OffsetFetch(OffsetFetchRequest {
            group_id: names.0.text(view),
            topics: (!all).then(|| places.iter().map(old).collect()),
            groups: [names.0, names.1].into_iter().take(count).map(group).collect(),
            require_stable,
        })
    });
}

fn delete(plan: &mut Plan<'_>) {
    let group = group(plan);
    let places: Vec<(u8, i32)> = (0..plan.dice.weighted(&[(8, 1), (4, 2), (1, 0)]))
        .map(|_| {
            let topic = plan.topic();
            (topic, plan.partition(topic))
        })
        .collect();
    plan.add("offset-delete", ApiKey::OffsetDelete, move |view| {
        let partition = |place: &(u8, i32)| OffsetDeleteRequestPartition { partition_index: place.1 };
        let topic = |(topic, places): (u8, Vec<(u8, i32)>)| OffsetDeleteRequestTopic {
            name: view.topic(topic),
            partitions: places.iter().map(partition).collect(),
        };
        RequestBody::OffsetDelete(OffsetDeleteRequest {
            group_id: group.text(view),
            topics: grouped(&places, |place| place.0).into_iter().map(topic).collect(),
        })
    });
}
