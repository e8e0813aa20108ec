"""Ten kills at random moments under load: `tests/attack/crash` does hundreds."""

from pathlib import Path

import pytest
from strata_attack import crash, harness

pytestmark = pytest.mark.strata


def test_ten_kills_under_load_keep_every_promise(tmp_path: Path) -> None:
    # Run 0 ships to a tier and deletes local segments; run 1 syncs after each append, with Java's producer beside.
    crash.attack(tmp_path, harness.seed(), [(0, 5), (1, 5)])
