package strata.clients;

import static strata.clients.Capability.check;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Clients with the settings that all steps share. */
final class Clients {
    static final String BOOTSTRAP =
            System.getenv().getOrDefault("STRATA_CLIENTS_BOOTSTRAP", "127.0.0.1:9092");
    static final String TOPIC = "java-orders";
    static final int PARTITIONS = 3;
    static final int COUNT = 1200;
    static final List<TopicPartition> ALL =
            List.of(new TopicPartition(TOPIC, 0), new TopicPartition(TOPIC, 1), new TopicPartition(TOPIC, 2));

    private Clients() {}

    static Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", BOOTSTRAP));
    }

    static KafkaProducer<String, String> producer(String codec) {
        Map<String, Object> settings = Map.of("bootstrap.servers", BOOTSTRAP, "compression.type", codec, "linger.ms", 5);
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, Map<String, ?> more) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", BOOTSTRAP);
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", false);
        settings.put("heartbeat.interval.ms", 300);
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
    }

    /** Polls until the shelf holds {@code count} records. What one poll gives more is kept too. */
    static Shelf poll(KafkaConsumer<String, String> consumer, Shelf shelf, int count) {
        long deadline = System.nanoTime() + Capability.PATIENCE.toNanos();
        while (shelf.size() < count) {
            check(System.nanoTime() < deadline, shelf.size() + " of " + count + " records came");
            consumer.poll(Duration.ofMillis(200)).forEach(shelf.records::add);
        }
        return shelf;
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(Capability.PATIENCE.toSeconds(), TimeUnit.SECONDS);
    }
}
