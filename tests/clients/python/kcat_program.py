"""kcat as its manual teaches it: producer, consumer, metadata, offsets by time and the balanced consumer."""

import json
import re
import subprocess
import time

from capability import BOOTSTRAP, SECONDS, orders, run, settled

TOPIC, PARTITIONED, COUNT = "kcat-orders", "kcat-by-partition", 300
KEYS = ["-K", ":"]
HEADERS = ["-H", "kind=order", "-H", "from=kcat"]
FORMAT = r"%p\t%o\t%k\t%h\t%S\t%s\n"


def kcat(*arguments: str, given: str | None = None) -> str:
    command = ["kcat", "-b", BOOTSTRAP, *arguments]
    done = subprocess.run(command, input=given or "", capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{' '.join(command[3:])} ended with {done.returncode}: {done.stderr[-300:]}"
    return done.stdout


def kcat_version() -> str:
    told = subprocess.run(["kcat", "-V"], capture_output=True, text=True).stdout
    return re.search(r"Version ([\d.]+)", told)[1]


def create_topic():
    """Nothing in kcat makes topics, so the admin client of librdkafka does."""
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    for future in admin.create_topics([NewTopic(TOPIC, 1, 1), NewTopic(PARTITIONED, 3, 1)]).values():
        future.result(SECONDS)


def produce_lines_with_keys_and_headers():
    """-P -K with -H: every line is a record with its key and the headers."""
    lines = "".join(f"{order.key.decode()}:{order.value.decode()}\n" for order in orders(COUNT))
    kcat("-P", "-t", TOPIC, *KEYS, *HEADERS, given=lines)


def produce_compressed():
    """-P with -z gzip, snappy, lz4 and zstd."""
    for turn, codec in enumerate(("gzip", "snappy", "lz4", "zstd"), 1):
        lines = "".join(f"{order.key.decode()}:{order.value.decode()}\n" for order in orders(COUNT, turn * COUNT))
        kcat("-P", "-t", TOPIC, *KEYS, *HEADERS, "-z", codec, "-X", "linger.ms=50", given=lines)
    settled(TOPIC)


def consume_from_the_beginning():
    """-C -e with a format: partition, offset, key, headers, size and value of every record, in order."""
    rows = [line.split("\t") for line in kcat("-C", "-t", TOPIC, "-o", "beginning", "-e", "-q", "-f", FORMAT).splitlines()]
    wanted = list(orders(5 * COUNT))
    assert len(rows) == len(wanted), f"{len(rows)} records"
    for place, (row, order) in enumerate(zip(rows, wanted, strict=True)):
        value = order.value.decode()
        assert row == ["0", str(place), order.key.decode(), "kind=order,from=kcat", str(len(value)), value], row
    return f"{len(rows)} records in order, with keys and headers"


def consume_as_json():
    """-C -J prints topic, partition, offset, time, headers, key and payload."""
    told = [json.loads(line) for line in kcat("-C", "-t", TOPIC, "-o", "10", "-c", "2", "-q", "-J").splitlines()]
    (order, _) = orders(2, 10)
    assert [row["offset"] for row in told] == [10, 11]
    assert told[0]["key"] == order.key.decode() and told[0]["headers"] == ["kind", "order", "from", "kcat"], told[0]


def consume_the_last_records():
    """-o -5 starts five records before the end."""
    rows = kcat("-C", "-t", TOPIC, "-p", "0", "-o", "-5", "-e", "-q", "-f", r"%o\n").split()
    assert rows == [str(5 * COUNT - back) for back in range(5, 0, -1)], rows


def consume_a_span_of_time():
    """-o s@… and e@… read what lies between two times."""
    kcat("-P", "-t", PARTITIONED, "-p", "0", given="old\n")
    between = int(time.time() * 1000) + 1
    time.sleep(0.01)
    kcat("-P", "-t", PARTITIONED, "-p", "0", given="new\n")
    settled(PARTITIONED)
    told = kcat("-C", "-t", PARTITIONED, "-p", "0", "-o", f"s@{between}", "-e", "-q")
    assert told == "new\n", told


def query_offsets_by_time():
    """-Q gives the offset of the first record not older than a time; -1 and -2 are the end and the beginning."""
    told = kcat("-Q", "-t", f"{TOPIC}:0:-1", "-t", f"{PARTITIONED}:0:-2")
    assert f"{TOPIC} [0] offset {5 * COUNT}" in told and f"{PARTITIONED} [0] offset 0" in told, told
    at = int(kcat("-C", "-t", TOPIC, "-o", "40", "-c", "1", "-q", "-f", "%T"))
    found = int(re.search(r"offset (\d+)", kcat("-Q", "-t", f"{TOPIC}:0:{at}"))[1])
    assert found <= 40 and int(kcat("-C", "-t", TOPIC, "-o", str(found), "-c", "1", "-q", "-f", "%T")) == at, found


def list_metadata():
    """-L -J lists the broker and the partitions of each topic."""
    told = json.loads(kcat("-L", "-J"))
    assert [broker["name"] for broker in told["brokers"]] == [BOOTSTRAP], told["brokers"]
    topics = {topic["topic"]: topic["partitions"] for topic in told["topics"]}
    assert len(topics[PARTITIONED]) == 3 and len(topics[TOPIC][0]["isrs"]) == 1, topics


def consume_in_a_group():
    """-G is a balanced consumer that commits; started again it reads nothing twice."""
    settings = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000"]
    first = kcat("-G", "kcat-billing", *settings, "-e", "-q", "-f", r"%o\n", TOPIC).split()
    assert first == [str(offset) for offset in range(5 * COUNT)], f"{len(first)} records"
    kcat("-P", "-t", TOPIC, given="one more\n")
    assert kcat("-G", "kcat-billing", *settings, "-e", "-q", "-f", r"%o\n", TOPIC).split() == [str(5 * COUNT)]


def split_by_a_separator():
    """-D splits what is produced, and joins what is consumed, by another separator."""
    kcat("-P", "-t", PARTITIONED, "-p", "1", "-D", ";", given="a\nb;c")
    told = kcat("-C", "-t", PARTITIONED, "-p", "1", "-o", "beginning", "-e", "-q", "-D", "|")
    assert told == "a\nb|c|", repr(told)


if __name__ == "__main__":
    steps = [create_topic, produce_lines_with_keys_and_headers, produce_compressed, consume_from_the_beginning]
    steps += [consume_as_json, consume_the_last_records, consume_a_span_of_time, query_offsets_by_time, list_metadata]
    steps += [consume_in_a_group, split_by_a_separator]
    run("kcat", kcat_version(), steps)
