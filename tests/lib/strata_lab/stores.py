"""Real S3 servers as child processes: LocalStack (the default) and MinIO (strict, when it is built)."""

import os
import shutil
import signal
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from . import ports, waiting
from .children import Child

REPOSITORY = Path(__file__).resolve().parents[3]
REGION = "us-east-1"
KEY_ID = "strata-tests"
SECRET = "strata-tests-secret"


class Store:
    """An S3 server with buckets of ours."""

    name = "store"

    def __init__(self, directory: Path):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = ports.free()
        self.child: Child | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def health(self) -> str:
        raise NotImplementedError

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Store":
        self.child = Child(self.name, self.command(), self.directory / f"{self.name}.log", self.environment()).start()
        child = self.child

        def healthy() -> bool:
            assert child.running(), f"{self.name} ended with {child.exit_code()}:\n{child.tail()}"
            try:
                urllib.request.urlopen(self.endpoint + self.health(), timeout=2).close()
                return True
            except (urllib.error.URLError, OSError):
                return False

        waiting.until(healthy, f"{self.name} to be ready", 60)
        return self

    def close(self) -> None:
        if self.child is not None and self.child.running():
            self.child.stop()

    def __enter__(self) -> "Store":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def freeze(self) -> None:
        """Requests hang, as with a store that stopped answering."""
        assert self.child is not None
        self.child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.child is not None
        self.child.send(signal.SIGCONT)

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
        )

    def make_bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """Every key under the prefix with its size."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}

    def download(self, bucket: str, directory: Path, prefix: str = "") -> Path:
        """Copies what lies under the prefix to a directory, keys as paths."""
        client = self.client()
        for key in self.keys(bucket, prefix):
            target = directory / key.removeprefix(prefix).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, key, str(target))
        return directory

    def settings(self, bucket: str, prefix: str = "", endpoint: str | None = None) -> dict[str, str]:
        """What `Strata` needs to use a bucket of this store."""
        return {
            "strata.tier.url": f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}",
            "strata.tier.s3.endpoint": endpoint or self.endpoint,
            "strata.tier.s3.region": REGION,
        }


CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}


class LocalStack(Store):
    """LocalStack's S3. It checks no signatures and keeps nothing across a restart: `freeze` it, do not restart it."""

    name = "localstack"

    def __init__(self, directory: Path, bucket: str = "strata"):
        super().__init__(directory)
        self.bucket = bucket

    def command(self) -> list[str]:
        python = os.environ["STRATA_LAB_LOCALSTACK_PYTHON"]
        script = REPOSITORY / "localstack" / "serve.py"
        return [python, str(script), "--port", str(self.port), "--bucket", self.bucket]

    def environment(self) -> dict[str, str]:
        return {"TMPDIR": str(self.directory)}

    def health(self) -> str:
        return f"/{self.bucket}"


class Minio(Store):
    """MinIO: checks signatures and checksums, keeps its data across restarts."""

    name = "minio"

    def __init__(self, directory: Path):
        super().__init__(directory)
        self.console_port = ports.free()

    def command(self) -> list[str]:
        program = os.environ["STRATA_LAB_MINIO"]
        addresses = ["--address", f"127.0.0.1:{self.port}", "--console-address", f"127.0.0.1:{self.console_port}"]
        return [program, "server", "--quiet", *addresses, str(self.directory / "minio-data")]

    def environment(self) -> dict[str, str]:
        home = tempfile.mkdtemp(prefix="minio-home-", dir=self.directory)
        return {"MINIO_ROOT_USER": KEY_ID, "MINIO_ROOT_PASSWORD": SECRET, "HOME": home, "MINIO_UPDATE": "off"}

    def health(self) -> str:
        return "/minio/health/ready"

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.directory / "minio-data", ignore_errors=True)

    @staticmethod
    def available() -> bool:
        return bool(os.environ.get("STRATA_LAB_MINIO"))
