"""`producttelemetry demo`: three processes, one of them killed, no server; then a server; then the comparison.

Everything is real: processes, `SIGKILL`, sockets, the collector. Every writer says over a pipe which event `track()`
has just accepted; the kill falls somewhere between or inside two of those. What the collector holds in the end is
compared with what the writers were told.

This module is also the program that the writers and the sender run: `python -m producttelemetry._demo`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx

from ._client import Telemetry

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._stats import Stats

WRITERS: Final = 3
EVENTS: Final = 300
#: The writer that is killed, and after how many accepted events.
VICTIM: Final = 1
KILLED_AFTER: Final = 150
#: Seconds between two events of a writer: a program at work, so that the kill falls into the middle of it.
_PACE: Final = 0.001


class Row(NamedTuple):
    """One writer's line of the table."""

    writer: int
    accepted: int
    delivered: int
    missing: int
    doubled: int
    invented: int

    @property
    def right(self) -> bool:
        """Whether every accepted event arrived once, and no other."""
        return self.missing == self.doubled == self.invented == 0


def run() -> bool:
    """Run the demo and print what happens; whether nothing was lost."""
    with tempfile.TemporaryDirectory(prefix="producttelemetry-demo-") as home:
        port = _free_port()
        environment = _environment(home, f"http://127.0.0.1:{port}")
        print(f"No server yet. {WRITERS} processes track {EVENTS} events each into one spool.")
        accepted = _track(environment)
        print(f"Process {VICTIM} was killed with SIGKILL after it had been told of {accepted[VICTIM]} accepted events.")
        print(f"\nOn disk: {_ask(environment, 'pending')} events pending, for {sum(accepted)} that were accepted.")
        with _collector(environment, port) as url:
            print(f"The collector is up at {url}; a new process sends what the others left behind.\n")
            left = _ask(environment, "drain")
            rows = _compare(url, accepted)
    return _report(rows, left)


def _environment(home: str, api_url: str) -> dict[str, str]:
    """Return an environment in which nothing of this machine's user is read or written."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OPS_", "XDG_")) and name != "DO_NOT_TRACK" and not name.lower().endswith("_proxy")
    }
    homes = dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), home)
    return {**kept, **homes, "OPS_WRITE_KEY": "demo-key", "OPS_API_URL": api_url}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "producttelemetry._demo", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ourselves


def _track(environment: dict[str, str]) -> list[int]:
    """Run the writers, kill one; return how many events each was told are accepted."""
    writers = [_start(environment, "track", str(number)) for number in range(WRITERS)]
    accepted = [0] * WRITERS
    for number in sorted(range(WRITERS), key=lambda number: number != VICTIM):
        writer = writers[number]
        assert writer.stdout is not None
        with writer, writer.stdout:
            for accepted[number], _ in enumerate(writer.stdout, start=1):
                if number == VICTIM and accepted[number] == KILLED_AFTER:
                    writer.kill()
    return accepted


def _ask(environment: dict[str, str], what: str) -> int:
    """Run something in a process of its own and return the number it prints."""
    with _start(environment, what) as process:
        assert process.stdout is not None
        return int(process.stdout.read() or -1)


@contextlib.contextmanager
def _collector(environment: dict[str, str], port: int) -> Generator[str]:
    """Run the collector as the command does, until the block ends."""
    command = [sys.executable, "-m", "producttelemetry", "collector", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603  # ourselves
        assert server.stdout is not None
        try:
            if not server.stdout.readline():
                raise RuntimeError("the collector did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.stdout.read()


def _compare(url: str, accepted: list[int]) -> list[Row]:
    """Compare what the collector holds with what the writers were told."""
    arrived: Counter[tuple[int, int]] = Counter()
    with httpx.Client(base_url=url, trust_env=False) as client:
        after = 0
        while events := client.get("/events", params={"after": after, "limit": 1000}).json()["events"]:
            after = events[-1]["rowid"]
            for event in events:
                properties = event["event"]["properties"]
                arrived[properties["process"], properties["number"]] += 1
        resent = client.get("/counts").json()["duplicates"]
    if resent:
        print(f"({resent} events were sent twice and stored once.)")
    return [_row(writer, told, arrived) for writer, told in enumerate(accepted)]


def _row(writer: int, told: int, arrived: Counter[tuple[int, int]]) -> Row:
    numbers = {number: times for (process, number), times in arrived.items() if process == writer}
    missing = sum(number not in numbers for number in range(told))
    doubled = sum(times > 1 for times in numbers.values())
    # The victim may have died between the end of track() and telling us of it: one event more than we know of.
    invented = sum(number > told for number in numbers)
    return Row(writer, told, len(numbers), missing, doubled, invented)


def _report(rows: list[Row], left: int) -> bool:
    print("process   accepted   delivered   missing   doubled   invented")
    for row in rows:
        note = "   killed with SIGKILL" if row.writer == VICTIM else ""
        print(
            f"{row.writer:>7}   {row.accepted:>8}   {row.delivered:>9}   {row.missing:>7}   {row.doubled:>7}   "
            f"{row.invented:>8}{note}"
        )
    right = left == 0 and all(row.right for row in rows) and rows[VICTIM].accepted >= KILLED_AFTER
    print("\nNothing was lost, doubled or invented." if right else f"\nFAILED; {left} events are still pending.")
    return right


# --- the processes ----------------------------------------------------------------------------------------------------


def _writer(number: int) -> None:
    telemetry = Telemetry(flush_at=10 * EVENTS, on_exit="keep")
    for event in range(EVENTS):
        telemetry.track("demo.event", {"process": number, "number": event})
        os.write(1, b"%d\n" % event)
        time.sleep(_PACE)


def _drain() -> Stats:
    telemetry = Telemetry(flush_timeout=30.0, on_exit="keep")
    telemetry.flush()
    return telemetry.stats()


if __name__ == "__main__":
    if sys.argv[1] == "track":
        _writer(int(sys.argv[2]))
    elif sys.argv[1] == "pending":
        print(Telemetry(on_exit="keep").stats().pending)
    else:
        print(_drain().pending)
