"""Strata and Apache Kafka answer the same random requests alike: some fixed seeds of `tests/differential/run`."""

import subprocess
from pathlib import Path

import pytest
from strata_differential import pair

pytestmark = [pytest.mark.strata, pytest.mark.java]


def test_answers_are_those_of_apache_kafka(tmp_path: Path) -> None:
    done = pair.compare(tmp_path, ["--seed", "1", "--sequences", "300", "--workers", "12"], subprocess.PIPE)
    assert done.returncode == 0, done.stdout
