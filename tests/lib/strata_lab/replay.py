"""The replay endpoint over plain HTTP, line by line, so that a test can leave in the middle of a row.

A `Replay` collects rows and remembers the last cursor; `cut_after` ends the connection after so many rows without
reading on. A body that ends without its last chunk raises `Aborted`, never looks complete.
"""

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field


class Aborted(Exception):
    """The stream broke off; `line` is the error line that came before, if one came."""

    def __init__(self, line: dict | None):
        super().__init__(f"the stream broke off: {line}")
        self.line = line


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, content_type: str, body: str):
        super().__init__(f"{status} {content_type}: {body}")
        self.status = status
        self.content_type = content_type
        self.body = body

    def problem(self) -> dict:
        assert self.content_type.startswith("application/problem+json"), f"not problem+json: {self}"
        return json.loads(self.body)


@dataclass
class Replay:
    rows: list[dict] = field(default_factory=list)
    cursor: str | None = None
    complete: bool = False

    def next_cursor(self) -> str:
        """Where to go on after the last row: composed from it, with the fixed ends of the last cursor line."""
        assert self.cursor is not None, "every answer begins with a cursor line"
        if not self.rows:
            return self.cursor
        last = self.rows[-1]
        ends = self.cursor.split("~", 1)[1:]
        return "~".join([f"{last['partition']}:{last['offset'] + 1}", *ends])


def lines(base: str, path: str, parameters: dict | list | None = None, seconds: float = 60.0) -> Iterator[dict]:
    """Every line of a streamed answer."""
    address = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=seconds)
    query = urllib.parse.urlencode(parameters or {}, doseq=True)
    last: dict | None = None
    try:
        connection.request("GET", path + (f"?{query}" if query else ""))
        response = connection.getresponse()
        if response.status != 200:
            raise Refused(response.status, response.getheader("content-type", ""), response.read().decode(errors="replace"))
        rest = b""
        # read1 returns what has arrived: waiting for a full buffer would hide how far the stream has come.
        while part := response.read1(65536):
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                last = json.loads(line)
                yield last
        if rest:
            raise Aborted(last)
    except (http.client.IncompleteRead, ConnectionError) as broken:
        raise Aborted(last) from broken
    finally:
        connection.close()


def records(
    base: str,
    topic: str,
    parameters: dict | None = None,
    cut_after: int | None = None,
    seconds: float = 60.0,
    into: Replay | None = None,
) -> Replay:
    """Reads a replay to its end, or leaves after `cut_after` rows. `into` keeps the rows that came before an abort."""
    done = into if into is not None else Replay()
    path = f"/v1/topics/{urllib.parse.quote(topic)}/records"
    for line in lines(base, path, parameters, seconds):
        if "offset" in line:
            done.rows.append(line)
            if cut_after is not None and len(done.rows) >= cut_after:
                return done
        elif "cursor" in line:
            done.cursor = line["cursor"]
            done.complete = bool(line.get("complete"))
        else:
            assert "error" in line, f"a line that is neither row, cursor nor error: {line}"
    assert done.complete, "a replay that was not cut ends with a cursor line that says so"
    return done


def in_pieces(base: str, topic: str, parameters: dict, rows_a_piece: int) -> list[dict]:
    """The same replay, with the connection dropped after so many rows, again and again."""
    rows: list[dict] = []
    cursor: str | None = None
    while True:
        piece = records(base, topic, parameters | ({"cursor": cursor} if cursor else {}), cut_after=rows_a_piece)
        rows += piece.rows
        if piece.complete or not piece.rows:
            return rows
        cursor = piece.next_cursor()


def get(base: str, path: str, seconds: float = 30.0) -> tuple[int, str]:
    """Status and body of a small answer."""
    address = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()


def metrics(base: str) -> dict[str, float]:
    """Every sample of /metrics by its name with labels."""
    status, text = get(base, "/metrics")
    assert status == 200, f"/metrics answered {status}"
    samples = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}
