package strata.clients;

import static strata.clients.Capability.check;
import static strata.clients.Capability.same;
import static strata.clients.Clients.ALL;
import static strata.clients.Clients.COUNT;
import static strata.clients.Clients.TOPIC;
import static strata.clients.Clients.consumer;
import static strata.clients.Clients.poll;
import static strata.clients.Clients.producer;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.stream.LongStream;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;

/** Producing and consuming, with one member a group. */
final class Traffic {
    private static final String GROUP = "java-billing";

    private Traffic() {}

    static List<Capability> capabilities() {
        return List.of(
                new Capability("produce with every codec",
                        "idempotent producers with none, gzip, snappy, lz4 and zstd: each record gets the next offset",
                        Traffic::produce),
                new Capability("consume with a group",
                        "subscribe, poll and commitSync: every record once, in order, with key, headers and time",
                        Traffic::consume),
                new Capability("go on after the committed offset",
                        "a member that committed by hand with metadata is followed by one that reads only the rest",
                        Traffic::goOn),
                new Capability("commit by itself", "enable.auto.commit commits at close what was polled",
                        Traffic::commitByItself),
                new Capability("assign and seek", "assign, seek, seekToBeginning, seekToEnd and position",
                        Traffic::seek),
                new Capability("pause and resume", "a paused partition stands still while the others go on",
                        Traffic::pause),
                new Capability("offsets by time", "beginningOffsets, endOffsets, offsetsForTimes and currentLag",
                        Traffic::offsetsByTime),
                new Capability("follow from the old to the new",
                        "a consumer that read everything gets what is written while it waits",
                        Traffic::follow));
    }

    private static String produce() throws Exception {
        Map<Integer, List<Long>> places = new HashMap<>();
        List<String> codecs = List.of("none", "gzip", "snappy", "lz4", "zstd");
        int share = COUNT / codecs.size();
        for (int turn = 0; turn < codecs.size(); turn++) {
            try (var producer = producer(codecs.get(turn))) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (int number = turn * share; number < (turn + 1) * share; number++) {
                    sent.add(producer.send(Shelf.order(TOPIC, number)));
                }
                producer.flush();
                for (Future<RecordMetadata> told : sent) {
                    RecordMetadata place = told.get();
                    places.computeIfAbsent(place.partition(), partition -> new ArrayList<>()).add(place.offset());
                }
            }
        }
        for (List<Long> offsets : places.values()) {
            same(LongStream.range(0, offsets.size()).boxed().toList(), offsets);
        }
        Capability.settled(TOPIC);
        return COUNT + " records";
    }

    private static String consume() {
        try (var consumer = consumer(GROUP, Map.of())) {
            consumer.subscribe(List.of(TOPIC));
            Shelf shelf = poll(consumer, new Shelf(), COUNT);
            consumer.commitSync();
            return shelf.check(COUNT);
        }
    }

    private static String goOn() {
        Shelf shelf = new Shelf();
        try (var first = consumer("java-resume", Map.of("max.poll.records", 50))) {
            first.subscribe(List.of(TOPIC));
            poll(first, shelf, 200);
            Map<TopicPartition, OffsetAndMetadata> read = new HashMap<>();
            first.assignment().forEach(place -> read.put(place, new OffsetAndMetadata(first.position(place), "by hand")));
            first.commitSync(read);
        }
        try (var second = consumer("java-resume", Map.of())) {
            second.subscribe(List.of(TOPIC));
            poll(second, shelf, COUNT);
            check(second.committed(Set.copyOf(ALL)).values().stream().allMatch(place -> "by hand".equals(place.metadata())),
                    "the metadata of the commit is lost");
        }
        return shelf.check(COUNT);
    }

    private static String commitByItself() {
        try (var consumer = consumer("java-auto", Map.of("enable.auto.commit", true))) {
            consumer.subscribe(List.of(TOPIC));
            poll(consumer, new Shelf(), COUNT);
        }
        try (var consumer = consumer("java-auto", Map.of())) {
            long sum = consumer.committed(Set.copyOf(ALL)).values().stream().mapToLong(OffsetAndMetadata::offset).sum();
            same((long) COUNT, sum);
        }
        return "";
    }

    private static String seek() {
        try (var consumer = consumer("java-seek", Map.of("max.poll.records", 1))) {
            TopicPartition place = ALL.get(0);
            consumer.assign(List.of(place));
            consumer.seek(place, 40);
            same(40L, poll(consumer, new Shelf(), 1).records.get(0).offset());
            consumer.seekToBeginning(List.of(place));
            same(0L, poll(consumer, new Shelf(), 1).records.get(0).offset());
            consumer.seekToEnd(List.of(place));
            same(consumer.endOffsets(List.of(place)).get(place), consumer.position(place));
        }
        return "";
    }

    private static String pause() {
        try (var consumer = consumer("java-pause", Map.of())) {
            consumer.assign(ALL);
            Map<TopicPartition, Long> ends = consumer.endOffsets(ALL);
            consumer.pause(List.of(ALL.get(1)));
            Shelf shelf = poll(consumer, new Shelf(), (int) (ends.get(ALL.get(0)) + ends.get(ALL.get(2))));
            check(shelf.records.stream().noneMatch(record -> record.partition() == 1), "a paused partition gave records");
            same(Set.of(ALL.get(1)), consumer.paused());
            consumer.resume(List.of(ALL.get(1)));
            return poll(consumer, shelf, COUNT).check(COUNT);
        }
    }

    private static String offsetsByTime() {
        try (var consumer = consumer("java-times", Map.of())) {
            same(Set.of(0L), Set.copyOf(consumer.beginningOffsets(ALL).values()));
            same((long) COUNT, consumer.endOffsets(ALL).values().stream().mapToLong(Long::longValue).sum());
            TopicPartition place = ALL.get(0);
            consumer.assign(List.of(place));
            Shelf shelf = poll(consumer, new Shelf(), 40);
            long at = shelf.records.get(33).timestamp();
            Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(Map.of(place, at));
            same(33L, found.get(place).offset());
            same(at, found.get(place).timestamp());
            same(null, consumer.offsetsForTimes(Map.of(place, at + 1_000_000_000L)).get(place));
            check(consumer.currentLag(place).isPresent(), "the lag is not known");
        }
        return "";
    }

    private static String follow() {
        try (var consumer = consumer("java-follow", Map.of()); var producer = producer("none")) {
            consumer.subscribe(List.of(TOPIC));
            Shelf shelf = poll(consumer, new Shelf(), COUNT);
            for (int number = COUNT; number < COUNT + 30; number++) {
                producer.send(Shelf.order(TOPIC, number));
            }
            producer.flush();
            poll(consumer, shelf, COUNT + 30);
            List<Integer> late = shelf.records.subList(COUNT, COUNT + 30).stream().map(Shelf::number).toList();
            check(late.stream().allMatch(number -> number >= COUNT), late);
            return shelf.check(COUNT + 30);
        }
    }
}
