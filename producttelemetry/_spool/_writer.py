"""The writing side of the spool, as threads, signal handlers and forks see it: one `write` per event, no waiting.

Guarantees to the client: when `append` has returned, the line is in the operating system's hands, or it was refused and
counted, or it waits in memory and `volatile` says so. `append` and `seal` may be called from any thread, from a signal
handler or finaliser that interrupts them, and in a forked child after `after_fork`.

How the mutex is held. Every frame notes in a list of its own whether it has it (`_take`) and looks there at its end.

How re-entrance works. The mutex is an RLock, so a signal handler that interrupts its holder gets in; `_busy` tells it
so, and it leaves its line in `_waiting` for the interrupted call to pick up. A call that gets in before `_busy` is set
has the spool for itself: the interrupted one has not touched anything yet.
"""

from __future__ import annotations

import time
from _thread import RLock
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .._errors import ClaimLost, LockTimeout, Purged, QueueFull
from .._lock import LONGEST_QUEUE
from ._directory import LOCK_WAIT, Directory
from ._ledger import DELIVERED, Settled, Tally
from ._segment import OpenSegment, Overflow

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

Result = TypeVar("Result")

#: Seconds between attempts to use a disk that failed.
DISK_RETRY: Final = 1.0
#: Seconds that one call may spend on writing back what waited in memory.
WRITE_BACK_TIME: Final = 0.005
#: Seconds that the end of a process may wait for a busy lock, all in all, to write back what waits in memory.
LAST_WAIT: Final = 3.0
#: Events that one call writes back in any case, if there are so many.
WRITE_BACK_LEAST: Final = 2
#: As a time limit of `RLock.acquire`: none.
_FOR_EVER: Final = -1


class Writer:
    """Appends events to one destination's spool.

    Args:
        directory: where; used by this writer alone.
        description: content of `destination.json`.
        cap: most events in the queue, over all processes.
        overflow: what gives way when the queue is full.
    """

    def __init__(self, directory: Directory, description: Mapping[str, Any], cap: int, overflow: Overflow) -> None:
        self._arguments = (directory, description, cap, overflow)
        self._cap = cap
        self._start_process()

    def _start_process(self) -> None:
        self._mutex = RLock()
        self._alone = False
        self._busy = False
        self._waiting: deque[bytes] = deque()
        self._memory: deque[bytes] = deque()
        self._lent: deque[bytes] = deque()  # from memory, in the hands of the sender
        self._tally = Tally()
        self._segment = OpenSegment(*self._arguments, self._tally)
        self._purged = False
        self._purges = 0
        self._disk_failed_at: float | None = None
        self.disk_error: OSError | None = None

    def after_fork(self) -> None:
        """Forget what belongs to the parent: close our copies, unlock and seal nothing. Called in a forked child."""
        inherited = self._segment
        self._start_process()
        inherited.abandon()

    def outlive_threads(self) -> None:
        """The interpreter is being torn down, and no other thread goes on: take what one of them may hold for ever.

        Where one was stopped inside `append`, its segment becomes an orphan, as if it had been killed there.
        """
        if self._alone:
            return
        self._alone = True
        # Not given back: a thread that stands still while it waits for the mutex would still get it.
        stopped_inside = not self._mutex.acquire(blocking=False)
        self._mutex = RLock()
        if stopped_inside:
            inherited, self._busy = self._segment, False
            self._segment = OpenSegment(*self._arguments, self._tally)
            inherited.abandon()

    @property
    def volatile(self) -> int:
        """How many events wait in memory and would die with this process."""
        return len(self._memory) + len(self._waiting) + len(self._lent)

    @property
    def disk_works(self) -> bool:
        """False while the disk refuses to take events."""
        return self._disk_failed_at is None

    def note(self, reason: str, number: int = 1) -> None:
        """Count events that left, or never reached, the queue; the ledger learns of it at the next reservation or seal.

        Args:
            reason: a key of `Stats.dropped`, or `DELIVERED`.
            number: how many.
        """
        self._tally.note(reason, number)

    def uncounted(self) -> Counter[str]:
        """Return what the ledger does not know yet."""
        return self._tally.counts()

    def renew(self) -> None:
        """The client id and consent have just been read: a purge before this moment needs no telling."""
        self._segment.renew()

    def close(self) -> None:
        """Give descriptors back, unless an `append` is under way; what is appended later opens them again."""
        self._exclusively(self._close)

    def _close(self) -> None:
        if not self._busy:
            self._segment.close_lock()

    # --- append -----------------------------------------------------------------------------------------------------

    def append(self, line: bytes) -> None:
        """Store one event.

        Args:
            line: one JSON object and a newline.

        Raises:
            QueueFull: there is no room for it; counted as `overflow`.
            Purged: the open segment was deleted; the line is not stored and may hold an erased client id.
        """
        mutex = self._mutex
        held: list[bool] = []
        try:
            _take(mutex, held)
            if self._busy:
                self._waiting.append(line)
                return
            self._busy = True
            try:
                self._store(line)
                if self._waiting:
                    self._store_waiting()
            finally:
                # First and in place: an exception out of a signal handler may come with every call.
                self._busy = False
                self._segment.release_lock()
        finally:
            if held == [True]:
                mutex.release()
            if self._waiting:
                self._pick_up()

    def _pick_up(self) -> None:
        """Store what a re-entrant call left between our last look and `_busy = False`."""
        while self._waiting:
            if not self._exclusively(self._pick_up_once, _FOR_EVER):
                return

    def _pick_up_once(self) -> bool:
        if self._busy:
            return False
        self._busy = True
        try:
            self._store_waiting()
        finally:
            self._busy = False
            self._segment.release_lock()
        return True

    def _store_waiting(self) -> None:
        while self._waiting:
            line = self._waiting[0]
            try:
                self._store(line)
            except QueueFull:  # counted; the call that brought it has returned long ago
                pass
            except Purged:  # it is the next call that has to renew the client id
                self._note_purge()
                return
            # Only now: whatever interrupts us before makes the line be stored twice, with one event_id, and not never.
            _take_out(self._waiting, line)

    def _store(self, line: bytes) -> None:
        if self._purged:
            self._note_purge()  # again, for what an exception out of a signal handler has left of it
            self._purged = False
            raise Purged("the open segment was deleted")
        if self._memory:
            self._remember(line)
            self._write_back_some()
            return
        purges = self._purges
        try:
            self._segment.write(line)
            self._disk_failed_at = None
        except Purged:
            self._note_purge()
            self._purged = False
            raise
        except (LockTimeout, OSError) as error:
            if isinstance(error, OSError):
                self._note_failure(error)
            if purges != self._purges:
                raise Purged("a signal handler has purged the queue in the middle of this") from error
            self._remember(line)

    def _note_failure(self, error: OSError) -> None:
        self._disk_failed_at = time.monotonic()
        self.disk_error = error

    # --- memory -----------------------------------------------------------------------------------------------------

    def _remember(self, line: bytes) -> None:
        """Keep a line in memory until the disk or the lock is back."""
        self._memory.append(line)
        self._keep_within_cap()

    def _keep_within_cap(self) -> None:
        """Let the oldest give way that are not in the hands of the sender, as those on the disk do."""
        self._tally.drop(self._memory, "memory", max(0, self._cap - len(self._lent)))

    def _write_back_some(self) -> None:
        """Store what waited in memory, oldest first: at most one step, so that no single call pays for all.

        At least `WRITE_BACK_LEAST`, however long that takes: with one for each that comes they never become fewer.
        """
        if self._disk_failed_at is not None and time.monotonic() < self._disk_failed_at + DISK_RETRY:
            return
        deadline = time.monotonic() + WRITE_BACK_TIME
        for number in range(max(WRITE_BACK_LEAST, self._cap // 64)):
            late = number >= WRITE_BACK_LEAST and time.monotonic() > deadline
            if not self._memory or late or not self._write_back_first():
                return

    def _write_back_all(self) -> None:
        """Store everything that waits, at the end of the process: durability goes before the cap, and both before time.

        For a busy lock it waits longer than `track()` would, but not for each event anew. What the sender has in hand
        is stored, too, for the process may end before it is given back: if it arrives all the same, it comes twice.
        """
        deadline = time.monotonic() + LAST_WAIT
        lent = tuple(self._lent.copy())  # the sender goes on
        try:
            if all(self._write_back(line, deadline) for line in lent):
                self._lent = deque()
                while self._memory and self._write_back_first(deadline):
                    pass
        finally:
            self._segment.hurry(LONGEST_QUEUE)

    def _write_back_first(self, deadline: float | None = None) -> bool:
        line = self._memory[0]
        done = self._write_back(line, deadline)
        if done:
            _take_out(self._memory, line)
        return done

    def _write_back(self, line: bytes, deadline: float | None) -> bool:
        """Store a line that waited, or count why not; False if it has to wait on."""
        if deadline is not None:
            self._segment.hurry(max(0.0, deadline - time.monotonic()))
        try:
            self._segment.write(line)
            self._disk_failed_at = None
        except QueueFull:  # counted
            pass
        except Purged:
            self._note_purge()
            return False
        except LockTimeout:
            return False
        except OSError as error:
            self._note_failure(error)
            return False
        return True

    def _note_purge(self) -> None:
        """Forget what waits: all of it is older than the purge. The next `append` raises `Purged`."""
        self._purged = True
        self._purges += 1
        self._take_back()
        self._tally.drop(self._memory, "purged")
        self._tally.drop(self._waiting, "purged")

    def _take_back(self) -> None:
        """Have what is lent in memory again; whoever has the claim finds it lost."""
        lines, nothing = reversed(self._lent.copy()), deque[bytes]()
        self._lent = nothing  # from here on there is no call, and so no signal handler, before the lines are safe
        self._memory.extendleft(lines)

    def purge(self) -> None:
        """Forget what waits in memory: an erasure or an opt-out.

        If another thread is inside `append` and the disk blocks it, that thread will find out about the purge.
        """
        self._exclusively(self._purge)
        self._segment.doubt()

    def _purge(self) -> None:
        self._note_purge()
        self._purged = False

    def claim_volatile(self) -> VolatileClaim | None:
        """Hand out what waits in memory while the disk does not work; None if there is nothing to hand out."""
        # A bounded wait: the thread inside `append` may be in a signal handler that waits for the flush that asks here.
        return None if self.disk_works else self._exclusively(self._lend)

    def _lend(self) -> VolatileClaim | None:
        if self._busy or self.disk_works or not self._memory:
            return None
        self._lent, self._memory = self._memory, deque()
        return VolatileClaim(self, self._lent)

    def lends(self, claim: VolatileClaim) -> bool:
        """Whether what a claim holds is still lent: it was neither purged nor stored at the end of the process."""
        return self._lent is claim.lines

    def give_back(self, claim: VolatileClaim) -> None:
        """Put events back into memory, before those that came meanwhile."""
        self._exclusively(lambda: self._give_back(claim), _FOR_EVER)

    def _give_back(self, claim: VolatileClaim) -> None:
        if self.lends(claim):
            self._take_back()
            self._keep_within_cap()

    # --- seal -------------------------------------------------------------------------------------------------------

    def seal(self, timeout: float = LOCK_WAIT, *, last: bool = False) -> bool:
        """Hand the open segment over to the sender, give unused slots back, bring the ledger up to date.

        Args:
            timeout: seconds to wait for another thread that is inside `append`.
            last: the process is about to end: everything that waits in memory goes to the disk now.

        Returns:
            False if somebody is in the way (an interrupted `append` below us, or a stopped holder of `lock`): the
            segment stays open, and becomes an orphan when the process ends.

        Raises:
            OSError: the disk failed; nothing is lost by that.
        """
        return self._exclusively(lambda: self._seal(last=last), timeout) is True

    def _seal(self, *, last: bool) -> bool:
        if self._busy:
            return False
        try:
            return self._seal_alone(last=last)
        finally:
            if self._waiting:  # a finaliser or signal handler of ours has tracked meanwhile
                self._pick_up()

    def _seal_alone(self, *, last: bool) -> bool:
        self._busy = True
        try:
            self._store_waiting()
            if last:
                self._write_back_all()
            else:
                self._write_back_some()
            return self._segment.seal()
        except Purged:
            self._note_purge()
            return True
        finally:
            self._busy = False
            self._segment.release_lock()

    def _exclusively(self, action: Callable[[], Result], timeout: float = LOCK_WAIT) -> Result | None:
        """Do something while no other thread is inside; None if one of them does not leave in so many seconds."""
        mutex = self._mutex
        held: list[bool] = []
        try:
            return action() if _take(mutex, held, timeout) else None
        finally:
            if held == [True]:
                mutex.release()


def _take(mutex: RLock, held: list[bool], timeout: float = _FOR_EVER) -> bool:
    """Take a mutex and note whether we have it, both in one call of a C function.

    An exception out of a signal handler comes after calls. After `acquire` alone, and with CPython 3.14 on the way into
    a `with` block, it would come where nobody knows that the mutex has to be given back, and the other threads of the
    host would wait for it for ever.
    """
    held.extend(map(mutex.acquire, (True,), (timeout,)))
    return held[0]


def _take_out(lines: deque[bytes], line: bytes) -> None:
    """Take a line out that was the first one, unless a signal handler has purged them meanwhile."""
    if lines and lines[0] is line:
        del lines[0]


class VolatileClaim:
    """Events that wait in memory, in the hands of the sender. Like `Claim`, but they die with the process.

    Attributes:
        lines: what is left to send, each with its newline.
    """

    def __init__(self, writer: Writer, lines: deque[bytes]) -> None:
        self._writer = writer
        self.lines = lines

    def exists(self) -> bool:
        """Whether nobody has taken the lines back meanwhile."""
        return self._writer.lends(self)

    def acknowledge(self, number: int, settled: Settled) -> None:
        """The first `number` lines are done with; the ledger learns of it when the disk is back, other files do not.

        Raises:
            ClaimLost: they were purged, or stored; they count there.
        """
        if not self.exists():
            raise ClaimLost("what was lent from memory was taken back")
        for _ in range(number):
            self.lines.popleft()
        self._writer.note(DELIVERED, settled.delivered)
        for reason, count in settled.dropped.items():
            self._writer.note(reason, count)

    def release(self) -> None:
        """Put back what is left."""
        self._writer.give_back(self)
