"""What waits in the writer's memory: within the cap, counted when it goes, and on the disk when the process ends."""

from __future__ import annotations

import errno
import json
import signal
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from producttelemetry import _files as files
from producttelemetry._errors import ClaimLost, Purged
from producttelemetry._spool import Directory, Settled, Writer
from producttelemetry._spool._ledger import Tally
from tests import harness
from tests.children import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path
    from typing import NoReturn

    from producttelemetry._spool import VolatileClaim

CAP = 10


def line(number: int) -> bytes:
    """Return an event's line."""
    event = {"event_name": "e", "event_id": str(number), "properties": {"number": number}}
    return json.dumps(event).encode() + b"\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory of one destination."""
    return tmp_path / "spool" / "v1" / "destination"


@pytest.fixture
def writer(place: Path) -> Iterator[Writer]:
    """A writer with a small queue."""
    made = Writer(Directory(str(place)), {"api_url": "http://server/api"}, CAP, "drop_oldest")
    yield made
    made._segment.abandon()


def no_disk(*_: object) -> NoReturn:
    """Fail as hardware does."""
    raise OSError(errno.EIO, "Input/output error")


def counted(writer: Writer, reason: str) -> int:
    """Return how many events were counted, wherever the count is by now."""
    return writer.uncounted()[reason] + writer._arguments[0].ledger().dropped[reason]


def raising(*_: object, **__: object) -> NoReturn:
    """Do as a handler of a host's that ends what it interrupts."""
    raise Interrupted


@contextmanager
def interrupt_soon() -> Generator[None]:
    """Have a handler raise after a millisecond of work."""
    before = signal.signal(signal.SIGVTALRM, raising)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


# --- a purge in the middle of another call ----------------------------------------------------------------------------


def between_writes(*handlers: Callable[[], None]) -> Callable[[int, bytes], int]:
    """Return `files.append` with signal handlers, each of which comes before one write."""
    append, left = files.append, iter(handlers)

    def interrupted(descriptor: int, data: bytes) -> int:
        next(left, bool)()
        return append(descriptor, data)

    return interrupted


def test_a_purge_in_a_handler_while_a_handlers_event_is_stored(
    writer: Writer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two handlers one tracks, and one purges while that event is being written: nobody looks for it afterwards."""
    monkeypatch.setattr(files, "append", between_writes(lambda: writer.append(line(1)), writer.purge))
    writer.append(line(0))
    writer.append(line(2))
    assert [0, 1, 2] == harness.numbers(harness.events(place)), "this is no purge of what is on the disk"
    assert (0, 1) == (writer.volatile, counted(writer, "purged"))


def test_a_purge_in_a_handler_while_memory_is_written_back(
    writer: Writer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits is gone and counted once; the write in the middle of which it came goes on."""
    with monkeypatch.context() as patched:
        patched.setattr(files, "append", no_disk)
        for number in range(3):
            writer.append(line(number))
    writer._disk_failed_at = float("-inf")
    monkeypatch.setattr(files, "append", between_writes(writer.purge))
    writer.append(line(3))
    assert (0, 4) == (writer.volatile, counted(writer, "purged"))
    assert writer.seal()
    assert [0] == harness.numbers(harness.events(place)), "it was on its way to the disk, where the purge has been"


def test_a_line_that_is_older_than_a_purge_is_not_remembered(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler erases while the disk fails under the very event: its caller encodes it anew, with the next id."""

    def erased_and_failing(*_: object) -> NoReturn:
        writer.purge()
        no_disk()

    monkeypatch.setattr(files, "append", erased_and_failing)
    with pytest.raises(Purged):
        writer.append(line(0))
    assert 0 == writer.volatile


def drop_for_ever(tally: Tally, lines: deque[bytes]) -> NoReturn:
    """Until somebody raises."""
    while True:
        tally.drop(lines, "purged")


def test_a_handler_that_raises_in_a_purge_changes_no_count() -> None:
    """Thrown out between any two steps, what was let go is counted, once, and what was not is still there."""
    number = 1_000_000
    for _ in range(10):
        tally, lines = Tally(), deque([b"\n"] * number)
        with pytest.raises(Interrupted), interrupt_soon():
            drop_for_ever(tally, lines)
        assert number == len(lines) + tally.counts()["purged"]


def test_a_purge_that_was_cut_short_is_finished_by_the_next_event(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is older stays in memory, to be sent after all."""
    monkeypatch.setattr(files, "append", no_disk)
    for number in range(3):
        writer.append(line(number))
    with monkeypatch.context() as patched:
        patched.setattr(Tally, "drop", raising)
        with pytest.raises(Interrupted):
            writer.purge()
    with pytest.raises(Purged):
        writer.append(line(3))
    assert (0, 3) == (writer.volatile, counted(writer, "purged"))


# --- what the sender has in hand --------------------------------------------------------------------------------------


@pytest.fixture
def claim(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> VolatileClaim:
    """Three events that the disk does not take, in the hands of the sender."""
    monkeypatch.setattr(files, "append", no_disk)
    for number in range(3):
        writer.append(line(number))
    lent = writer.claim_volatile()
    assert lent is not None
    assert 3 == len(lent.lines)
    return lent


def test_what_is_lent_counts_for_the_cap(writer: Writer, claim: VolatileClaim) -> None:
    """It cannot give way, so what came after it does: memory never holds more than a queue may."""
    for number in range(3, 20):
        writer.append(line(number))
        assert writer.volatile <= CAP
    claim.release()
    assert (CAP, 20 - CAP) == (writer.volatile, writer.uncounted()["memory"])
    claim = writer.claim_volatile() or claim
    assert [line(number) for number in (0, 1, 2, *range(13, 20))] == list(claim.lines)
    writer.append(line(20))
    assert (CAP, 11) == (writer.volatile, writer.uncounted()["memory"])


def test_what_is_lent_is_stored_at_the_end(
    writer: Writer, claim: VolatileClaim, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers afterwards changes no count, for those events are delivered, or dropped, from the disk."""
    writer.append(line(3))
    claim.acknowledge(1, Settled(delivered=1))
    monkeypatch.undo()
    assert writer.seal(last=True)
    assert [1, 2, 3] == harness.numbers(harness.events(place))
    assert not claim.exists()
    with pytest.raises(ClaimLost):
        claim.acknowledge(2, Settled(delivered=2))
    claim.release()
    assert 0 == writer.volatile
    assert writer.seal(last=True)
    assert [1, 2, 3] == harness.numbers(harness.events(place))
    assert 1 == writer._arguments[0].ledger().delivered


def test_what_is_lent_stays_lent_while_the_disk_fails(writer: Writer, claim: VolatileClaim) -> None:
    """At the end, too: the sender may still deliver it."""
    with pytest.raises(OSError, match="Input/output"):
        writer._segment.write(line(4))
    writer.seal(last=True)
    assert claim.exists()
    claim.acknowledge(3, Settled(delivered=3))
    assert (0, 3) == (writer.volatile, writer.uncounted()["delivered"] + writer._arguments[0].ledger().delivered)


def test_what_is_lent_is_purged_once(writer: Writer, claim: VolatileClaim) -> None:
    """What the sender hears of it afterwards is told to nobody."""
    claim.acknowledge(1, Settled(delivered=1))
    writer.purge()
    claim.release()
    assert (False, 0, 2) == (claim.exists(), writer.volatile, counted(writer, "purged"))
