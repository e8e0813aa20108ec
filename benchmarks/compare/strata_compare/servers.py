"""The two servers, each with its settings from the file beside `run`, on fresh directories.

Kafka runs with the options that its own scripts give to Java, not with those of the integration tests, which are made
for a quick start. Its directory is formatted once a run and copied, which saves two starts of Java for each server.
"""

import os
import re
import shutil
import socket
import struct
import time
from pathlib import Path

from strata_lab import apache, frames
from strata_lab.broker import ApacheKafka, Broker, Strata

HERE = Path(__file__).resolve().parent.parent
FIRST_ANSWER_SECONDS = 180.0
FETCH = 1


def properties(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def jvm_options() -> list[str]:
    lines = (line.strip() for line in (HERE / "kafka.jvm").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def java(main_class: str, *arguments: str, heap: str) -> list[str]:
    """A program of Apache Kafka as its scripts start it."""
    libs = os.environ["STRATA_LAB_KAFKA_LIBS"]
    return ["java", *heap.split(), *jvm_options(), "-cp", f"{libs}/*", main_class, *arguments]


def kafka_version() -> str:
    jars = Path(os.environ["STRATA_LAB_KAFKA_LIBS"]).glob("kafka-clients-*.jar")
    found = [match[1] for jar in jars if (match := re.search(r"kafka-clients-([\d.]+)\.jar", jar.name))]
    return found[0] if found else "unknown"


class ComparedStrata(Strata):
    kind = "strata"
    # Data of the comparison stays local; the workload `produce-tiered` has the tier on.
    topic_config = {"remote.storage.enable": "false"}

    def __init__(self, directory: Path):
        super().__init__(directory, properties(HERE / "strata.properties"))


class ComparedKafka(ApacheKafka):
    kind = "kafka"
    topic_config: dict[str, str] = {}
    _formatted: Path | None = None

    def __init__(self, directory: Path):
        super().__init__(directory)
        added = ("listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs")
        self.settings = {key: self.settings[key] for key in added} | properties(HERE / "kafka.properties")

    def command(self) -> list[str]:
        config = self.directory / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))
        if not self.data.exists():
            self._format(config)
        return java("kafka.Kafka", str(config), heap="-Xmx1G -Xms1G")

    def _format(self, config: Path) -> None:
        template = ComparedKafka._formatted
        if template is None:
            cluster = apache.run("kafka.tools.StorageTool", "random-uuid").strip()
            apache.run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config))
            ComparedKafka._formatted = self.directory.parent / "kafka-formatted"
            shutil.copytree(self.data, ComparedKafka._formatted)
        else:
            shutil.copytree(template, self.data)


KINDS: dict[str, type[Broker]] = {"strata": ComparedStrata, "kafka": ComparedKafka}


def await_first_answer(server: Broker) -> None:
    """Asks for ApiVersions each millisecond until it is answered."""
    deadline = time.perf_counter() + FIRST_ANSWER_SECONDS
    while True:
        assert server.child is not None and server.child.running(), (
            f"it ended:\n{server.child.tail() if server.child else ''}"
        )
        assert time.perf_counter() < deadline, f"no answer after {FIRST_ANSWER_SECONDS:.0f} s:\n{server.child.tail()}"
        try:
            with frames.connect(server.address, 30.0) as connection:
                frames.api_versions(connection)
                return
        except (OSError, AssertionError):
            time.sleep(0.001)


def await_record(server: Broker, topic: str, partition: int) -> None:
    """Asks for the first record of a partition each millisecond until it comes."""
    deadline = time.perf_counter() + FIRST_ANSWER_SECONDS
    while True:
        assert server.child is not None and server.child.running(), (
            f"it ended:\n{server.child.tail() if server.child else ''}"
        )
        assert time.perf_counter() < deadline, f"no record of {topic}-{partition} after {FIRST_ANSWER_SECONDS:.0f} s"
        try:
            with frames.connect(server.address, 30.0) as connection:
                while not _has_record(connection, topic, partition):
                    assert time.perf_counter() < deadline
                    time.sleep(0.001)
                return
        except OSError:
            time.sleep(0.001)


def _has_record(connection: socket.socket, topic: str, partition: int) -> bool:
    """One Fetch (version 4) at offset 0, which waits for nothing."""
    name = topic.encode()
    body = struct.pack(">iiiib", -1, 0, 1, 1 << 20, 0)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, partition, 0, 4096)
    connection.sendall(frames.request(FETCH, 4, body))
    answer = frames.receive(connection)
    # Correlation, throttle, one topic with its name, one partition: index, error, two offsets, aborted, records.
    at = 4 + 4 + 4 + 2 + len(name) + 4 + 4
    (error,) = struct.unpack_from(">h", answer, at)
    (aborted,) = struct.unpack_from(">i", answer, at + 18)
    (records,) = struct.unpack_from(">i", answer, at + 22 + 16 * max(aborted, 0))
    return error == 0 and records > 0


def start(server: Broker) -> float:
    """Starts it; seconds until it answered ApiVersions."""
    server.command()  # formats where that is needed: it is no part of a start
    began = time.perf_counter()
    server.launch()
    await_first_answer(server)
    return time.perf_counter() - began


def discard(server: Broker) -> None:
    """Kills it, and removes all that it wrote."""
    if server.child is not None:
        server.child.kill()
    shutil.rmtree(server.directory, ignore_errors=True)
