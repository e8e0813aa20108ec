"""A service of a compose file, run as a container would run it, without an engine.

`Container` gives the service its own network, host name and file system: the image's files over those of this machine,
its user and directories made by the image's own script, its volumes mounted, and its command run by its user. What the
Dockerfile says is read from it (COPY of our files, ENV, USER, CMD, HEALTHCHECK); packages are not installed, and the
program is the one under test. All of it vanishes with the process. Root, `unshare` and overlayfs are needed.

Nothing here limits or secures anything: it proves what an image does when it starts, and nothing about engines.
"""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import yaml

from . import waiting
from .children import Child

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGE = REPOSITORY / "infra" / "docker"
START_SECONDS = 60.0
# Becomes the container's first process. $1 is a directory for mounts, $2 the host name, $3 the program, $4 what to mount.
SETUP = r"""
set -euo pipefail
place="$1" name="$2" program="$3" volumes="$4"
shift 4
ip link set lo up
hostname "$name"
mount -t tmpfs none "$place"
mkdir "$place"/{upper,work,root}
mount -t overlay none -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$place/root"
cp -r "$IMAGE/root/." "$place/root/"
printf '127.0.0.1 localhost %s\n' "$name" >"$place/root/etc/hosts"
touch "$place/root/usr/local/bin/strata"
mount --bind "$program" "$place/root/usr/local/bin/strata"
mount --rbind /dev "$place/root/dev"
mount --rbind /proc "$place/root/proc"
chroot "$place/root" /etc/kafka/docker/layout
while IFS=: read -r source target; do
    [[ -n "$source" ]] || continue
    mkdir -p "$place/root$target"
    # As an engine does with a new volume: it begins with what the image has there.
    [[ -n "$(ls -A "$source")" ]] || cp -a "$place/root$target/." "$source/"
    mount --bind "$source" "$place/root$target"
done <<<"$volumes"
cd "$place/root"
exec chroot "$place/root" setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups --pdeathsig KILL -- \
    env -i "${variables[@]}" "$@"
"""


def available() -> str:
    """Why containers cannot be made here; empty where they can."""
    if os.geteuid() != 0:
        return "only root can make containers"
    missing = [tool for tool in ("unshare", "nsenter", "setpriv", "ip", "chroot") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} missing"
    trial = "mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w /mnt/r && " + (
        "mount -t overlay none -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    )
    tried = subprocess.run(["unshare", "--mount", "--net", "--uts", "sh", "-c", trial], capture_output=True, text=True)
    return tried.stderr.strip()


class Image:
    """What the last stage of the Dockerfile says."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.command: list[str] = []
        self.health: list[str] = []
        self.volumes: list[str] = []
        self.user = "root"
        self.copied: list[str] = []
        lines = (IMAGE / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
        last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
        for line in lines[last + 1 :]:
            word, _, rest = line.partition(" ")
            match word:
                case "ENV":
                    name, _, value = rest.partition("=")
                    self.environment[name] = value
                case "USER":
                    self.user = rest
                case "COPY":
                    self.copied.append(rest)
                case "VOLUME":
                    self.volumes = json.loads(rest)
                case "CMD":
                    self.command = json.loads(rest)
                case "HEALTHCHECK":
                    self.health = json.loads(rest.partition(" CMD ")[2])


def services(compose: Path) -> dict[str, dict]:
    """The services of a compose file."""
    return yaml.safe_load(compose.read_text())["services"]


def environment_of(service: dict) -> dict[str, str]:
    """The variables of a service, in whichever of the two forms they are written."""
    given = service.get("environment") or {}
    pairs = given.items() if isinstance(given, dict) else (text.split("=", 1) for text in given)
    return {name: "" if value is None else str(value) for name, value in pairs}


class Container:
    """One service. `start` waits until its own health check passes."""

    def __init__(self, directory: Path, compose: Path, name: str, variables: dict[str, str] | None = None):
        self.directory = directory
        self.image = Image()
        self.service = services(compose)[name]
        self.compose = compose
        self.name = str(self.service.get("hostname") or name)
        self.variables = self.image.environment | environment_of(self.service) | (variables or {})
        self.log = directory / "container.log"
        self.child: Child | None = None

    def volumes(self) -> str:
        """`source:target` a line. Named volumes and those of the image lie in the test's directory, and stay."""
        pairs = [str(text).split(":")[:2] for text in self.service.get("volumes") or []]
        named = {target: source for source, target in pairs}
        anonymous = {target: target.strip("/").replace("/", "-") for target in self.image.volumes if target not in named}
        lines = []
        for target, source in (anonymous | named).items():
            if source.startswith((".", "/")):
                place = (self.compose.parent / source).resolve()
            else:
                place = self.directory / "volumes" / source
                place.mkdir(parents=True, exist_ok=True)
            lines.append(f"{place}:{target}")
        # The outer ones first: /bitnami before /bitnami/kafka.
        return "\n".join(sorted(lines, key=lambda line: len(line.split(":")[1])))

    def command(self) -> list[str]:
        given = self.service.get("command") or self.image.command
        words = shlex.split(given) if isinstance(given, str) else [str(word) for word in given]
        place = self.directory / "mounts"
        place.mkdir(parents=True, exist_ok=True)
        variables = " ".join(shlex.quote(f"{name}={value}") for name, value in self.variables.items())
        user = 1000 if self.image.user == "appuser" else 0
        setup = f"IMAGE={shlex.quote(str(IMAGE))} USER_ID={user} variables=({variables})\n{SETUP}"
        program = str(Path(os.environ["STRATA_BIN"]).resolve())
        arguments = [str(place), self.name, program, self.volumes()]
        return ["unshare", "--mount", "--net", "--uts", "bash", "-c", setup, "container", *arguments, *words]

    def launch(self) -> Child:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.child = Child(f"container {self.name}", self.command(), self.log).start()
        return self.child

    def start(self) -> "Container":
        child = self.launch()

        def healthy() -> bool:
            assert child.running(), f"{child.name} ended with {child.exit_code()}:\n{child.tail()}"
            return self.inside(self.image.health).returncode == 0

        waiting.until(healthy, f"{child.name} to be healthy", START_SECONDS)
        return self

    def inside(self, words: list[str], seconds: float = 60.0) -> subprocess.CompletedProcess:
        """Runs a program in the container, as `docker exec` does."""
        assert self.child is not None
        enter = ["nsenter", "--target", str(self.child.pid), "--mount", "--net", "--uts", "--root", "--wd"]
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        return subprocess.run(
            [*enter, "env", "-i", *variables, *words], capture_output=True, text=True, timeout=seconds, check=False
        )

    def stop(self) -> int:
        assert self.child is not None
        return self.child.stop(60.0)

    def close(self) -> None:
        if self.child is not None and self.child.running():
            self.child.stop(60.0)
