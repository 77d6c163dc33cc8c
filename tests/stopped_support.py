"""What the tests of stopped processes share: a neighbour that goes on and is measured, children that stand still.

A file takes the fixture by assigning it, as in `neighbour = stopped_support.neighbour`.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _lock
from producttelemetry._lock import Lock
from producttelemetry._record import parse_name
from tests import harness
from tests.oracle import listen

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from producttelemetry import Telemetry
    from tests.oracle import Oracle

MODULE = "tests.children_signals"
#: Small, so that every event needs the lock of the directory, and a full queue is soon reached.
CAP = 64
#: What one stopped process may cost one `track()`, in seconds.
LONGEST_WAIT = 0.15
#: The same by the clock, with what a busy machine may add.
LONGEST_TRACK = LONGEST_WAIT * 10


class Waits:
    """How long `track()` has slept for a lock, by the pauses it asked for: a busy machine does not change them."""

    def __init__(self) -> None:
        self._asked = 0.0
        self.given_up: list[float] = []
        self.longest = 0.0

    monotonic = staticmethod(time.monotonic)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def sleep(self, seconds: float) -> None:
        """Stand for `time.sleep` in `_files`."""
        self._asked += seconds
        time.sleep(seconds)

    def watch(self, acquire: Callable[..., bool]) -> Callable[..., bool]:
        """Return `Lock.acquire` with a look at what it does."""

        def watched(lock: Lock, *given: float) -> bool:
            self._asked = 0.0
            taken = acquire(lock, *given)
            self.longest = max(self.longest, self._asked)
            if self._asked and not taken:
                self.given_up.append(self._asked)
            return taken

        return watched


class Neighbour:
    """A client in this process that tells the oracle of its events and measures them."""

    def __init__(self, client: Telemetry, waits: Waits, journal: str) -> None:
        self.client = client
        self.waits = waits
        self._number = 0
        self._end: Callable[[], None] | None = listen(journal)

    def track(self, number: int) -> None:
        """Track while somebody is stopped: at most one wait for all of these, and that is bounded."""
        self.waits.given_up.clear()
        self.waits.longest = 0.0
        for _ in range(number):
            started = time.monotonic()
            self.client.track("test.event", {"number": self._number})
            self._number += 1
            assert time.monotonic() - started < LONGEST_TRACK
        assert len(self.waits.given_up) <= 1, "waited twice for one stopped process"
        assert self.waits.longest < LONGEST_WAIT

    def leave(self) -> None:
        """End as a process does."""
        if self._end is not None:
            harness.discard(self.client)
            self._end()
            self._end = None


@pytest.fixture
def neighbour(
    oracle: Oracle, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Neighbour]:
    """A client that goes on while another process stands still."""
    waits = Waits()
    monkeypatch.setattr(_lock, "time", waits)
    monkeypatch.setattr(Lock, "acquire", waits.watch(Lock.acquire))
    client = telemetry(oracle.collector.url, max_queue_size=CAP, flush_at=10**6, flush_interval=3600.0)
    made = Neighbour(client, waits, oracle.journal())
    yield made
    made.leave()


def settings(oracle: Oracle, **values: Any) -> str:
    """Encode what a child has to know."""
    arguments = {"max_queue_size": CAP, "flush_at": 10**6, "flush_timeout": 30.0, **values.pop("arguments", {})}
    return json.dumps({"url": oracle.collector.url, "journal": oracle.journal(), "arguments": arguments, **values})


@contextmanager
def running(oracle: Oracle, program: str, **values: Any) -> Generator[subprocess.Popen[str]]:
    """Run a program of ours; in the end it is gone, stopped or not."""
    child = harness.start(program, settings(oracle, **values), MODULE)
    with child:
        try:
            yield child
        finally:
            child.kill()


def wait_until_stopped(child: subprocess.Popen[str]) -> None:
    """Wait until a child stands still."""
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "the child has ended before it came to the place"


def promised(spool: Path) -> int:
    """Return how many slots the names promise."""
    return sum(segment.slots for name in os.listdir(spool) if (segment := parse_name(name)) and segment.state != "tmp")
