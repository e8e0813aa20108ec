"""The client programs: how each is started, and what it needs. What is missing is skipped with its reason.

`setup.sh` beside this package builds what has to be built and exports where it is.
"""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from strata_lab import apache
from strata_lab.stores import REPOSITORY

HERE = REPOSITORY / "tests" / "clients"


@dataclass(frozen=True)
class Program:
    """One client. `missing` returns why it cannot run here, or nothing."""

    name: str
    command: Callable[[], list[str]]
    missing: Callable[[], str] = lambda: ""


def _python(file: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, str(HERE / "python" / file)]


def _without(variable: str, needed: str) -> Callable[[], str]:
    return lambda: "" if os.environ.get(variable) else f"{needed} is not here"


def _java() -> list[str]:
    classes = os.environ["STRATA_CLIENTS_JAVA"]
    jvm = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+PerfDisableSharedMem"]
    return ["java", *jvm, "-cp", f"{classes}/classes:{classes}/libs/*", "strata.clients.Program"]


PROGRAMS = [
    Program("confluent-kafka", _python("confluent_program.py")),
    Program("kafka-python", _python("kafka_python_program.py")),
    Program("aiokafka", _python("aiokafka_program.py")),
    Program(
        "kafkajs",
        lambda: ["node", str(HERE / "kafkajs" / "program.js")],
        _without("NODE_PATH", "node or npm"),
    ),
    Program("kafka-clients (Java)", _java, _without("STRATA_CLIENTS_JAVA", "java, javac or mvn")),
    Program(
        "rdkafka (Rust)",
        lambda: [os.environ["STRATA_CLIENTS_RDKAFKA"]],
        _without("STRATA_CLIENTS_RDKAFKA", "a C compiler for librdkafka"),
    ),
    Program("kcat", _python("kcat_program.py"), lambda: "" if shutil.which("kcat") else "kcat is not here (Debian: kcat)"),
    Program(
        "Apache Kafka's tools",
        _python("apache_tools_program.py"),
        lambda: "" if apache.available() else "java or mvn is not here",
    ),
]
