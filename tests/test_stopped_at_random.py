"""A process that is stopped anywhere delays each of the others once, by a bounded time, and takes nothing away."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from producttelemetry._spool._check import check
from producttelemetry.collector import Fault
from tests import harness, stopped_support
from tests.stopped_support import CAP, promised, running, wait_until_stopped

if TYPE_CHECKING:
    from tests.oracle import Oracle
    from tests.stopped_support import Neighbour

neighbour = stopped_support.neighbour


def test_a_neighbour_that_is_stopped_again_and_again(oracle: Oracle, neighbour: Neighbour) -> None:
    """Sixty times, at any instant, in the end killed: one wait each time, the cap holds, nothing is lost."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    met = 0
    for _ in range(3):
        with running(oracle, "endless") as child:
            assert child.stdout is not None
            assert "ready\n" == child.stdout.readline()
            for _ in range(20):
                time.sleep(chance.random() * 0.01)  # the instant is what is random here
                child.send_signal(signal.SIGSTOP)
                wait_until_stopped(child)
                neighbour.track(5)
                met += len(neighbour.waits.given_up)
                assert promised(oracle.spool) <= CAP + 2, "one step for each process is what the cap may be exceeded by"
                child.send_signal(signal.SIGCONT)
            child.send_signal(signal.SIGSTOP)
    assert met > 5, "the lock was hardly ever held by a stopped process"
    neighbour.track(5)
    neighbour.leave()
    assert 0 == neighbour.client._writer.volatile
    oracle.settle(max_queue_size=CAP, cap=CAP + 2, recounted=3)  # each child was killed at the end


class Place(NamedTuple):
    """Where a process stops itself: see `children_signals.stopping`."""

    name: str
    action: str
    operation: str
    fits: str
    when: str
    before: int = 1
    seal: bool = False
    locked: bool = True


_PLACES = [
    Place("first reservation, file not locked yet", "track", "create", ".tmp", "after", before=0),
    Place("first reservation, file not named yet", "track", "rename", ".tmp", "before", before=0),
    Place("extension, not yet", "track", "rename", ".open", "before"),
    Place("extension, just done", "track", "rename", ".open", "after"),
    Place("eviction, counted and not done", "track", "overwrite", "ledger.json", "after", before=CAP),
    Place("eviction, done", "track", "rename", ".open", "after", before=CAP),
    Place(
        "eviction from a ready segment, counted", "track", "overwrite", "ledger.json", "after", before=CAP, seal=True
    ),
    Place("adoption, not yet", "track", "rename", ".open", "before", seal=True),
    Place("adoption, just done", "track", "rename", ".open", "after", seal=True),
    Place("seal, not yet", "_seal", "rename", ".ready", "before"),
    Place("seal, just done", "_seal", "rename", ".ready", "after"),
    Place("claim, just done", "flush", "rename", ".sending", "after"),
    Place("claim, being read", "flush", "read", ".sending", "before", locked=False),
    Place("acknowledgement, not counted", "flush", "overwrite", "ledger.json", "before"),
    Place("acknowledgement, counted", "flush", "unlink", ".sending", "before"),
    Place("acknowledgement, done", "flush", "unlink", ".sending", "after"),
    Place("purge, mark not set", "purge", "replace", "purged", "before"),
    Place("purge, mark set", "purge", "replace", "purged", "after"),
    Place("purge, counted", "purge", "overwrite", "ledger.json", "after"),
    Place("purge, done", "purge", "unlink", ".open", "after"),
]


#: Every third place where a change is half done; all others are left to `test_crash_points`.
_HALF_DONE = [place for place in _PLACES if place.name.endswith((" yet", "counted", "read"))][::3]
_CASES = [*((place, False) for place in _PLACES), *((place, True) for place in _HALF_DONE)]
_IDS = [f"{place.name}; {'killed' if killed else 'goes on'}" for place, killed in _CASES]


@pytest.mark.parametrize(("place", "killed"), _CASES, ids=_IDS)
def test_a_neighbour_that_is_stopped_inside(place: Place, killed: bool, oracle: Oracle, neighbour: Neighbour) -> None:
    """In the middle of each change of the queue: one wait, the cap holds, and whatever follows nothing is lost."""
    values = {name: getattr(place, name) for name in ("action", "operation", "fits", "when", "before", "seal")}
    with running(oracle, "stopping", events=5, **values) as child:
        wait_until_stopped(child)
        neighbour.track(10)
        assert (1 if place.locked else 0) == len(neighbour.waits.given_up)
        assert promised(oracle.spool) <= CAP + 1
        found = check(str(oracle.spool))
        held = "lock: held by a process that does not go on (invariant 9); the rest was not looked at"
        assert ([held] if place.locked else []) == found
        if killed:
            child.kill()
        else:
            child.send_signal(signal.SIGCONT)
            assert child.stdout is not None
            assert "over\n" == child.stdout.read()
    neighbour.track(5)
    assert [] == neighbour.waits.given_up
    neighbour.leave()
    assert 0 == neighbour.client._writer.volatile
    oracle.settle(max_queue_size=CAP, cap=CAP + 1, recounted=int(killed))


_IMPATIENT = {"flush_timeout": 1.0, "on_exit": "wait"}


def test_a_sender_that_is_stopped_delays_nobody(oracle: Oracle, neighbour: Neighbour) -> None:
    """In the middle of a request, `sender.lock` in hand: others track, flush and leave in their own time."""
    oracle.collector.faults.set(Fault(latency_seconds=1.0))
    nothing = {"operation": "rename", "fits": "nothing", "when": "after"}
    with running(oracle, "stopping", action="flush", before=20, **nothing) as child:
        harness.wait_until(lambda: oracle.collector.journal.total)
        child.send_signal(signal.SIGSTOP)
        wait_until_stopped(child)
        oracle.collector.faults.clear()
        neighbour.track(2 * CAP)
        assert [] == neighbour.waits.given_up
        started = time.monotonic()
        with running(oracle, "stopping", action="flush", before=5, **nothing, arguments=_IMPATIENT) as other:
            assert other.stdout is not None
            assert "over\n" == other.stdout.read()
            assert 0 == other.wait()
        assert time.monotonic() - started < 8.0, "1 s for flush(), 1 s for the exit; the rest is Python's own start"
        assert 1 == oracle.collector.journal.total
        child.send_signal(signal.SIGCONT)
        assert child.stdout is not None
        assert "over\n" == child.stdout.read()
    neighbour.leave()
    oracle.settle(max_queue_size=CAP, cap=CAP + 1)
