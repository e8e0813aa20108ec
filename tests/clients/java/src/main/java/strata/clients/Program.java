package strata.clients;

import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.AppInfoParser;

/** The Java client as its documentation teaches it: producer, consumer, assignors and admin client. */
public final class Program {
    private Program() {}

    public static void main(String[] arguments) {
        List<Capability> all = new ArrayList<>();
        all.add(Administering.create());
        all.addAll(Traffic.capabilities());
        all.addAll(Balancing.capabilities());
        all.addAll(Administering.capabilities());
        Capability.runAll("kafka-clients", AppInfoParser.getVersion(), all);
    }
}
