"""Programs that run with one `filelock` or another; see `tests/children.py`."""

from __future__ import annotations

import contextlib
import json
import select
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import filelock

from producttelemetry import _detached
from producttelemetry._detach import Task
from producttelemetry._filelock import FileLock
from producttelemetry._lock import Lock
from tests import harness
from tests.children import make, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry._sender import Sender, SenderLock


def holder(settings: dict[str, Any]) -> None:
    """Take and give back a lock as the test says, and answer whether we have it."""
    lock: SenderLock = Lock(settings["path"]) if settings["by"] == "host" else FileLock(settings["path"])
    for line in sys.stdin:
        if line == "acquire\n":
            report(json.dumps(lock.acquire(0.0)))
        else:
            lock.close()
            report("closed")


def command(settings: dict[str, Any]) -> None:
    """Be a short command of a tool: track, and leave a detached sender behind."""
    make(settings).track("test.event", {"number": settings["number"]})


def sender(settings: dict[str, Any]) -> None:
    """Send what is there with the loop of a detached sender, again and again, until the input ends."""
    client = make(settings)
    options = client._options
    task = Task(options.write_key or "", options.api_base, *client._project, client._spool_dir)
    _take_turns(settings, _detached.sender(task))


def service(settings: dict[str, Any]) -> None:
    """Be a host that tracks and sends, again and again, until its input ends."""
    client = make(settings)

    def track() -> None:
        client.track("test.event")
        client._seal()

    _take_turns(settings, client._sender, track)


def _take_turns(settings: dict[str, Any], loop: Sender, before: Callable[[], object] | None = None) -> None:
    """Run a sender without a pause; report when it has held the lock often enough."""
    turns = 0
    acquire = loop._lock.acquire

    def listening(timeout: float) -> bool:
        nonlocal turns
        taken = acquire(timeout)
        turns += taken
        return taken

    loop._lock = SimpleNamespace(acquire=listening, close=loop._lock.close)  # pyright: ignore[reportAttributeAccessIssue]
    pause = 0.0
    while not select.select([sys.stdin], [], [], pause)[0]:
        if before is not None:
            before()
        seen = turns
        with contextlib.suppress(FileNotFoundError):  # nobody has tracked yet
            loop.drain()
        # Who has had a turn lets others have theirs; and a sender goes on as long as hosts are faster than the server.
        pause = 0.2 if turns > seen or before is not None else 0.005
        if seen < settings["turns"] <= turns:
            report("enough")


if __name__ == "__main__":
    report(filelock.__version__)
    harness.main(holder, command, sender, service)
