"""The spool's protocol in one process, invariant by invariant. Crashes are forked children that leave by `os._exit`."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from producttelemetry import _files as files
from producttelemetry._errors import ClaimLost, Purged, QueueFull
from producttelemetry._record import parse_name
from producttelemetry._spool import Directory, Reader, Settled, Writer
from producttelemetry._spool._check import check
from producttelemetry._spool._directory import SEGMENT_BYTES
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Make = Callable[..., Writer]


def line(number: int, size: int = 0) -> bytes:
    """Return an event's line."""
    event = {"event_name": "e", "event_id": str(number), "properties": {"number": number, "filler": "x" * size}}
    return json.dumps(event).encode() + b"\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory of one destination."""
    return tmp_path / "spool" / "v1" / "destination"


@pytest.fixture
def make(place: Path) -> Iterator[Make]:
    """Make writers on one spool, as processes would have them."""
    made: list[Writer] = []

    def writer(cap: int = 1000, overflow: Any = "drop_oldest", durable: bool = False) -> Writer:
        made.append(Writer(Directory(str(place), durable=durable), {"api_url": "http://server/api"}, cap, overflow))
        return made[-1]

    yield writer
    for each in made:
        each._segment.abandon()


@pytest.fixture
def reader(place: Path) -> Iterator[Reader]:
    """The reader of that spool."""
    directory = Directory(str(place))
    yield Reader(directory)
    directory.close()


def in_child(action: Callable[[], object]) -> None:
    """Do something in a process that dies without any handler."""
    child = os.fork()
    if child == 0:
        action()
        os.kill(os.getpid(), signal.SIGKILL)
    assert -signal.SIGKILL == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def append_all(writer: Writer, numbers: Iterable[int]) -> None:
    """Append several events."""
    for number in numbers:
        writer.append(line(number))


def states(place: Path) -> list[tuple[str, int]]:
    """Return (state, slots) of all segments in order."""
    return [(found.state, found.slots) for name in harness.segments(place) if (found := parse_name(name))]


def test_an_event_is_in_the_file_before_append_returns(make: Make, place: Path) -> None:
    """Durable means: a look at the disk right after the call finds the whole line."""
    writer = make()
    for number in range(3):
        writer.append(line(number))
        assert list(range(number + 1)) == harness.numbers(harness.events(place))
    assert [("open", 15)] == states(place)
    assert {"api_url": "http://server/api"} == json.loads((place / "destination.json").read_bytes())


def test_files_are_private(make: Make, place: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        make().append(line(0))
    finally:
        os.umask(before)
    assert {0o700} == {stat.S_IMODE(os.stat(each).st_mode) for each in (place, place.parent, place.parent.parent)}
    assert {0o600} == {stat.S_IMODE(os.stat(place / name).st_mode) for name in os.listdir(place)}


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_link_in_place_of_the_spool_is_not_followed(level: int, make: Make, place: Path, tmp_path: Path) -> None:
    """Somebody else's directory behind a link is not written to; the event waits in memory."""
    elsewhere = tmp_path / "elsewhere"
    linked = [place, *place.parents][level]
    (elsewhere / place.relative_to(linked)).mkdir(parents=True)
    linked.parent.mkdir(parents=True, exist_ok=True)
    linked.symlink_to(elsewhere)
    writer = make()
    writer.append(line(0))
    assert 1 == writer.volatile
    assert [] == list((elsewhere / place.relative_to(linked)).iterdir())


def test_seal_gives_unused_slots_back(make: Make, place: Path) -> None:
    """A sealed name says how many events there are, not how many were reserved."""
    writer = make()
    writer.append(line(0))
    writer.append(line(1))
    assert writer.seal()
    assert [("ready", 2)] == states(place)
    harness.assert_sound(place, 1000)


@pytest.mark.parametrize(("cap", "slots"), [(1, 1), (10, 1), (100, 1), (640, 10), (1000, 15), (100_000, 1562)])
def test_reservations_are_small(cap: int, slots: int, make: Make, place: Path) -> None:
    """A step is a 64th of the cap: sixty-four idle workers do not fill an empty queue."""
    make(cap).append(line(0))
    assert [("open", slots)] == states(place)


def test_a_later_writer_adopts_the_last_segment(make: Make, place: Path) -> None:
    """A thousand commands leave a handful of files: each goes on where the one before stopped."""
    for number in range(20):
        writer = make()
        writer.append(line(number))
        writer.seal()
    assert [("ready", 20)] == states(place)
    assert list(range(20)) == harness.numbers(harness.events(place))


def test_order_within_a_process_survives_adoption(make: Make, place: Path) -> None:
    """A writer never adopts a segment that comes before one with earlier events of its own."""
    first, second = make(), make()
    first.append(line(0))
    second.append(line(1))
    first.seal()
    second.seal()
    second.append(line(2))
    assert [0, 1, 2] == harness.numbers(harness.events(place))


@pytest.mark.parametrize("damage", [b"", b"torn", b"\x00" * 8, line(7)])
def test_a_damaged_segment_is_not_adopted(damage: bytes, make: Make, place: Path) -> None:
    """An event is never appended to a torn line, and a name's promise is not covered up by a recount."""
    writer = make()
    writer.append(line(0))
    writer.seal()
    damaged = place / harness.segments(place)[0]
    damaged.write_bytes(line(0) + damage if damage else b"")
    make().append(line(1))
    assert [("ready", 1), ("open", 15)] == states(place)


def test_an_orphan_is_recovered_with_its_torn_line_cut(make: Make, place: Path, reader: Reader) -> None:
    """What a killed process had appended is delivered; what it was in the middle of was never accepted."""
    writer = make()

    def die_in_the_middle() -> None:
        writer.append(line(0))
        writer.append(line(1))
        files.append(writer._segment._descriptor, line(2)[:10])

    in_child(die_in_the_middle)
    reader.recover()
    assert [("ready", 2)] == states(place)
    assert [0, 1] == harness.numbers(harness.events(place))
    harness.assert_sound(place)


def test_a_living_writers_segment_is_left_alone(make: Make, place: Path, reader: Reader) -> None:
    """Alive means locked: neither reader nor writers touch the segment of somebody who is only idle."""
    writer = make()
    writer.append(line(0))
    reader.recover()
    assert reader.claim() is None
    make().append(line(1))
    assert [("open", 15), ("open", 15)] == states(place)


def test_the_oldest_events_give_way(make: Make, place: Path) -> None:
    """A full queue holds exactly the newest events, and says how many it dropped."""
    writer = make(cap=100)
    for number in range(250):
        writer.append(line(number))
    assert list(range(150, 250)) == harness.numbers(harness.events(place))
    assert 150 == Directory(str(place)).ledger().dropped["overflow"]
    harness.assert_sound(place, 100)


def test_the_oldest_segment_gives_way_first(make: Make, place: Path) -> None:
    """Events of finished processes go before those of the process that needs room."""
    first, second = make(cap=10), make(cap=10)
    second.append(line(0))
    for number in range(1, 6):
        first.append(line(number))
    first.seal()
    for number in range(6, 14):
        second.append(line(number))
    assert [0, 6, 7, 8, 9, 10, 11, 12, 13] == harness.numbers(harness.events(place))[:1] + harness.numbers(
        [event for event in harness.events(place) if event["properties"]["number"] > 5]
    )
    assert 10 == len(harness.events(place))
    harness.assert_sound(place, 10)


def test_the_newest_event_gives_way_if_wanted(make: Make, place: Path) -> None:
    """`drop_newest` refuses, counts, and leaves the queue as it was."""
    writer = make(cap=5, overflow="drop_newest")
    for number in range(5):
        writer.append(line(number))
    for number in range(5, 8):
        with pytest.raises(QueueFull):
            writer.append(line(number))
    assert [0, 1, 2, 3, 4] == harness.numbers(harness.events(place))
    assert 3 == Directory(str(place)).ledger().dropped["overflow"]


def test_a_full_queue_finds_the_slots_of_the_dead(make: Make, place: Path) -> None:
    """Slots that a killed process had reserved and not used are not lost to the others."""
    dying = make(cap=640)
    in_child(lambda: append_all(dying, range(3)))
    writer = make(cap=12, overflow="drop_newest")
    for number in range(3, 12):
        writer.append(line(number))
    assert list(range(12)) == harness.numbers(harness.events(place))


def test_a_smaller_cap_evicts_one_for_one(make: Make, place: Path) -> None:
    """A client with a smaller cap than the queue is long takes nothing away beyond what it adds."""
    large = make(cap=100)
    for number in range(50):
        large.append(line(number))
    large.seal()
    small = make(cap=10)
    for number in range(50, 53):
        small.append(line(number))
    assert list(range(3, 53)) == harness.numbers(harness.events(place))


def test_a_large_segment_is_followed_by_another(make: Make, place: Path) -> None:
    """A segment does not grow without end, so that a reader holds a bounded part of the queue in memory."""
    writer = make(cap=100_000)
    for number in range(60):
        writer.append(line(number, 30_000))
    found = harness.segments(place)
    assert 2 == len(found)
    assert (place / found[0]).stat().st_size < 2 * SEGMENT_BYTES
    assert list(range(60)) == harness.numbers(harness.events(place))
    harness.assert_sound(place, 100_000)


def test_a_claim_is_acknowledged_step_by_step(make: Make, place: Path, reader: Reader) -> None:
    """After each acknowledgement the name says what is left, and the ledger what was delivered."""
    writer = make()
    for number in range(5):
        writer.append(line(number))
    writer.seal()
    claim = reader.claim()
    assert claim is not None
    assert [("sending", 5)] == states(place)
    claim.acknowledge(2, Settled(delivered=2))
    assert [("sending", 3)] == states(place)
    assert [2, 3, 4] == harness.numbers(harness.events(place))
    claim.acknowledge(1, Settled(dropped={"rejected": 1}))
    claim.release()
    assert [("ready", 2)] == states(place)
    again = reader.claim()
    assert again is not None
    again.acknowledge(2, Settled(delivered=2))
    assert [] == states(place)
    ledger = Directory(str(place)).ledger()
    assert (4, 1) == (ledger.delivered, ledger.dropped["rejected"])


def test_what_a_dead_sender_had_claimed_is_claimed_again(make: Make, place: Path, reader: Reader) -> None:
    """The next holder of `sender.lock` gets the same bytes."""
    writer = make()
    for number in range(3):
        writer.append(line(number))
    writer.seal()
    in_child(lambda: Reader(Directory(str(place))).claim())
    assert [("sending", 3)] == states(place)
    reader.recover()
    claim = reader.claim()
    assert claim is not None
    assert [line(0), line(1), line(2)] == list(claim.lines)


def test_a_promise_that_nobody_can_keep_is_counted(make: Make, place: Path, reader: Reader) -> None:
    """Events that a name promised and damage took away are `corrupt`, not forgotten."""
    writer = make()
    for number in range(5):
        writer.append(line(number))
    writer.seal()
    name = harness.segments(place)[0]
    (place / name).write_bytes((line(0) + line(1) + line(2))[:-3])
    assert [f"{name}: holds 2 events (invariant 3)", f"{name}: the last line is torn (invariant 2)"] == check(
        str(place)
    )
    claim = reader.claim()
    assert claim is not None
    claim.acknowledge(2, Settled(delivered=2))
    ledger = Directory(str(place)).ledger()
    assert (2, 3) == (ledger.delivered, ledger.dropped["corrupt"])
    assert [] == states(place)


def test_an_emptied_segment_is_counted(make: Make, place: Path, reader: Reader) -> None:
    """A file of zero bytes that promised events ends in the ledger and nowhere else."""
    writer = make()
    writer.append(line(0))
    writer.seal()
    (place / harness.segments(place)[0]).write_bytes(b"")
    claim = reader.claim()
    assert claim is not None
    claim.acknowledge(0, Settled())
    assert 1 == Directory(str(place)).ledger().dropped["corrupt"]
    assert [] == states(place)


def test_a_purge_reaches_living_writers(make: Make, place: Path, reader: Reader) -> None:
    """A purge deletes what others have open; they find out with their next event, and start afresh."""
    idle, writer = make(), make()
    idle.append(line(0))
    writer.append(line(1))
    writer.seal()
    claim = reader.claim()
    assert claim is not None
    assert 2 == Directory(str(place)).purge(1.0)
    assert [] == states(place)
    with pytest.raises(ClaimLost):
        claim.acknowledge(1, Settled(delivered=1))
    with pytest.raises(Purged):
        idle.append(line(2))
    idle.append(line(20))
    assert [20] == harness.numbers(harness.events(place))
    idle.seal()
    assert 2 == Directory(str(place)).ledger().dropped["purged"]


def test_a_purged_segment_that_cannot_be_read_is_let_go(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails when its writer wants to count: it starts afresh all the same."""
    writer = make()
    writer.append(line(0))
    Directory(str(place)).purge(1.0)

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(files, "read_open", fail)
        with pytest.raises(Purged):
            writer.append(line(1))
    writer.append(line(2))
    assert [2] == harness.numbers(harness.events(place))


def test_a_purge_and_a_writer_count_each_event_once(make: Make, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a writer appends between the purge's reading and its blanking is counted by the writer."""
    writer = make()
    append_all(writer, range(3))
    blank = files.blank

    def late(path: str, length: int) -> None:
        writer.append(line(3))
        blank(path, length)

    monkeypatch.setattr(files, "blank", late)
    assert 3 == Directory(str(place)).purge(1.0)
    assert writer.seal()
    assert 4 == Directory(str(place)).ledger().dropped["purged"]


def test_a_writer_sees_a_purge_that_comes_while_it_makes_its_segment(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event was made before the purge, and may hold an erased client id: it is not stored."""
    writer = make()
    create = files.create

    def late(path: str) -> int:
        Directory(str(place)).purge(0.0)
        return create(path)

    monkeypatch.setattr(files, "create", late)
    with pytest.raises(Purged):
        writer.append(line(0))
    monkeypatch.undo()
    writer.append(line(1))
    assert [1] == harness.numbers(harness.events(place))


def test_a_directory_removed_under_a_writer_comes_back(make: Make, place: Path) -> None:
    """Somebody cleans up `~/.config`: what was there is gone, and counted; the next event is stored."""
    writer = make()
    writer.append(line(0))
    for name in os.listdir(place):
        (place / name).unlink()
    place.rmdir()
    with pytest.raises(Purged):
        writer.append(line(1))
    writer.append(line(20))
    writer.seal()
    assert [20] == harness.numbers(harness.events(place))
    assert 1 == Directory(str(place)).ledger().dropped["purged"]


def test_a_call_from_within_a_call_is_stored_by_the_outer_one(
    make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler inside `append` neither dead-locks nor writes in between: its event comes after."""
    writer = make()
    append = files.append
    inner = iter([line(1), line(2)])

    def interrupted(descriptor: int, data: bytes) -> int:
        for each in inner:
            writer.append(each)
            assert not writer.seal()
        return append(descriptor, data)

    monkeypatch.setattr(files, "append", interrupted)
    writer.append(line(0))
    assert [0, 1, 2] == harness.numbers(harness.events(place))
    assert 0 == writer.volatile


@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_that_gets_room_again_loses_nothing(
    durable: bool, make: Make, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short write is taken back, the event waits in memory, and the order is kept when the disk is back."""
    writer = make(durable=durable)
    writer.append(line(0))
    append = files.append

    def short(descriptor: int, data: bytes) -> int:
        return append(descriptor, data[:7])

    monkeypatch.setattr(files, "append", short)
    writer.append(line(1))
    writer.append(line(2))
    assert (2, False) == (writer.volatile, writer.disk_works)
    assert [0] == harness.numbers(harness.events(place))
    monkeypatch.setattr(files, "append", append)
    assert writer.seal(last=True)
    assert (0, True) == (writer.volatile, writer.disk_works)
    assert [0, 1, 2] == harness.numbers(harness.events(place))
    harness.assert_sound(place)


def test_memory_is_bounded_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a disk the same cap holds, the oldest event goes, and the loss is counted."""
    writer = make(cap=3)
    monkeypatch.setattr(files, "create", _no_disk)
    for number in range(5):
        writer.append(line(number))
    assert (3, 2) == (writer.volatile, writer.uncounted()["memory"])


def _no_disk(_: str) -> int:
    raise OSError(5, "Input/output error")
