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
from ._spool import Directory

if TYPE_CHECKING:
    from ._transport import Transport

#: Seconds after which a detached sender is gone.
LIFETIME: Final = 60.0
#: Seconds that it goes on looking after the queue is empty, so that commands in a loop share one.
LINGER: Final = 2.0
#: Descriptors beyond this are not looked for; no host has that many to inherit.
_DESCRIPTORS: Final = 65536


def main(task: dict[str, Any]) -> None:
    """Send what is in the spool, then end.

    Args:
        task: a `Task` as a dict.
    """
    _settle_in()
    _end_in_time()
    deadline = time.monotonic() + LIFETIME
    told = Task(**task)
    if _may_send(told):
        _sender(told).drain(deadline=deadline, linger=LINGER)


def _project(task: Task) -> _config.Paths:
    return _config.Paths(task.config_dir, tuple(task.config_files))


def _may_send(task: Task) -> bool:
    consent = resolve(False, _config.environment(), _config.read_config_files(_project(task)))
    return consent.enabled and not consent.log_only


def _settle_in() -> None:
    """Let go of everything that came from the host: its pipes, its working directory.

    Among the descriptors is the one that has kept `sender.lock` for us until here; the loop takes the lock itself.
    """
    if sys.platform == "win32":
        return  # Popen did it
    os.closerange(3, _DESCRIPTORS)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    os.chdir("/")


def _end_in_time() -> None:
    """End this process in time whatever it waits for: no answer of a server is worth a process that stays."""
    watchdog = threading.Timer(LIFETIME - 1.0, os._exit, (0,))
    watchdog.daemon = True
    watchdog.start()


def _sender(task: Task) -> Sender:
    from ._filelock import FileLock  # noqa: PLC0415  # who has opted out need not load it

    def connect() -> Transport:
        from ._transport import Transport  # noqa: PLC0415  # most of these processes find nothing left to send

        return Transport(task.api_base, task.write_key)

    erasures = Erasures(_project(task), task.spool)
    lock = FileLock(os.path.join(task.spool, "sender.lock"))
    return Sender(Directory(task.spool), lock, connect, lambda: _may_send(task), erasures, Log())
