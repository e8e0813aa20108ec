"""The process: its settings, its directory, its signals."""

import signal
import stat
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from strata_lab import frames, replay, traffic, waiting
from strata_lab.broker import Strata

pytestmark = pytest.mark.strata


def refused(broker: Strata) -> str:
    """Starts a broker that must refuse to start; returns what it said."""
    child = broker.launch()
    code = child.wait(30)
    assert code > 0, f"it should end with an error, not {code}"
    return child.output()


def test_a_second_instance_on_the_same_directory_is_refused(strata, tmp_path: Path) -> None:
    first = strata(directory=tmp_path / "first").start()
    second = strata({"log.dirs": str(first.data)}, directory=tmp_path / "second")
    said = refused(second)
    assert str(first.data) in said, said
    assert frames.answers(first.address), "the first goes on"
    second.expected_complaints.append(r"ERROR")
    first.stop()
    third = strata({"log.dirs": str(first.data)}, directory=tmp_path / "third").start()
    assert frames.answers(third.address), "the directory is free again"


def test_sigterm_ends_it_cleanly_and_nothing_needs_recovery(strata) -> None:
    broker = strata().start()
    traffic.produce(broker.bootstrap, "kept", [{"value": b"%d" % n} for n in range(1000)])
    assert broker.stop() == 0, broker.child.tail()
    assert not frames.answers(broker.address)
    broker.start()
    assert traffic.watermarks(broker.bootstrap, "kept", 0) == (0, 1000)


def test_sigterm_ends_it_while_clients_wait_in_a_fetch(strata) -> None:
    broker = strata().start()
    traffic.create_topic(broker.bootstrap, "quiet")
    settings = traffic.client(broker.bootstrap, group_id="waits", fetch_wait_max_ms=60_000, socket_timeout_ms=120_000)
    with traffic.closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition("quiet", 0, 0)])
        assert consumer.poll(1.0) is None
        assert broker.child.stop(20) == 0


def test_sigint_ends_it_like_sigterm(strata) -> None:
    broker = strata().start()
    broker.child.send(signal.SIGINT)
    assert broker.child.wait(30) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("log.segment.bytes", "a lot"),
        ("log.retention.ms", "-7"),
        ("listeners", "PLAINTEXT:/nowhere"),
        ("strata.tier.url", "ftp://bucket"),
        ("strata.http.listeners", "127.0.0.1"),
    ],
)
def test_a_bad_value_stops_with_key_value_and_what_is_expected(strata, key: str, value: str) -> None:
    broker = strata({key: value})
    said = refused(broker)
    broker.expected_complaints.append("ERROR")
    assert key in said and value in said and "expected" in said, said


def test_an_unknown_key_warns_and_names_the_nearest(strata) -> None:
    broker = strata({"log.retention.mss": "1000"}).start()
    warned = waiting.until(broker.unlisted_complaints, "a warning")
    assert any("log.retention.mss" in line and "log.retention.ms" in line for line in warned), warned
    broker.expected_complaints.append("log.retention.mss")


def test_set_stands_above_the_file(strata) -> None:
    broker = strata({"num.partitions": "2"})
    broker.extra = ["--set", "num.partitions=5"]
    broker.start()
    traffic.produce(broker.bootstrap, "counted", [{"value": b"x"}])
    admin = AdminClient(traffic.client(broker.bootstrap))
    assert len(admin.list_topics("counted", timeout=30).topics["counted"].partitions) == 5


def test_the_start_says_where_it_listens_and_health_ready_and_metrics_answer(strata) -> None:
    broker = strata().start()
    said = broker.child.output()
    assert str(broker.port) in said and str(broker.http_port) in said, said
    assert replay.get(broker.http, "/health")[0] == 200
    waiting.until(lambda: replay.get(broker.http, "/ready")[0] == 200, "/ready to be 200")
    assert replay.metrics(broker.http), "no metrics"


def test_an_unwritable_directory_is_said_and_not_survived(strata, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the directory should be")
    blocked.chmod(stat.S_IRUSR)
    broker = strata({"log.dirs": str(blocked)})
    said = refused(broker)
    broker.expected_complaints.append("ERROR")
    assert str(blocked) in said, said
