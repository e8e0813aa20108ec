"""Fixtures: brokers and stores that are stopped and checked at the end of a test.

`broker` is shared by a module and is whatever STRATA_LAB_BROKER names. `strata` makes brokers with settings of the
test's own. A Strata that logged a WARN or ERROR which the test did not expect fails the test.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from strata_lab import apache, stores, traffic
from strata_lab import broker as brokers
from strata_lab.broker import Broker, Strata
from strata_lab.stores import LocalStack, Minio


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if brokers.chosen() == "kafka":
        mine = [item for item in items if item.get_closest_marker("strata")]
        config.hook.pytest_deselected(items=mine)
        items[:] = [item for item in items if item not in mine]
    for item in items:
        if item.get_closest_marker("java") and not apache.available():
            item.add_marker(pytest.mark.skip(reason="Apache Kafka's tools are not installed (java and mvn are needed)"))
        if item.get_closest_marker("minio") and not Minio.available():
            item.add_marker(pytest.mark.skip(reason="MinIO is not built (STRATA_TEST_MINIO=1 builds it)"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """A failed test shows the end of the log of each broker that it used."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            used = value if isinstance(value, list) else [value]
            for one in used:
                if isinstance(one, Broker) and one.child is not None:
                    report.sections.append((f"log of {one.bootstrap}", one.child.tail(60)))
    return report


def _check(one: Broker) -> None:
    if isinstance(one, Strata):
        complaints = one.unlisted_complaints()
        assert not complaints, "unexpected WARN or ERROR lines:\n" + "\n".join(complaints[:20])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    one = brokers.make(tmp_path_factory.mktemp("broker"))
    with one:
        yield one
    _check(one)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Makes brokers (not started) of the kind under test, for tests that kill or configure them."""
    made: list[Broker] = []

    def make(settings: dict[str, str] | None = None) -> Broker:
        made.append(brokers.make(tmp_path / f"broker-{len(made)}", settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
    for one in made:
        _check(one)


@pytest.fixture
def strata(tmp_path: Path) -> Iterator[Callable[..., Strata]]:
    """Makes Strata brokers (not started) with a store and settings of the test's own."""
    made: list[Strata] = []

    def make(settings: dict[str, str] | None = None, directory: Path | None = None) -> Strata:
        place = directory or tmp_path / f"strata-{len(made)}"
        made.append(Strata(place, settings, stores.CREDENTIALS))
        return made[-1]

    yield make
    for one in made:
        one.close()
    for one in made:
        _check(one)


@pytest.fixture(scope="session")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(tmp_path_factory.mktemp("localstack")) as store:
        yield store


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with Minio(tmp_path_factory.mktemp("minio")) as store:
        store.make_bucket("strata")
        yield store


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A topic name, group name or bucket prefix that no other test uses."""
    return re.sub(r"[^a-z0-9-]+", "-", request.node.name.lower()).strip("-")


@pytest.fixture
def topic(broker: Broker, name: str) -> str:
    return traffic.create_topic(broker.bootstrap, name, partitions=3)
