"""A file system that tests may fill, and make read-only."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from typing import Self


class SmallDisk:
    """A file system of its own, in memory, mounted in the namespace of a process that does nothing else.

    Everybody reaches it through that process. Skips the test where the machine lets nobody mount anything.

    Args:
        mountpoint: an empty directory.
        size: in bytes.
    """

    def __init__(self, mountpoint: Path, size: int) -> None:
        mountpoint.mkdir()
        self._mountpoint = shlex.quote(str(mountpoint))
        problem = ""
        for unshare in (["unshare", "-m"], ["unshare", "-rm"]):
            self._holder = subprocess.Popen(
                [*unshare, "sh"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            problem = self._run(f"mount -t tmpfs -o mode=700,size={size} none {self._mountpoint}")
            if not problem:
                break
            self.close()
        else:
            pytest.skip(f"this machine lets us mount nothing: {problem}")
        self.path = Path(f"/proc/{self._holder.pid}/root{mountpoint}")

    def _run(self, command: str) -> str:
        """Return what went wrong; empty if nothing did."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        try:
            self._holder.stdin.write(f"{command} 2>&1 && echo ok || echo failed\n")
            self._holder.stdin.flush()
        except BrokenPipeError:
            return self._holder.stdout.read()
        said = [self._holder.stdout.readline()]
        while said[-1] not in {"ok\n", "failed\n", ""}:
            said.append(self._holder.stdout.readline())
        return "" if said[-1] == "ok\n" else "".join(said)

    def remount(self, options: str) -> None:
        """Change what may be done with it, `ro` for example."""
        assert "" == self._run(f"mount -o remount,{options} {self._mountpoint}")

    def fill(self) -> None:
        """Leave no room at all."""
        with open(self.path / "filler", "ab", buffering=0) as file, pytest.raises(OSError, match="No space"):  # noqa: PT012
            while True:
                file.write(bytes(4096))

    def clear(self) -> None:
        """Give the room back."""
        (self.path / "filler").unlink()

    def close(self) -> None:
        """Let the namespace go, and the disk with it."""
        self._holder.kill()
        self._holder.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
