"""The image, as a container runs it: compose files in the manner of the usual tutorials, with the image's name changed.

Each service runs with its own network, host name and files (`strata_lab.container`), and an ordinary client talks to the
ports that the compose file publishes, and to the names that other containers would use.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from strata_lab import container
from strata_lab.container import IMAGE, Container, Image

TUTORIALS = IMAGE / "tutorials"
NO_EFFECT = "has no effect"
# A client in the container's network: it produces and consumes, and prints what it saw.
CLIENT = """
import json, sys
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
bootstrap, topic = sys.argv[1:]
producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": 30000})
for number in range(100):
    producer.produce(topic, b"%d" % number, key=b"k%d" % number)
assert producer.flush(40) == 0
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
seen = []
while len(seen) < 100:
    for message in consumer.consume(100, timeout=1):
        assert message.error() is None, message.error()
        seen.append(int(message.value()))
consumer.commit(asynchronous=False)
consumer.close()
described = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=30)
print(json.dumps({
    "seen": sorted(seen),
    "partitions": len(described.topics[topic].partitions),
    "cluster": described.cluster_id,
    "brokers": [[broker.id, broker.host, broker.port] for broker in described.brokers.values()],
}))
"""

why_not = container.available() if os.environ.get("STRATA_BIN") else "STRATA_BIN does not name the program"
pytestmark = [
    pytest.mark.strata,
    pytest.mark.skipif(bool(why_not), reason=f"images are not tried as containers: {why_not}"),
]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Container]]:
    """Makes a container of a tutorial's service (not started)."""
    made: list[Container] = []

    def make(file: str, variables: dict[str, str] | None = None, service: str = "", directory: str = "") -> Container:
        compose = TUTORIALS / file
        name = service or next(iter(container.services(compose)))
        made.append(Container(tmp_path / (directory or f"container-{len(made)}"), compose, name, variables))
        return made[-1]

    yield make
    for one in made:
        one.close()


def use(one: Container, bootstrap: str, topic: str = "greetings") -> dict:
    done = one.inside([sys.executable, "-c", CLIENT, bootstrap, topic], seconds=120)
    assert done.returncode == 0, f"{done.stderr}\n{one.child.tail()}"
    said = json.loads(done.stdout)
    assert said["seen"] == list(range(100))
    return said


@pytest.mark.parametrize(
    ("file", "doors", "node", "partitions", "data"),
    [
        ("plain.yaml", ["localhost:9092"], 1, 1, "/var/lib/kafka/data"),
        ("two-listeners.yaml", ["localhost:9092", "broker:9093"], 7, 3, "/var/lib/kafka/combined-logs"),
        ("advertised-only.yaml", ["localhost:29092", "kafka:9092"], 1, 1, "/var/lib/kafka/data"),
        ("confluent.yaml", ["localhost:9092", "broker:29092"], 1, 1, "/var/lib/kafka/kraft-logs"),
        ("bitnami.yaml", ["localhost:9094", "kafka:9092"], 0, 1, "/bitnami/kafka/data"),
        ("file.yaml", ["localhost:9092"], 5, 4, "/var/lib/kafka/data"),
    ],
)
def test_a_tutorial_runs_with_the_images_name_changed(
    run, file: str, doors: list[str], node: int, partitions: int, data: str
) -> None:
    one = run(file).start()
    for number, door in enumerate(doors):
        said = use(one, door, f"topic-{number}")
        host, port = door.split(":")
        assert said["brokers"] == [[node, host, int(port)]], "clients are told the door through which they came"
        assert said["partitions"] == partitions
    assert one.inside(["test", "-e", f"{data}/meta.properties"]).returncode == 0
    assert one.stop() == 0


def test_it_runs_as_an_ordinary_user_and_says_what_it_was_told(run) -> None:
    one = run("confluent.yaml").start()
    assert f"\nUid:\t{1000}\t" in Path(f"/proc/{one.child.pid}/status").read_text()
    log = one.child.output()
    for part in [
        "KAFKA_HEAP_OPTS has no effect: Strata is no Java program",
        "KAFKA_CONFLUENT_LICENSE_TOPIC_REPLICATION_FACTOR: confluent.license.topic.replication.factor has no effect",
        "controller.quorum.voters",
        "of KAFKA_* variables",
    ]:
        assert part in log, log
    assert "unknown config" not in log, log
    assert "ERROR" not in log, log


def test_a_plain_start_has_nothing_to_complain_of(run) -> None:
    one = run("plain.yaml").start()
    use(one, "localhost:9092")
    listed = one.inside(["strata", "tier", "ls"])
    assert listed.returncode == 0, f"the tools find the bucket of the broker: {listed.stderr}"
    assert "WARN" not in one.child.output(), one.child.output()
    assert "log.local.retention.ms=3600000" in one.child.output()


@pytest.mark.parametrize(
    ("file", "service", "message"),
    [
        ("tls.yaml", "broker", "TLS and SASL are not served yet"),
        ("three-nodes.yaml", "kafka-2", "Run one node and leave the others out"),
    ],
)
def test_what_cannot_be_honoured_is_refused(run, file: str, service: str, message: str) -> None:
    one = run(file, service=service)
    assert one.launch().wait(30) == 1
    assert message in one.child.output(), one.child.output()


def test_the_cluster_id_holds_and_data_stays(run) -> None:
    first = run("confluent.yaml", {"KAFKA_LOG_DIRS": "/var/lib/kafka/data"}, directory="kept").start()
    assert use(first, "localhost:9092", "one")["cluster"] == "TmV2ZXJBbHNvQWdhaW4wMQ"
    assert first.stop() == 0
    again = run("confluent.yaml", {"KAFKA_LOG_DIRS": "/var/lib/kafka/data"}, directory="kept").start()
    assert "All of the log directories are already formatted." in again.child.output()
    listed = again.inside(["cat", "/var/lib/kafka/data/meta.properties"]).stdout
    assert "cluster.id=TmV2ZXJBbHNvQWdhaW4wMQ\n" in listed
    assert again.inside(["test", "-d", "/var/lib/kafka/data/one-0"]).returncode == 0
    assert again.stop() == 0
    other = run("confluent.yaml", {"KAFKA_LOG_DIRS": "/var/lib/kafka/data", "CLUSTER_ID": "other"}, directory="kept")
    assert other.launch().wait(30) == 1
    assert "belongs to cluster.id=TmV2ZXJBbHNvQWdhaW4wMQ, not other" in other.child.output()


def test_kafkas_scripts_and_words_of_commands_are_understood(run) -> None:
    one = run("plain.yaml")
    one.service["command"] = ["/etc/kafka/docker/run", "KAFKA_NODE_ID=3", "--override", "num.partitions=6"]
    said = use(one.start(), "localhost:9092")
    assert (said["brokers"][0][0], said["partitions"]) == (3, 6)
    assert len(one.inside(["kafka-storage", "random-uuid"]).stdout.strip()) == 22
    assert "Found metadata: {cluster.id=" in one.inside(["/opt/kafka/bin/kafka-storage.sh", "info"]).stdout
    assert one.stop() == 0
    started = run("plain.yaml")
    defaults = "/etc/kafka/docker/server.properties"
    started.service["command"] = f"/opt/kafka/bin/kafka-server-start.sh {defaults} --override node.id=9"
    assert use(started.start(), "localhost:9092")["brokers"][0][0] == 9


def test_the_health_check_asks_the_gateway_where_it_is(run) -> None:
    one = run("plain.yaml", {"KAFKA_STRATA_HTTP_LISTENERS": "http://127.0.0.1:18080"}).start()
    assert one.inside(["/etc/kafka/docker/healthy"]).returncode == 0
    wrong = ["env", "KAFKA_STRATA_HTTP_LISTENERS=http://127.0.0.1:18081", "/etc/kafka/docker/healthy"]
    assert one.inside(wrong).returncode != 0
    without = ["env", "KAFKA_STRATA_HTTP_LISTENERS=", "/etc/kafka/docker/healthy"]
    assert one.inside(without).returncode == 0


def test_the_dockerfile_names_what_is_there() -> None:
    image = Image()
    assert image.user == "appuser"
    assert image.command == ["/etc/kafka/docker/run"]
    assert image.copied[0] == "infra/docker/root/ /"
    for word in (*image.command, *image.health, image.environment["STRATA_CONFIG_DEFAULTS"]):
        assert (IMAGE / "root" / word.lstrip("/")).exists(), word
