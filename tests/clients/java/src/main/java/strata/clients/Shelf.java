package strata.clients;

import static strata.clients.Capability.same;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The orders that are written, and what a consumer saw of them. */
final class Shelf {
    static final long START_MS = System.currentTimeMillis() - 86_400_000L;
    private static final String NOTE = "padding ".repeat(20);

    final List<ConsumerRecord<String, String>> records = new ArrayList<>();

    static ProducerRecord<String, String> order(String topic, int number) {
        ProducerRecord<String, String> record =
                new ProducerRecord<>(topic, null, START_MS + number, key(number), value(number));
        record.headers().add("trace", ("trace-" + number).getBytes(StandardCharsets.UTF_8));
        record.headers().add("kind", "order".getBytes(StandardCharsets.UTF_8));
        return record;
    }

    private static String key(int number) {
        return "customer-" + number % 11;
    }

    private static String value(int number) {
        return number + " " + NOTE;
    }

    static int number(ConsumerRecord<String, String> record) {
        return Integer.parseInt(record.value().substring(0, record.value().indexOf(' ')));
    }

    int size() {
        return records.size();
    }

    /** Exactly the orders from 0 to {@code count}, in order. */
    String check(int count) {
        checkOrder();
        List<Integer> numbers = records.stream().map(Shelf::number).sorted().toList();
        same(IntStream.range(0, count).boxed().toList(), numbers);
        long partitions = records.stream().map(ConsumerRecord::partition).distinct().count();
        return size() + " records of " + partitions + " partitions in order, with keys and headers";
    }

    /** Offsets without a gap, customers in order, keys, times and headers as written. */
    void checkOrder() {
        Map<Integer, Long> offsets = new HashMap<>();
        Map<String, Integer> customers = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            int number = number(record);
            same(offsets.getOrDefault(record.partition(), record.offset()), record.offset());
            offsets.put(record.partition(), record.offset() + 1);
            same(key(number), record.key());
            same(value(number), record.value());
            same(START_MS + number, record.timestamp());
            same("trace-" + number, new String(record.headers().lastHeader("trace").value(), StandardCharsets.UTF_8));
            same(2, record.headers().toArray().length);
            Integer before = customers.put(record.key(), number);
            Capability.check(before == null || before < number, "order " + number + " came after " + before);
        }
    }
}
