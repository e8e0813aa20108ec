"""The command line: the real program against Strata and against Apache Kafka, which shows what the client is worth.

What a command prints for people, as JSON, and its exit code; `tier`, `replay` and `export` need Strata alone.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from strata_lab import ports, tiering, traffic, waiting
from strata_lab.broker import ApacheKafka, Broker, Strata

SECONDS = 120.0
ESCAPE = "\x1b"


@pytest.fixture(scope="module", params=[pytest.param("strata"), pytest.param("kafka", marks=pytest.mark.java)])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    kind = {"strata": Strata, "kafka": ApacheKafka}[request.param]
    with kind(tmp_path_factory.mktemp(request.param)) as one:
        yield one
    if isinstance(one, Strata):
        assert not one.unlisted_complaints()


@pytest.fixture(scope="module")
def cold(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strata]:
    """A topic `flown` with three partitions, of which each has a cold part, and a hot end."""
    with Strata(tmp_path_factory.mktemp("cold"), tiering.EAGER) as one:
        traffic.create_topic(one.bootstrap, "flown", 3, tiering.COLD_TOPIC)
        rows = [{"value": b"%d " % n + b"." * 400, "partition": n % 3, "timestamp": 10**12 + n} for n in range(9_000)]
        traffic.produce(one.bootstrap, "flown", rows, {"batch.num.messages": 100})
        tiering.wait_cold(one, "flown")
        tiering.wait_shipped(one, "flown")
        yield one
    assert not one.unlisted_complaints()


def command(cluster: Broker, *words: str) -> list[str]:
    return [os.environ["STRATA_BIN"], *words, "--bootstrap-server", cluster.bootstrap]


def run(argv: list[str], given: str = "", code: int = 0, env: dict[str, str] | None = None) -> str:
    """Runs to the end and gives standard output; standard error where it is to fail."""
    done = subprocess.run(argv, input=given, capture_output=True, text=True, timeout=SECONDS, env=os.environ | (env or {}))
    told = f"{argv[1:]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == code, told
    assert ESCAPE not in done.stdout + done.stderr, f"a pipe gets no colours and no bars\n{told}"
    return done.stdout if code == 0 else done.stderr


def strata(cluster: Broker, *words: str, given: str = "", code: int = 0) -> str:
    return run(command(cluster, *words), given, code)


def as_json(cluster: Broker, *words: str, given: str = "") -> dict | list:
    return json.loads(strata(cluster, *words, "--json", given=given))


def rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def create(cluster: Broker, name: str, partitions: int = 3) -> str:
    strata(cluster, "topic", "create", name, "--partitions", str(partitions))
    return name


def test_a_topic_is_made_described_altered_and_deleted(cluster: Broker, name: str) -> None:
    made = strata(cluster, "topic", "create", name, "--partitions", "3", "--config", "retention.ms=7200000")
    assert made == f"created {name} with 3 partitions\n"
    again = strata(cluster, "topic", "create", name, code=1)
    assert "TOPIC_ALREADY_EXISTS (36)" in again and "--if-not-exists" in again
    assert "there already" in strata(cluster, "topic", "create", name, "--if-not-exists")
    assert re.search(rf"^{name} +3 +1$", strata(cluster, "topic", "list"), re.MULTILINE)
    (described,) = as_json(cluster, "topic", "describe", name)
    assert [row["partition"] for row in described["partitions"]] == [0, 1, 2]
    assert all((row["start"], row["end"], len(row["isr"])) == (0, 0, 1) for row in described["partitions"])
    assert described["configs"] == {"retention.ms": {"value": "7200000", "source": "topic"}}
    strata(cluster, "topic", "alter", name, "--partitions", "5", "--config", "max.message.bytes=2000000")
    strata(cluster, "topic", "alter", name, "--delete-config", "retention.ms")
    (described,) = as_json(cluster, "topic", "describe", name)
    assert len(described["partitions"]) == 5
    assert described["configs"] == {"max.message.bytes": {"value": "2000000", "source": "topic"}}
    (everything,) = as_json(cluster, "topic", "describe", name, "--all-configs")
    assert everything["configs"]["retention.ms"]["source"] != "topic"
    text = strata(cluster, "topic", "describe", name)
    assert "5 partitions" in text and re.search(r"^max.message.bytes +2000000 +topic$", text, re.MULTILINE)
    assert strata(cluster, "topic", "delete", name) == f"deleted {name}\n"
    gone = strata(cluster, "topic", "delete", name, code=1)
    assert f'no topic "{name}"' in gone
    assert "not there" in strata(cluster, "topic", "delete", name, "--if-exists")


def test_what_a_topic_cannot_be_is_told_with_what_to_do(cluster: Broker, name: str) -> None:
    create(cluster, name, 2)
    fewer = strata(cluster, "topic", "alter", name, "--partitions", "1", code=1)
    assert "INVALID_PARTITIONS (37)" in fewer and "only become more" in fewer
    wrong = strata(cluster, "topic", "alter", name, "--config", "retention.ms=soon", code=1)
    assert "INVALID_CONFIG (40)" in wrong and "retention.ms" in wrong
    alone = strata(cluster, "topic", "create", f"{name}-x", "--replication-factor", "3", code=1)
    assert "INVALID_REPLICATION_FACTOR (38)" in alone
    near = strata(cluster, "topic", "describe", name[:-1], code=1)
    assert f"did you mean {name}?" in near
    assert f"did you mean {name}?" in strata(cluster, "produce", name[:-1], given="x\n", code=1)
    assert f"did you mean {name}?" in strata(cluster, "consume", name[:-1], code=1)
    assert "numbered from 0 to 1" in strata(cluster, "consume", name, "--partition", "7", code=1)


@pytest.mark.parametrize("codec", traffic.CODECS)
def test_lines_come_back_as_they_went(cluster: Broker, name: str, codec: str) -> None:
    create(cluster, name, 1)
    lines = [f"line {n} of {codec} {'ü' * (n % 50)}" for n in range(3_000)]
    done = strata(cluster, "produce", name, "--compression", codec, given="\n".join(lines))
    assert re.match(rf"3000 records in [\d.]+ KiB written to {name}\n", done), done
    assert strata(cluster, "consume", name).splitlines() == lines
    assert [record.value.decode() for record in traffic.read_all(cluster.bootstrap, name, range(1))] == lines


def test_keys_headers_partitions_and_nulls_travel(cluster: Broker, name: str, tmp_path: Path) -> None:
    create(cluster, name)
    file = tmp_path / "lines.txt"
    file.write_text("ada::hello\nbob::a::b\n")
    told = as_json(cluster, "produce", name, "--file", str(file), "-k", "::", "--header", "h=1", "--partition", "2")
    assert told["records"] == 2 and told["partitions"] == [{"partition": 2, "first_offset": 0, "last_offset": 1}]
    assert strata(cluster, "consume", name, "--partition", "2", "-k", "=") == "ada=hello\nbob=a::b\n"
    (first, _) = rows(strata(cluster, "consume", name, "--json"))
    assert first["key"] == "ada" and first["headers"] == [{"key": "h", "value": "1"}] and first["partition"] == 2
    sent = [
        {"key": "k", "value": None, "timestamp": 5, "headers": [{"key": "a", "value": "1"}, {"key": "a", "value": None}]},
        {"key": None, "value": {"base64": "//4="}, "timestamp": 6, "headers": []},
    ]
    given = "\n".join(json.dumps(row) for row in sent)
    strata(cluster, "produce", name, "--format", "json", "--partition", "0", given=given)
    printed = strata(cluster, "consume", name, "--partition", "0", "--format", "json")
    assert [{key: row[key] for key in sent[0]} for row in rows(printed)] == sent
    create(cluster, f"{name}-copy", 1)
    strata(cluster, "produce", f"{name}-copy", "--format", "json", given=printed)
    copied = rows(strata(cluster, "consume", f"{name}-copy", "--json"))
    assert [{key: row[key] for key in sent[0]} for row in copied] == sent


def test_keys_go_where_librdkafka_sends_them_with_murmur2(cluster: Broker, name: str) -> None:
    create(cluster, name, 7)
    keys = [f"key-{n}" for n in range(200)]
    strata(cluster, "produce", name, "--format", "key-value", given="".join(f"{key}\tcli\n" for key in keys))
    producer = Producer(traffic.client(cluster.bootstrap, partitioner="murmur2_random"))
    for key in keys:
        producer.produce(name, key=key, value="librdkafka")
    assert producer.flush(60) == 0
    seen: dict[str, set[int]] = {}
    for row in rows(strata(cluster, "consume", name, "--json")):
        seen.setdefault(row["key"], set()).add(row["partition"])
    assert len(seen) == len(keys) and all(len(partitions) == 1 for partitions in seen.values())


def test_a_line_that_is_no_record_ends_it_behind_the_lines_before(cluster: Broker, name: str) -> None:
    create(cluster, name, 1)
    said = strata(cluster, "produce", name, "-k", ":", given="a:1\nb:2\nc\nd:4\n", code=1)
    assert "line 3" in said and '":"' in said
    assert strata(cluster, "consume", name) == "1\n2\n"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], range(100)),
        (["--from", "start"], range(100)),
        (["--from", "97"], range(97, 100)),
        (["--from", "-5"], range(95, 100)),
        (["--from", "-1000"], range(100)),
        (["--from", "1000"], range(0)),
        (["--from", "2001-09-09T01:46:40.040Z"], range(40, 100)),
        (["--from", "1s"], range(0)),
        (["-n", "3"], range(3)),
        (["--from", "98", "--limit", "1"], range(98, 99)),
    ],
)
def test_it_begins_and_ends_where_it_is_told(cluster: Broker, words: list[str], wanted: range) -> None:
    name = "begins"
    if name not in strata(cluster, "topic", "list").split():
        create(cluster, name, 1)
        lines = [json.dumps({"value": str(n), "timestamp": 10**12 + n}) for n in range(100)]
        strata(cluster, "produce", name, "--format", "json", given="\n".join(lines))
    assert [int(line) for line in strata(cluster, "consume", name, *words).splitlines()] == list(wanted)


class Following:
    """A command that goes on until it is told to end."""

    def __init__(self, argv: list[str], output: Path):
        self.output = output
        self.child = subprocess.Popen(argv, stdout=output.open("w"), stderr=subprocess.PIPE, text=True)

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def wait_lines(self, count: int) -> list[str]:
        def arrived() -> bool:
            assert self.child.poll() is None, self.child.stderr.read()
            return len(self.lines()) >= count

        waiting.until(arrived, f"{count} lines", SECONDS)
        return self.lines()

    def end(self, sent: signal.Signals = signal.SIGINT) -> int:
        self.child.send_signal(sent)
        return self.child.wait(SECONDS)


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., Following]]:
    started: list[Following] = []

    def start(cluster: Broker, *words: str) -> Following:
        started.append(Following(command(cluster, *words), tmp_path / f"followed-{len(started)}"))
        return started[-1]

    yield start
    for one in started:
        if one.child.poll() is None:
            one.child.kill()
            one.child.wait()


def test_it_follows_until_it_is_interrupted(cluster: Broker, name: str, follow: Callable[..., Following]) -> None:
    create(cluster, name)
    strata(cluster, "produce", name, given="one\ntwo\n")
    reader = follow(cluster, "consume", name, "--follow")
    assert sorted(reader.wait_lines(2)) == ["one", "two"]
    strata(cluster, "produce", name, given="three\n")
    assert reader.wait_lines(3)[2] == "three"
    assert reader.end() == 0
    late = follow(cluster, "consume", name, "--from", "-1", "--follow", "--partition", "0", "--partition", "1")
    assert late.end(signal.SIGTERM) in (0, -signal.SIGTERM)


def group_of(cluster: Broker, group: str) -> dict:
    (described,) = as_json(cluster, "group", "describe", group)
    return described


def test_a_group_remembers_lags_moves_and_goes(cluster: Broker, name: str) -> None:
    create(cluster, name, 1)
    strata(cluster, "produce", name, given="".join(f"{n}\n" for n in range(10)))
    assert strata(cluster, "consume", name, "--group", name, "--limit", "4") == "0\n1\n2\n3\n"
    described = group_of(cluster, name)
    assert described["state"] == "Empty" and described["members"] == []
    wanted = {"topic": name, "partition": 0, "committed": 4, "end": 10, "lag": 6, "member": None}
    assert described["partitions"] == [wanted]
    text = strata(cluster, "group", "describe", name)
    assert "lag 6" in text and re.search(rf"^{name} +0 +4 +10 +6 +- +-$", text, re.MULTILINE), text
    assert re.search(rf"^{name} +Empty\b", strata(cluster, "group", "list"), re.MULTILINE)
    assert strata(cluster, "consume", name, "--group", name).splitlines() == [str(n) for n in range(4, 10)]
    assert strata(cluster, "consume", name, "--group", name) == ""
    planned = as_json(cluster, "group", "reset", name, "--topic", name, "--to", "-3", "--dry-run")
    assert planned["dry_run"] and planned["partitions"] == [{"topic": name, "partition": 0, "before": 10, "after": 7}]
    assert group_of(cluster, name)["partitions"][0]["committed"] == 10, "a dry run changes nothing"
    assert "dry run" in strata(cluster, "group", "reset", name, "--topic", f"{name}:0", "--to", "2", "--dry-run")
    for where, offset in [("2", 2), ("start", 0), ("end", 10), ("100", 10), ("1d", 0)]:
        strata(cluster, "group", "reset", name, "--all-topics", "--to", where)
        assert group_of(cluster, name)["partitions"][0]["committed"] == offset, where
    assert strata(cluster, "group", "delete", name) == f"deleted {name}\n"
    gone = strata(cluster, "group", "describe", name, code=1)
    assert "no group" in gone and "group list" in gone
    assert "GROUP_ID_NOT_FOUND (69)" in strata(cluster, "group", "delete", name, code=1)


def test_members_share_partitions_and_leave(cluster: Broker, name: str, follow: Callable[..., Following]) -> None:
    create(cluster, name, 4)
    readers = [follow(cluster, "consume", name, "--group", name, "--follow", "--json") for _ in range(2)]

    def shared() -> bool:
        described = group_of(cluster, name)
        return described["state"] == "Stable" and [len(one["partitions"]) for one in described["members"]] == [2, 2]

    def exists() -> bool:
        return name in [one["group"] for one in as_json(cluster, "group", "list")]

    waiting.until(exists, "the group", SECONDS)
    waiting.until(shared, "two members with two partitions each", SECONDS, pause=0.2)
    strata(cluster, "produce", name, "--format", "key-value", given="".join(f"{n}\t{n}\n" for n in range(400)))
    waiting.until(lambda: sum(len(one.lines()) for one in readers) >= 400, "400 lines", SECONDS)
    active = strata(cluster, "group", "reset", name, "--all-topics", "--to", "start", code=1)
    assert "2 members" in active and "stop its members" in active
    assert "NON_EMPTY_GROUP (68)" in strata(cluster, "group", "delete", name, code=1)
    assert [one.end() for one in readers] == [0, 0]
    seen = [{row["partition"] for row in rows(one.output.read_text())} for one in readers]
    assert seen[0].isdisjoint(seen[1]) and len(seen[0] | seen[1]) == 4
    values = [row["value"] for one in readers for row in rows(one.output.read_text())]
    assert sorted(values, key=int) == [str(n) for n in range(400)]
    described = group_of(cluster, name)
    assert described["members"] == [] and sum(row["lag"] or 0 for row in described["partitions"]) == 0


def test_a_reader_that_has_enough_is_no_failure(cluster: Broker, name: str) -> None:
    create(cluster, name, 1)
    strata(cluster, "produce", name, given="".join(f"{n} {'.' * 500}\n" for n in range(20_000)))
    reader = subprocess.Popen(command(cluster, "consume", name), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert reader.stdout.readline().startswith(b"0 ")
    reader.stdout.close()
    assert (reader.wait(SECONDS), reader.stderr.read()) == (0, b"")


def test_nobody_there_is_told_with_the_address(tmp_path: Path) -> None:
    program, address = os.environ["STRATA_BIN"], f"127.0.0.1:{ports.free()}"
    said = run([program, "topic", "list", "--bootstrap-server", address], code=1)
    assert f"{address}: connection refused" in said and "--bootstrap-server" in said
    said = run([program, "topic", "list"], code=1, env={"STRATA_BOOTSTRAP_SERVER": address})
    assert f"{address}: connection refused" in said
    file = tmp_path / "client.properties"
    file.write_text(f"bootstrap.servers={address}\nenable.auto.commit=true\n")
    said = run([program, "group", "list", "--command-config", str(file)], code=1)
    assert f"{address}: connection refused" in said and "no effect here: enable.auto.commit" in said
    file.write_text("security.protocol=SASL_SSL\n")
    said = run([program, "group", "list", "--command-config", str(file)], code=2)
    assert "security.protocol=SASL_SSL" in said and "PLAINTEXT" in said
    said = run([program, "replay", "t", "--gateway", f"http://{address}"], code=1)
    assert address in said and "--gateway" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["topic", "list", "--bootstrap-server", "host:port"], "HOST:PORT"),
        (["topic", "creat", "x"], "create"),
        (["consume", "x", "--from", "yesterday"], "2026-01-31T12:00:00Z"),
        (["produce", "x", "--compression", "rar"], "zstd"),
        (["replay", "x", "--gateway", "https://strata"], "without TLS"),
        (["group", "reset", "x", "--to", "start"], "--topic"),
        (["topic", "list", "--command-config", "nowhere.properties"], "nowhere.properties"),
    ],
)
def test_words_that_cannot_be_understood_end_with_2(words: list[str], said: str) -> None:
    assert said in run([os.environ["STRATA_BIN"], *words], code=2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_know_the_commands(shell: str) -> None:
    script = run([os.environ["STRATA_BIN"], "completions", shell])
    assert all(word in script for word in ("consume", "bootstrap-server", "describe", "verify"))


@pytest.mark.strata
def test_consume_goes_from_cold_to_hot_and_on(cold: Strata, follow: Callable[..., Following]) -> None:
    reader = follow(cold, "consume", "flown", "--follow", "--partition", "1")
    seen = reader.wait_lines(3_000)
    assert [int(line.split()[0]) for line in seen] == list(range(1, 9_000, 3))
    strata(cold, "produce", "flown", "--partition", "1", given="hot\n")
    assert reader.wait_lines(3_001)[-1] == "hot"
    assert reader.end() == 0
    exact = strata(cold, "consume", "flown", "--from", "2001-09-09T01:46:40.300Z", "-n", "1", "--partition", "0")
    assert exact.split()[0] == "300"


@pytest.mark.strata
def test_replay_prints_what_the_gateway_answers(cold: Strata) -> None:
    program = [cold.program, "replay", "flown", "--gateway", cold.http]
    window = ["--from-time", str(10**12 + 30), "--to-time", str(10**12 + 60)]
    lines = rows(run([*program, *window]))
    assert lines[-1]["complete"] and "ranges" in lines[0]
    values = [int(line["value"].split()[0]) for line in lines if "offset" in line]
    assert sorted(values) == list(range(30, 60))
    alone = rows(run([*program, *window, "--rows-only"]))
    assert alone == [line for line in lines if "offset" in line]
    from_bucket = rows(cold.tool("replay", "flown", *window, "--from-bucket", "--rows-only"))
    assert from_bucket == alone
    assert len(rows(run([*program, "--rows-only", "--limit", "7"]))) == 7
    assert "did you mean flown" in run([cold.program, "replay", "flow", "--gateway", cold.http], code=1).lower()
    assert "from_time" in run([*program, "--from-time", "yesterday"], code=1)


@pytest.mark.strata
def test_the_tier_is_told_with_ranges_sizes_times_and_cost(cold: Strata) -> None:
    text = cold.tool("tier", "ls", "flown", "--price-storage", "0.023", "--price-get", "0.0004", "--price-transfer", "0.09")
    shown = r"^flown +0 +0 +3000 +\d+ +[\d.]+ [KM]iB +20\d\d-\S+Z +20\d\d-\S+Z +2001-09-09T01:46:48Z +<\$0.0001$"
    assert re.search(shown, text, re.MULTILINE), text
    assert "a month" in text and "for each GB read from outside" in text and cold.tier_url in text
    told = json.loads(cold.tool("tier", "ls", "flown", "--json", "--price-storage", "1"))
    assert [row["partition"] for row in told["partitions"]] == [0, 1, 2]
    for row in told["partitions"]:
        ranges = row["ranges"]
        assert ranges[0]["from"] == row["start"] and ranges[-1]["to"] == row["end"]
        assert all(one["to"] == other["from"] for one, other in zip(ranges, ranges[1:], strict=False))
        assert sum(one["bytes"] for one in ranges) == row["bytes"] and len(ranges) == row["objects"]
        assert row["dollars_a_month"] == pytest.approx(row["bytes"] / 2**30)
    assert told["bytes"] == sum(row["bytes"] for row in told["partitions"])
    assert "did you mean flown?" in failing(cold, "tier", "ls", "flow")
    checked = json.loads(cold.tool("tier", "verify", "--data", "--json"))
    assert checked["clean"] and checked["blocks_checked"] > 0 and checked["broken"] == []
    exported = json.loads(cold.tool("export", "flown", "--json"))
    assert exported[0]["topic"] == "flown" and exported[0]["rows"] >= 9_000
    assert re.search(r"^flown +0 +0 +0 B$", cold.tool("export", "flown"), re.MULTILINE), "nothing is new"


def failing(one: Strata, *words: str) -> str:
    one.command()
    return run([one.program, "--config", str(one.directory / "server.properties"), *words], code=1)


@pytest.mark.strata
def test_a_broken_bucket_and_a_bucket_that_is_none_end_with_1(strata, tmp_path: Path) -> None:
    broker = strata(tiering.EAGER).start()
    traffic.create_topic(broker.bootstrap, "kept", 1, tiering.COLD_TOPIC)
    traffic.produce(broker.bootstrap, "kept", [{"value": b"x" * 1000} for _ in range(500)])
    tiering.wait_shipped(broker, "kept")
    assert broker.stop() == 0
    victim = max((broker.directory / "bucket").glob("topics/**/*.seg"), key=lambda path: path.stat().st_size, default=None)
    victim = victim or max((broker.directory / "bucket").rglob("kept-*/**/*"), key=lambda path: path.stat().st_size)
    victim.unlink()
    assert "breaks 1 promises" in failing(broker, "tier", "verify")
    broker.settings["strata.tier.url"] = f"file://{tmp_path / 'elsewhere'}"
    said = failing(broker, "tier", "ls")
    assert "holds no Strata bucket" in said and "strata.tier.url" in said
