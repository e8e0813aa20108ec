"""Disks that are small, full, or fail: real file systems in files of the test's directory.

A loop-mounted ext4 is best, because it can also fail; where loop devices are not allowed a tmpfs of limited size stands
in for a small disk and nothing for a failing one. Needs the right to mount (root).
"""

import os
import shutil
import subprocess
from pathlib import Path


class NoDisk(Exception):
    """This machine lets us mount nothing."""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoDisk(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


class Disk:
    """A file system of its own at `path`, unmounted by `close`."""

    def __init__(self, path: Path, size_mib: int):
        if os.geteuid() != 0:
            raise NoDisk("mounting needs root")
        path.mkdir(parents=True)
        self.path = path
        self.ballast = path / "ballast"
        # What the device is made of: a sparse file, in a file system that can be filled behind its back.
        self.below = path.with_name(f"{path.name}-below")
        self.below.mkdir()
        _run("mount", "-t", "tmpfs", "-o", f"size={size_mib + 8}m", "strata-attack", str(self.below))
        self.image = self.below / "image"
        try:
            self._mount_ext4(size_mib)
            self.can_fail = True
        except NoDisk as why:
            print(f"SCALED: no ext4 on a loop device ({why}): a tmpfs stands in, and cannot fail", flush=True)
            _run("mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "strata-attack", str(path))
            self.can_fail = False

    def _mount_ext4(self, size_mib: int) -> None:
        with self.image.open("wb") as file:
            file.truncate(size_mib << 20)
        if shutil.which("mkfs.ext4") is None:
            raise NoDisk("there is no mkfs.ext4")
        # No reserved blocks: full is full for root too.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", str(self.image))
        self._mount()
        shutil.rmtree(self.path / "lost+found", ignore_errors=True)

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=continue", str(self.image), str(self.path))

    def free(self) -> int:
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def fill(self, leave: int) -> None:
        """Takes all space but `leave` bytes away."""
        with self.ballast.open("ab") as file:
            while (left := self.free()) > leave:
                try:
                    file.write(b"\0" * min(left - leave, 1 << 20))
                    file.flush()
                except OSError:
                    return

    def relieve(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def fail(self) -> None:
        """From now on what is written to new places is lost by the device, and the sync of it ends with EIO."""
        assert self.can_fail
        with (self.below / "taken").open("ab", buffering=0) as file:
            try:
                while file.write(b"\0" * (1 << 20)):
                    pass
            except OSError:
                return

    def become_read_only(self) -> None:
        """From now on every change ends with EROFS, as after an error that the file system itself met."""
        assert self.can_fail
        _run("mount", "-o", "remount,abort", str(self.path))

    def repair(self) -> None:
        """After `become_read_only`, when nobody has a file open any more: mounted anew, with what reached the device."""
        _run("umount", str(self.path))
        self._mount()

    def close(self) -> None:
        for place in (self.path, self.below):
            subprocess.run(["umount", "-l", str(place)], capture_output=True)
