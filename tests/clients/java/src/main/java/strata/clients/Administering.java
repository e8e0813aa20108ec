package strata.clients;

import static strata.clients.Capability.check;
import static strata.clients.Capability.same;
import static strata.clients.Capability.until;
import static strata.clients.Clients.ALL;
import static strata.clients.Clients.COUNT;
import static strata.clients.Clients.PARTITIONS;
import static strata.clients.Clients.TOPIC;
import static strata.clients.Clients.admin;
import static strata.clients.Clients.get;
import static strata.clients.Clients.poll;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreatePartitionsOptions;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The admin client: what people do every day, and what is refused. */
final class Administering {
    private static final ConfigResource RESOURCE = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
    private static final String GROUP = "java-billing";

    private Administering() {}

    /** A step with an admin client of its own. */
    private interface Step {
        void run(Admin admin) throws Exception;
    }

    private static Capability with(String name, String what, Step step) {
        return new Capability(name, what, () -> {
            try (Admin admin = admin()) {
                step.run(admin);
            }
            return "";
        });
    }

    static Capability create() {
        return with("create topic", "createTopics with a config, validateOnly, and TopicExistsException", Administering::create);
    }

    static List<Capability> capabilities() {
        return List.of(
                with("describe cluster", "describeCluster: cluster id, one node, its controller", Administering::cluster),
                with("describe topics", "listTopics and describeTopics: topic id, leaders, replicas", Administering::topics),
                with("describe configs", "describeConfigs: value, source, synonyms, type and documentation", Administering::configs),
                with("alter configs", "incrementalAlterConfigs: set, delete, validateOnly, and a refusal", Administering::alter),
                with("list offsets", "listOffsets: earliest, latest, max timestamp, by time, earliest local", Administering::offsets),
                with("list and describe groups", "listGroups and describeConsumerGroups at rest and live", Administering::groups),
                with("offsets of groups", "list-, alter- and deleteConsumerGroupOffsets", Administering::groupOffsets),
                with("delete groups", "deleteConsumerGroups, and GroupIdNotFoundException", Administering::deleteGroups),
                with("describe log dirs", "describeLogDirs: each partition with its size", Administering::logDirs),
                with("elect leaders", "electLeaders of the preferred kind: ElectionNotNeededException", Administering::elect),
                with("reassignments", "alterPartitionReassignments onto the same node, then none is listed", Administering::reassign),
                with("delete records", "deleteRecords moves the start of a partition", Administering::deleteRecords),
                with("create partitions", "createPartitions with validateOnly and for good; fewer are refused", Administering::grow),
                with("delete topic", "deleteTopics, then UnknownTopicOrPartitionException", Administering::delete));
    }

    private static void refused(Class<? extends Exception> wanted, Capability.Check check) throws Exception {
        try {
            check.run();
        } catch (ExecutionException refused) {
            check(wanted.isInstance(refused.getCause()), "refused with " + refused.getCause());
            return;
        }
        throw new AssertionError("it was not refused with " + wanted.getSimpleName());
    }

    private static void create(Admin admin) throws Exception {
        List<NewTopic> topic =
                List.of(new NewTopic(TOPIC, PARTITIONS, (short) 1).configs(Map.of("max.message.bytes", "2000000")));
        get(admin.createTopics(topic, new CreateTopicsOptions().validateOnly(true)).all());
        check(!get(admin.listTopics().names()).contains(TOPIC), "validateOnly made a topic");
        var made = admin.createTopics(topic);
        same(PARTITIONS, get(made.numPartitions(TOPIC)));
        same("2000000", get(made.config(TOPIC)).get("max.message.bytes").value());
        refused(TopicExistsException.class, () -> String.valueOf(get(admin.createTopics(topic).all())));
    }

    private static void cluster(Admin admin) throws Exception {
        var told = admin.describeCluster();
        Collection<Node> nodes = get(told.nodes());
        same(1, nodes.size());
        check(get(told.clusterId()) != null && get(told.controller()) != null, "no cluster id or no controller");
        Node node = nodes.iterator().next();
        same(Clients.BOOTSTRAP, node.host() + ":" + node.port());
    }

    private static void topics(Admin admin) throws Exception {
        check(get(admin.listTopics().names()).contains(TOPIC), "it is not listed");
        TopicDescription told = get(admin.describeTopics(List.of(TOPIC)).allTopicNames()).get(TOPIC);
        same(PARTITIONS, told.partitions().size());
        check(told.partitions().stream().allMatch(one -> one.leader() != null && one.isr().size() == 1), told);
        var byId = TopicCollection.ofTopicIds(List.of(told.topicId()));
        same(TOPIC, get(admin.describeTopics(byId).allTopicIds()).get(told.topicId()).name());
    }

    private static Config read(Admin admin) throws Exception {
        var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return get(admin.describeConfigs(List.of(RESOURCE), options).all()).get(RESOURCE);
    }

    private static void configs(Admin admin) throws Exception {
        Config told = read(admin);
        ConfigEntry set = told.get("max.message.bytes");
        same("2000000", set.value());
        same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, set.source());
        same(ConfigEntry.ConfigType.INT, set.type());
        check(set.documentation() != null && set.documentation().length() > 20, "there is no documentation");
        same("message.max.bytes", set.synonyms().get(set.synonyms().size() - 1).name());
        check(told.get("retention.ms").isDefault(), told.get("retention.ms"));
    }

    private static void alter(Admin admin) throws Exception {
        var set = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "864000000"), AlterConfigOp.OpType.SET));
        var options = new AlterConfigsOptions().validateOnly(true);
        get(admin.incrementalAlterConfigs(Map.of(RESOURCE, set), options).all());
        same("604800000", read(admin).get("retention.ms").value());
        get(admin.incrementalAlterConfigs(Map.of(RESOURCE, set)).all());
        same("864000000", read(admin).get("retention.ms").value());
        same("2000000", read(admin).get("max.message.bytes").value());
        var unset = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE));
        get(admin.incrementalAlterConfigs(Map.of(RESOURCE, unset)).all());
        same("604800000", read(admin).get("retention.ms").value());
        var wrong = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET));
        refused(InvalidConfigurationException.class,
                () -> String.valueOf(get(admin.incrementalAlterConfigs(Map.of(RESOURCE, wrong)).all())));
    }

    private static long offset(Admin admin, OffsetSpec spec) throws Exception {
        return get(admin.listOffsets(Map.of(ALL.get(0), spec)).partitionResult(ALL.get(0))).offset();
    }

    private static void offsets(Admin admin) throws Exception {
        long latest = offset(admin, OffsetSpec.latest());
        same(0L, offset(admin, OffsetSpec.earliest()));
        same(latest - 1, offset(admin, OffsetSpec.maxTimestamp()));
        same(0L, offset(admin, OffsetSpec.forTimestamp(1000)));
        same(-1L, offset(admin, OffsetSpec.forTimestamp(Shelf.START_MS + 1_000_000_000L)));
        long local = offset(admin, OffsetSpec.earliestLocal());
        check(0 <= local && local <= latest, "the local log begins at " + local);
    }

    private static void groups(Admin admin) throws Exception {
        check(get(admin.listGroups().all()).stream().anyMatch(group -> group.groupId().equals(GROUP)), "it is not listed");
        same(GroupState.EMPTY, get(admin.describeConsumerGroups(List.of(GROUP)).all()).get(GROUP).groupState());
        try (var live = Clients.consumer("java-live", Map.of("client.id", "describer"))) {
            live.subscribe(List.of(TOPIC));
            poll(live, new Shelf(), 1);
            var told = get(admin.describeConsumerGroups(List.of("java-live")).all()).get("java-live");
            same(GroupState.STABLE, told.groupState());
            same("range", told.partitionAssignor());
            var member = told.members().iterator().next();
            same("describer", member.clientId());
            same(Set.copyOf(ALL), member.assignment().topicPartitions());
        }
    }

    private static Map<TopicPartition, OffsetAndMetadata> committed(Admin admin) throws Exception {
        return get(admin.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata());
    }

    private static void groupOffsets(Admin admin) throws Exception {
        same((long) COUNT, committed(admin).values().stream().mapToLong(OffsetAndMetadata::offset).sum());
        get(admin.alterConsumerGroupOffsets(GROUP, Map.of(ALL.get(0), new OffsetAndMetadata(7))).all());
        same(7L, committed(admin).get(ALL.get(0)).offset());
        get(admin.deleteConsumerGroupOffsets(GROUP, Set.of(ALL.get(0))).all());
        check(committed(admin).get(ALL.get(0)) == null, committed(admin));
    }

    private static void deleteGroups(Admin admin) throws Exception {
        get(admin.deleteConsumerGroups(List.of(GROUP)).all());
        refused(GroupIdNotFoundException.class, () -> String.valueOf(get(admin.deleteConsumerGroups(List.of(GROUP)).all())));
    }

    private static int node(Admin admin) throws Exception {
        return get(admin.describeCluster().nodes()).iterator().next().id();
    }

    private static void logDirs(Admin admin) throws Exception {
        int node = node(admin);
        Collection<LogDirDescription> told = get(admin.describeLogDirs(List.of(node)).allDescriptions()).get(node).values();
        long found = told.stream().flatMap(one -> one.replicaInfos().keySet().stream()).filter(ALL::contains).count();
        same((long) PARTITIONS, found);
        check(told.stream().allMatch(one -> one.error() == null && one.totalBytes().orElse(0) > 0), told);
    }

    private static void elect(Admin admin) throws Exception {
        Map<TopicPartition, Optional<Throwable>> told =
                get(admin.electLeaders(ElectionType.PREFERRED, Set.copyOf(ALL)).partitions());
        same(PARTITIONS, told.size());
        check(told.values().stream().allMatch(one -> one.orElse(null) instanceof ElectionNotNeededException), told);
    }

    private static void reassign(Admin admin) throws Exception {
        var same = Optional.of(new NewPartitionReassignment(List.of(node(admin))));
        get(admin.alterPartitionReassignments(Map.of(ALL.get(0), same)).all());
        until(() -> get(admin.listPartitionReassignments().reassignments()).isEmpty(), "the reassignment to end");
    }

    private static void deleteRecords(Admin admin) throws Exception {
        var told = admin.deleteRecords(Map.of(ALL.get(2), RecordsToDelete.beforeOffset(25)));
        same(25L, get(told.lowWatermarks().get(ALL.get(2))).lowWatermark());
        try (var consumer = Clients.consumer("java-deleted", Map.of())) {
            same(25L, consumer.beginningOffsets(ALL).get(ALL.get(2)));
            consumer.subscribe(List.of(TOPIC));
            Shelf shelf = poll(consumer, new Shelf(), COUNT + 30 - 25);
            shelf.checkOrder();
            long first = shelf.records.stream().filter(record -> record.partition() == 2).findFirst().orElseThrow().offset();
            same(25L, first);
        }
    }

    private static void grow(Admin admin) throws Exception {
        var more = Map.of(TOPIC, NewPartitions.increaseTo(PARTITIONS + 1));
        get(admin.createPartitions(more, new CreatePartitionsOptions().validateOnly(true)).all());
        same(PARTITIONS, get(admin.describeTopics(List.of(TOPIC)).allTopicNames()).get(TOPIC).partitions().size());
        get(admin.createPartitions(more).all());
        until(() -> get(admin.describeTopics(List.of(TOPIC)).allTopicNames()).get(TOPIC).partitions().size() == PARTITIONS + 1,
                "the partition to show");
        var fewer = Map.of(TOPIC, NewPartitions.increaseTo(1));
        refused(InvalidPartitionsException.class, () -> String.valueOf(get(admin.createPartitions(fewer).all())));
    }

    private static void delete(Admin admin) throws Exception {
        get(admin.deleteTopics(List.of(TOPIC)).all());
        until(() -> !get(admin.listTopics().names()).contains(TOPIC), "the topic to be gone");
        refused(UnknownTopicOrPartitionException.class, () -> String.valueOf(get(admin.deleteTopics(List.of(TOPIC)).all())));
    }
}
