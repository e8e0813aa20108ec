"""Topics that come and go while the broker dies: what was acknowledged holds, what was not may be either way."""

import random
import threading
from enum import Enum

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from strata_lab import traffic

SLOTS = 4
ANSWERED_WITHIN = 20.0


class Standing(Enum):
    THERE = "there"
    GONE = "gone"
    UNKNOWN = "unknown"


class Churn:
    """Creates and deletes topics in a thread. A name whose fate is unknown is left alone and a new one is taken."""

    def __init__(self, bootstrap: str, rng: random.Random):
        self.bootstrap = bootstrap
        self.rng = rng
        self.standing: dict[str, Standing] = {}
        self.names = [f"churn-{slot}-0" for slot in range(SLOTS)]
        self.changes = 0
        self.failure = ""
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.admin = AdminClient(traffic.client(bootstrap) | {"reconnect.backoff.max.ms": 100, "reconnect.backoff.ms": 10})
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            while not self.ending.wait(self.rng.uniform(0.0, 0.1)):
                self._change(self.rng.randrange(SLOTS))
        except BaseException as failure:  # noqa: BLE001 - `check` fails with it in the thread of the test
            self.failure = repr(failure)

    def _change(self, slot: int) -> None:
        name = self.names[slot]
        there = self.standing.get(name, Standing.GONE) is Standing.THERE
        with self.lock:
            self.standing[name] = Standing.UNKNOWN
        try:
            if there:
                asked = self.admin.delete_topics([name], request_timeout=ANSWERED_WITHIN)
            else:
                new = NewTopic(name, num_partitions=self.rng.randrange(1, 5), replication_factor=1)
                asked = self.admin.create_topics([new], request_timeout=ANSWERED_WITHIN)
            asked[name].result(ANSWERED_WITHIN + 5)
        except KafkaException:
            serial = int(name.rsplit("-", 1)[1]) + 1
            self.names[slot] = f"churn-{slot}-{serial}"
            return
        with self.lock:
            self.standing[name] = Standing.GONE if there else Standing.THERE
            self.changes += 1

    def acknowledged(self) -> dict[str, Standing]:
        with self.lock:
            return {name: standing for name, standing in self.standing.items() if standing is not Standing.UNKNOWN}

    def check(self, acknowledged: dict[str, Standing]) -> None:
        """`acknowledged` was taken while the broker was dead. What has changed since is not looked at."""
        assert not self.failure, self.failure
        there = set(AdminClient(traffic.client(self.bootstrap)).list_topics(timeout=60).topics)
        now = self.acknowledged()
        for name, standing in acknowledged.items():
            if now.get(name) is standing:
                assert (name in there) == (standing is Standing.THERE), f"{name} should be {standing.value}: {sorted(there)}"

    def finish(self) -> None:
        self.ending.set()
        self.thread.join(60)
        assert not self.thread.is_alive(), "a request for a topic is never answered"
        self.check(self.acknowledged())
