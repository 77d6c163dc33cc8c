"""The client id: one UUID per project, made by whichever of its processes comes first, replaced by an erasure.

Guarantees: processes that start at the same moment agree on one id; an erasure that was cut short is noted beside the
    id, so that no line with an erased id is ever put on the wire.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from contextlib import closing
from typing import TYPE_CHECKING, Final

from . import _files as files
from ._event import uuid4

if TYPE_CHECKING:
    from ._config import Paths

_UUID: Final = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Longest wait for another process that creates the id, in seconds; after that we go on without it.
_WAIT: Final = 0.1


def read_client_id(project: Paths) -> str | None:
    """Return the client id, or None if there is none yet or the file is damaged.

    Raises:
        OSError: the file exists and cannot be read.
    """
    try:
        content = files.read(project.client_id, limit=64).strip().lower()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content.decode() if _UUID.fullmatch(content) else None


def client_id(project: Paths) -> str:
    """Return the client id; create it if there is none.

    Raises:
        OSError: it can be neither read nor written.
    """
    known = read_client_id(project)
    if known is not None:
        return known
    _make_directory(project)
    mine = uuid4()
    # Exclusive without a lock: also against a signal handler that comes in between and tracks the first event itself.
    with contextlib.suppress(OSError):  # a file system without hard links; the lock below has to do
        if files.publish(project.client_id, mine.encode() + b"\n"):
            return mine
    known = read_client_id(project)
    if known is not None:
        return known
    with closing(_lock(project)) as lock:
        lock.acquire(_WAIT)
        known = read_client_id(project)
        if known is None:  # there is none, or what is there is no UUID
            known = mine
            files.replace(project.client_id, mine.encode() + b"\n")
        return known


def is_client_id(text: str) -> bool:
    """Whether a text has the form of a client id."""
    return _UUID.fullmatch(text.encode("utf-8", "replace")) is not None


def erased_ids(project: Paths) -> list[bytes]:
    """Return the client ids that must never be sent again.

    Raises:
        OSError: there may be some, and nobody can tell; nothing may be sent then.
    """
    try:
        content = files.read(_erased(project))
    except (FileNotFoundError, NotADirectoryError):
        return []
    ids = [match.group() for match in _UUID.finditer(content.lower())]  # whatever an editor has made of the lines
    if not ids:
        raise OSError(errno.EINVAL, "not a list of client ids", _erased(project))
    return ids


def erase_client_id(project: Paths, erased: str) -> None:
    """Note that an id is erased, then forget it: the next `client_id` makes another.

    The note comes first: a crash in between leaves an id in place that is never sent.
    """
    try:
        _make_directory(project)
    except OSError:
        if files.exists(project.config_dir) and not os.path.isfile(project.config_dir):
            raise
        return  # where there is no directory, there is nothing with this id in it
    with closing(_lock(project)) as lock:
        lock.acquire(_WAIT)
        known = erased_ids(project)
        if erased.encode() not in known:
            noted = b"".join(each + b"\n" for each in [*known, erased.encode()])
            files.replace(_erased(project), noted, durable=True)
        if read_client_id(project) == erased:
            files.unlink(project.client_id)


def _make_directory(project: Paths) -> None:
    """Make the project's directory; it may be a link of the user's to another disk, as it may for the spool."""
    if not os.path.isdir(project.config_dir):
        files.make_directory(project.config_dir)


def _erased(project: Paths) -> str:
    return os.path.join(project.config_dir, "erased")


def _lock(project: Paths) -> files.Lock:
    return files.Lock(os.path.join(project.config_dir, "client_id.lock"))
