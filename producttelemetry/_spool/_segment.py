"""The open segment of one writer: get slots, append lines, seal. Raises what stands in the way, and remembers nothing.

Guarantees to `_writer`: a line is written whole or not at all; after an exception the object can be used again, and
what was written before is still there. It belongs to one thread at a time; the writer sees to that.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from .. import _files as files
from .._errors import LockTimeout, Purged, QueueFull
from .._lock import LONGEST_QUEUE
from .._record import LAST_NUMBER, Segment
from ._directory import LOCK_WAIT, SEGMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from ._directory import Directory
    from ._ledger import Tally

Overflow: TypeAlias = Literal["drop_oldest", "drop_newest"]

#: A ready segment up to this size, in bytes, is adopted rather than left for a new one.
ADOPTABLE_BYTES: Final = SEGMENT_BYTES // 4


class OpenSegment:
    """The segment that this process appends to, if it has one.

    Args:
        directory: where; used by this object alone.
        description: content of `destination.json`.
        cap: most events in the queue, over all processes.
        overflow: what gives way when the queue is full.
        tally: what the ledger has to learn of at the next reservation or seal.
    """

    def __init__(
        self, directory: Directory, description: Mapping[str, Any], cap: int, overflow: Overflow, tally: Tally
    ) -> None:
        self._directory = directory
        self._description = description
        self._cap = cap
        self._overflow = overflow
        self._tally = tally
        self._own: Segment | None = None
        self._descriptor = -1
        self._opened: files.Identity | None = None
        self._mark: files.Identity | None = None
        self._unsynced = False
        self._size = 0
        self._left = 0
        self._extra_step_taken = False
        self._longest = LONGEST_QUEUE

    def abandon(self) -> None:
        """Close what was inherited from the parent process: unlock and seal nothing. Called in a forked child."""
        self._directory.lock.forget()
        self._close()

    def release_lock(self) -> None:
        """Give `lock` back if an exception out of a signal handler kept us from doing so."""
        self._directory.lock.release()

    def close_lock(self) -> None:
        """Give the descriptor of `lock` back."""
        self._directory.close()

    def doubt(self) -> None:
        """Look at the names before the next line is written: the segment may have been deleted."""
        self._left = 0

    def hurry(self, longest: float) -> None:
        """Wait no longer than so many seconds for a busy `lock` from now on.

        One more step without it is allowed: the process ends, and durability goes before the cap.
        """
        self._extra_step_taken = False
        self._longest = longest

    def write(self, line: bytes) -> None:
        """Append one line, getting slots for it first if need be.

        Raises:
            QueueFull: no slot is to be had; noted as `overflow`.
            Purged: the segment was deleted; noted as `purged` for every line in it that was ours.
            LockTimeout: somebody holds `lock` and does not go on, and the step beyond the cap is used up.
            OSError: the disk.
        """
        self._own_or_nothing()  # one fstat: the price of never writing into a file of the host's, nor a deleted one
        if self._left < 1 or self._size >= SEGMENT_BYTES:
            self._reserve()
        self._left -= 1  # before the write: an exception in between wastes a slot, the other way round breaks the cap
        try:
            if self._unsynced:
                self._sync_name()
            taken = files.append(self._descriptor, line)
        except OSError as error:
            if error.errno is not None:  # else a handler of the host's raised it, and the line may be written
                self._left += 1
            self._own_or_nothing()
            raise
        if taken != len(line):
            self._take_back(taken)
            raise OSError(errno.ENOSPC, "the file system took a part of a line", self._directory.path)
        if self._directory.durable:
            self._sync(taken)
        self._size += taken

    def _sync_name(self) -> None:
        files.sync_directory(self._directory.path)
        self._unsynced = False

    def _own_or_nothing(self) -> None:
        """Let go of a descriptor that the host has closed, for the number may be somebody else's by now.

        Raises:
            Purged: the file is ours and was deleted.
        """
        if self._own is None:
            return
        assert self._opened is not None
        links = files.link_count(self._descriptor, self._opened)
        if links > 0:
            return
        if links == 0:
            self._give_up_purged()
        self._close()

    def _sync(self, taken: int) -> None:
        try:
            files.sync(self._descriptor)
        except OSError:
            self._take_back(taken)
            raise

    def _take_back(self, taken: int) -> None:
        """Remove the last `taken` bytes, for the line goes to memory whole; if even that fails, leave an orphan."""
        try:
            files.shorten(self._descriptor, files.size(self._descriptor) - taken)
            self._left += 1
        except OSError:
            self._let_go()

    # --- reservation ------------------------------------------------------------------------------------------------

    def _acquire(self) -> bool:
        """Take `lock`, or give up after a bounded wait (invariant 9)."""
        try:
            return self._directory.acquire(LOCK_WAIT, self._longest)
        except FileNotFoundError:
            self._directory.create(self._description)
            return self._directory.acquire(LOCK_WAIT, self._longest)

    def _reserve(self) -> None:
        """Get slots for the next events, and a segment to put them into."""
        if not self._acquire():
            self._reserve_without_lock()
            return
        try:
            self._reserve_under_lock()
        finally:
            self._count_and_release()

    def _reserve_under_lock(self) -> None:
        segments = self._segments()
        self._extra_step_taken = _total(segments) > self._cap  # or each stopped holder would cost the cap another step
        if self._own is not None and self._size >= SEGMENT_BYTES:
            self._seal_own()
            segments = self._directory.segments()
        if self._own is None:
            # A dead process's segment may be the last one, and adopting it is what keeps the files few. After a power
            # cut it may also hold more events than its name says: they count for the cap from here on.
            segments = self._directory.recover_orphans(segments)
        if _total(segments) >= self._cap:
            segments = self._make_room(segments)
        slots = self._step(segments)
        if self._own is not None:
            self._extend(slots)
        else:
            self._open(segments, slots)

    def _segments(self) -> list[Segment]:
        """List the queue, and find out what became of our segment: a purge may have taken it away.

        It is looked for by what stays the same: an exception out of a signal handler may have kept us from noting the
        last rename.
        """
        self._own_or_nothing()
        segments = self._directory.segments()
        if self._own is not None:
            own = next((segment for segment in segments if segment.identity == self._own.identity), None)
            if own is None:
                self._give_up_purged()
            if own.state == "open":
                self._own = own
            else:
                self._let_go()
        return segments

    def _step(self, segments: list[Segment]) -> int:
        """How many slots to reserve: so few that sixty-four idle workers do not fill an empty queue."""
        return max(1, min(self._cap // 64, (self._cap - _total(segments)) // 16))

    def _extend(self, slots: int) -> None:
        assert self._own is not None
        self._own = self._directory.move(self._own, self._own._replace(slots=self._own.slots + slots))
        self._left += slots

    def _make_room(self, segments: list[Segment]) -> list[Segment]:
        """Bring a full queue to one free slot, or refuse. Evicts one event for the one that comes, no more."""
        segments = self._directory.recover_orphans(segments)
        if _total(segments) < self._cap:
            return segments
        if self._overflow == "drop_newest":
            self._refuse()
        oldest = next((segment for segment in segments if segment.state == "ready"), self._own)
        if oldest is None:
            self._refuse()
        left = self._directory.evict_first(oldest)
        if left == oldest:
            self._refuse()
        if oldest == self._own:  # nobody else renames it, so it need not be sealed for this
            self._own = left
            if left is None:
                self._let_go()
        segments.remove(oldest)
        return segments if left is None else sorted([left, *segments])

    def _refuse(self) -> NoReturn:
        self._tally.note("overflow")
        raise QueueFull(f"the queue holds {self._cap} events, and none of them may be dropped for a new one")

    def renew(self) -> None:
        """The client id and consent have just been read: a purge before this moment needs no telling."""
        try:
            self._mark = self._directory.purge_mark()
        except OSError:  # the disk does not work; when it does again, this looks like a purge, which is the safe way
            self._mark = None

    def _check_mark(self) -> None:
        """Find out about a purge that happened while we had no segment.

        Our new segment has its name by now: a purge that has not marked the queue yet will find it.
        """
        mark = self._directory.purge_mark()
        if mark != self._mark:
            self._mark = mark
            raise Purged("the queue was deleted")

    def _open(self, segments: list[Segment], slots: int) -> None:
        """Get an open segment: the last ready one if it may be adopted, else a new one."""
        self._directory.prepare_ledger()
        last = next((segment for segment in reversed(segments) if segment.state != "open"), None)
        if last is None or last.state != "ready" or not self._adopt(last, slots):
            self._create(segments, slots)
        self._check_mark()

    def _create(self, segments: list[Segment], slots: int) -> None:
        """Create under a temporary name, lock, then rename: nobody can take it for an orphan, `lock` or not."""
        number = min(segments[-1].number + 1, LAST_NUMBER) if segments else 1  # nobody but damage gets there
        segment = Segment(number, _salt(), 0, slots, "tmp")
        descriptor = files.create(self._directory.where(segment))
        try:
            _lock(descriptor)
            segment = self._directory.move(segment, segment._replace(state="open"))
            self._use(segment, descriptor, 0, slots)
        except BaseException:
            if self._descriptor != descriptor:
                files.close(descriptor)
                with contextlib.suppress(OSError):  # what is told is why, and not that there is nothing to tidy up
                    files.unlink(self._directory.where(segment))
            raise

    def _adopt(self, segment: Segment, slots: int) -> bool:
        """Go on writing a ready segment (invariant 4), unless it is large, damaged or another's."""
        try:
            descriptor = files.open_existing(self._directory.where(segment))
        except PermissionError:  # another user's, after `sudo` for example
            return False
        try:
            size = files.size(descriptor)
            if self._may_adopt(segment, descriptor, size):
                adopted = segment._replace(state="open", slots=segment.slots + slots)
                self._use(self._directory.move(segment, adopted), descriptor, size, slots)
        finally:
            if self._descriptor != descriptor:
                files.close(descriptor)
        return self._descriptor == descriptor

    @staticmethod
    def _may_adopt(segment: Segment, descriptor: int, size: int) -> bool:
        if size >= ADOPTABLE_BYTES or not files.is_ours(descriptor) or not files.try_lock(descriptor):
            return False
        try:
            data = files.read_open(descriptor, segment.offset)
        except OSError:
            return False
        return data.endswith(b"\n") and data.count(b"\n") == segment.slots

    def _use(self, segment: Segment, descriptor: int, size: int, slots: int) -> None:
        opened = files.identity(descriptor)  # first: an interrupt after the next line must find the rest done
        self._descriptor = descriptor
        self._opened = opened
        self._own = segment
        self._size = size
        self._left = slots
        self._unsynced = self._directory.durable

    def _reserve_without_lock(self) -> None:
        """Somebody was stopped while holding `lock`: durability goes before the cap, by one step (invariant 9).

        While the names show a free slot this repeats; every process can be wrong about that slot once. When they show
        none, the first such call still gets its step.
        """
        if self._left > 0:  # a large segment that should have been sealed
            return
        segments = self._segments()
        if _total(segments) >= self._cap and self._extra_step_taken:
            raise LockTimeout("the lock of the spool is held by a process that does not go on")
        self._extra_step_taken = True
        slots = self._step(segments)
        if self._own is not None:
            self._extend(slots)
        else:
            self._create(segments, slots)
            self._check_mark()

    # --- leaving the segment ----------------------------------------------------------------------------------------

    def seal(self) -> bool:
        """Hand the segment over to the sender and bring the ledger up to date; False if `lock` is not to be had."""
        if self._own is None and not self._tally.counts():
            return True
        if not self._acquire():
            return False
        try:
            self._segments()
            if self._own is not None:
                self._seal_own()
        finally:
            self._count_and_release()
        return True

    def _seal_own(self) -> None:
        assert self._own is not None
        self._left = 0  # an interrupt after the rename must not have us write into what is the sender's by then
        # Counted, not remembered: the lines are what is there, whatever interrupted us in between.
        events = files.read_open(self._descriptor, self._own.offset).count(b"\n")
        self._directory.seal(self._own, events)
        self._let_go()

    def _give_up_purged(self) -> NoReturn:
        assert self._own is not None
        try:
            events = files.read_open(self._descriptor).count(b"\n")
        except OSError:  # nobody can tell any more
            events = self._own.slots - self._left
        self._tally.note("purged", events)
        self._let_go()
        self.renew()  # whoever hears of it reads consent and client id anew
        raise Purged("the open segment was deleted")

    def _let_go(self) -> None:
        with contextlib.suppress(OSError):
            files.unlock(self._descriptor)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor, self._own, self._left, self._size = self._descriptor, -1, None, 0, 0
        if descriptor >= 0 and files.identity(descriptor) == self._opened:
            files.close(descriptor)

    def _count_and_release(self) -> None:
        """Tell the ledger, if it can be told now; what goes wrong with that must not hide what went wrong before."""
        try:
            counts = self._tally.counts()
            if counts:
                self._directory.count(counts)
                self._tally.forget(counts)
        except OSError:  # it will be told with the next reservation
            pass
        finally:
            self._directory.lock.release()


def _lock(descriptor: int) -> None:
    if not files.try_lock(descriptor):  # only a `tmp` can be found by somebody: it is about to be deleted
        raise LockTimeout("a segment was taken away while it was being created")


def _total(segments: list[Segment]) -> int:
    return sum(segment.slots for segment in segments)


def _salt() -> str:
    return os.urandom(4).hex()
