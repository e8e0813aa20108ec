"""The brokers that the programs meet: one column of the scorecard each.

`hot` is Strata as it comes: what was just written is on the disk. `cold` is a Strata whose topics keep nothing on the
disk that is in the bucket: between writing and reading a program waits until that is so, also of the newest record.
`kafka` is Apache Kafka, which shows what the programs themselves are worth.
"""

from pathlib import Path

from strata_lab import tiering, waiting
from strata_lab.broker import ApacheKafka, Broker, Strata
from strata_lab.stores import CREDENTIALS, Store

HOT, COLD, KAFKA = "hot", "forced-cold", "Apache Kafka"
SETTLE_SECONDS = 30.0

# Segments leave the disk as soon as the bucket has them, the active one too: it is closed for it.
FORGETFUL = tiering.EAGER | {"log.local.retention.ms": "1", "strata.tier.cache.disk.bytes": "0"}
# As the programs expect of both: what tutorials set on a cluster of one node.
TUTORIAL = {"auto.create.topics.enable": "false", "offsets.topic.num.partitions": "3"}


class Column:
    """A running broker, and how topics settle on it."""

    def __init__(self, name: str, work: Path, store: Store | None):
        self.name = name
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        self.broker = self._make(store)

    def _make(self, store: Store | None) -> Broker:
        if self.name == KAFKA:
            return ApacheKafka(self.work / "broker", TUTORIAL)
        assert store is not None, "Strata runs with a real S3 server"
        settings = TUTORIAL | store.settings("strata", self.name) | (FORGETFUL if self.name == COLD else {})
        return Strata(self.work / "broker", settings, CREDENTIALS)

    def settle(self, topic: str) -> str:
        """Answers "ok" when the topic lies where this column wants it, or says why not."""
        if not isinstance(self.broker, Strata):
            return "ok"
        try:
            self._settle(self.broker, topic)
        except AssertionError as late:
            return " ".join(str(late).split())
        return "ok"

    def _settle(self, broker: Strata, topic: str) -> None:
        if self.name == HOT:
            places = tiering.partitions(broker, topic)
            whole = all(place["local_start"] == place["log_start"] for place in places)
            assert whole, f"{topic} is not whole on disk: {places}"
            return

        def forgotten() -> bool:
            places = tiering.partitions(broker, topic)
            return all(place["local_start"] >= place["high_watermark"] for place in places)

        waiting.until(forgotten, f"{topic} to lie only in the bucket", SETTLE_SECONDS, pause=0.1)

    def complaints(self) -> list[str]:
        """What Strata logged as WARN or ERROR."""
        return self.broker.unlisted_complaints() if isinstance(self.broker, Strata) else []
