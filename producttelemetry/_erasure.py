"""Erasure: the server forgets a client, and no event with its id leaves this machine any more, from any process.

The order: the server agrees; the id is noted as erased, so that no sender puts it on the wire; the id is forgotten, so
that the next event gets another; every segment of every destination is deleted, also those that living processes have
open. A crash after the note leaves lines that are never sent.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Final

from . import _identity
from ._spool import Directory

if TYPE_CHECKING:
    from ._config import Paths
    from ._transport import Transport

#: Longest wait for the lock of one destination, in seconds; the purge does not depend on it.
_PATIENCE: Final = 1.0


def erase(project: Paths, client_id: str | None, transport: Transport, deadline: float) -> bool:
    """Have a client erased, there and here.

    Args:
        project: whose queues are purged.
        client_id: the id that this process uses, if it is not on disk.
        transport: connection to the server.
        deadline: `time.monotonic()` at which to give up.

    Returns:
        Whether it is done. If not, nothing has changed. Without a client id there is nothing to erase.
    """
    known = _identity.read_client_id(project) or client_id
    if known is None:
        return True
    with transport:
        if transport.erase(known, deadline).kind != "accepted":
            return False
    _identity.erase_client_id(project, known)
    purge(project)
    return True


def purge(project: Paths) -> int:
    """Delete what is queued for every destination of a project; return how many events that were."""
    if not os.path.isdir(project.spool):
        return 0
    events = 0
    for name in sorted(os.listdir(project.spool)):
        path = os.path.join(project.spool, name)
        if os.path.isdir(path) and not os.path.islink(path):
            with closing(Directory(path)) as directory:
                events += directory.purge(_PATIENCE)
    return events
