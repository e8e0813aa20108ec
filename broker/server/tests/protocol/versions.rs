//! Every advertised version of every API gets an answer that decodes to its last byte, and what is not advertised does not.

use std::io::Write;

use broker_wire::advertised::{ADVERTISED, Advertised};
use broker_wire::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use broker_wire::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use broker_wire::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use broker_wire::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use broker_wire::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use broker_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeTopicPartitionsRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, ListPartitionReassignmentsRequest,
};
use broker_wire::{ApiKey, Decoder, Encoder, RequestHead};

use crate::group_admin;
use crate::groups::{fetch_offsets, fetched};
use crate::support::requests::{
    BY_ID, Topic, append, batch, bytes_of, creatable, create, create_request, fetch_request, join_request,
    list_request, member_id, only, only_member, partitions, produce_request, sync_request,
};
use crate::support::{Client, Server};
use crate::{alter_configs, cluster, create_partitions, delete_records, leader_epochs, log_dirs};

/// A topic that has two records in partition 0.
struct World {
    client: Client,
    topic: Topic,
}

#[test]
fn every_advertised_version_is_answered() {
    let server = Server::start();
    let mut client = server.connect();
    let topic = create(&mut client, "world", 2, &[]);
    append(&mut client, &topic, 0, batch(&["one", "two"]));
    let coordinator = FindCoordinatorRequest { key: "readers".into(), ..Default::default() };
    assert_eq!(client.call(0, &coordinator).error_code, 0);
    let mut world = World { client, topic };
    for Advertised { api, first, last, .. } in ADVERTISED {
        for version in *first..=*last {
            println!("{api:?} v{version}");
            world.ask(*api, version);
        }
    }
}

impl World {
    fn ask(&mut self, api: ApiKey, version: i16) {
        match api {
            ApiKey::Produce => self.produce(version),
            ApiKey::Fetch => self.fetch(version),
            ApiKey::ListOffsets => self.list_offsets(version),
            ApiKey::Metadata => self.metadata(version),
            ApiKey::OffsetCommit => self.offset_commit(version),
            ApiKey::OffsetFetch => self.offset_fetch(version),
            ApiKey::FindCoordinator => self.find_coordinator(version),
            ApiKey::JoinGroup => self.join_group(version),
            ApiKey::Heartbeat | ApiKey::LeaveGroup | ApiKey::SyncGroup => self.as_member(api, version),
            ApiKey::ApiVersions => self.api_versions(version),
            ApiKey::CreateTopics => self.create_topics(version),
            ApiKey::DeleteTopics => self.delete_topics(version),
            ApiKey::InitProducerId => self.init_producer_id(version),
            ApiKey::DescribeConfigs => self.describe_configs(version),
            ApiKey::AlterConfigs => alter_configs::replace_version(&mut self.client, version),
            ApiKey::CreatePartitions => create_partitions::version(&mut self.client, version),
            ApiKey::IncrementalAlterConfigs => alter_configs::incremental_version(&mut self.client, version),
            ApiKey::DescribeGroups => group_admin::describe_version(&mut self.client, version),
            ApiKey::ListGroups => group_admin::list_version(&mut self.client, version),
            ApiKey::DeleteGroups => group_admin::delete_version(&mut self.client, version),
            ApiKey::OffsetDelete => group_admin::offset_delete_version(&mut self.client, version),
            ApiKey::DeleteRecords => assert_eq!(delete_records::delete(&mut self.client, version, "world", 0), (0, 0)),
            ApiKey::OffsetForLeaderEpoch => {
                let end = leader_epochs::ask(&mut self.client, version, "world", (-1, i32::MAX));
                assert_eq!((end.error_code, end.end_offset), (0, -1));
            }
            ApiKey::DescribeLogDirs => assert_eq!(log_dirs::all(&mut self.client, version).results.len(), 1),
            ApiKey::ElectLeaders => {
                let (error, topics) = cluster::elect(&mut self.client, version, 0, Some(&[("world", &[0])]));
                assert_eq!((error, topics), (0, vec![("world".to_owned(), vec![(0, 84)])]));
            }
            ApiKey::AlterPartitionReassignments => {
                assert_eq!(cluster::reassign(&mut self.client, version, "world", Some(&[1])), 0);
            }
            ApiKey::ListPartitionReassignments => {
                let answer = self.client.call(version, &ListPartitionReassignmentsRequest::default());
                assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
            }
            ApiKey::DescribeCluster => {
                let answer = cluster::describe(&mut self.client, version, true, 1);
                assert_eq!((answer.error_code, answer.brokers.len()), (0, 1));
            }
            ApiKey::DescribeTopicPartitions => {
                let request = DescribeTopicPartitionsRequest { response_partition_limit: 100, ..Default::default() };
                let answer = self.client.call(version, &request);
                assert!(answer.topics.iter().any(|topic| topic.name.as_deref() == Some("world")));
            }
        }
    }

    fn produce(&mut self, version: i16) {
        let request = produce_request(version, &self.topic, &[(1, Some(batch(&["more"])))]);
        let topic = only(self.client.call(version, &request).responses);
        let (name, id) = (topic.name.to_string(), topic.topic_id);
        let answer = only(topic.partition_responses);
        if version < 3 {
            assert_eq!((answer.error_code, answer.base_offset), (35, -1));
            return;
        }
        assert_eq!((answer.index, answer.error_code, answer.base_offset), (1, 0, i64::from(version - 3)));
        assert_eq!(answer.log_append_time_ms, -1);
        assert_eq!(answer.log_start_offset, if version >= 5 { 0 } else { -1 });
        if version >= BY_ID { assert_eq!(id, self.topic.id) } else { assert_eq!(name, self.topic.name) }
    }

    fn fetch(&mut self, version: i16) {
        let answer = self.client.call(version, &fetch_request(version, &self.topic, &[(0, 1)]));
        assert_eq!(answer.session_id, 0);
        let topic = answer.responses.first().unwrap();
        if version >= BY_ID {
            assert_eq!(topic.topic_id, self.topic.id)
        } else {
            assert_eq!(topic.topic, self.topic.name)
        }
        let data = only(partitions(answer));
        assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (0, 2, 2));
        assert_eq!(data.log_start_offset, if version >= 5 { 0 } else { -1 });
        assert_eq!(bytes_of(&data).len(), batch(&["one", "two"]).len());
    }

    fn list_offsets(&mut self, version: i16) {
        let answer = only(only(self.client.call(version, &list_request(&self.topic, 0, -1)).topics).partitions);
        assert_eq!((answer.partition_index, answer.error_code, answer.offset), (0, 0, 2));
        assert_eq!(answer.leader_epoch >= 0, version >= 4, "{answer:?}");
    }

    fn metadata(&mut self, version: i16) {
        let name = MetadataRequestTopic { name: Some(self.topic.name.into()), ..Default::default() };
        let answer = self.client.call(version, &MetadataRequest { topics: Some(vec![name]), ..Default::default() });
        let (broker, topic) = (only(answer.brokers), only(answer.topics));
        assert_eq!((&*broker.host, topic.error_code, topic.partitions.len()), ("127.0.0.1", 0, 2));
        assert_eq!(answer.cluster_id.is_some(), version >= 2);
        assert_eq!(topic.topic_id == self.topic.id, version >= 10);
        assert!(topic.partitions.iter().all(|partition| partition.isr_nodes == [broker.node_id]));
        let all = MetadataRequest { topics: (version == 0).then(Vec::new), ..Default::default() };
        assert!(self.client.call(version, &all).topics.iter().any(|topic| topic.name.as_deref() == Some("world")));
    }

    fn offset_commit(&mut self, version: i16) {
        let by_id = version >= 10;
        let request = OffsetCommitRequest {
            group_id: "readers".into(),
            topics: vec![OffsetCommitRequestTopic {
                name: if by_id { "".into() } else { self.topic.name.into() },
                topic_id: if by_id { self.topic.id } else { Default::default() },
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: i64::from(version),
                    committed_metadata: Some("note".into()),
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let topic = only(self.client.call(version, &request).topics);
        assert_eq!(topic.topic_id == self.topic.id, by_id);
        assert_eq!(only(topic.partitions).error_code, 0);
    }

    fn offset_fetch(&mut self, version: i16) {
        let rows = fetched(self.client.call(version, &fetch_offsets(version, "readers", Some(&self.topic))));
        let name = if version >= 10 { "" } else { "world" };
        assert_eq!(rows, [(name.to_owned(), 0, 10, "note".to_owned())], "what OffsetCommit v10 wrote");
    }

    fn find_coordinator(&mut self, version: i16) {
        let batched = version >= 4;
        let request = FindCoordinatorRequest {
            key: if batched { "".into() } else { "readers".into() },
            coordinator_keys: if batched { vec!["readers".into(), "others".into()] } else { Vec::new() },
            ..Default::default()
        };
        let answer = self.client.call(version, &request);
        if !batched {
            assert_eq!((answer.error_code, &*answer.host), (0, "127.0.0.1"));
            return;
        }
        let found: Vec<(&str, i16, &str)> =
            answer.coordinators.iter().map(|found| (&*found.key, found.error_code, &*found.host)).collect();
        assert_eq!(found, [("readers", 0, "127.0.0.1"), ("others", 0, "127.0.0.1")]);
    }

    fn join_group(&mut self, version: i16) {
        let group = format!("joins{version}");
        let member = if version >= 4 { member_id(&mut self.client, &group) } else { String::new() };
        let joined = self.client.call(version, &join_request(&group, &member));
        assert_eq!((joined.error_code, joined.generation_id, joined.leader == joined.member_id), (0, 1, true));
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        assert_eq!(&only(joined.members).metadata[..], b"subscription");
    }

    fn as_member(&mut self, api: ApiKey, version: i16) {
        let group = format!("{api:?}{version}");
        let (member, generation_id) = only_member(&mut self.client, &group);
        let sync_version = if api == ApiKey::SyncGroup { version } else { 5 };
        let sync = sync_request(sync_version, &group, (&member, generation_id), &[(&member, b"all of it")]);
        let synced = self.client.call(sync_version, &sync);
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all of it"[..]));
        assert_eq!(synced.protocol_name.as_deref(), (sync_version >= 5).then_some("range"));
        if api == ApiKey::Heartbeat {
            let (group_id, member_id) = (group.as_str().into(), member.as_str().into());
            let beat = HeartbeatRequest { group_id, generation_id, member_id, group_instance_id: None };
            assert_eq!(self.client.call(version, &beat).error_code, 0);
        }
        if api == ApiKey::LeaveGroup {
            let batched = version >= 3;
            let leaving = MemberIdentity { member_id: member.as_str().into(), ..Default::default() };
            let leave = LeaveGroupRequest {
                group_id: group.as_str().into(),
                member_id: if batched { "".into() } else { member.as_str().into() },
                members: if batched { vec![leaving] } else { Vec::new() },
            };
            let left = self.client.call(version, &leave);
            assert_eq!((left.error_code, left.members.len()), (0, usize::from(batched)));
            assert!(left.members.iter().all(|left| left.error_code == 0 && left.member_id == member.as_str()));
        }
    }

    fn api_versions(&mut self, version: i16) {
        let request = ApiVersionsRequest {
            client_software_name: if version >= 3 { "tests".into() } else { "".into() },
            client_software_version: if version >= 3 { "1".into() } else { "".into() },
        };
        let answer = self.client.call(version, &request);
        assert_eq!((answer.error_code, answer.api_keys.len()), (0, ADVERTISED.len()));
    }

    fn create_topics(&mut self, version: i16) {
        let name = format!("made-by-{version}");
        let request = create_request(vec![creatable(&name, 3, &[("retention.ms", "1000")])]);
        let made = only(self.client.call(version, &request).topics);
        assert_eq!((made.name.as_ref(), made.error_code), (name.as_str(), 0));
        if version >= 5 {
            assert_eq!((made.num_partitions, made.replication_factor), (3, 1));
            let configs = made.configs.unwrap();
            let retention = configs.iter().find(|config| config.name == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1000"), 1));
        }
        assert_eq!(made.topic_id.0 != [0; 16], version >= 7);
    }

    fn delete_topics(&mut self, version: i16) {
        let name = format!("deleted-by-{version}");
        let made = only(self.client.call(7, &create_request(vec![creatable(&name, 1, &[])])).topics);
        let structs = version >= 6;
        let state = DeleteTopicState { name: Some(name.as_str().into()), ..Default::default() };
        let request = DeleteTopicsRequest {
            topics: if structs { vec![state] } else { Vec::new() },
            topic_names: if structs { Vec::new() } else { vec![name.as_str().into()] },
            timeout_ms: 30_000,
        };
        let deleted = only(self.client.call(version, &request).responses);
        assert_eq!((deleted.error_code, deleted.name.as_deref()), (0, Some(name.as_str())));
        assert_eq!(deleted.topic_id == made.topic_id, structs);
    }

    fn init_producer_id(&mut self, version: i16) {
        let request =
            InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
        let answer = self.client.call(version, &request);
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        let next = self.client.call(version, &request);
        assert!(next.producer_id > answer.producer_id);
        let transactional = InitProducerIdRequest { transactional_id: Some("t".into()), ..request };
        let refused = self.client.call(version, &transactional);
        assert_eq!((refused.error_code, refused.producer_id), (53, -1));
    }

    fn describe_configs(&mut self, version: i16) {
        let resource = |kind, name: &str| DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.into(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource(2, "world"), resource(4, "1")],
            include_synonyms: true,
            include_documentation: version >= 3,
        };
        for result in self.client.call(version, &request).results {
            assert_eq!((result.error_code, result.configs.is_empty()), (0, false), "{:?}", result.error_message);
            let documented =
                result.configs.iter().any(|config| config.documentation.as_ref().is_some_and(|text| !text.is_empty()));
            let typed = result.configs.iter().any(|config| config.config_type != 0);
            assert_eq!((documented, typed), (version >= 3, version >= 3));
        }
    }
}

#[test]
fn software_that_has_no_proper_name_is_told_so() {
    let server = Server::start();
    let mut client = server.connect();
    for (name, version, error) in [("kcat-1.7", "2.0", 0), ("", "1", 42), ("a b", "1", 42), ("x", "1-", 42)] {
        let request = ApiVersionsRequest { client_software_name: name.into(), client_software_version: version.into() };
        let answer = client.call(4, &request);
        assert_eq!((answer.error_code, answer.api_keys.is_empty()), (error, error != 0), "{name:?} {version:?}");
    }
}

#[test]
fn a_future_version_of_api_versions_is_answered_in_version_0() {
    let server = Server::start();
    let mut client = server.connect();
    for version in [5, 99, i16::MAX] {
        let mut out = Encoder::frame();
        RequestHead { api_key: 18, version, correlation_id: 77, client_id: None }.encode(&mut out).unwrap();
        client.stream.write_all(&out.finish_frame().unwrap().0).unwrap();
        let mut input = Decoder::new(client.receive_frame());
        assert_eq!(input.i32().unwrap(), 77);
        let answer = ApiVersionsResponse::decode(&mut input, 0).unwrap();
        assert_eq!((answer.error_code, input.remaining()), (35, 0));
        let row = only(answer.api_keys);
        assert_eq!((row.api_key, row.min_version, row.max_version), (18, 0, 4));
    }
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).error_code, 0, "the connection goes on");
}

#[test]
fn what_is_not_advertised_ends_its_connection_only() {
    let server = Server::start();
    let mut other = server.connect();
    let asks = [(24, 0), (1, 3), (1, 19), (0, 14), (999, 0), (-1, 0), (3, -1)];
    for (api_key, version) in asks {
        let mut client = server.connect();
        let mut out = Encoder::frame();
        RequestHead { api_key, version, correlation_id: 1, client_id: None }.encode(&mut out).unwrap();
        DescribeClusterRequest::default().encode(&mut out, 0).unwrap();
        client.stream.write_all(&out.finish_frame().unwrap().0).unwrap();
        assert!(client.is_closed(), "key {api_key} version {version}");
        assert_eq!(other.call(0, &ApiVersionsRequest::default()).error_code, 0);
    }
}
