"""Replay over HTTP: every parameter, the cursor, and what is refused."""

import base64
import json
from collections.abc import Iterator

import pytest
from strata_lab import replay, stores, tiering, traffic
from strata_lab.broker import Strata
from strata_lab.replay import Refused

pytestmark = pytest.mark.strata
TOPIC, COUNT, BASE = "replayed", 9_000, 1_700_000_000_000
BINARY = b"\xff\xfe binary"


def row(number: int) -> dict:
    value = BINARY if number == 5 else b"value-%d " % number + b"." * 400
    headers = [("trace", b"%d" % number), ("trace", None)] if number % 100 == 0 else []
    return {
        "key": None if number % 10 == 9 else b"key-%d" % (number % 10),
        "value": value,
        "timestamp": BASE + number,
        "headers": headers,
        "partition": number % 3,
    }


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strata]:
    """One topic with three partitions, of which each has a cold part, a shipped local part and a hot end."""
    one = Strata(tmp_path_factory.mktemp("replay"), tiering.EAGER, stores.CREDENTIALS)
    with one:
        traffic.create_topic(one.bootstrap, TOPIC, partitions=3, config=tiering.COLD_TOPIC)
        traffic.produce(one.bootstrap, TOPIC, map(row, range(COUNT - 30)), {"batch.num.messages": 100})
        tiering.wait_cold(one, TOPIC)
        traffic.produce(one.bootstrap, TOPIC, map(row, range(COUNT - 30, COUNT)))
        yield one
    assert not one.unlisted_complaints()


def numbers(rows: list[dict]) -> list[int]:
    """Back from rows to the numbers that `row` was called with."""
    return [found["offset"] * 3 + found["partition"] for found in rows]


def in_replay_order(wanted: range | list[int]) -> list[int]:
    return sorted(wanted, key=lambda number: (number % 3, number))


def test_everything_comes_in_order_of_partition_then_offset(broker: Strata) -> None:
    done = replay.records(broker.http, TOPIC)
    assert numbers(done.rows) == in_replay_order(range(COUNT))
    for found in done.rows[:200] + done.rows[-200:]:
        number = found["offset"] * 3 + found["partition"]
        sent = row(number)
        assert found["topic"] == TOPIC and found["timestamp"] == BASE + number
        assert found["key"] == (sent["key"].decode() if sent["key"] else None)
        wanted = {"base64": base64.b64encode(BINARY).decode()} if number == 5 else sent["value"].decode()
        assert found["value"] == wanted
        headers = [{"key": key, "value": value.decode() if value else None} for key, value in sent["headers"]]
        assert found["headers"] == headers, "headers keep their order, doubles and nulls"


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"partition": 1}, [n for n in range(COUNT) if n % 3 == 1]),
        ({"partition": [0, 2]}, [n for n in range(COUNT) if n % 3 != 1]),
        ({"from_offset": 2990, "partition": 0}, [n for n in range(COUNT) if n % 3 == 0 and n // 3 >= 2990]),
        ({"from_offset": 10, "to_offset": 12}, [n for n in range(COUNT) if 10 <= n // 3 < 12]),
        ({"from_time": BASE + 500, "to_time": BASE + 600}, list(range(500, 600))),
        ({"from_time": BASE + COUNT - 5}, list(range(COUNT - 5, COUNT))),
        ({"from_time": "2023-11-14T22:13:20Z", "to_time": "2023-11-14T22:13:21Z"}, list(range(1000))),
        ({"from_time": "2023-11-14T23:13:20.5+01:00", "to_time": "2023-11-14T22:13:21Z"}, list(range(500, 1000))),
        ({"from_offset": 50, "from_time": BASE, "to_time": BASE + 300}, list(range(150, 300))),
        ({"key": "key-7"}, [n for n in range(COUNT) if n % 10 == 7]),
        ({"key": "nobody"}, []),
        ({"to_time": 0}, []),
    ],
)
def test_a_range_is_exact(broker: Strata, parameters: dict, wanted: list[int]) -> None:
    assert numbers(replay.records(broker.http, TOPIC, parameters).rows) == in_replay_order(wanted)


def test_a_limit_ends_it_and_the_cursor_goes_on_behind_it(broker: Strata) -> None:
    first = replay.records(broker.http, TOPIC, {"limit": 3001})
    assert numbers(first.rows) == in_replay_order(range(COUNT))[:3001]
    rest = replay.records(broker.http, TOPIC, {"cursor": first.cursor})
    assert numbers(first.rows + rest.rows) == in_replay_order(range(COUNT))


def test_base64_is_base64_for_keys_and_values(broker: Strata) -> None:
    found = replay.records(broker.http, TOPIC, {"encoding": "base64", "from_offset": 1, "to_offset": 2, "partition": 2}).rows
    assert [base64.b64decode(one["value"]) for one in found] == [BINARY]
    assert [base64.b64decode(one["key"]) for one in found] == [b"key-5"]


@pytest.mark.parametrize("rows_a_piece", [701, 2999, 3000, 3001])
def test_a_replay_that_breaks_again_and_again_loses_and_doubles_nothing(broker: Strata, rows_a_piece: int) -> None:
    assert numbers(replay.in_pieces(broker.http, TOPIC, {}, rows_a_piece)) == in_replay_order(range(COUNT))


def test_a_cut_replay_of_a_time_window_goes_on(broker: Strata) -> None:
    window = {"from_time": BASE + 1000, "to_time": BASE + 4000}
    rows = replay.in_pieces(broker.http, TOPIC, window, 333)
    assert numbers(rows) == in_replay_order(range(1000, 4000))


def test_the_end_is_where_the_high_watermark_was_at_the_start(broker: Strata) -> None:
    topic = traffic.create_topic(broker.bootstrap, "moving", partitions=1)
    traffic.produce(broker.bootstrap, topic, [{"value": b"%d" % n} for n in range(2000)])
    path = f"/v1/topics/{topic}/records"
    stream = replay.lines(broker.http, path)
    first = next(stream)
    assert "cursor" in first
    traffic.produce(broker.bootstrap, topic, [{"value": b"late"}])
    assert sum("offset" in line for line in stream) == 2000
    assert len(replay.records(broker.http, topic, {"cursor": first["cursor"]}).rows) == 2000, "a cursor keeps the end"


@pytest.mark.parametrize(
    ("topic", "parameters", "status", "said"),
    [
        ("replayd", {}, 404, TOPIC),
        (TOPIC, {"from_ofset": 1}, 400, "from_offset"),
        (TOPIC, {"from_offset": "ten"}, 400, "from_offset"),
        (TOPIC, {"partition": 99}, None, "99"),
        (TOPIC, {"from_time": "yesterday"}, 400, "from_time"),
        (TOPIC, {"encoding": "morse"}, 400, "encoding"),
        (TOPIC, {"limit": -1}, 400, "limit"),
        (TOPIC, {"cursor": "???"}, 400, "cursor"),
    ],
)
def test_what_is_wrong_is_refused_as_a_problem_that_says_what_to_do(
    broker: Strata, topic: str, parameters: dict, status: int | None, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        replay.records(broker.http, topic, parameters)
    assert refused.value.status == status or (status is None and 400 <= refused.value.status < 500)
    problem = refused.value.problem()
    assert problem["detail"] and said in json.dumps(problem), problem


def test_a_slow_reader_does_not_make_the_broker_grow(broker: Strata) -> None:
    streams = [replay.lines(broker.http, f"/v1/topics/{TOPIC}/records") for _ in range(8)]
    for stream in streams:
        next(stream)
    assert traffic.watermarks(broker.bootstrap, TOPIC, 0)[1] == COUNT // 3, "clients of the hot path go on"
    for stream in streams:
        stream.close()


def test_the_command_prints_what_the_endpoint_answers(broker: Strata) -> None:
    tiering.wait_shipped(broker, TOPIC)
    printed = broker.tool("replay", TOPIC, "--from-bucket", "--from-time", str(BASE + 500), "--to-time", str(BASE + 600))
    rows = [line for line in map(json.loads, printed.splitlines()) if "offset" in line]
    assert numbers(rows) == in_replay_order(range(500, 600))
