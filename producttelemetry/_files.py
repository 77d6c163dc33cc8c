"""The only place that opens, writes, syncs, renames, deletes and locks files, and that knows the platforms apart.

Guarantees to the modules above:

- A file is created with mode 0600 and a directory with 0700; a symbolic link in the last place of a path is an error,
  never followed. What root creates in a user's directory belongs to that user.
- `append` is one `write` call of the whole buffer on an append-only descriptor. It says how much the kernel took.
- `rename` is for names that are unique, so that it replaces nothing; `replace` is for small files and replaces at once.
- A lock belongs to the open file description (flock): the kernel drops it when the last copy is closed, that is when
  the process dies. Two descriptors of one process exclude each other like two processes do. `unlock` is explicit
  because a forked child may hold a copy, and closing one of two copies releases nothing.

Every function raises `OSError` as the kernel gives it. All are called as `files.name(...)`, so that a test can
enumerate and replace them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator

#: Device, inode and, where it matters, the time of the last change.
Identity: TypeAlias = tuple[int, int, int]

FILE_MODE: Final = 0o600
DIRECTORY_MODE: Final = 0o700

#: Not on Windows, where creating a link needs a privilege that users do not have.
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
#: Descriptors are not inherited by programs the host starts (Python's default); `O_BINARY` exists on Windows only.
_FLAGS: Final = getattr(os, "O_BINARY", 0) | _NOFOLLOW
#: Opening a pipe in place of a file is an error then, and does not wait for its other end.
_NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
#: Windows locks bytes, and nobody else can read a locked byte: segments are locked far behind their end. Lock files are
#: locked at their first byte, as filelock does, so that both exclude each other on `sender.lock`.
SEGMENT_BYTE: Final = 0x7FFF_FFFF
LOCK_FILE_BYTE: Final = 0
#: What the kernel says of a directory, a link, a pipe, or another user's file in the place of one of ours.
FOREIGN: Final = frozenset((errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ESPIPE, errno.EACCES))
#: What every disk writes as a whole, in bytes.
BLOCK: Final = 512

if sys.platform == "win32":
    import _winapi
    import msvcrt

    _GENERIC_READ_WRITE: Final = 0xC000_0000
    _SHARE_ALL: Final = 0x7
    _CREATE_NEW: Final = 1
    _OPEN_EXISTING: Final = 3
    _OPEN_ALWAYS: Final = 4

    def _open(path: str, disposition: int, flags: int) -> int:
        # os.open shares neither renaming nor deleting, and the spool renames segments that are open.
        handle = _winapi.CreateFile(path, _GENERIC_READ_WRITE, _SHARE_ALL, 0, disposition, 0, 0)
        return msvcrt.open_osfhandle(handle, flags | os.O_RDWR | os.O_BINARY | os.O_NOINHERIT)

    def create(path: str) -> int:
        """Create a new file for appending and reading; return its descriptor."""
        return _open(path, _CREATE_NEW, os.O_APPEND)

    def open_existing(path: str) -> int:
        """Open an existing file for appending and reading; return its descriptor."""
        return _open(path, _OPEN_EXISTING, os.O_APPEND)

    def open_lock(path: str) -> int:
        """Open a lock file, creating it when it is missing; return its descriptor."""
        return _open(path, _OPEN_ALWAYS, 0)

    def try_lock(descriptor: int, byte: int = SEGMENT_BYTE) -> bool:
        """Take the exclusive lock of an open file; False if somebody else has it."""
        os.lseek(descriptor, byte, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(descriptor: int, byte: int = SEGMENT_BYTE) -> None:
        """Release the lock of an open file."""
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def _create(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL | _FLAGS, FILE_MODE)

    def _make(path: str) -> None:
        os.mkdir(path, DIRECTORY_MODE)

    def is_ours(descriptor: int) -> bool:  # noqa: ARG001  # a user's directory has an access list of its own
        """Whether nobody but this user can read an open file that we are about to write to."""
        return True

    def check_links(path: str, levels: int) -> None:
        """Do nothing: nobody is root here."""

    def sync_directory(path: str) -> None:
        """Do nothing: Windows keeps directory entries in the journal and has no call to sync them."""

else:
    import fcntl

    def create(path: str) -> int:
        """Create a new file for appending and reading; return its descriptor."""
        return _create(path, os.O_RDWR | os.O_APPEND)

    def open_existing(path: str) -> int:
        """Open an existing file for appending and reading; return its descriptor."""
        return os.open(path, os.O_RDWR | os.O_APPEND | _FLAGS)

    def open_lock(path: str) -> int:
        """Open a lock file, creating it when it is missing; return its descriptor."""
        if os.geteuid() != 0:
            return os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, FILE_MODE)
        while True:
            try:
                return _open_single(path)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    return _create(path, os.O_RDWR)

    def _open_single(path: str) -> int:
        """Open a file that has no other name: as root, we must not write to what a user has linked here."""
        descriptor = os.open(path, os.O_RDWR | _FLAGS)
        if os.fstat(descriptor).st_nlink > 1:
            os.close(descriptor)
            raise OSError(errno.ELOOP, "a file with several names", path)
        return descriptor

    def check_links(path: str, levels: int) -> None:
        """As root, refuse links that a user has made to what is not that user's.

        After `sudo tool` with HOME kept we write where that user says; it must not be somewhere else.

        Args:
            path: what we are about to write, or to write in.
            levels: how many places, from that one upwards, may be links.

        Raises:
            PermissionError: one of them leads to another owner's place, or nowhere.
        """
        if os.geteuid() != 0:
            return
        for _ in range(levels):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                link = os.lstat(path)
                if stat.S_ISLNK(link.st_mode) and link.st_uid not in {0, _owner(path)}:
                    raise PermissionError(errno.EPERM, "a link that another user has made", path)
            path = os.path.dirname(path)

    def _owner(path: str) -> int | None:
        try:
            return os.stat(path).st_uid
        except OSError:
            return None

    def _create(path: str, flags: int) -> int:
        """Create a file that is not there. After `sudo tool` with HOME kept, the user's own tool has to work on.

        Safe against that user, too: the new inode and the directory whose owner gets it are held by descriptors, never
        by names, which could be another file's by now.
        """
        if os.geteuid() != 0:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL | _FLAGS, FILE_MODE)
        with _opened(os.path.dirname(path)) as parent:
            name = os.path.basename(path)
            descriptor = os.open(name, flags | os.O_CREAT | os.O_EXCL | _FLAGS, FILE_MODE, dir_fd=parent)
            _give(descriptor, parent)
        return descriptor

    def _make(path: str) -> None:
        if os.geteuid() != 0:
            os.mkdir(path, DIRECTORY_MODE)
            return
        with _opened(os.path.dirname(path)) as parent:
            name = os.path.basename(path)
            os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
            with _opened(name, parent) as made:
                if not os.listdir(made):  # else it is another one by now
                    _give(made, parent)

    @contextlib.contextmanager
    def _opened(path: str, parent: int | None = None) -> Generator[int]:
        follow = 0 if parent is None else _NOFOLLOW
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | follow, dir_fd=parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _give(descriptor: int, parent: int) -> None:
        owner = os.fstat(parent).st_uid
        if owner != os.fstat(descriptor).st_uid:
            with contextlib.suppress(OSError):  # root without the privilege, in a container for example
                os.fchown(descriptor, owner, -1)

    def try_lock(descriptor: int, byte: int = SEGMENT_BYTE) -> bool:  # noqa: ARG001  # flock locks whole files
        """Take the exclusive lock of an open file; False if somebody else has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int, byte: int = SEGMENT_BYTE) -> None:  # noqa: ARG001  # flock locks whole files
        """Release the lock of an open file, also when a forked child holds a copy of the descriptor."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def is_ours(descriptor: int) -> bool:
        """Whether nobody but this user, or root, can read an open file that we are about to write to."""
        return os.geteuid() in {0, os.fstat(descriptor).st_uid}

    def sync_directory(path: str) -> None:
        """Put the names in a directory on stable storage."""
        with _opened(path) as descriptor:
            try:
                os.fsync(descriptor)
            except OSError as error:
                if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # a file system that has nothing to sync there
                    raise


append = os.write
close = os.close
sync = os.fsync
unlink = os.unlink


def rename(old: str, new: str) -> None:
    """Give a file its next name. The names of the spool are unique, so nothing is ever replaced."""
    os.rename(old, new)


def make_directory(path: str) -> None:
    """Create a directory and its parents, all 0700; one that exists stays as it is.

    Raises:
        NotADirectoryError: the path exists and is a file or a symbolic link.
    """
    try:
        check_directory(path)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent not in {path, ""} and not os.path.isdir(parent):
            make_directory(parent)
        try:
            _make(path)
        except FileExistsError:
            check_directory(path)


def check_directory(path: str) -> None:
    """Raise an error if a path is not a directory itself.

    Raises:
        FileNotFoundError: there is nothing.
        NotADirectoryError: it is a file or a symbolic link.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "not a directory (symbolic links are not followed)", path)


def names(path: str) -> list[str]:
    """Return the names of the regular files in a directory; links and directories are left out."""
    return [name for name, regular in entries(path) if regular]


def entries(path: str) -> list[tuple[str, bool]]:
    """Return the name of everything in a directory, and whether it is a regular file, by one look."""
    with os.scandir(path) as found:
        return [(entry.name, entry.is_file(follow_symlinks=False)) for entry in found]


def listing(path: str) -> list[str]:
    """Return the names of everything in a directory, in alphabetical order."""
    return sorted(os.listdir(path))


def exists(path: str) -> bool:
    """Whether a path has anything; a link counts, wherever it leads."""
    return path_identity(path) is not None


def identity(descriptor: int) -> Identity | None:
    """Return what tells one open file from another, whatever its name is; None if the descriptor is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino, 0


def link_count(descriptor: int, opened: Identity) -> int:
    """Return how many names an open file has, 0 if it was deleted; -1 if the descriptor is closed or another file's.

    Some network file systems hide a deletion until the file is closed.

    It costs more than its own microsecond: from Linux 6.13 on, a write after it has to stamp the file finely and to
    mark it as changed (https://docs.kernel.org/filesystems/multigrain-ts.html; 0.9 microseconds on ext4, Linux 6.18).
    """
    try:
        status = os.fstat(descriptor)
    except OSError:
        return -1
    return status.st_nlink if status.st_ino == opened[1] and status.st_dev == opened[0] else -1


def path_identity(path: str, *, changes: bool = False) -> Identity | None:
    """Return what tells the file of a path from another; None if there is nothing.

    Args:
        path: a link is not followed.
        changes: the identity is another one after the file was rewritten.
    """
    try:
        status = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns if changes else 0


def size(descriptor: int) -> int:
    """Return the size of an open file in bytes."""
    return os.fstat(descriptor).st_size


def shorten(descriptor: int, length: int) -> None:
    """Cut an open file to a length in bytes."""
    os.ftruncate(descriptor, length)


def blank(path: str, length: int) -> None:
    """Overwrite the first bytes of a file with spaces; what somebody appends meanwhile stays a line of its own."""
    descriptor = os.open(path, os.O_WRONLY | _NONBLOCK | _FLAGS)
    try:
        while length > 0:
            length -= os.write(descriptor, b" " * length)
    finally:
        os.close(descriptor)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write a few bytes at an offset of a file that was not opened for appending."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    os.write(descriptor, data)


def read_open(descriptor: int, offset: int = 0, limit: int = sys.maxsize) -> bytes:
    """Return what an open file holds from an offset on, at most `limit` bytes."""
    length = os.fstat(descriptor).st_size
    if offset >= length:
        return b""
    # Not pread: Windows lacks it. Moving the position is harmless, writes go to the end.
    os.lseek(descriptor, offset, os.SEEK_SET)
    wanted = min(limit, max(0, length - offset))
    parts: list[bytes] = []
    while wanted > 0 and (part := os.read(descriptor, wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def read(path: str, offset: int = 0, limit: int = sys.maxsize) -> bytes:
    """Return what a file holds from an offset on, at most `limit` bytes."""
    descriptor = os.open(path, os.O_RDONLY | _NONBLOCK | _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "not a regular file", path)
        return read_open(descriptor, offset, limit)
    finally:
        os.close(descriptor)


def write_new(path: str, data: bytes, *, durable: bool = False) -> None:
    """Create a file that holds `data`; a file of that name is replaced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # not truncated: it may be a link, a pipe, or the rest of a run as root
    descriptor = _create(path, os.O_WRONLY)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(path: str, data: bytes) -> bool:
    """Create a file with its content at once; False if there is one already. Of several callers one succeeds.

    Raises:
        OSError: also where the file system has no hard links.
    """
    temporary = f"{path}.{os.urandom(4).hex()}"
    try:
        write_new(temporary, data)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return True


def overwrite(path: str, data: bytes, *, durable: bool = False) -> None:
    """Write a small file in place, in one `write`, padded with spaces so that nothing of the old content is left.

    What is longer than that, which only damage is, is cut.

    Within one block of the disk this is as atomic as `replace`, and costs a twentieth on ext4, which flushes the data
    of a file that is renamed over another (measured: 170 against 8 microseconds). It needs no room on a full disk
    either.
    """
    descriptor = open_lock(path)
    try:
        length, before = max(BLOCK, len(data)), os.fstat(descriptor).st_size
        write_at(descriptor, data.ljust(length), 0)
        if before > length:
            os.ftruncate(descriptor, length)
        if durable:
            os.fsync(descriptor)
            if before == 0:
                sync_directory(os.path.dirname(path))
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes, *, durable: bool = False) -> None:
    """Replace a small file at once: a reader sees the old content or the new one, never a part.

    The caller holds the lock that makes it the only writer of this path.
    """
    temporary = f"{path}.new"
    write_new(temporary, data, durable=durable)
    os.replace(temporary, path)
    if durable:
        sync_directory(os.path.dirname(path))
