"""What makes life hard for a server: pages that are no longer there, and what is done to it again and again."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


def evict(data: Path, partitions: str) -> None:
    """Writes back and drops the cached pages of the logs of these partitions (a pattern of directory names)."""
    for file in data.glob(f"{partitions}/*.log"):
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def again_and_again(name: str, act: Callable[[], object], pause: float, done: dict[str, int]) -> Iterator[None]:
    """Acts in a thread until the block ends, with a pause after each time, and counts; what went wrong is raised then."""
    over, failures = threading.Event(), []
    done[name] = 0

    def work() -> None:
        try:
            while not over.is_set():
                act()
                done[name] += 1
                over.wait(pause)
        except Exception as error:  # raised again below, in the thread that waits for it
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]
