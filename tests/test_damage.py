"""Damage to a spool's segments: what is around it is delivered, what it took is counted, and nobody stumbles.

Each kind of damage hits a segment of five events in every state that it can be left in, as the oldest of a full queue,
and as the last one, which the next writer would adopt. Damage to the other files is in `test_damage_files`.
"""

from __future__ import annotations

import os
import random
import signal
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import pytest

from producttelemetry._record import parse_name
from producttelemetry._spool import Directory, Reader, Settled, Writer
from producttelemetry._spool._check import check
from tests import collector_support, harness
from tests.oracle import listen
from tests.test_spool import line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from tests.oracle import Oracle, Verdict

#: How the segment was left: sealed, by a dead writer, by a dead sender, or sealed and nothing comes after it.
State: TypeAlias = Literal["ready", "open", "sending", "last"]

STATES: tuple[State, ...] = ("ready", "open", "sending", "last")


running = collector_support.running
collector = collector_support.collector


class Scene(NamedTuple):
    """A real spool that real clients have filled.

    Attributes:
        oracle: knows what was accepted.
        make: makes clients.
    """

    oracle: Oracle
    make: Callable[..., Telemetry]

    def track(self, client: Telemetry, numbers: range) -> None:
        """Track events and tell the oracle."""
        end = listen(self.oracle.journal())
        for number in numbers:
            client.track("test.event", {"number": number})
        end()

    def client(self, **arguments: Any) -> Telemetry:
        """Make a client that sends when it is told to."""
        return self.make(self.oracle.collector.url, **{"flush_at": 10**6, **arguments})

    def fill(self, state: State, **arguments: Any) -> Path:
        """Store events 0 to 4 in the segment to be damaged, and 5 to 9 in one behind it; return the first."""
        clients = [self.client(**arguments) for _ in range(2)]
        die = self.begin(clients[0]) if state == "open" else None
        if die is None:
            self.track(clients[0], range(5))
        if state != "last":
            self.track(clients[1], range(5, 10))
        for client in clients[::-1]:
            harness.discard(client)
        if die is not None:
            die()
        if state == "sending":
            self.claim()
        return self.oracle.spool / harness.segments(self.oracle.spool)[0]

    def begin(self, client: Telemetry) -> Callable[[], None]:
        """Have another process track events 0 to 4; gives a function that kills it."""
        ready, told = os.pipe()
        child = os.fork()
        if child == 0:
            self.track(client, range(5))
            os.write(told, b"x")
            signal.pause()
        assert b"x" == os.read(ready, 1)
        os.close(ready)
        os.close(told)

        def die() -> None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

        return die

    def claim(self) -> None:
        """Have a sender claim the first segment and die."""
        child = os.fork()
        if child == 0:
            Reader(Directory(str(self.oracle.spool))).claim()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.fixture
def scene(oracle: Oracle, telemetry: Callable[..., Telemetry]) -> Scene:
    """A spool to be filled and damaged."""
    return Scene(oracle, telemetry)


class Damage(NamedTuple):
    """One kind of damage to a segment.

    Attributes:
        apply: does it, and returns the path that the segment has then.
        lost: numbers of the events that are gone.
        unseen: how many of them leave no trace in an `open` segment, whose name does not promise events but slots.
        hidden: how many events are left, but kept from being counted against the cap.
    """

    apply: Callable[[Path], Path]
    lost: frozenset[int] = frozenset()
    unseen: int = 0
    hidden: int = 0


def content(change: Callable[[list[bytes]], bytes], *lost: int, unseen: int = 0) -> Damage:
    """Return the damage of having something else in the place of a segment's lines."""

    def apply(segment: Path) -> Path:
        segment.write_bytes(change(segment.read_bytes().splitlines(keepends=True)))
        return segment

    return Damage(apply, frozenset(lost), unseen)


def instead(*lines: bytes) -> Damage:
    """Return the damage of having other lines in place of the one in the middle, or of those from there on."""
    until = 2 + len(lines)
    return content(lambda old: b"".join([*old[:2], *lines, *old[until:]]), *range(2, until))


def spaced(number: int, *lost: int) -> Damage:
    """Return the damage of so many bytes of white space in the middle event, which alters nothing."""
    return content(lambda old: b"".join([*old[:2], old[2][:-2], b" " * number, b"}\n", *old[3:]]), *lost)


def name(*lost: int, unseen: int = 0, hidden: int = 0, **fields: Any) -> Damage:
    """Return the damage of other fields in a segment's name."""

    def apply(path: Path) -> Path:
        segment = parse_name(path.name)
        assert segment is not None
        return path.rename(path.with_name(str(segment._replace(**fields))))

    return Damage(apply, frozenset(lost), unseen, hidden)


GARBAGE = bytes(random.Random(7).choices([*range(10), *range(11, 256)], k=300)) + b"\n"
DAMAGES = {
    "nothing left": content(lambda _: b"", *range(5), unseen=5),
    "torn last line": content(lambda old: b"".join(old)[:-7], 4, unseen=1),
    "NUL-filled tail": content(lambda old: b"".join(old[:3]) + bytes(len(old[3] + old[4])), 3, 4, unseen=2),
    "NUL-filled head": content(lambda old: bytes(len(old[0] + old[1])) + b"".join(old[2:]), 0, 1, 2, unseen=2),
    "garbage": instead(GARBAGE),
    "garbage over a boundary": content(
        lambda old: b"".join([old[0], old[1][:-9], GARBAGE[:20], old[2][11:], *old[3:]]), 1, 2, unseen=1
    ),
    "invalid UTF-8": content(lambda old: b"".join(old).replace(b'"number":2', b'"numbe\xff":2'), 2),
    "no event": instead(b"[1]\n", b"7\n", b'{"event_name": "without ids"}\n'),
    "no JSON": instead(b"\n", b"{]\n", b'{"event_id": NaN}\n'),
    "nested too deep": instead(b"[" * 30_000 + b"\n"),
    "an integer too long": instead(b'{"event_id": ' + b"9" * 5000 + b"}\n"),
    "a line of 40 KB": spaced(40_000),
    "a line of 5 MB": spaced(5_000_000, 2),
    "5 MB of garbage": instead(b"x" * 5_000_000 + b"\n"),
    "an offset beyond the end": name(*range(5), offset=10**9, unseen=5),
    "an offset within a line": name(0, offset=3),
    "a promise of none": name(slots=0, hidden=5),
    "a promise of too few": name(slots=2),
    "a promise that nobody can have made": name(slots=10**17),
    "the last number there is": name(number=10**15 - 1),
}


def lost(verdict: Verdict) -> set[int]:
    """Return the numbers of the events that have not arrived."""
    return set(harness.numbers([verdict.told.attempted[each] for each in verdict.missing]))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_takes_only_what_it_hits_and_is_counted(kind: str, state: State, scene: Scene) -> None:
    """Everything around the damage is delivered, also what comes after it; `corrupt` counts exactly what is gone."""
    damage = DAMAGES[kind]
    segment = damage.apply(scene.fill(state))
    unseen = damage.unseen if state == "open" else 0
    counted = len(damage.lost) - unseen
    said = check(str(scene.oracle.spool))
    assert said or not counted
    assert all(problem.startswith(f"{segment.name}: ") for problem in said)
    if state == "sending" and kind == "a promise that nobody can have made":
        scene.client().flush()  # else the queue is full for everybody until a sender takes it back, and says so
        said = []
    verdict = scene.oracle.settle(problems=said, slack=unseen)
    assert damage.lost == lost(verdict)
    assert counted == verdict.stats.dropped["corrupt"] == sum(verdict.stats.dropped.values())


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_full_queue_makes_room_with_damage_at_its_head(kind: str, scene: Scene) -> None:
    """Twelve more events into a full queue of ten: nobody stumbles, the cap holds, and whatever goes is counted."""
    damage = DAMAGES[kind]
    damage.apply(scene.fill("ready", max_queue_size=10))
    client = scene.client(max_queue_size=10)
    for number in range(10, 22):
        scene.track(client, range(number, number + 1))
        promised = [found.slots for each in harness.segments(scene.oracle.spool) if (found := parse_name(each))]
        assert sum(promised) <= 10 + damage.hidden
    assert 0 == client.stats().volatile
    harness.discard(client)
    verdict = scene.oracle.settle(max_queue_size=10)
    assert lost(verdict) <= set(range(13))
    dropped = verdict.stats.dropped
    assert len(lost(verdict)) == dropped["corrupt"] + dropped["overflow"] == sum(dropped.values())


def test_the_last_segment_may_be_cut_at_every_byte(tmp_path: Path) -> None:
    """Sealed or left open, wherever it is cut: whole lines are handed out, torn ones never, and a writer goes on."""
    lines = [line(number) for number in range(3)]
    data = b"".join(lines)
    for length in range(len(data) + 1):
        whole = data[:length].count(b"\n")
        for name in ("00000001-abcd.0.3.ready", "00000001-abcd.0.15.open"):
            place = tmp_path / "spool" / "v1" / f"{length}.{name}"
            place.mkdir(parents=True)
            (place / name).write_bytes(data[:length])
            writer = Writer(Directory(str(place)), {}, 1000, "drop_oldest")
            writer.append(line(3))
            assert writer.seal()
            writer.close()
            if name.endswith("open"):  # what was torn was never accepted, and nothing of it is left
                harness.assert_sound(place)
            assert [*lines[:whole], line(3)] == drained(place)
            counted = 3 - whole if name.endswith("ready") else 0
            assert counted == Directory(str(place)).ledger().dropped["corrupt"]
            harness.assert_sound(place)


def drained(place: Path) -> list[bytes]:
    """Claim and acknowledge everything; return the lines."""
    with closing(Directory(str(place))) as directory:
        reader = Reader(directory)
        reader.recover()
        found: list[bytes] = []
        while (claim := reader.claim()) is not None:
            found += claim.lines
            claim.acknowledge(len(claim.lines), Settled(delivered=len(claim.lines)))
        return found
