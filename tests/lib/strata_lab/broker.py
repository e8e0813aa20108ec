"""The broker under test: `Strata`, or `ApacheKafka` as the stand-in that shows what the tests themselves are worth.

Both start on free ports of 127.0.0.1 with their data in a directory of the test, can be killed and started again on it,
and keep their output in `broker.log` there. Choose with STRATA_LAB_BROKER=strata|kafka; tests marked `strata` use
what only Strata has.
"""

import os
import re
import signal
from abc import ABC, abstractmethod
from pathlib import Path

from . import apache, frames, ports, waiting
from .children import Child

START_SECONDS = 60.0
STOP_SECONDS = 60.0


class Broker(ABC):
    """A broker process and its data directory."""

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "broker.log"
        self.port = ports.free()
        self.child: Child | None = None
        self.starts = 0

    @abstractmethod
    def command(self) -> list[str]: ...

    def environment(self) -> dict[str, str]:
        return {}

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.port)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    def launch(self) -> Child:
        """Starts the process and does not wait for it to answer."""
        assert self.child is None or not self.child.running(), "it runs already"
        self.child = Child(type(self).__name__, self.command(), self.log, self.environment()).start()
        self.starts += 1
        return self.child

    def start(self) -> "Broker":
        child = self.launch()

        def answers_or_died() -> bool:
            assert child.running(), f"{child.name} ended with {child.exit_code()} instead of starting:\n{child.tail()}"
            return frames.answers(self.address)

        waiting.until(answers_or_died, f"{child.name} to answer on {self.bootstrap}", START_SECONDS)
        return self

    def stop(self) -> int:
        assert self.child is not None
        return self.child.stop(STOP_SECONDS)

    def kill(self) -> None:
        assert self.child is not None
        self.child.kill()

    def restart_after_kill(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        """The end of a test: whatever runs is stopped."""
        if self.child is not None and self.child.running():
            self.child.stop(STOP_SECONDS)

    def __enter__(self) -> "Broker":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class Strata(Broker):
    """`strata serve` with one listener, one HTTP listener and a tier (by default a local directory)."""

    def __init__(self, directory: Path, settings: dict[str, str] | None = None, credentials: dict[str, str] | None = None):
        super().__init__(directory)
        self.program = os.environ.get("STRATA_BIN", "")
        self.http_port = ports.free()
        self.settings = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "strata.http.listeners": f"http://127.0.0.1:{self.http_port}",
            "log.dirs": str(self.data),
            "strata.tier.url": f"file://{directory / 'bucket'}",
            "group.initial.rebalance.delay.ms": "0",
            # Tests look at the disk space that retention freed.
            "log.segment.delete.delay.ms": "0",
        } | (settings or {})
        self.credentials = credentials or {}
        self.extra: list[str] = []
        self.expected_complaints: list[str] = []

    def kill(self) -> None:
        # A kill within a write leaves a part of a batch, which the next start cuts off and says so.
        self.expected_complaints.append("cutting a torn tail")
        super().kill()

    def command(self) -> list[str]:
        assert self.program, "STRATA_BIN does not name the program"
        config = self.directory / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))
        return [self.program, "serve", "--config", str(config), *self.extra]

    def environment(self) -> dict[str, str]:
        return self.credentials | {"NO_COLOR": "1"}

    def local_bytes(self, topic: str) -> int:
        """Disk space that the partitions of a topic take (sparse files count what they hold)."""
        files = (file for place in self.data.glob(f"{topic}-*") for file in place.rglob("*"))
        return sum(file.stat().st_blocks * 512 for file in files if file.is_file())

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def tier_url(self) -> str:
        return self.settings["strata.tier.url"]

    def crash_point(self, name: str | None) -> None:
        """From the next start on the process kills itself the first time it passes there (None: no longer)."""
        self.extra = ["--set", f"strata.test.crash.point={name}"] if name else []

    def wait_until_dead(self, seconds: float = 60.0) -> None:
        """For a crash point: waits until the process ended by itself, and checks that it ended by SIGKILL or SIGABRT."""
        assert self.child is not None
        code = self.child.wait(seconds)
        assert code in (-signal.SIGKILL, -signal.SIGABRT, 128 + signal.SIGKILL, 128 + signal.SIGABRT), (
            f"a crash point should end the process at once, not with exit code {code}:\n{self.child.tail()}"
        )

    def tool(self, *arguments: str, seconds: float = 120.0) -> str:
        """Runs a subcommand (`strata tier verify …`) with this broker's settings and returns what it printed."""
        self.command()
        config = ["--config", str(self.directory / "server.properties")]
        return apache.run_program([self.program, *config, *arguments], self.environment(), seconds)

    def unlisted_complaints(self) -> list[str]:
        """WARN and ERROR lines that no pattern in `expected_complaints` matches."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        loud = [line for line in lines if re.search(r"\b(WARN|ERROR)\b|panicked at", line)]
        return [line for line in loud if not any(re.search(pattern, line) for pattern in self.expected_complaints)]


class ApacheKafka(Broker):
    """One node of Apache Kafka, controller and broker in one."""

    def __init__(self, directory: Path, settings: dict[str, str] | None = None):
        super().__init__(directory)
        controller = ports.free()
        self.settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.data),
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "offsets.topic.num.partitions": "3",
            "group.initial.rebalance.delay.ms": "0",
        } | {key: value for key, value in (settings or {}).items() if not key.startswith("strata.")}

    def command(self) -> list[str]:
        config = self.directory / "server.properties"
        config.write_text("".join(f"{key}={value}\n" for key, value in self.settings.items()))
        if not self.data.exists():
            cluster = apache.run("kafka.tools.StorageTool", "random-uuid").strip()
            apache.run("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config))
        return apache.command("kafka.Kafka", str(config), heap="512m")


def chosen() -> str:
    return os.environ.get("STRATA_LAB_BROKER", "strata")


def make(directory: Path, settings: dict[str, str] | None = None) -> Broker:
    """The broker that this run tests."""
    return ApacheKafka(directory, settings) if chosen() == "kafka" else Strata(directory, settings)
