"""The detached process: the loop of `_sender` with another `main`. `_detach` starts it and says what it guarantees."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from . import _config
from ._consent import resolve
from ._detach import Task
from ._erasure import Erasures
from ._log import Log
from ._sender import Sender
from ._spool import SENDER_LOCK, Directory

if TYPE_CHECKING:
    from ._sender import SenderLock
    from ._transport import Transport

#: Seconds after which a detached sender is gone.
LIFETIME: Final = 60.0
#: Seconds that it goes on looking after the queue is empty, so that commands in a loop share one.
LINGER: Final = 2.0
#: Seconds that it waits for a host that is sending and about to end.
HOST_TIME: Final = 10.0
#: Seconds between two looks at such a host.
_LOOK: Final = 0.02
#: Descriptors beyond this are not looked for; no host has that many to inherit.
_DESCRIPTORS: Final = 65536


def main(task: dict[str, Any], lock: int = -1, host: int = 0) -> None:
    """Send what is in the spool, then end.

    Args:
        task: a `Task` as a dict.
        lock: descriptor that holds `sender.lock` for us, or -1.
        host: process that holds it and sends, in a thread that ends with it; or 0.
    """
    _settle_in(lock)
    _end_in_time()
    deadline = time.monotonic() + LIFETIME
    known = Task(**task)
    if not _may_send(known):
        return
    lock_of_sender = turn(known, lock)
    if host:
        _await(host, lock_of_sender)
    sender(known, lock_of_sender).drain(deadline=deadline, linger=LINGER)


def _project(task: Task) -> _config.Paths:
    return _config.Paths(task.config_dir, tuple(task.config_files))


def _may_send(task: Task) -> bool:
    return resolve(False, _config.environment(), _config.read_config_files(_project(task))).sends


if sys.platform == "win32":

    def _settle_in(lock: int) -> None:
        """Do nothing: `Popen` did it."""

else:

    def _settle_in(lock: int) -> None:
        """Let go of everything that came from the host, its pipes and its working directory, but for the lock."""
        os.closerange(3, max(3, lock))
        os.closerange(max(3, lock + 1), _DESCRIPTORS)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        os.chdir("/")


def _end_in_time() -> None:
    """End this process in time whatever it waits for: no answer of a server is worth a process that stays."""
    watchdog = threading.Timer(LIFETIME - 1.0, os._exit, (0,))
    watchdog.daemon = True
    watchdog.start()


def _await(host: int, lock: SenderLock) -> None:
    """Wait until the lock is ours, or the host has ended and with it its lock: we are its child until after that."""
    until = time.monotonic() + HOST_TIME
    while not lock.acquire(0.0) and os.getppid() == host and time.monotonic() < until:
        time.sleep(_LOOK)


def turn(task: Task, inherited: int = -1) -> SenderLock:
    """Return the lock of the one sender, for a process of our own."""
    from ._filelock import FileLock  # noqa: PLC0415  # who has opted out need not load it

    return FileLock(os.path.join(task.spool, SENDER_LOCK), inherited)


def sender(task: Task, lock: SenderLock | None = None) -> Sender:
    """Return the loop for a process of our own."""

    def connect() -> Transport:
        from ._transport import Transport  # noqa: PLC0415  # most of these processes find nothing left to send

        return Transport(task.api_base, task.write_key, test_dir=_config.test_dir())

    erasures = Erasures(_project(task), task.spool)
    return Sender(Directory(task.spool), lock or turn(task), connect, lambda: _may_send(task), erasures, Log())
