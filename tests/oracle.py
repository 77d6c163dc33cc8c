"""The question that every fault has to answer: where is each event that `track()` accepted?

Whoever tracks tells a journal first what it is about to store and then that it was accepted. The journal is a file
that is written without a buffer, so it survives the process at any instant, as the spool does. `Oracle.settle` then
asks everybody else: the spool's `check()`, the server, the ledger.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from producttelemetry._spool import Writer
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from producttelemetry import Stats, Telemetry
    from producttelemetry.collector import RunningCollector

Event = dict[str, Any]
#: Reasons of what never came as far as a journal.
_NEVER_ATTEMPTED: Final = frozenset(("invalid", "too_large", "before_send"))


def name_of(event: Event) -> str:
    """Return what an event is known by; a link to a user (`identify`) is known by both, so make each only once."""
    if "event_id" in event:
        return str(event["event_id"])
    return f"{event['client_id']} {json.dumps(event['user_id'])}"


def listen(journal: str | os.PathLike[str]) -> Callable[[], None]:
    """Tell a journal of every event that this process, and whatever it forks, stores from now on.

    Returns:
        A function that ends it.
    """
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    append = Writer.append

    def listening(self: Writer, line: bytes) -> None:
        os.write(descriptor, b"?" + line)
        append(self, line)
        os.write(descriptor, b"=" + name_of(json.loads(line)).encode() + b"\n")

    Writer.append = listening  # type: ignore[method-assign]  # the public calls return nothing to know an event by

    def end() -> None:
        Writer.append = append  # type: ignore[method-assign]
        os.close(descriptor)

    return end


class Told(NamedTuple):
    """What journals tell.

    Attributes:
        attempted: events by name, accepted or not.
        accepted: the names of those whose `track()` has returned.
    """

    attempted: dict[str, Event]
    accepted: set[str]


def read(journals: Iterable[str | os.PathLike[str]]) -> Told:
    """Read journals; the last line of one may be torn by a kill."""
    told = Told({}, set())
    for journal in journals:
        with open(journal, "rb") as file:
            for line in file.read().split(b"\n")[:-1]:
                if line.startswith(b"?"):
                    event = json.loads(line[1:])
                    told.attempted[name_of(event)] = event
                else:
                    told.accepted.add(line[1:].decode())
    return told


class Verdict(NamedTuple):
    """What became of every event; see `Oracle.settle`."""

    told: Told
    stored: list[Event]
    stats: Stats

    @property
    def missing(self) -> set[str]:
        """Names of those that were accepted and have not arrived."""
        return self.told.accepted - {name_of(event) for event in self.stored}


class Oracle:
    """One destination, what its processes told, and the server that it ends up on.

    Args:
        place: a directory for the journals.
        collector: the server.
        make: makes clients of this process; see `conftest.telemetry`.
    """

    def __init__(self, place: Path, collector: RunningCollector, make: Callable[..., Telemetry]) -> None:
        self._place = place
        self._make = make
        self.collector = collector
        self._place.mkdir()

    def journal(self) -> str:
        """Return the path of a new journal, for one process and what it forks."""
        return str(self._place / f"{len(list(self._place.iterdir())):06d}-{os.urandom(4).hex()}")

    @property
    def spool(self) -> Path:
        """The directory of the destination."""
        return harness.spool(self._make(self.collector.url))

    def told(self) -> Told:
        """Read all journals."""
        return read(sorted(self._place.iterdir()))

    def settle(  # noqa: PLR0913  # what a test knows of its fault
        self,
        *,
        exact: bool = False,
        problems: Iterable[str] = (),
        lasting: Iterable[str] = (),
        slack: int = 0,
        recounted: int = 0,
        cap: int | None = None,
        **arguments: Any,
    ) -> Verdict:
        """Track a fresh event, send everything, and assert that nothing is lost, invented, altered or stuck.

        Args:
            exact: nobody was killed, so that the ledger knows each event exactly once.
            problems: what `check()` is expected to say before anything is recovered, and no longer afterwards; each is
                a part of a line.
            lasting: what it is expected to say before and afterwards.
            slack: how many events may be missing and uncounted, for a test that says why.
            recounted: how many the ledger may know twice. It is written before the names change (invariant 7), so a
                kill in between may do that to one event, or to one batch if it hits a sender.
            cap: most events that the names may promise before anything is sent; else `max_queue_size`, if it is given.
            arguments: of the client that sends.
        """
        client = self._make(self.collector.url, **{"flush_at": 10**6, "flush_timeout": 60.0, **arguments})
        path = harness.spool(client)
        if path.exists():
            harness.assert_sound(path, cap or arguments.get("max_queue_size"), problems=[*problems, *lasting])
        end = listen(self.journal())
        try:
            client.track("oracle.fresh")
        finally:
            end()
        fresh = next(reversed(self.told().attempted))
        client.flush()
        harness.discard(client)
        stored = harness.stored(self.collector)
        stored += [{"client_id": who, "user_id": user} for who, user in self.collector.store.identities()]
        verdict = Verdict(self.told(), stored, client.stats())
        assert (0, 0) == (verdict.stats.pending, verdict.stats.volatile), "something is stuck"
        harness.assert_sound(path, problems=lasting)
        _assert_true(verdict)
        assert fresh in {name_of(event) for event in verdict.stored}, "a fresh event does not get through"
        _assert_counted(verdict, slack, recounted)
        if exact:
            _assert_exact(verdict, self.collector.store.counts().duplicates)
        return verdict


def _assert_true(verdict: Verdict) -> None:
    ids = Counter(name_of(event) for event in verdict.stored)
    assert {1} == set(ids.values()), "the server stores an id once"
    assert set() == set(ids) - set(verdict.told.attempted), "invented"
    assert [] == [event for event in verdict.stored if event != verdict.told.attempted[name_of(event)]], "altered"


def _assert_counted(verdict: Verdict, slack: int, recounted: int) -> None:
    missing = len(verdict.missing)
    dropped = sum(verdict.stats.dropped.values())
    assert missing <= dropped + slack, f"lost: {missing} are missing and {dropped} counted"
    # Not compared with what has not arrived: of what has, something may be evicted before its sender hears of it.
    attempted, delivered = len(verdict.told.attempted), verdict.stats.delivered
    left = delivered + sum(number for reason, number in verdict.stats.dropped.items() if reason not in _NEVER_ATTEMPTED)
    assert left <= attempted + recounted, f"counted twice: {attempted} were there, and {left} have left"


def _assert_exact(verdict: Verdict, duplicates: int) -> None:
    dropped = sum(verdict.stats.dropped.values())
    refused = len(verdict.told.attempted) - len(verdict.told.accepted)
    arrived = len(verdict.stored)
    assert (len(verdict.missing) + refused, arrived, 0) == (dropped, verdict.stats.delivered, duplicates)
