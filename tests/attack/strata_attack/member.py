"""One member of a group, in a process of its own that may be killed: reads, commits, and writes down what happens to it.

Started by `members` with its settings as JSON. Each line of its ledger is one event with the machine's monotonic clock,
which all processes share, and is written before the next thing is done:

    A time partition...              these are mine from now on
    D time partition offset number   a record
    S time commit partition:offset   a commit is sent
    C time commit                    and was acknowledged
    R time partition...              these are mine no longer: asked to give them back, the member has stopped
    L time partition...              these were taken away: somebody may have had them before this line
"""

import json
import os
import signal
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

# What a member hears of a broker that is busy, or of a rebalance that it is told by callbacks anyway.
HARMLESS = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}


class Member:
    """A consumer and its ledger."""

    def __init__(self, given: dict):
        self.topic = given["topic"]
        self.commit_seconds = given["commit_seconds"]
        self.commits_at_revoke = given["commits_at_revoke"]
        self.positions: dict[int, int] = {}
        self.commits = 0
        self.owned: set[int] = set()
        self.ending = False
        signal.signal(signal.SIGTERM, self.end)
        # Whoever sees the ledger may send SIGTERM.
        self.ledger = os.open(given["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.consumer = Consumer(given["client"])

    def end(self, *_: object) -> None:
        self.ending = True

    def note(self, kind: str, *what: object) -> None:
        line = " ".join([kind, str(time.monotonic_ns()), *map(str, what)])
        os.write(self.ledger, line.encode() + b"\n")

    def assigned(self, _: Consumer, places: list[TopicPartition]) -> None:
        self.note("A", *(place.partition for place in places))
        self.owned |= {place.partition for place in places}

    def revoked(self, _: Consumer, places: list[TopicPartition]) -> None:
        partitions = [place.partition for place in places]
        if self.commits_at_revoke:
            self.commit({p: self.positions[p] for p in partitions if p in self.positions})
        self.note("R", *partitions)
        self._forget(places)

    def lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        self.note("L", *(place.partition for place in places))
        self._forget(places)

    def _forget(self, places: list[TopicPartition]) -> None:
        for place in places:
            self.positions.pop(place.partition, None)
            self.owned.discard(place.partition)

    def commit(self, positions: dict[int, int]) -> None:
        if not positions:
            return
        self.commits += 1
        number = self.commits
        self.note("S", number, *(f"{partition}:{offset}" for partition, offset in positions.items()))
        wanted = [TopicPartition(self.topic, partition, offset) for partition, offset in positions.items()]
        try:
            answered = self.consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException:
            return  # Not acknowledged: the group is being formed again, or this member is not of it any more.
        if all(place.error is None for place in answered):
            self.note("C", number)

    def run(self) -> None:
        self.consumer.subscribe([self.topic], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.lost)
        due = time.monotonic() + self.commit_seconds
        while not self.ending or self.owned:
            if self.ending:
                # A callback of a rebalance that close() meets can wait in librdkafka for ever (its issue 4884), so the
                # member gives back what it has while it still polls, and closes then.
                self.consumer.unsubscribe()
            message = self.consumer.poll(0.1)
            if message is not None and message.error() is not None:
                error = message.error()
                if error.fatal() or error.code() not in HARMLESS:
                    raise KafkaException(error)
            elif message is not None:
                self.note("D", message.partition(), message.offset(), message.value().partition(b" ")[0].decode())
                self.positions[message.partition()] = message.offset() + 1
            if time.monotonic() >= due:
                self.commit(dict(self.positions))
                due = time.monotonic() + self.commit_seconds
        self.consumer.close()


def main() -> None:
    Member(json.loads(sys.argv[1])).run()


if __name__ == "__main__":
    main()
