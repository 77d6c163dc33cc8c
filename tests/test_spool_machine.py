"""Random histories of several processes on a disk that forgets and fails, against a model of sets of events.

What they show of an event whose `append` has returned, and that does not wait in memory:

- `fsync=False`: it survives the death of every process at any operation, and every error of the disk. A power cut may
  take it, or leave damage, which takes at most what it hits; the queue goes on.
- `fsync=True`: it survives a power cut as well.

It is in a segment as it was, or delivered, or the ledger counts it; and the names never promise more than the cap.
"""

from __future__ import annotations

import os
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal
from unittest.mock import patch

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from producttelemetry import _lock
from producttelemetry._errors import ClaimLost, LockTimeout, Purged, QueueFull
from producttelemetry._record import parse_line, parse_name, split_lines
from producttelemetry._spool import Directory, Reader, Settled, Writer, _segment, _writer
from producttelemetry._spool._check import check
from tests import syscalls
from tests.simulated_disk import Dead, SimulatedDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producttelemetry._spool import Claim

PLACE = "/home/spool/v1/destination"
WRITERS = (1, 2, 3)
SENDER = 4
PURGER = 5

failures = st.none() | st.tuples(
    st.integers(0, 25), st.sampled_from(["kill", "tear", "stop", "ENOSPC", "EIO", "short"])
)


class SpoolMachine(RuleBasedStateMachine):
    """Three writers, one sender, one disk."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimulatedDisk()
        self.now = 0.0
        self._undo = syscalls.install(self.disk)
        salts = count(1)
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep, monotonic_ns=lambda: int(self.now * 1e9))
        self._patches: list[Any] = [
            patch.object(_lock, "time", clock),
            patch.object(_writer, "time", clock),
            patch.object(_segment, "_salt", lambda: f"{next(salts):08x}"),
            # Segments of a few lines are large here.
            patch.object(_segment, "SEGMENT_BYTES", 1500),
            patch.object(_segment, "ADOPTABLE_BYTES", 700),
        ]
        for each in self._patches:
            each.start()
        self.disk.call("mkdir", "/home", 0o700)
        root = self.disk.call("open", "/", os.O_RDONLY)
        self.disk.call("fsync", root)
        self.disk.call("close", root)
        self.writers: dict[int, Writer] = {}
        self.reader: Reader | None = None
        self.claim: Claim | None = None
        self.numbers = count(1)
        self.attempted: dict[str, bytes] = {}
        self.accepted: set[str] = set()
        self.delivered: set[str] = set()
        self.overflow: Literal["drop_oldest", "drop_newest"]
        self.excused: set[str] = set()  # waited in memory when their process died, or a power cut took them
        self.late: dict[int, set[str]] = {}  # tracked by a process that has not heard of a purge yet
        self.counted_before = 0
        self.stopped: set[int] = set()
        self.damaged = False

    def _sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.03)  # fewer looks at a lock that nobody gives back

    @initialize(
        durable=st.booleans(),
        stops=st.booleans(),
        cap=st.sampled_from([1, 2, 3, 8, 1000]),
        overflow=st.sampled_from(["drop_oldest", "drop_oldest", "drop_newest"]),
    )
    def begin(self, durable: bool, stops: bool, cap: int, overflow: Literal["drop_oldest", "drop_newest"]) -> None:
        """Choose what all clients have in common, and whether processes may be stopped."""
        self.durable, self.stops, self.cap, self.overflow = durable, stops, cap, overflow
        self.most = cap
        self.unnamed = 0  # events that a power cut has left beyond what names say, until somebody counts them

    # --- what processes do ------------------------------------------------------------------------------------------

    @rule(process=st.sampled_from(WRITERS), events=st.integers(1, 6), failure=failures)
    def append(self, process: int, events: int, failure: Any) -> None:
        """Track a few events."""

        def work() -> None:
            for _ in range(events):
                self._append(process)

        self._run(process, work, failure)

    def _append(self, process: int) -> None:
        writer = self._writer(process)
        name = str(next(self.numbers))
        line = b'{"event_id":"%s","event_name":"e","filling":"%s"}\n' % (name.encode(), b"x" * 100)
        self.attempted[name] = line
        try:
            writer.append(line)
        except QueueFull:
            return
        except Purged:
            self.late.pop(process, None)
            return
        self.accepted.add(name)
        if process in self.late:
            self.late[process].add(name)

    @rule(process=st.sampled_from(WRITERS), last=st.booleans(), failure=failures)
    def seal(self, process: int, last: bool, failure: Any) -> None:
        """Hand the open segment over; at the end of a process, give everything back."""

        def work() -> None:
            writer = self._writer(process)
            self.now += 2.0  # a disk that failed is tried again
            try:
                sealed = writer.seal(last=last)
            except OSError:
                return
            if last and not writer.volatile:
                writer.close()
                del self.writers[process]
                self.late.pop(process, None)
                # While the lock is not given back, or the ledger cannot be written, nobody can be told.
                assert not sealed or failure is not None or not writer.uncounted()
                self.counted_before -= writer.uncounted().total()
                self.disk.kill(process)
                self.disk.revive(process)

        self._run(process, work, failure)

    @precondition(lambda self: self.claim is None)
    @rule(failure=failures)
    def take(self, failure: Any) -> None:
        """Become the sender, recover, claim."""

        def work() -> None:
            self.reader = Reader(Directory(PLACE, durable=self.durable))
            self.reader.recover()
            self.claim = self.reader.claim()

        self._run(SENDER, work, failure)

    @precondition(lambda self: self.claim is not None)
    @rule(data=st.data(), failure=failures)
    def acknowledge(self, data: st.DataObject, failure: Any) -> None:
        """The server takes some, and refuses others."""
        claim = self.claim
        assert claim is not None
        number = data.draw(st.integers(0, len(claim.lines)), label="lines")
        lines = list(claim.lines)[:number]
        good = [value for line in lines if (value := parse_line(line)) is not None]
        rejected = good[: data.draw(st.integers(0, min(2, len(good))), label="refused")]
        self.delivered |= {value["event_id"] for value in good[len(rejected) :]}

        def work() -> None:
            corrupt = number - len(good)
            dropped = {reason: many for reason, many in (("rejected", len(rejected)), ("corrupt", corrupt)) if many}
            claim.acknowledge(
                number, Settled(len(good) - len(rejected), dropped, [{"event": each} for each in rejected])
            )
            if not claim.lines:
                self.claim = None

        self._run(SENDER, work, failure)

    @precondition(lambda self: self.claim is not None)
    @rule(failure=failures)
    def release(self, failure: Any) -> None:
        """The server cannot be reached."""
        claim, self.claim = self.claim, None
        assert claim is not None
        self._run(SENDER, claim.release, failure)

    @rule(failure=failures)
    def purge(self, failure: Any) -> None:
        """Delete everything."""
        self.late |= {process: set() for process in self.writers if process not in self.late}
        before = set(self._stored())
        self._run(PURGER, lambda: Directory(PLACE, durable=self.durable).purge(0.5), failure)
        if failure is not None and failure[1] in {"ENOSPC", "EIO"}:  # then it deletes what it cannot count
            self.excused |= before - set(self._stored())

    # --- what happens to them ---------------------------------------------------------------------------------------

    @rule(process=st.sampled_from((*WRITERS, SENDER)))
    def kill(self, process: int) -> None:
        """End a process, running or stopped."""
        self._die(process)

    @rule(data=st.data())
    def power_cut(self, data: st.DataObject) -> None:
        """End everything."""
        for process in (*WRITERS, SENDER, PURGER):
            self._die(process)
        self.disk.power_cut(lambda most: data.draw(st.integers(0, most)))
        # An eviction that is taken back brings its event back.
        held = [(segment.slots, len(split_lines(content[segment.offset :]))) for segment, content in self._segments()]
        self.most = max(self.most, sum(map(max, held)))
        self.unnamed = sum(max(0, lines - slots) for slots, lines in held)
        # Also with fsync: what a killed process had not synced yet was not accepted, and others may have found it.
        self.damaged = True
        if not self.durable:
            self.excused |= self.accepted - set(self._stored())
            self.counted_before = self._counted()

    def _run(self, process: int, work: Callable[[], object], failure: Any) -> None:
        """Do something as a process, which may die or see the disk fail on the way."""
        if process in self.stopped:
            return
        self.disk.current = process
        if failure is not None and failure[1] == "stop" and not self.stops:
            failure = (failure[0], "kill")
        self.disk.failing = [failure] if failure is not None else []
        if failure is not None and failure[1] in {"ENOSPC", "EIO"}:  # an orphan that cannot be opened is not counted
            self.most = max(self.most, self.cap + self.unnamed)
        self.now += 0.01
        try:
            work()
        except Dead:
            if failure is not None and failure[1] == "stop":
                self.stopped.add(process)
            else:
                self._die(process)
        except (ClaimLost, LockTimeout, OSError):
            if process == SENDER:  # it ends, and another one takes over
                self._die(SENDER)
        finally:
            self.disk.failing = []
            self.disk.current = 0

    def _die(self, process: int) -> None:
        self.disk.kill(process)
        self.stopped.discard(process)
        self.excused |= self.late.pop(process, set())
        writer = self.writers.pop(process, None)
        if writer is not None:
            lines = [*writer._memory, *writer._waiting]
            self.excused |= {name for name, line in self.attempted.items() if line in lines}
            # What it knew and could not tell: the memory's own losses, and refusals.
            self.counted_before -= writer.uncounted().total()
        if process == SENDER:
            self.claim = self.reader = None
        self.disk.revive(process)

    def _writer(self, process: int) -> Writer:
        if process not in self.writers:
            directory = Directory(PLACE, durable=self.durable)
            self.writers[process] = Writer(directory, {}, self.cap, self.overflow)
            self.writers[process].renew()
        return self.writers[process]

    # --- what must hold ---------------------------------------------------------------------------------------------

    def _segments(self) -> Iterator[tuple[Any, bytes]]:
        for path, inode in sorted(self.disk._names.items()):
            segment = parse_name(os.path.basename(path))
            if segment is not None and segment.state != "tmp":
                yield segment, inode.versions[-1]

    def _stored(self) -> list[str]:
        """Return the ids of all valid lines in the queue, and assert that each is what was appended."""
        ids: list[str] = []
        for segment, content in self._segments():
            for line in split_lines(content[segment.offset :]):
                value = parse_line(line)
                self.damaged = self.damaged or line.startswith(b" ")  # killed in the middle of blanking it
                assert value is not None or self.damaged, line
                if value is not None:
                    assert self.attempted[value["event_id"]] == line.lstrip(b" "), "altered"
                    ids.append(value["event_id"])
        return ids

    def _counted(self) -> int:
        known = sum(Directory(PLACE).ledger().dropped.values())
        return known + sum(writer.uncounted().total() for writer in self.writers.values())

    @invariant()
    def nothing_is_lost(self) -> None:
        """Each accepted event is in a segment, in the memory of a living process, delivered or counted."""
        waiting = b"".join(line for writer in self.writers.values() for line in (*writer._memory, *writer._waiting))
        lost = [
            name
            for name in self.accepted - set(self._stored()) - self.delivered - self.excused.union(*self.late.values())
            if self.attempted[name] not in waiting
        ]
        assert len(lost) <= self._counted() - self.counted_before, f"lost: {lost}"

    @invariant()
    def the_cap_is_kept(self) -> None:
        """At every instant, unless somebody was stopped with the lock in hand."""
        if not self.stops:
            segments = [segment for segment, _ in self._segments()]
            assert sum(segment.slots for segment in segments) <= self.most, list(map(str, segments))

    def teardown(self) -> None:
        """After whatever has happened: a fresh event gets through, and everything can be delivered."""
        try:
            if hasattr(self, "durable"):
                self._settle()
        finally:
            for each in self._patches:
                each.stop()
            self._undo()

    def _settle(self) -> None:
        for process in (*WRITERS, SENDER, PURGER):
            self._die(process)
        self.nothing_is_lost()
        self.overflow = "drop_oldest"
        self.disk.current = SENDER
        if self.disk.path.isdir(PLACE):
            Reader(Directory(PLACE)).recover()  # what a dead sender has claimed cannot be evicted
        self.disk.current = 1
        self.now += 2.0
        fresh = str(next(self.numbers))
        for _ in range(2):
            try:
                line = b'{"event_id":"%s","event_name":"fresh"}\n' % fresh.encode()
                self.attempted[fresh] = line
                self._writer(1).append(line)
            except Purged:
                continue
            break
        assert self._writer(1).seal(last=True)
        assert 0 == self._writer(1).volatile
        self.disk.current = SENDER
        reader = Reader(Directory(PLACE))
        reader.recover()
        problems = check(PLACE, None if self.stops else self.most)
        assert self.damaged or [] == problems
        while (claim := reader.claim()) is not None:
            good = [value for each in claim.lines if (value := parse_line(each)) is not None]
            self.delivered |= {value["event_id"] for value in good}
            claim.acknowledge(len(claim.lines), Settled(len(good), {"corrupt": len(claim.lines) - len(good)}))
        assert fresh in self.delivered
        assert [] == list(self._segments())
        self.nothing_is_lost()
        assert [] == check(PLACE)


def test_histories() -> None:
    """Whatever happens in whichever order: see the module for what holds."""
    phases = [phase for phase in Phase if phase is not Phase.explain]  # which traces every line, for minutes
    run_state_machine_as_test(
        SpoolMachine, settings=settings(max_examples=500, stateful_step_count=20, deadline=None, phases=phases)
    )
