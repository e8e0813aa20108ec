"""Runs one S3 server until it is told to stop: `python -m strata_lab.serve_store Minio DIRECTORY FILE`.

FILE gets the server's address once it is ready. For shell scripts; tests use `stores` directly.
"""

import signal
import sys
from pathlib import Path

from . import stores


def main() -> None:
    kind, directory, told = sys.argv[1:]
    with getattr(stores, kind)(Path(directory)) as store:
        ready = Path(told + ".part")
        ready.write_text(store.endpoint)
        ready.rename(told)
        while store.child is not None and store.child.running():
            signal.sigtimedwait([], 1)


if __name__ == "__main__":
    main()
