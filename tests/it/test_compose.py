"""The compose files parse, and say what the program understands. No engine is needed."""

import subprocess
from pathlib import Path

import pytest
import yaml
from strata_lab.stores import REPOSITORY

FILES = ["localstack/compose.yaml", "infra/docker/compose.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_a_compose_file_names_what_is_there(name: str) -> None:
    path = REPOSITORY / name
    described = yaml.safe_load(path.read_text())
    services = described["services"]
    build = services["strata"]["build"]
    assert (path.parent / build["context"]).resolve() == REPOSITORY
    assert (REPOSITORY / build["dockerfile"]).exists()
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in described["volumes"] or (path.parent / source).exists(), f"{volume} is nowhere"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{port} is open to the network"


@pytest.mark.strata
@pytest.mark.parametrize("name", FILES)
def test_the_settings_of_a_compose_file_are_understood(strata, name: str, tmp_path: Path) -> None:
    words = yaml.safe_load((REPOSITORY / name).read_text())["services"]["strata"]["command"]
    given = dict(word.removeprefix("--set=").split("=", 1) for word in words if word.startswith("--set="))
    broker = strata()
    # The same settings, moved to free ports and a directory of the test.
    mine = {key: value for key, value in broker.settings.items() if key in given}
    broker.settings = given | mine | {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port}"}
    broker.start()
    assert broker.stop() == 0


def test_the_scripts_are_valid_bash() -> None:
    for script in ("tests/run", "tests/tour", "localstack/start", ".ci/run", "tests/lib/setup.sh", "benchmarks/bars"):
        subprocess.run(["bash", "-n", str(REPOSITORY / script)], check=True)
