"""A host whose surroundings break: the test's side, `Host`, and the program that it talks to.

The test asks over stdin, one command at a time, and gets the answer over stdout; whatever else a host might show,
output or an exception, ends the conversation and fails the test. Commands are calls of the client, and what breaks or
mends the surroundings of this one process: its limits, and single file operations where nothing real can be had for it.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from producttelemetry import _files as files
from tests import children, harness, oracle

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from producttelemetry import Stats, Telemetry


class Host:
    """A process with a client, for a test that breaks what is around it.

    Args:
        url: the server.
        environment: replaces variables of ours; None unsets one.
        settings: `journal`, `uid` and `arguments`, as for `children.make`.
    """

    def __init__(self, url: str, environment: dict[str, str | None] | None = None, **settings: Any) -> None:
        variables = {**harness.unmeasured(), **(environment or {})}
        given = json.dumps({"url": url, **settings})
        self._process = harness.start(
            "host",
            given,
            module="tests.children_disks",
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in variables.items() if value is not None},
        )
        #: Seconds that the last command took in the host.
        self.seconds = 0.0

    def ask(self, command: str, *arguments: Any) -> Any:
        """Have the host do something; returns what it says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the host died of {command}: {self._process.communicate()[1]}"
        answer, self.seconds = json.loads(line)
        return answer

    def track(self, *numbers: int) -> None:
        """Track an event for each number."""
        self.ask("track", *numbers)

    def volatile(self) -> tuple[int, int]:
        """Return (all events that wait, those of them that wait in memory)."""
        stats = self.ask("stats")
        return stats["pending"], stats["volatile"]

    def end(self) -> list[str]:
        """Let the host end as hosts do, and assert that nobody sees a thing; return what its log was told."""
        output, error = self._process.communicate(timeout=60)
        assert (0, "") == (self._process.returncode, error)
        (warnings,) = output.splitlines()
        told: list[str] = json.loads(warnings)
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


# --- the host's side ------------------------------------------------------------------------------------------------


class _Warnings(logging.Handler):
    """What a host would read in its log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def host(settings: dict[str, Any]) -> None:
    """Do as the test says until it closes our stdin; the last line is what the log was told."""
    warnings = _Warnings()
    logging.getLogger("producttelemetry").addHandler(warnings)
    if "journal" in settings:
        oracle.listen(settings.pop("journal"))  # while we may still write there
    if settings.get("uid") is not None:
        _become(settings["uid"])
    client = children.make(settings)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        started = time.monotonic()
        answer = COMMANDS[name](client, *arguments)
        children.report(json.dumps([answer, time.monotonic() - started]))
    children.report(json.dumps(warnings.messages))


def _become(uid: int) -> None:
    """Go on as another user, who need not be able to read this package or Python's: what is needed is imported now."""
    from producttelemetry._transport import Transport  # noqa: PLC0415  # others import it when they need it

    for name in ("_erasure", "_exceptions", "_stats"):
        importlib.import_module(f"producttelemetry.{name}")
    with Transport(f"{harness.NO_SERVER}/api", "key") as transport:
        transport.erase("", time.monotonic() + 1.0)  # some of it is imported by the first request
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _track(client: Telemetry, *numbers: int) -> None:
    for number in numbers:
        client.track("test.event", {"number": number})


def _stats(client: Telemetry) -> dict[str, Any]:
    stats: Stats = client.stats()
    dropped = {reason: number for reason, number in stats.dropped.items() if number}
    return {
        "pending": stats.pending,
        "volatile": stats.volatile,
        "delivered": stats.delivered,
        "dropped": dropped,
    }


def _enabled(client: Telemetry) -> bool:
    return client.enabled


def _disk_works(client: Telemetry) -> bool:
    return client._writer.disk_works


def _retry(client: Telemetry) -> None:
    """Let the second pass after which a disk that failed is tried again."""
    if client._writer._disk_failed_at is not None:
        client._writer._disk_failed_at = float("-inf")


#: Descriptors that fill the holes below the highest that is open.
_fillers: list[int] = []


def _take_descriptors(_client: Telemetry) -> None:
    """Leave no descriptor to be had: EMFILE."""
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        while True:
            _fillers.append(os.dup(0))
    except OSError:
        pass


def _give_descriptors(_client: Telemetry) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while _fillers:
        os.close(_fillers.pop())


def _limit_files(_client: Telemetry, size: int | None) -> None:
    """No file may grow beyond a size: the kernel takes a part of the write that crosses it, then EFBIG."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


#: Operations of `files` as they are, by name, while they are replaced.
_whole: dict[str, Callable[..., Any]] = {}
_entered, _gate = threading.Event(), threading.Event()
_threads: list[threading.Thread] = []


def _break(_: Telemetry, operation: str, error: int) -> None:
    """Have one file operation fail."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    _whole[operation] = getattr(files, operation)
    setattr(files, operation, failing)


def _block(_: Telemetry, operation: str) -> None:
    """Have one file operation wait until the disk is mended, as a network's disk does."""
    whole = _whole[operation] = getattr(files, operation)

    def blocking(*arguments: Any, **options: Any) -> Any:
        _entered.set()
        _gate.wait()
        return whole(*arguments, **options)

    setattr(files, operation, blocking)


def _track_in_thread(client: Telemetry, number: int) -> None:
    _threads.append(threading.Thread(target=_track, args=(client, number), daemon=True))
    _threads[-1].start()
    _entered.wait()


def _join(_: Telemetry, seconds: float) -> list[bool]:
    """Wait for the threads; tell which have ended."""
    until = time.monotonic() + seconds
    for thread in _threads:
        thread.join(max(0.0, until - time.monotonic()))
    return [not thread.is_alive() for thread in _threads]


def _mend(_: Telemetry) -> None:
    _gate.set()
    for operation, function in _whole.items():
        setattr(files, operation, function)
    _whole.clear()


def _call(client: Telemetry, name: str, *arguments: Any) -> Any:
    return getattr(client, name)(*arguments)


COMMANDS: dict[str, Callable[..., Any]] = {
    "call": _call,
    "track": _track,
    "stats": _stats,
    "enabled": _enabled,
    "disk_works": _disk_works,
    "retry": _retry,
    "take_descriptors": _take_descriptors,
    "give_descriptors": _give_descriptors,
    "limit_files": _limit_files,
    "break": _break,
    "block": _block,
    "track_in_thread": _track_in_thread,
    "join": _join,
    "mend": _mend,
}


if __name__ == "__main__":
    harness.main(host)
