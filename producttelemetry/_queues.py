"""All queues of one project: one directory for each server and key that its tools have ever had.

Guarantees: what is behind a link is nobody's queue; a purge that fails for one of them does not spare the others.
"""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from . import _files as files
from ._spool import SENDER_LOCK, Directory

if TYPE_CHECKING:
    from collections.abc import Collection

    from ._config import Paths

#: Longest wait for the lock of one destination, in seconds; a purge does not depend on it.
LOCK_WAIT: Final = 1.0
#: Seconds between two looks whether a sender has ended.
_LOOK: Final = 0.01


def purge(project: Paths, deadline: float = float("inf"), ids: Collection[bytes] | None = None) -> int:
    """Delete what is queued for every destination of a project.

    Args:
        project: whose.
        deadline: `time.monotonic()` beyond which no lock is waited for; a purge does not depend on it.
        ids: see `Directory.purge`.

    Returns:
        How many events that were.

    Raises:
        OSError: one of them could not be purged; all others were.
    """
    events = 0
    failed: OSError | None = None
    if ids is None:  # before the queues: what is being taken over is in one of them then
        try:
            events += _delete_former(project)
        except OSError as error:
            failed = error
    for directory in destinations(project):
        with closing(directory):
            try:
                events += directory.purge(max(0.0, min(LOCK_WAIT, deadline - time.monotonic())), ids)
            except OSError as error:
                failed = error
    if failed is not None:
        raise failed
    return events


def _delete_former(project: Paths) -> int:
    if not files.exists(project.former_events):
        return 0
    from . import _migration  # noqa: PLC0415  # start-up time; hardly anybody has such a file

    return _migration.delete(project)


def destinations(project: Paths) -> list[Directory]:
    """Return every destination of a project that there is; who takes the lock of one closes it."""
    try:
        for place in (os.path.dirname(project.spool), project.spool):
            files.check_directory(place)  # what is behind a link is not ours
        names = files.listing(project.spool)
    except (FileNotFoundError, NotADirectoryError):
        return []
    paths = [os.path.join(project.spool, name) for name in names]
    return [Directory(path) for path in paths if os.path.isdir(path) and not os.path.islink(path)]


def is_sending(spool: str) -> bool:
    """Whether somebody holds `sender.lock`."""
    lock = files.Lock(os.path.join(spool, SENDER_LOCK))
    try:
        return not lock.acquire(0.0)
    finally:
        lock.close()


def senders_pause(project: Paths, deadline: float) -> bool:
    """Wait until nobody is in the middle of a request; who begins another one reads consent and notes first.

    Args:
        project: whose.
        deadline: `time.monotonic()` at which to give up.

    Returns:
        False if somebody still is.
    """
    for directory in destinations(project):
        if not files.exists(directory.where(SENDER_LOCK)):  # nobody has ever sent
            continue
        with contextlib.suppress(OSError):  # where the lock cannot be opened nobody can send either
            while is_sending(directory.path):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_LOOK)
    return True
