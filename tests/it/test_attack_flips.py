"""One flipped bit in each kind of file: `tests/attack/flips` runs more of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from strata_attack import flips

pytestmark = pytest.mark.strata

CHOSEN = [
    "stopped-closed-log-records",
    "stopped-closed-log-crc",
    "stopped-closed-log-length",
    "running-closed-log-length",
    "stopped-closed-log-magic",
    "killed-active-log-length",
    "killed-closed-log-records",
    "running-closed-log-records",
    "killed-active-log-records",
    "stopped-last-batch",
    "stopped-index-first",
    "stopped-index-middle",
    "killed-index-last",
    "running-index-middle",
    "killed-timeindex-middle",
    "stopped-snapshot-middle",
    "stopped-snapshot-head",
    "stopped-leader-epoch",
    "killed-leader-epoch-version",
    "stopped-recovery-point-value",
    "stopped-log-start-count",
    "stopped-partition-version",
    "stopped-meta-node",
    "stopped-metadata-log-middle",
    "killed-metadata-log-middle",
    "killed-offsets-log-middle",
    "stopped-offsets-log-last",
    "stopped-meta-cluster-value",
]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[flips.Templates]:
    yield flips.Templates(tmp_path_factory.mktemp("templates"))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_flipped_bit_is_never_believed(templates: flips.Templates, tmp_path: Path, name: str) -> None:
    (case,) = (case for case in flips.CASES if case.name == name)
    case.attack(templates, tmp_path / "copy")
