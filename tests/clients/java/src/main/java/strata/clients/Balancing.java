package strata.clients;

import static strata.clients.Capability.check;
import static strata.clients.Capability.same;
import static strata.clients.Capability.until;
import static strata.clients.Clients.TOPIC;
import static strata.clients.Clients.consumer;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.TopicPartition;

/** Groups of two members: each assignor, and static membership. */
final class Balancing {
    private Balancing() {}

    static List<Capability> capabilities() {
        List<Capability> all = new ArrayList<>();
        for (Class<?> assignor : List.of(RangeAssignor.class, RoundRobinAssignor.class, StickyAssignor.class)) {
            String what = "two members share the partitions, every record comes once, and one takes over from the other";
            all.add(new Capability(assignor.getSimpleName(), what, () -> share(assignor)));
        }
        all.add(new Capability("CooperativeStickyAssignor",
                "the same, and the first member keeps what it does not have to give up",
                () -> share(CooperativeStickyAssignor.class)));
        all.add(new Capability("static membership",
                "a member with group.instance.id comes back to its partitions without a rebalance of the other",
                Balancing::stay));
        return all;
    }

    /** Notes what a member was given and what was taken from it. */
    private static final class Owner implements ConsumerRebalanceListener {
        final List<String> events = new ArrayList<>();
        final KafkaConsumer<String, String> consumer;

        Owner(String group, Map<String, ?> settings) {
            consumer = consumer(group, settings);
            consumer.subscribe(List.of(TOPIC), this);
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> gone) {
            // What was read is committed before another member gets it, as the documentation advises.
            Map<TopicPartition, OffsetAndMetadata> read = new HashMap<>();
            gone.forEach(place -> read.put(place, new OffsetAndMetadata(consumer.position(place))));
            consumer.commitSync(read);
            events.add("revoked " + gone.size());
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> come) {
            events.add("assigned " + come.size());
        }

        void poll(Shelf shelf) {
            consumer.poll(Duration.ofMillis(50)).forEach(shelf.records::add);
        }

        Set<Integer> owned() {
            Set<Integer> mine = new TreeSet<>();
            consumer.assignment().forEach(place -> mine.add(place.partition()));
            return mine;
        }
    }

    private static String share(Class<?> assignor) throws Exception {
        String group = "java-" + assignor.getSimpleName();
        Map<String, Object> settings =
                Map.of("partition.assignment.strategy", assignor.getName(), "max.poll.records", 20);
        Shelf shelf = new Shelf();
        Owner first = new Owner(group, settings);
        Owner second = null;
        try {
            until(() -> poll(shelf, first) && shelf.size() >= 40, "the first records");
            second = new Owner(group, settings);
            Owner joined = second;
            until(() -> poll(shelf, first, joined) && isShared(first, joined), "both to own partitions");
            second.poll(shelf);
            second.consumer.close();
            until(() -> poll(shelf, first) && first.owned().size() == Clients.PARTITIONS, "the first to own all");
            int all = Clients.COUNT + 30;
            until(() -> poll(shelf, first) && shelf.size() >= all, all + " records");
            same((long) all, shelf.records.stream().map(Shelf::number).distinct().count());
            same(all, shelf.size());
        } finally {
            first.consumer.close();
            if (second != null) {
                second.consumer.close();
            }
        }
        if (assignor == CooperativeStickyAssignor.class) {
            check(first.events.contains("revoked 1") && !first.events.contains("revoked 2"), first.events);
        } else {
            check(first.events.contains("revoked 3"), first.events);
        }
        return String.join(", ", first.events);
    }

    private static boolean poll(Shelf shelf, Owner... owners) {
        for (Owner owner : owners) {
            owner.poll(shelf);
        }
        return true;
    }

    private static boolean isShared(Owner first, Owner second) {
        Set<Integer> both = new TreeSet<>(first.owned());
        both.addAll(second.owned());
        return both.size() == Clients.PARTITIONS
                && first.owned().size() + second.owned().size() == Clients.PARTITIONS
                && !first.owned().isEmpty()
                && !second.owned().isEmpty();
    }

    private static String stay() throws Exception {
        Map<String, Object> stays = Map.of("group.instance.id", "stays", "session.timeout.ms", 10_000);
        Map<String, Object> leaves = Map.of("group.instance.id", "leaves", "session.timeout.ms", 10_000);
        Shelf shelf = new Shelf();
        Owner first = new Owner("java-static", stays);
        try {
            Owner second = new Owner("java-static", leaves);
            until(() -> poll(shelf, first, second) && isShared(first, second), "both to own partitions");
            Set<Integer> owned = second.owned();
            second.consumer.close();
            int before = first.events.size();
            Owner back = new Owner("java-static", leaves);
            until(() -> poll(shelf, first, back) && !back.owned().isEmpty(), "the member to be back");
            same(owned, back.owned());
            back.consumer.close();
            same(before, first.events.size());
        } finally {
            first.consumer.close();
        }
        return "";
    }
}
