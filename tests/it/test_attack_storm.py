"""A storm of 1,000 hostile connections: `tests/attack/storm` is 5,000 of them, for longer."""

from pathlib import Path

import pytest
from strata_attack import harness, storm

pytestmark = pytest.mark.strata


def test_a_storm_is_not_noticed_by_a_well_behaved_client_and_costs_bounded_memory(tmp_path: Path) -> None:
    print(storm.Storm(tmp_path, harness.seed()).attack(connections=1_000, seconds=12))
