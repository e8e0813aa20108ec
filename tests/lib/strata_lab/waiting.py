"""The one place that waits: for a condition, with a deadline, and with a message that says what did not happen."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(probe: Callable[[], Value], what: str, seconds: float = 30.0, pause: float = 0.02) -> Value:
    """Calls `probe` until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:.0f} s still waiting for {what} (last answer: {value!r})")
        time.sleep(pause)
