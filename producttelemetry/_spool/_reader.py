"""The sending side of the spool: claim, acknowledge, release.

Guarantees to the sender: what `claim` hands out stays in the spool until `acknowledge` says that it is done with, in
whichever way; a crash in between hands the same bytes out again. The caller holds `sender.lock`: there is one reader at
a time.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .. import _files as files
from .._errors import ClaimLost, LockTimeout
from .._record import Segment, split_lines
from ._ledger import DELIVERED, Settled

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._directory import Directory

#: Longest wait for a holder of `lock` that does not go on, in seconds. The sender may be patient: nobody waits for it.
PATIENCE: Final = 2.0
#: Longest wait for a `lock` that is busy, in seconds. Giving up would mean to send a batch again.
BUSY_PATIENCE: Final = 15.0


class Claim:
    """One segment in the hands of the sender.

    Attributes:
        lines: what is left to send, each with its newline; damaged lines included.
    """

    def __init__(self, directory: Directory, segment: Segment, data: bytes) -> None:
        self._directory = directory
        self._segment = segment
        self.lines = deque(split_lines(data))

    def exists(self) -> bool:
        """Whether no purge has deleted the segment."""
        return files.path_identity(self._directory.where(self._segment)) is not None

    def acknowledge(self, number: int, settled: Settled) -> None:
        """Take the first `number` lines out of the queue.

        Args:
            number: how many lines are done with.
            settled: what became of them.

        Raises:
            ClaimLost: a purge deleted the segment.
            LockTimeout: `lock` was not to be had; the lines will be sent again.
        """
        length = sum(len(self.lines.popleft()) for _ in range(number))
        counts = {DELIVERED: settled.delivered, **settled.dropped}
        promised = self._segment.slots - number
        if not self.lines and promised > 0:
            counts["corrupt"] = counts.get("corrupt", 0) + promised
        with _held(self._directory):
            if not self.exists():  # a purge has been here: not even a refused event may be written down again
                raise ClaimLost("the claimed segment was deleted")
            try:
                if settled.rejected:
                    self._directory.reject(settled.rejected)
                    if not self.exists():  # a purge that did not wait for us
                        self._directory.forget_rejected()
                        raise ClaimLost("the claimed segment was deleted")
                if any(counts.values()):
                    self._directory.count(counts)
                if not self.lines:
                    self._directory.remove(self._segment)
                    return
                left = self._segment._replace(
                    offset=self._segment.offset + length, slots=max(promised, len(self.lines))
                )
                self._segment = self._directory.move(self._segment, left)
            except FileNotFoundError as error:
                raise ClaimLost("the claimed segment was deleted") from error

    def release(self) -> None:
        """Give back what is left, so that it counts as evictable again and the next drain finds it in its place."""
        with _held(self._directory):
            try:
                self._directory.unclaim(self._segment)
            except FileNotFoundError as error:
                raise ClaimLost("the claimed segment was deleted") from error


class Reader:
    """Hands segments out to the sender, oldest first.

    Args:
        directory: where; used by this reader alone.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._unreadable: set[tuple[int, str]] = set()

    def after_fork(self) -> None:
        """Forget the parent's lock. Called in a forked child."""
        self.directory.lock.forget()

    def recover(self) -> None:
        """Take back what the previous holder of `sender.lock` had claimed, and what dead writers left open."""
        self._unreadable.clear()
        with _held(self.directory):
            self.directory.prepare_ledger()
            for segment in self.directory.segments():
                if segment.state == "sending":
                    self.directory.unclaim(segment)
            self.directory.recover_orphans(self.directory.segments())
            self.directory.remove_unnamed()

    def claim(self) -> Claim | None:
        """Claim the first segment that is ready; None if there is none. One that cannot be read is passed over.

        Raises:
            LockTimeout: `lock` was not to be had.
        """
        while True:
            with _held(self.directory):
                ready = next((each for each in self.directory.segments() if self._may_claim(each)), None)
                if ready is None:
                    return None
                segment = self.directory.move(ready, ready._replace(state="sending"))
            try:
                return Claim(self.directory, segment, files.read(self.directory.where(segment), segment.offset))
            except FileNotFoundError:  # a purge
                raise
            except OSError:
                self._unreadable.add(segment.identity)
                with _held(self.directory):
                    self.directory.unclaim(segment)

    def _may_claim(self, segment: Segment) -> bool:
        return segment.state == "ready" and segment.identity not in self._unreadable

    @property
    def passed_over(self) -> bool:
        """Whether there were segments that could not be read, since `recover`."""
        return bool(self._unreadable)

    def has_work(self) -> bool:
        """Whether a segment waits for a sender. A look without lock."""
        return any(segment.state != "open" for segment in self.directory.segments())


@contextmanager
def _held(directory: Directory) -> Generator[None]:
    with directory.lock:
        if not directory.acquire(PATIENCE, BUSY_PATIENCE):
            raise LockTimeout("the lock of the spool is held by a process that does not go on")
        yield
