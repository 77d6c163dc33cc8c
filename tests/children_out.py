"""A host that uses all of the interface while the interpreter itself watches what it does: `test_out_means_nothing`.

The audit hook is there before anything of the package is, and stays until the process is gone. It reports on a pipe
that the test reads, because some of it happens after the last line of this file.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: Whatever makes a process, a thread or a connection, or changes a file system; `open` is looked at more closely.
_WATCHED = (
    "socket.",
    "subprocess.",
    "os.fork",
    "os.posix_spawn",
    "os.exec",
    "os.system",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.utime",
    "fcntl.",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _watch(descriptor: int, home: str) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        told = None
        if event.startswith(_WATCHED):
            told = event
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                told = f"write {path}"
            elif isinstance(path, str) and path.startswith(home):
                told = f"read {path.removeprefix(home)}"
        elif event == "import" and arguments[0] in {"httpx", "filelock", "platformdirs"}:
            told = f"import {arguments[0]}"
        if told is not None:
            os.write(descriptor, told.encode() + b"\n")

    sys.addaudithook(hook)
    for name in {"start_new_thread", "start_joinable_thread"} & set(dir(_thread)):  # no event tells of them everywhere
        setattr(_thread, name, _telling(getattr(_thread, name), descriptor))


def _telling(start: Callable[..., object], descriptor: int) -> Callable[..., object]:
    def telling(*given: object, **named: object) -> object:
        os.write(descriptor, b"thread\n")
        return start(*given, **named)

    return telling


def main() -> None:
    """Use everything that a host may use."""
    settings = json.loads(sys.argv[1])
    _watch(settings["report"], os.environ["HOME"])
    from producttelemetry import Telemetry  # noqa: PLC0415  # not before somebody watches

    arguments: dict[str, Any] = {"flush_at": 1, "flush_interval": 0.01, **settings["arguments"]}
    client = Telemetry("key", settings["url"], **arguments)
    with Telemetry("key", settings["url"], project_slug="tool", **arguments) as other:
        for each in (client, other):
            each.track("test.event", {"a": 1})
            each.identify("user")
            each.error(ValueError("no"))
            each.flush()
    client.stats()
    # `other` was shut down; `client` is left to the exit handler.


if __name__ == "__main__":
    main()
