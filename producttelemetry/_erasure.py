"""Erasure: the server forgets a client, and no event with its id leaves this machine any more, from any process.

The order: the server agrees; the id is noted as erased, so that no sender puts it on the wire; the id is forgotten, so
that the next event gets another; every segment of every destination is deleted, also those that living processes have
open. A crash after the note leaves lines that are never sent.
"""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from . import _files as files
from . import _identity
from ._record import parse_line, split_lines
from ._spool import Directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._config import Paths
    from ._transport import Transport

#: Longest wait for the lock of one destination, in seconds; the purge does not depend on it.
_PATIENCE: Final = 1.0


def erase(
    project: Paths, client_id: str | None, transport: Transport, deadline: float, decide: Callable[[], bool]
) -> bool:
    """Have a client erased, there and here.

    Args:
        project: whose queues are purged.
        client_id: the id that this process uses; another than that on disk, if the disk failed meanwhile.
        transport: connection to the server.
        deadline: `time.monotonic()` at which to give up.
        decide: asked once the server has agreed, before the first change: whether anybody still waits for the answer.

    Returns:
        Whether it is done. If not, nothing has changed here.
    """
    candidates = (client_id, _identity.read_client_id(project), *_queued_ids(project))
    known = {each for each in candidates if each is not None}
    with transport:
        if not all(transport.erase(each, deadline).kind == "accepted" for each in known):
            return False
    if not decide():
        return False
    for each in known:
        _identity.erase_client_id(project, each)
    purge(project, deadline)
    return True


def _queued_ids(project: Paths) -> set[str]:
    """Return the client ids of what is queued: another than the current one, if that file was lost."""
    found: set[str] = set()
    for directory in destinations(project):
        with closing(directory):
            directory.acquire(_PATIENCE)  # or look without: who is missed now is found by the filter of the sender
            for segment in directory.segments():
                with contextlib.suppress(OSError):  # renamed by somebody without the lock, or nobody can send it either
                    data = files.read(directory.where(segment), segment.offset)
                    found.update(str((parse_line(line) or {}).get("client_id")) for line in split_lines(data))
    return {each for each in found if _identity.is_client_id(each)}


def purge(project: Paths, deadline: float = float("inf")) -> int:
    """Delete what is queued for every destination of a project; no lock is waited for beyond the deadline.

    Returns:
        How many events that were.

    Raises:
        OSError: one of them could not be purged; all others were.
    """
    events = 0
    failed: OSError | None = None
    for directory in destinations(project):
        with closing(directory):
            try:
                events += directory.purge(max(0.0, min(_PATIENCE, deadline - time.monotonic())))
            except OSError as error:
                failed = error
    if failed is not None:
        raise failed
    return events


def destinations(project: Paths) -> list[Directory]:
    """Return every destination of a project that there is; each is to be closed."""
    try:
        for place in (os.path.dirname(project.spool), project.spool):
            files.check_directory(place)  # what is behind a link is not ours
        names = files.listing(project.spool)
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = [os.path.join(project.spool, name) for name in names]
    return [Directory(path) for path in paths if os.path.isdir(path) and not os.path.islink(path)]
