"""Twelve members through 15 joins, leaves and kills with each assignor: `tests/attack/members` is 50 through 100."""

from pathlib import Path

import pytest
from strata_attack import harness, members, ownership

pytestmark = pytest.mark.strata

SHORT = members.Size(members=12, partitions=24, events=15, rate=500, pause_seconds=1.0)


@pytest.mark.parametrize("assignor", members.ASSIGNORS)
def test_a_group_in_a_storm_loses_nothing_and_reads_twice_only_what_was_not_committed(tmp_path: Path, assignor: str) -> None:
    members.attack(tmp_path, harness.seed(), SHORT, (assignor,))


def told(tmp_path: Path, ledgers: dict[str, list[str]], acknowledged: int, killed: dict[str, int] | None = None) -> str:
    """What an account says of ledgers of partition 0, in which record n has offset n."""
    account = ownership.Account()
    for name, lines in ledgers.items():
        # Who was killed may have been within its last line.
        (tmp_path / name).write_text("\n".join(lines) + ("" if name in (killed or {}) else "\n"))
        account.read(tmp_path / name, (killed or {}).get(name))
    return account.check({(0, offset): str(offset) for offset in range(acknowledged)})


FIRST = ["A 10 0", "D 11 0 0 0", "D 12 0 1 1", "S 13 1 0:2", "C 14 1", "R 20 0"]


@pytest.mark.parametrize(
    ("second", "what"),
    [
        (["A 30 0", "D 31 0 3 3"], "1 of 4 records were lost"),
        (["A 30 0", "D 31 0 1 1", "D 32 0 2 2", "D 33 0 3 3"], "began at 1, and 2 was committed"),
        (["A 15 0", "D 31 0 2 2", "D 32 0 3 3"], "at the same time"),
        (["A 30 0", "D 31 0 2 2", "D 32 0 3 3", "S 33 1 0:1", "C 34 1"], "committed 1, and 2 was before"),
        (["A 30 0", "D 31 0 2 2", "D 32 0 3 4"], "lost"),
        (["A 30 0", "D 31 0 2 2", "D 32 0 4 4"], "offset 4 came where 3 was due"),
        (["A 30 0", "R 31 0", "D 32 0 2 2"], "which it does not have"),
    ],
)
def test_the_account_sees_what_must_not_be(tmp_path: Path, second: list[str], what: str) -> None:
    with pytest.raises(AssertionError, match=what):
        told(tmp_path, {"one": FIRST, "other": second}, 4)


def test_the_account_allows_at_least_once_and_late_news(tmp_path: Path) -> None:
    # What was not committed comes again; a commit without an answer says nothing; who was killed had it until then.
    killed = ["A 10 0", "D 11 0 0 0", "D 12 0 1 1", "S 13 1 0:1", "C 14 1", "S 15 2 0:2", "D 16 0 2"]
    other = ["A 30 0", "D 31 0 1 1", "D 32 0 2 2", "R 33 0"]
    late = ["A 21 0", "L 31 0"]
    assert "1 delivered again" in told(tmp_path, {"one": killed, "other": other, "late": late}, 3, {"one": 20})
