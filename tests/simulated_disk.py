"""A disk in memory, under the real `_files`: it forgets what was not synced, and fails when it is told to.

What a power cut may take, as pessimistic as journalling file systems are (ext4, XFS, APFS, NTFS):

- names: changes of directories happen in their order, so that a cut leaves a prefix of them, and at least what was
  there when a directory was last synced;
- content: of each file any version since its last `fsync`; of what is longer then, any number of bytes, and the rest
  cut off or zeros. One write within a block of 512 bytes is whole or not at all.

Syncing a file does not sync its name. A process that is killed takes nothing along but its locks and descriptors.

Processes are just numbers: whoever is `current` makes the calls. Killing one means that every further call of its
raises `Dead`, so that no `finally` of the code above can tidy up after the kill. A stopped one raises `Dead`, too, but
keeps its locks.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

from producttelemetry._files import BLOCK
from tests.syscalls import CHANGES, System

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

#: `tear` kills in the middle of a write.
Failure: TypeAlias = Literal["kill", "tear", "stop", "ENOSPC", "EIO", "short"]

#: What each can happen to. Unlocking, closing and renaming need neither room nor a good block.
_FAILING: Final[dict[Failure, frozenset[str]]] = {
    "kill": CHANGES,
    "stop": CHANGES,
    "tear": frozenset({"write"}),
    "short": frozenset({"write"}),
    "ENOSPC": frozenset({"write", "open", "mkdir", "link"}),
    "EIO": frozenset({"write", "open", "fsync"}),
}


#: What is this small is written at once or not at all, in bytes.
_WHOLE: Final = 64


class Dead(BaseException):
    """The process that made this call does not go on."""


@dataclass(eq=False)
class Inode:
    """A file or directory, whatever names it has.

    Attributes:
        versions: content at the last sync and after each change since; the last one is what everybody sees.
        owner: the descriptor that holds the lock, or None.
    """

    number: int
    is_directory: bool = False
    versions: list[bytes] = field(default_factory=lambda: [b""])
    changed: int = 0
    owner: int | None = None


@dataclass
class _Open:
    process: int
    inode: Inode
    appending: bool
    position: int = 0


class _Entry(NamedTuple):
    name: str
    is_directory: bool

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002  # there are no links
        return not self.is_directory


class SimulatedDisk(System):
    """See the module.

    Attributes:
        current: the process that makes the calls.
        failing: what happens to the first operation that it can happen to, after so many changes; the counts run down.
    """

    def __init__(self) -> None:
        self.current = 0
        self.failing: list[tuple[int, Failure]] = []
        self._dead: set[int] = set()
        self._inodes = 0
        self._root = self._new_inode(is_directory=True)
        self._names: dict[str, Inode] = {"/": self._root}
        self._stable_names = dict(self._names)
        self._journal: list[dict[str, Inode]] = []
        self._open: dict[int, _Open] = {}
        self._next_descriptor = 1000
        self._time = 0
        self.geteuid = lambda: 1000
        self.path = SimpleNamespace(join=posixpath.join, dirname=posixpath.dirname, isdir=self._is_directory)

    # --- what happens to processes and the machine ------------------------------------------------------------------

    def kill(self, process: int) -> None:
        """The kernel drops locks and descriptors."""
        self._dead.add(process)
        for descriptor, opened in list(self._open.items()):
            if opened.process == process:
                self._close(descriptor)

    def revive(self, process: int) -> None:
        """The next process of this number is another one."""
        self._dead.discard(process)

    def power_cut(self, choose: Callable[[int], int]) -> None:
        """Everybody dies, and what was not synced may be gone.

        Args:
            choose: gives a number from 0 to its argument.
        """
        self._open.clear()
        self._dead.clear()
        states = [self._stable_names, *self._journal]
        self._names = dict(states[choose(len(states) - 1)])
        self._journal.clear()
        self._stable_names = dict(self._names)
        for inode in {each.number: each for each in self._names.values()}.values():
            inode.versions = [_after_power_cut(inode.versions, choose)]
            inode.owner = None

    # --- calls --------------------------------------------------------------------------------------------------------

    def call(self, name: str, *given: Any, **named: Any) -> Any:
        """Carry out one operation, unless something happens to it."""
        if self.current in self._dead:
            raise Dead
        failure = self._failure(name) if name in CHANGES else None
        if failure in {"ENOSPC", "EIO"}:
            raise OSError(getattr(errno, failure), os.strerror(getattr(errno, failure)))
        if failure in {"kill", "stop"}:
            self._end(stopped=failure == "stop")
        if failure in {"short", "tear"} and self._grows(*given):
            given = (given[0], given[1][: len(given[1]) // 2])
        result = getattr(self, f"_do_{name}")(*given, **named)
        if failure == "tear":
            self._end(stopped=False)
        return result

    def _grows(self, descriptor: int, data: bytes) -> bool:
        """Whether a write needs more than a block that the file has already; a few bytes never do."""
        return len(data) > _WHOLE and self._opened(descriptor).appending

    def _end(self, *, stopped: bool) -> NoReturn:
        if not stopped:
            self.kill(self.current)
        self._dead.add(self.current)
        raise Dead

    def _failure(self, name: str) -> Failure | None:
        if not self.failing:
            return None
        left, failure = self.failing[0]
        if left > 0:
            self.failing[0] = (left - 1, failure)
            return None
        if name not in _FAILING[failure]:
            return None
        self.failing.pop(0)
        return failure

    def _do_open(self, path: str, flags: int, mode: int = 0o777, dir_fd: None = None) -> int:  # noqa: ARG002  # one user
        inode = self._names.get(path)
        if inode is None:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, "No such file", path)
            self._check_parent(path)
            inode = self._new_inode()
            self._rename_all({path: inode})
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        elif inode.is_directory and flags & (os.O_WRONLY | os.O_RDWR):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        if flags & os.O_TRUNC and inode.versions[-1]:
            self._write(inode, b"")
        self._next_descriptor += 1  # never used again: what is closed stays closed
        self._open[self._next_descriptor] = _Open(self.current, inode, bool(flags & os.O_APPEND))
        return self._next_descriptor

    def _do_close(self, descriptor: int) -> None:
        self._opened(descriptor)
        self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        opened = self._open.pop(descriptor)
        if opened.inode.owner == descriptor:
            opened.inode.owner = None

    def _do_read(self, descriptor: int, length: int) -> bytes:
        opened = self._opened(descriptor)
        data = opened.inode.versions[-1][opened.position : opened.position + length]
        opened.position += len(data)
        return data

    def _do_write(self, descriptor: int, data: bytes) -> int:
        opened = self._opened(descriptor)
        content = opened.inode.versions[-1]
        at = len(content) if opened.appending else opened.position
        self._write(opened.inode, content[:at].ljust(at, b"\0") + data + content[at + len(data) :])
        opened.position = at + len(data)
        return len(data)

    def _do_lseek(self, descriptor: int, position: int, _: int) -> int:
        self._opened(descriptor).position = position
        return position

    def _do_fsync(self, descriptor: int) -> None:
        inode = self._opened(descriptor).inode
        if inode.is_directory:
            self._stable_names = dict(self._names)
            self._journal.clear()
        else:
            inode.versions = inode.versions[-1:]

    def _do_ftruncate(self, descriptor: int, length: int) -> None:
        inode = self._opened(descriptor).inode
        self._write(inode, inode.versions[-1][:length].ljust(length, b"\0"))

    def _do_fstat(self, descriptor: int) -> SimpleNamespace:
        inode = self._opened(descriptor).inode
        return _status(inode, sum(each is inode for each in self._names.values()))

    def _do_stat(self, path: str, *, follow_symlinks: bool = True) -> SimpleNamespace:  # noqa: ARG002  # there are none
        return _status(self._existing(path))

    _do_lstat = _do_stat

    def _do_rename(self, old: str, new: str) -> None:
        inode = self._existing(old)
        self._rename_all({new: inode}, old)

    _do_replace = _do_rename

    def _do_link(self, old: str, new: str) -> None:
        if new in self._names:
            raise FileExistsError(errno.EEXIST, "File exists", new)
        self._rename_all({new: self._existing(old)})

    def _do_unlink(self, path: str) -> None:
        self._existing(path)
        self._rename_all({}, path)

    def _do_mkdir(self, path: str, mode: int) -> None:  # noqa: ARG002  # everybody is the same user
        if path in self._names:
            raise FileExistsError(errno.EEXIST, "File exists", path)
        self._check_parent(path)
        self._rename_all({path: self._new_inode(is_directory=True)})

    @contextmanager
    def _do_scandir(self, path: str) -> Generator[list[_Entry]]:
        names = self._do_listdir(path)
        yield [_Entry(name, self._names[posixpath.join(path, name)].is_directory) for name in names]

    def _do_listdir(self, path: str) -> list[str]:
        self._existing(path)
        return [posixpath.basename(each) for each in self._names if posixpath.dirname(each) == path and each != path]

    def _do_flock(self, descriptor: int, operation: int) -> None:
        inode = self._opened(descriptor).inode
        if operation & self.LOCK_UN:
            inode.owner = None if inode.owner == descriptor else inode.owner
        elif inode.owner in {None, descriptor}:
            inode.owner = descriptor
        else:
            raise BlockingIOError(errno.EWOULDBLOCK, "locked")

    # --- what they are made of ----------------------------------------------------------------------------------------

    def _new_inode(self, *, is_directory: bool = False) -> Inode:
        self._inodes += 1
        return Inode(self._inodes, is_directory)

    def _write(self, inode: Inode, content: bytes) -> None:
        self._time += 1
        inode.changed = self._time
        inode.versions.append(content)

    def _rename_all(self, new: dict[str, Inode], gone: str | None = None) -> None:
        if gone is not None:
            del self._names[gone]
        self._names |= new
        self._journal.append(dict(self._names))

    def _existing(self, path: str) -> Inode:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._names[path]

    def _opened(self, descriptor: int) -> _Open:
        opened = self._open.get(descriptor)
        if opened is None or opened.process != self.current:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return opened

    def _check_parent(self, path: str) -> None:
        if not self._existing(posixpath.dirname(path)).is_directory:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)

    def _is_directory(self, path: str) -> bool:
        inode = self._names.get(path)
        return inode is not None and inode.is_directory


def _status(inode: Inode, links: int = 1) -> SimpleNamespace:
    mode = stat.S_IFDIR if inode.is_directory else stat.S_IFREG
    return SimpleNamespace(
        st_uid=1000,
        st_dev=1,
        st_ino=inode.number,
        st_nlink=links,
        st_mode=mode,
        st_size=len(inode.versions[-1]),
        st_mtime_ns=inode.changed,
    )


def _after_power_cut(versions: list[bytes], choose: Callable[[int], int]) -> bytes:
    stable, chosen = versions[0], versions[choose(len(versions) - 1)]
    if len(chosen) <= max(len(stable), BLOCK) or not chosen.startswith(stable):
        return chosen
    written = len(stable) + choose(len(chosen) - len(stable))
    length = written + choose(1) * choose(len(chosen) - written)
    return chosen[:written].ljust(length, b"\0")
