"""Which client ids were erased and which are being erased: two small files beside the client id.

| file | holds |
|---|---|
| `erased` | ids that are never put on the wire again, one on each line, for good |
| `erasing` | requests to erase that are not done with, one on each line: id, destination, state |

A line of `erasing` is `ASKING` from before the server is asked until the queue is clean, or until the server refuses.
It is a time once the queue is clean and the server has not agreed yet: that is when to ask it again (seconds since
1970).

`erasing.lock` is held by whoever asks, and by whoever changes one of the files. So an `ASKING` line whose lock is free
is a dead process's: nobody was told that it failed, and what it began is finished (`_erasure`).
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from . import _files as files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ._config import Paths

#: The state of a request of which nobody knows yet what became of it.
ASKING: Final = "asking"

_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
#: What a client id looks like.
CLIENT_ID: Final = re.compile(_UUID.encode())
#: What damage or an editor took away of a line is as it was before anything was done.
_REQUEST: Final = re.compile(rf"({_UUID})(?:[ \t]+([0-9a-f]+)(?:[ \t]+([0-9]{{1,15}}))?)?".encode())


class Request(NamedTuple):
    """One line of `erasing`.

    Attributes:
        client_id: whom to erase.
        destination: name of the spool directory of the server and key to ask with.
        state: `ASKING`, or when to ask again, in seconds since 1970.
    """

    client_id: str
    destination: str
    state: str = ASKING


def erased_ids(project: Paths) -> frozenset[bytes]:
    """Return the client ids that must never be sent again.

    Raises:
        OSError: there may be some, and nobody can tell; nothing may be sent then.
    """
    return frozenset(match.group() for match in CLIENT_ID.finditer(_content(_erased(project))))


def requests(project: Paths) -> list[Request]:
    """Return the requests that are not done with.

    Raises:
        OSError: there may be some, and nobody can tell; nothing may be sent then.
    """
    found: list[Request] = []
    for match in _REQUEST.finditer(_content(_erasing(project))):
        client_id, destination, state = (part.decode() for part in match.groups(b""))
        found.append(Request(client_id, destination, state or ASKING))
    return found


def _content(path: str) -> bytes:
    """Return what a file holds, nothing if there is none; whatever an editor has made of it holds an id at least."""
    try:
        content = files.read(path).lower()
    except (FileNotFoundError, NotADirectoryError):
        return b""
    if not CLIENT_ID.search(content):
        raise OSError(errno.EINVAL, "not a list of client ids", path)
    return content


def note_erased(project: Paths, ids: Iterable[str]) -> None:
    """Note for good, and on stable storage, that no line with these ids may be sent. `erasing.lock` is held."""
    known = erased_ids(project)
    new = {each.encode() for each in ids} - known
    if new:
        files.replace(_erased(project), b"".join(each + b"\n" for each in sorted(known | new)), durable=True)


def write_requests(project: Paths, left: Collection[Request]) -> None:
    """Replace all requests, on stable storage. `erasing.lock` is held."""
    path = _erasing(project)
    if left:
        files.replace(path, "".join(f"{' '.join(each)}\n" for each in left).encode(), durable=True)
    elif files.exists(path):
        files.unlink(path)
        files.sync_directory(project.config_dir)


def lock(project: Paths) -> files.Lock:
    """Return the lock of both files."""
    return files.Lock(os.path.join(project.config_dir, "erasing.lock"))


def _erased(project: Paths) -> str:
    return os.path.join(project.config_dir, "erased")


def _erasing(project: Paths) -> str:
    return os.path.join(project.config_dir, "erasing")
