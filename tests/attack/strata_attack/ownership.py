"""What the ledgers of all members of a group say together, and what has to hold of it.

- Nothing is lost: every record that was acknowledged to the producer was delivered to some member.
- Within one assignment of a partition, offsets come one after another.
- A record comes again only if no commit beyond it was acknowledged before its partition was assigned. That is
  at-least-once and not more.
- A commit never takes the group back: whoever lost a partition cannot commit it over its new owner.
- No two members have a partition at the same time. Who was killed had it until then; who was told that it lost a
  partition may hear so late.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path


@dataclass
class Tenure:
    """One member's time with one partition."""

    member: str
    begin: int
    end: int = 1 << 62
    is_lost: bool = False
    first: int | None = None
    next: int | None = None


@dataclass
class Commit:
    """One partition of one commit. `acknowledged` is None if no answer was heard."""

    member: str
    sent: int
    offset: int
    acknowledged: int | None = None


@dataclass
class Account:
    """The ledgers of a group's members, by partition."""

    tenures: dict[int, list[Tenure]] = field(default_factory=lambda: defaultdict(list))
    commits: dict[int, list[Commit]] = field(default_factory=lambda: defaultdict(list))
    delivered: dict[tuple[int, int], str] = field(default_factory=dict)
    deliveries: int = 0
    lost_tenures: int = 0

    def read(self, ledger: Path, killed_at: int | None) -> None:
        """Adds one member's ledger. `killed_at`: when its process was killed, if it was."""
        open_tenures: dict[int, Tenure] = {}
        sent: dict[str, list[Commit]] = {}
        lines = ledger.read_text().splitlines(keepends=True) if ledger.exists() else []
        for line in lines:
            if not line.endswith("\n"):
                break  # It was killed while it wrote this.
            kind, at, *what = line.split()
            self._note(ledger.name, (kind, int(at), what), open_tenures, sent)
        for tenure in open_tenures.values():
            tenure.end = killed_at if killed_at is not None else 1 << 62

    def _note(
        self,
        member: str,
        event: tuple[str, int, list[str]],
        open_tenures: dict[int, Tenure],
        sent: dict[str, list[Commit]],
    ) -> None:
        kind, at, what = event
        if kind == "D":
            self._deliver(member, open_tenures, [int(what[0]), int(what[1])], what[2])
        elif kind == "S":
            places = [tuple(map(int, place.split(":"))) for place in what[1:]]
            sent[what[0]] = [Commit(member, at, offset) for _, offset in places]
            for (partition, _), commit in zip(places, sent[what[0]], strict=True):
                self.commits[partition].append(commit)
        elif kind == "C":
            for commit in sent[what[0]]:
                commit.acknowledged = at
        for partition in map(int, what if kind in "ARL" else []):
            if kind == "A":
                assert partition not in open_tenures, f"{member} was assigned partition {partition} twice"
                open_tenures[partition] = Tenure(member, at)
                self.tenures[partition].append(open_tenures[partition])
            else:
                tenure = open_tenures.pop(partition)
                tenure.end, tenure.is_lost = at, kind == "L"
                self.lost_tenures += kind == "L"

    def _deliver(self, member: str, open_tenures: dict[int, Tenure], place: list[int], number: str) -> None:
        partition, offset = place
        tenure = open_tenures.get(partition)
        assert tenure is not None, f"{member} was given a record of partition {partition}, which it does not have"
        assert tenure.next in (None, offset), f"{member}, {partition}: offset {offset} came where {tenure.next} was due"
        tenure.first = offset if tenure.first is None else tenure.first
        tenure.next = offset + 1
        before = self.delivered.setdefault((partition, offset), number)
        assert before == number, f"partition {partition}, offset {offset} was record {before} and is now {number}"
        self.deliveries += 1

    def check(self, acknowledged: dict[tuple[int, int], str]) -> str:
        """Holds the group to what the producer was told, number by place. Says what was seen."""
        missing = [place for place, number in acknowledged.items() if self.delivered.get(place) != number]
        assert not missing, f"{len(missing)} of {len(acknowledged)} records were lost, first {sorted(missing)[:5]}"
        for partition in sorted(self.tenures):
            self._check_commits(partition)
            self._check_tenures(partition)
        tenures = sum(map(len, self.tenures.values()))
        commits = sum(commit.acknowledged is not None for of in self.commits.values() for commit in of)
        again = self.deliveries - len(self.delivered)
        return (
            f"{len(acknowledged)} records, {again} delivered again ({100 * again / max(1, len(acknowledged)):.2f} %), "
            f"{tenures} assignments of a partition ({self.lost_tenures} lost), {commits} committed offsets"
        )

    def _highest(self, partition: int) -> tuple[list[int], list[int]]:
        """Times of acknowledged commits, and the highest offset up to each."""
        known = sorted((c.acknowledged, c.offset) for c in self.commits[partition] if c.acknowledged is not None)
        return [at for at, _ in known], list(accumulate((offset for _, offset in known), max))

    def _check_commits(self, partition: int) -> None:
        times, highest = self._highest(partition)
        for commit in self.commits[partition]:
            before = bisect_left(times, commit.sent)
            is_back = commit.acknowledged is not None and before > 0 and highest[before - 1] > commit.offset
            assert not is_back, (
                f"partition {partition}: {commit.member} committed {commit.offset}, and {highest[before - 1]} was before"
            )

    def _check_tenures(self, partition: int) -> None:
        times, highest = self._highest(partition)
        tenures = sorted(self.tenures[partition], key=lambda tenure: tenure.begin)
        for tenure in tenures:
            before = bisect_left(times, tenure.begin)
            due = highest[before - 1] if before else 0
            first = tenure.first
            assert first is None or first >= due, (
                f"partition {partition}: {tenure.member} began at {first}, and {due} was committed before it was assigned"
            )
        for one, other in pairwise(tenure for tenure in tenures if not tenure.is_lost):
            assert one.end <= other.begin, f"partition {partition} was {one.member}'s and {other.member}'s at the same time"
