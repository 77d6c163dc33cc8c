"""Programs that leave in every way; see `tests/children.py`."""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from producttelemetry import _detach, _detached
from tests import harness
from tests.children import make, report

if TYPE_CHECKING:
    from producttelemetry import Telemetry


def leave(settings: dict[str, Any]) -> None:
    """Track, then leave; report when that began, and at the very end whether this process has sent by itself.

    Args:
        settings: `way` is an `on_exit`, or the call that comes before a `keep`; `change` is what is odd about this
            process; `before` and `until` say what happens before it leaves; `loaded` that httpx is there already.
    """
    if settings.get("loaded"):
        _load()
    atexit.register(lambda: report(json.dumps("httpx" in sys.modules)))  # before ours, so it is called after ours
    way = settings["way"]
    arguments = settings.setdefault("arguments", {})
    if way in {"auto", "detach", "wait", "keep"}:
        arguments["on_exit"] = way
    _change(settings.get("change"), arguments)
    client = make(settings)
    client.track("test.event", {"number": 0})
    _prepare(client, settings)
    report(json.dumps(time.monotonic()))
    if way == "with":
        with client:
            pass
    elif way in {"flush", "shutdown"}:
        getattr(client, way)()


def _load() -> None:
    """Import what takes long, so that the rest of the time belongs to the server."""
    from producttelemetry import _transport  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]


def _change(change: str | None, arguments: dict[str, Any]) -> None:
    """Be a process in which a detached sender cannot work, or one with descriptors that a child could inherit."""
    executables = {"embedded": "/usr/bin/uwsgi", "no interpreter path": "", "interpreter gone": "/nowhere/python3"}
    if change in executables:
        sys.executable = executables[change]
    elif change == "frozen":
        sys.frozen = True  # type: ignore[attr-defined]  # PyInstaller sets it
    elif change == "compiled":
        _detach.__compiled__ = True  # type: ignore[attr-defined]  # Nuitka sets it in every module
    elif change == "long path":
        sys.path.append("/nowhere/" * 10_000)
    elif change == "transport":
        import httpx  # noqa: PLC0415  # the others show by not importing it that they do not send

        arguments["transport"] = httpx.HTTPTransport()
    elif change == "inheritable pipe":
        os.dup2(1, 50, inheritable=True)  # a number that nothing in the child is put on


def _prepare(client: Telemetry, settings: dict[str, Any]) -> None:
    if settings.get("before") == "flush":
        client.flush()
        client.track("test.event", {"number": 1})
    sender = client._sender
    reached = {"taking turns": lambda: sender.sending, "sending": lambda: sender._posting}
    if settings.get("until") == "told":
        sys.stdin.readline()
    elif "until" in settings:
        harness.wait_until(reached[settings["until"]])


def bare(settings: dict[str, Any]) -> None:
    """Have no streams when the time has come to leave, as daemons do that closed them."""
    atexit.register(lambda: os._exit(1) if "httpx" in sys.modules else None)  # nobody else would send it
    client = make(settings)
    client.track("test.event", {"number": 0})
    atexit.register(os.closerange, 0, 3)  # after ours, so it is called before ours


def detached(settings: dict[str, Any]) -> None:
    """Be a detached sender with a shorter life; report when it began."""
    _load()
    _detached.LIFETIME = settings["lifetime"]  # type: ignore[misc]  # a minute is too long for a test
    report(json.dumps(time.monotonic()))
    _detached.main(settings["task"], host=settings.get("host", 0))


if __name__ == "__main__":
    harness.main(leave, bare, detached)
