"""What makes life hard for a server: pages that are no longer there, and writeback."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

EVERY_SECONDS = 0.2


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
def _again_and_again(act: Callable[[], None], pause: float) -> Iterator[list[int]]:
    """Acts in a thread until the block ends; yields a list whose only number counts the times."""
    over, done = threading.Event(), [0]

    def work() -> None:
        while not over.is_set():
            act()
            done[0] += 1
            over.wait(pause)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        over.set()
        thread.join()


def evicting(data: Path, partitions: str) -> contextlib.AbstractContextManager[list[int]]:
    return _again_and_again(lambda: evict(data, partitions), EVERY_SECONDS)


def syncing() -> contextlib.AbstractContextManager[list[int]]:
    """Has the kernel write back all that is dirty, without pause."""
    return _again_and_again(os.sync, 0.01)
