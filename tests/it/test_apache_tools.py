"""Apache Kafka's console tools against a running broker. Its other tools are among the programs of tests/clients."""

import pytest
from strata_lab import apache, traffic
from strata_lab.apache import TOOLS
from strata_lab.broker import Broker

pytestmark = pytest.mark.java


def console_producer(broker: Broker, topic: str, text: str, *options: str) -> None:
    main_class = f"{TOOLS}.ConsoleProducer"
    apache.run(main_class, "--bootstrap-server", broker.bootstrap, "--topic", topic, *options, given=text)


def console_consumer(broker: Broker, topic: str, count: int, *options: str) -> list[str]:
    limits = ["--max-messages", str(count), "--timeout-ms", "60000"]
    where = ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning"]
    return apache.run(f"{TOOLS}.consumer.ConsoleConsumer", *where, *limits, *options).splitlines()


@pytest.mark.parametrize("codec", traffic.CODECS)
def test_the_console_reads_what_the_console_wrote(broker: Broker, topic: str, codec: str) -> None:
    lines = [f"line {n} of {codec}" for n in range(200)]
    console_producer(broker, topic, "\n".join(lines) + "\n", "--compression-codec", codec)
    assert sorted(console_consumer(broker, topic, len(lines))) == sorted(lines)


def test_java_and_librdkafka_read_each_other(broker: Broker, topic: str) -> None:
    options = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    console_producer(broker, topic, "".join(f"k{n}:from java {n}\n" for n in range(50)), *options)
    traffic.produce(broker.bootstrap, topic, [{"key": b"k", "value": b"from c %d" % n} for n in range(50)])
    expected = {f"from java {n}" for n in range(50)} | {f"from c {n}" for n in range(50)}
    assert set(console_consumer(broker, topic, 100)) == expected
    assert {record.value.decode() for record in traffic.read_all(broker.bootstrap, topic, range(3))} == expected
