"""The compose files, scripts and units of `infra/` and `localstack/` parse, and say what the program understands.

No engine is needed. What the image itself does is in `test_images`.
"""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import boto3
import pytest
import yaml
from confluent_kafka.admin import AdminClient
from strata_lab import ports, stores, traffic, waiting
from strata_lab.children import Child
from strata_lab.container import environment_of, services
from strata_lab.stores import REPOSITORY, LocalStack

FILES = ["localstack/compose.yaml", "infra/docker/compose.yaml"]
TUTORIALS = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "infra/docker/tutorials").glob("*.yaml"))
REFUSED = {"tls.yaml": "TLS and SASL are not served yet", "three-nodes.yaml": "leave the others out"}
SCRIPTS = [
    "tests/run",
    "tests/tour",
    "localstack/start",
    ".ci/run",
    "tests/lib/setup.sh",
    "benchmarks/bars",
    "infra/minio/start",
    *sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "infra/docker/root").rglob("*") if path.is_file()),
]


@pytest.mark.parametrize("name", FILES + TUTORIALS)
def test_a_compose_file_names_what_is_there(name: str) -> None:
    path = REPOSITORY / name
    described = yaml.safe_load(path.read_text())
    all_services = described["services"]
    for service in all_services.values():
        if "build" in service:
            assert (path.parent / service["build"]["context"]).resolve() == REPOSITORY
            assert (REPOSITORY / service["build"]["dockerfile"]).exists()
        assert set(service.get("depends_on", {})) <= set(all_services)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in described.get("volumes", {}) or (path.parent / source).exists(), f"{volume} is nowhere"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{port} is open to the network"


def moved(variables: dict[str, str], directory: Path, port: int, http: int) -> list[str]:
    """Words that move every listener of a service to this machine, the first one to `port`, the gateway to `http`."""
    listeners = variables.get("KAFKA_LISTENERS") or variables.get("KAFKA_CFG_LISTENERS")
    told = listeners or variables.get("KAFKA_ADVERTISED_LISTENERS") or "PLAINTEXT://:9092"
    controllers = variables.get("KAFKA_CONTROLLER_LISTENER_NAMES") or variables.get("KAFKA_CFG_CONTROLLER_LISTENER_NAMES")
    names = [text.split("://")[0] for text in told.split(",")]
    clients = [name for name in names if name != controllers]
    here = ",".join(f"{name}://127.0.0.1:{port if name == clients[0] else ports.free()}" for name in names)
    advertised = ",".join(text for text in here.split(",") if text.split("://")[0] != controllers)
    settings = {
        "listeners": here,
        "advertised.listeners": advertised,
        "log.dirs": str(directory / "data"),
        "strata.http.listeners": f"http://127.0.0.1:{http}",
    }
    return [word for key, value in settings.items() for word in ("--override", f"{key}={value}")]


def partitions_of(bootstrap: str, topic: str) -> list[int]:
    described = AdminClient(traffic.client(bootstrap)).list_topics(topic, timeout=traffic.CLIENT_SECONDS)
    return list(described.topics[topic].partitions)


@pytest.mark.strata
@pytest.mark.parametrize("name", FILES + TUTORIALS)
def test_the_variables_of_a_compose_file_are_understood(strata, name: str, tmp_path: Path, localstack: LocalStack) -> None:
    """The same variables, with listeners and data moved, on a machine that makes no containers."""
    for service in services(REPOSITORY / name).values():
        if service.get("image") != "strata":
            continue
        variables, port, http = environment_of(service), ports.free(), ports.free()
        if "KAFKA_STRATA_TIER_S3_ENDPOINT" in variables:
            place = {"URL": f"s3://strata/{tmp_path.name}", "S3_ENDPOINT": localstack.endpoint}
            variables |= {f"KAFKA_STRATA_TIER_{key}": value for key, value in place.items()}
        words = [strata().program, "serve", *moved(variables, tmp_path, port, http)]
        child = Child("strata", words, tmp_path / "broker.log", variables | {"NO_COLOR": "1"}).start()
        refusal = REFUSED.get(Path(name).name)
        if refusal:
            assert child.wait(30) == 1
            assert refusal in child.output()
            continue

        def serves(child: Child = child, port: int = http) -> bool:
            assert child.running(), child.tail()
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        waiting.until(serves, f"{name} to serve", 60)
        traffic.produce(f"127.0.0.1:{port}", "greetings", [{"value": b"%d" % number} for number in range(10)])
        read = traffic.read_all(f"127.0.0.1:{port}", "greetings", partitions_of(f"127.0.0.1:{port}", "greetings"))
        assert sorted(int(record.value) for record in read) == list(range(10))
        assert child.stop(60) == 0
        assert not re.search(r"unknown config|\bERROR\b|panicked", child.output()), child.output()


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_are_valid_bash(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    if text.startswith("#!/usr/bin/env bash") or "shell=bash" in text.splitlines()[0]:
        subprocess.run(["bash", "-n", str(REPOSITORY / name)], check=True)
    else:
        assert name.endswith((".properties", ".md")), f"{name} is no script"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--bootstrap-server b:1 --list", "topic list --bootstrap-server b:1 --internal"),
        ("--list --exclude-internal --bootstrap-server=b:1", "topic list --bootstrap-server b:1"),
        (
            "--create --if-not-exists --topic t --partitions 3 --replication-factor 1 --config a=b=c --bootstrap-server b:1",
            "topic create --if-not-exists --partitions 3 --replication-factor 1 --config a=b=c --bootstrap-server b:1 t",
        ),
        ("--bootstrap-server b:1 --delete --topic=t --if-exists", "topic delete --bootstrap-server b:1 --if-exists t"),
        ("--bootstrap-server b:1 --describe", ""),
        ("--bootstrap-server b:1 --list --create", ""),
        ("--bootstrap-server b:1 --list --at-min-isr-partitions", ""),
        ("--bootstrap-server", ""),
    ],
)
def test_words_of_kafkas_topic_tool_are_said_to_stratas(tmp_path: Path, words: str, said: str) -> None:
    program = tmp_path / "strata"
    program.write_text('#!/bin/sh\nprintf "%s" "$*"\n')
    program.chmod(0o755)
    script = REPOSITORY / "infra/docker/root/opt/kafka/bin/kafka-topics.sh"
    variables = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([str(script), *words.split()], env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (said, 0 if said else 1), done.stderr


@pytest.mark.minio
def test_the_script_starts_minio_with_its_bucket(tmp_path: Path) -> None:
    script, port = str(REPOSITORY / "infra/minio/start"), ports.free()
    words = ["--port", str(port), "--console-port", str(ports.free()), "--data", str(tmp_path / "data"), "--bucket", "first"]
    variables = {"MINIO_ROOT_USER": stores.KEY_ID, "MINIO_ROOT_PASSWORD": stores.SECRET}
    for start in range(2):  # the second time the bucket is there already
        child = Child("infra/minio/start", [script, *words], tmp_path / f"minio-{start}.log", variables).start()

        def told(child: Child = child) -> bool:
            assert child.running(), child.tail()
            return "export AWS_REGION=us-east-1" in child.output()

        waiting.until(told, "MinIO to be ready", 60)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name=stores.REGION,
            aws_access_key_id=stores.KEY_ID,
            aws_secret_access_key=stores.SECRET,
        )
        assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["first"]
        assert child.stop(30) == 143
        with socket.socket() as probe:
            waiting.until(lambda probe=probe: probe.connect_ex(("127.0.0.1", port)) != 0, "MinIO to end with the script", 30)


def test_the_unit_is_one(tmp_path: Path) -> None:
    unit = REPOSITORY / "infra/systemd/strata.service"
    text = unit.read_text()
    for wanted in ("LimitNOFILE=", "Restart=on-failure", "ReadWritePaths=", "EnvironmentFile=", "TimeoutStopSec="):
        assert wanted in text, wanted
    if shutil.which("systemd-analyze") is None:
        pytest.skip("SKIPPED: the unit is not verified, because there is no systemd-analyze")
    # The program need not be installed here.
    tried = tmp_path / "strata.service"
    tried.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", str(tried)], capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "strata.service" in line]
    assert not complaints, done.stderr
