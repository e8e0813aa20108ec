"""Runs LocalStack's S3 from its Python package, without Docker, on loopback only.

Start here: `main`. The three things that a container would settle are settled before LocalStack is imported: its
settings come from the environment, its file system root and its object spool lie in a directory of ours that is
removed at the end, and its listener, which LocalStack binds to every interface, is bound to 127.0.0.1.
Use `localstack/start`, which has the right Python.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="localstack/start", description="LocalStack's S3 on 127.0.0.1, without Docker.")
    parser.add_argument("--port", type=int, default=4566, help="port to listen on (default: 4566)")
    parser.add_argument("--bucket", action="append", help="bucket to make at start; repeatable (default: strata)")
    return parser.parse_args()


def configure(port: int, buckets: list[str], root: Path) -> None:
    hooks = root / "etc" / "localstack" / "init"
    hooks.mkdir(parents=True)
    (hooks / "ready.d").symlink_to(HERE / "ready.d")
    os.environ.update(
        OVERRIDE_IN_DOCKER="0",
        SERVICES="s3",
        EAGER_SERVICE_LOADING="1",
        GATEWAY_LISTEN=f"127.0.0.1:{port}",
        DISABLE_EVENTS="1",
        SKIP_SSL_CERT_DOWNLOAD="1",
        DNS_ADDRESS="0",
        FILESYSTEM_ROOT=str(root),
        LS_LOG=os.environ.get("LS_LOG", "warning"),
        STRATA_BUCKETS=",".join(buckets),
    )
    os.environ.pop("TMPDIR", None)  # LocalStack calls it deprecated; tempfile.tempdir says the same
    tempfile.tempdir = str(root)


def keep_to_loopback() -> None:
    from twisted.internet import endpoints

    listen_everywhere = endpoints.TCP4ServerEndpoint

    def listen_on_loopback(reactor, port, backlog=50, interface="127.0.0.1"):
        return listen_everywhere(reactor, port, backlog, "127.0.0.1")

    endpoints.TCP4ServerEndpoint = listen_on_loopback


def keep_spool_in(root: Path) -> None:
    from localstack.services.s3 import provider

    provider.DEFAULT_S3_TMP_DIR = str(root / "spool")


def announce_when_ready(port: int, buckets: list[str]) -> None:
    names = ", ".join(buckets)
    while True:
        try:
            for name in buckets:
                probe = urllib.request.Request(f"http://127.0.0.1:{port}/{name}", method="HEAD")
                urllib.request.urlopen(probe, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
            continue
        print(f"LocalStack S3 is ready on http://127.0.0.1:{port} with bucket {names}", flush=True)
        return


def main() -> None:
    chosen = arguments()
    buckets = chosen.bucket or ["strata"]
    root = Path(tempfile.mkdtemp(prefix="strata-localstack-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        configure(chosen.port, buckets, root)
        keep_to_loopback()
        keep_spool_in(root)
        threading.Thread(target=announce_when_ready, args=(chosen.port, buckets), daemon=True).start()
        from localstack.runtime.main import main as run_localstack

        run_localstack()
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
