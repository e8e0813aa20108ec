"""Export to Parquet, read by DuckDB and by pyarrow."""

import json
from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest
from strata_lab import stores, tiering, traffic, waiting
from strata_lab.broker import Strata
from strata_lab.stores import LocalStack

pytestmark = pytest.mark.strata
COLUMNS = {"_partition", "_offset", "_timestamp", "key", "value", "headers"}


def rows(count: int) -> list[dict]:
    return [
        {
            "key": b"%d" % (n % 5) if n % 7 else None,
            "value": b"%d" % n + b"." * 200,
            "partition": n % 2,
            "timestamp": 10**12 + n,
        }
        for n in range(count)
    ]


def table(bucket: Path, topic: str) -> list[Path]:
    """The files that the table's root names: what else lies there is not part of the table."""
    (root,) = bucket.glob(f"tables/{topic}-*/table.json")
    return sorted(root.parent / row[0] for row in json.loads(root.read_text())["files"])


def check_table(bucket: Path, topic: str, sent: list[dict]) -> None:
    """Each record once, with its coordinates and bytes."""
    files = [str(path) for path in table(bucket, topic)]
    assert files, "no Parquet files"
    assert set(pyarrow.parquet.read_schema(files[0]).names) == COLUMNS
    with duckdb.connect() as base:
        found = base.execute("select _partition, key, value from read_parquet($1) order by 1, _offset", [files]).fetchall()
        coordinates = base.execute("select count(*), count(distinct (_partition, _offset)) from read_parquet($1)", [files])
        assert coordinates.fetchone() == (len(sent), len(sent)), "each record exactly once"
    wanted = sorted(((row["partition"], n, row) for n, row in enumerate(sent)), key=lambda item: item[:2])
    assert found == [(partition, row["key"], row["value"]) for partition, _, row in wanted]


def fill(broker: Strata, topic: str, config: dict[str, str], count: int = 6_000) -> list[dict]:
    broker.start()
    traffic.create_topic(broker.bootstrap, topic, 2, tiering.COLD_TOPIC | config)
    sent = rows(count)
    traffic.produce(broker.bootstrap, topic, sent)
    tiering.wait_shipped(broker, topic)
    return sent


def test_the_command_exports_each_record_once_also_when_run_again(strata) -> None:
    broker = strata(tiering.EAGER)
    sent = fill(broker, "exported", {})
    assert broker.stop() == 0
    for _ in range(2):
        broker.tool("export", "exported")
        check_table(broker.directory / "bucket", "exported", sent)
    tiering.verify(broker)


def test_a_topic_is_exported_continuously_and_over_kill_9(strata, localstack: LocalStack, name: str, tmp_path: Path) -> None:
    broker = strata(tiering.EAGER | localstack.settings("strata", name))
    sent = fill(broker, "continuous", {"strata.export.enable": "true"})
    keys = lambda: [key for key in localstack.keys("strata", name) if key.endswith(".parquet")]  # noqa: E731
    waiting.until(keys, "the first Parquet file", 60, pause=0.2)
    broker.kill()
    broker.start()
    more = rows(3_000)
    traffic.produce(broker.bootstrap, "continuous", more)
    tiering.wait_shipped(broker, "continuous")
    assert broker.stop() == 0
    broker.tool("export", "continuous")
    check_table(localstack.download("strata", tmp_path / "bucket", name), "continuous", sent + more)
    tiering.verify(broker)


def test_time_and_offset_statistics_prune_row_groups(strata) -> None:
    broker = strata(tiering.EAGER)
    fill(broker, "pruned", {})
    assert broker.stop() == 0
    broker.tool("export", "pruned")
    for path in table(broker.directory / "bucket", "pruned"):
        file = pyarrow.parquet.ParquetFile(path)
        for group in range(file.num_row_groups):
            columns = {file.metadata.row_group(group).column(n).path_in_schema: n for n in range(file.metadata.num_columns)}
            for column in ("_offset", "_timestamp"):
                described = file.metadata.row_group(group).column(columns[column])
                assert described.is_stats_set and described.statistics.has_min_max, f"{path.name}: {column}"
            assert file.metadata.row_group(group).column(columns["value"]).compression == "ZSTD"


def test_credentials_are_needed_for_nothing_on_a_local_bucket(strata) -> None:
    broker = strata(tiering.EAGER)
    broker.credentials = dict.fromkeys(stores.CREDENTIALS, "")
    fill(broker, "local", {}, count=200)
    assert broker.stop() == 0
    tiering.verify(broker)
