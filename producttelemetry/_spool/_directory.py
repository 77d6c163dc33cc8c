"""One destination's directory: the set of names, and what everybody does to it under `lock`.

`Directory` is a place with a lock; writer, reader and commands each have their own, so that two
threads of one process exclude each other as two processes do. Unless it says otherwise, a method is called with
`lock` held.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import _files as files
from .._lock import LONGEST_QUEUE, Lock
from .._record import LINE_BYTES, Segment, parse_line, parse_name, split_lines
from ._ledger import LEDGER, Counts, read_counts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

#: Longest wait for `lock`, in seconds (invariant 9).
LOCK_WAIT: Final = 0.1
#: Bytes after which a segment is sealed: what a reader holds in memory, and what eviction and adoption may look
#: through.
SEGMENT_BYTES: Final = 1 << 20
#: The files beside the segments; the ledger's name is in `_ledger`.
LOCK: Final = "lock"
SENDER_LOCK: Final = "sender.lock"
DESTINATION: Final = "destination.json"
RETRY: Final = "retry.json"
#: What the server refused for good.
REJECTED: Final = "rejected.jsonl"
#: An empty file that every purge replaces: a process that had no segment open can see that there was one.
PURGE_MARK: Final = "purged"
#: Levels that are the spool's own: the destination, v1, spool. Above them users do have links.
_OWN_DEPTH: Final = 3
#: Levels above them that are this package's: the project's directory and the one of all projects.
_PROJECT_DEPTH: Final = 2
#: Directories above a destination that may be new: v1, spool, the slug's, the package's, ~/.config.
_DEPTH: Final = 5
#: Most bytes of `rejected.jsonl`; beyond them the older half goes.
REJECTED_BYTES: Final = 1 << 20


class Survey(NamedTuple):
    """What a look at the queue tells.

    Attributes:
        pending: events in the queue, not reserved slots.
        pending_bytes: their size on disk.
        oldest: the time of the first event that has one (ISO 8601 with offset), or None.
        counts: the ledger.
    """

    pending: int
    pending_bytes: int
    oldest: str | None
    counts: Counts


class Directory:
    """The names of one destination's spool and the operations on them.

    Args:
        path: the directory; created by `create`, not by the constructor.
        durable: put names and ledger on stable storage before going on.
    """

    def __init__(self, path: str, *, durable: bool = False) -> None:
        self.path = path
        self.durable = durable
        self.lock = Lock(os.path.join(path, LOCK))
        self._is_real = False

    def create(self, description: Mapping[str, Any]) -> None:
        """Create the directory and `destination.json`; needs no lock, everybody writes the same."""
        self._check_links()
        files.make_directory(self.path)
        if self.durable:
            self._sync_parents()
        described = self.where(DESTINATION)
        if not files.exists(described):
            with contextlib.suppress(FileExistsError):  # another process was faster, and has written the same
                files.write_new(described, json.dumps(dict(description)).encode())

    def acquire(self, timeout: float, longest: float = LONGEST_QUEUE) -> bool:
        """Take the lock; see `Lock.acquire` and `check_place`."""
        self.check_place()
        return self.lock.acquire(timeout, longest)

    def check_place(self) -> None:
        """Raise an error where a link stands in place of the spool: it is not followed. Needs no lock."""
        if not self._is_real:
            place = self.path
            for _ in range(_OWN_DEPTH):
                files.check_directory(place)
                place = os.path.dirname(place)
            self._check_links()
            self._is_real = True

    def _check_links(self) -> None:
        project = self.path
        for _ in range(_OWN_DEPTH):
            project = os.path.dirname(project)
        files.check_links(project, _PROJECT_DEPTH)

    def _sync_parents(self) -> None:
        parent = os.path.dirname(self.path)
        for _ in range(_DEPTH):
            files.sync_directory(parent)
            parent = os.path.dirname(parent)

    def purge_mark(self) -> files.Identity | None:
        """Return what is another value after each purge. Needs no lock."""
        return files.path_identity(self.where(PURGE_MARK), changes=True)

    def close(self) -> None:
        """Give back the descriptor of the lock; the directory can still be used."""
        self.lock.close()

    def where(self, name: Segment | str) -> str:
        """Return the path of a segment or another file of this directory."""
        return os.path.join(self.path, str(name))

    def segments(self) -> list[Segment]:
        """Return all segments in the order of delivery; also without lock, when a look is enough."""
        return sorted(
            segment
            for name in files.names(self.path)
            if (segment := parse_name(name)) is not None and segment.state != "tmp"
        )

    def move(self, old: Segment, new: Segment) -> Segment:
        """Rename a segment: the one kind of transaction there is."""
        files.rename(self.where(old), self.where(new))
        return new

    def remove(self, segment: Segment) -> None:
        """Delete a segment of which nothing is left to deliver."""
        files.unlink(self.where(segment))

    def seal(self, segment: Segment, events: int) -> Segment | None:
        """Turn a segment whose events were counted into a ready one; one without events goes away."""
        if events == 0:
            self.remove(segment)
            return None
        return self.move(segment, segment._replace(state="ready", slots=events))

    def unclaim(self, segment: Segment) -> Segment:
        """Turn a claimed segment into a ready one; its name promises what it did."""
        return self.move(segment, segment._replace(state="ready"))

    def recover_orphans(self, segments: Iterable[Segment]) -> list[Segment]:
        """Seal the open segments whose writer is dead (invariant 2), and those whose promise nobody can have made.

        Returns:
            The queue as it is afterwards.
        """
        queue: list[Segment] = []
        for segment in segments:
            try:
                now = self._recover(segment) if segment.state == "open" or _lies(segment) else segment
            except OSError:
                # A living writer reserved without the lock, a purge went by, or it cannot be opened: another user's, a
                # bad block. Then its name counts; to refuse every event for as long would be worse than one too many.
                now = segment
            if now is not None:
                queue.append(now)
        return queue

    def _recover(self, segment: Segment) -> Segment | None:
        descriptor = files.open_existing(self.where(segment))
        try:
            if not files.try_lock(descriptor):
                return segment
            data = files.read_open(descriptor, segment.offset)
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                files.shorten(descriptor, segment.offset + whole)
            sealed = self.seal(segment, data.count(b"\n"))
            files.unlock(descriptor)
            return sealed
        finally:
            files.close(descriptor)

    def remove_unnamed(self) -> None:
        """Delete what a writer created and died before naming: no event was accepted into it."""
        for name in files.names(self.path):
            segment = parse_name(name)
            if segment is None or segment.state != "tmp":
                continue
            with contextlib.suppress(OSError):  # a writer without `lock` has just named it, or it is another user's
                self._remove_if_dead(name)

    def _remove_if_dead(self, name: str) -> None:
        descriptor = files.open_existing(self.where(name))
        try:
            if files.try_lock(descriptor):
                files.unlink(self.where(name))
        finally:
            files.close(descriptor)

    def evict_first(self, segment: Segment) -> Segment | None:
        """Drop the first event of a ready segment, or of the caller's own open one, and count it first (invariant 7).

        A segment that cannot be read, or has no line that ends within `LINE_BYTES`, is `corrupt` as a whole. With the
        last event that the name promises goes what the name does not know of.

        Returns:
            What is left of the segment; None if nothing is; the same if it is open and holds no event.
        """
        data = self._look(segment, LINE_BYTES)
        length = data.find(b"\n") + 1
        if length == 0 and segment.state == "open":  # slots without events; they are its writer's, who knows better
            return segment
        if length == 0:
            self.count({"corrupt": segment.slots})
            self.remove(segment)
            return None
        if segment.slots <= 1:
            self.count({"overflow": files.read(self.where(segment), segment.offset).count(b"\n")})
            self.remove(segment)
            return None
        self.count({"overflow": 1})
        return self.move(segment, segment._replace(offset=segment.offset + length, slots=segment.slots - 1))

    def _look(self, segment: Segment, limit: int = sys.maxsize) -> bytes:
        """Return what a segment holds; nothing if it is there and cannot be read."""
        try:
            return files.read(self.where(segment), segment.offset, limit)
        except FileNotFoundError:
            raise
        except OSError:
            return b""

    def ledger(self) -> Counts:
        """Return the ledger as it is; needs no lock."""
        return read_counts(self.where(LEDGER))

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the ledger (invariant 7). What has its name and is no file of ours is put aside, and not followed."""
        path = self.where(LEDGER)
        data = read_counts(path).plus(counts).encode()
        try:
            files.overwrite(path, data, durable=self.durable)
        except OSError as error:
            if error.errno not in files.FOREIGN:
                raise
            self._put_aside(path)
            files.overwrite(path, data, durable=self.durable)

    @staticmethod
    def _put_aside(path: str) -> None:
        files.rename(path, f"{path}.{os.urandom(4).hex()}")

    def prepare_ledger(self) -> None:
        """Have the ledger on the disk before there is an event that it has to count: later there may be no room.

        Raises:
            OSError: nothing can be counted, so nothing may be stored or sent.
        """
        try:
            if files.read(self.where(LEDGER), limit=1):
                return
        except OSError as error:
            if error.errno not in {errno.ENOENT, *files.FOREIGN}:
                raise
        self.count({})

    def reject(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append to `rejected.jsonl`, which never grows beyond `REJECTED_BYTES`.

        It is for people: if it cannot be written, that is no reason to send anything again.
        """
        with contextlib.suppress(OSError):
            self._reject(entries)

    def _reject(self, entries: Iterable[Mapping[str, Any]]) -> None:
        path = self.where(REJECTED)
        try:
            kept = files.read(path, limit=2 * REJECTED_BYTES)
        except FileNotFoundError:
            kept = b""
        kept += b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)
        if len(kept) > REJECTED_BYTES:
            kept = kept[kept.find(b"\n", len(kept) - REJECTED_BYTES // 2) + 1 :]
        files.replace(path, kept, durable=self.durable)

    def purge(self, timeout: float, ids: Collection[bytes] | None = None) -> int:
        """Delete every segment, whoever has it open (invariant 11); return how many events were deleted unsent.

        With `ids` given, those segments stay that hold events of other clients alone: they are newer than the purge
        which this one finishes.

        Takes the lock itself. If somebody keeps it beyond `timeout` seconds the purge goes on without: deleting needs
        no agreement, and a writer that makes another name meanwhile is found by the next look.
        """
        events = 0
        self.check_place()
        with self.lock:
            with contextlib.suppress(OSError):  # another user's lock file, for example
                self.acquire(timeout)
            # First the mark: a writer without a segment looks at it before it opens one. Without the mark, what it
            # still writes is kept back by the sender, which asks for consent and erased ids itself.
            with contextlib.suppress(OSError):
                files.replace(self.where(PURGE_MARK), b"", durable=self.durable)
            while segments := [segment for segment in self.segments() if ids is None or self._may_hold(segment, ids)]:
                for segment in segments:
                    try:
                        events += self._purge(segment)
                    except FileNotFoundError:  # renamed by its writer without the lock
                        continue
            self.forget_rejected()
        return events

    def forget_rejected(self) -> None:
        """Delete the refused events, also what somebody was killed in the middle of writing."""
        for name in {REJECTED, f"{REJECTED}.new"}.intersection(files.names(self.path)):
            with contextlib.suppress(FileNotFoundError):  # somebody without the lock was faster
                files.unlink(self.where(name))

    def _may_hold(self, segment: Segment, ids: Collection[bytes]) -> bool:
        """Whether a segment has, or its writer is about to append, an event of one of these clients."""
        try:
            lines = split_lines(self._look(segment))
        except FileNotFoundError:  # renamed by its writer without the lock
            return True
        return not lines or any(str((parse_line(line) or {}).get("client_id")).encode() in ids for line in lines)

    def _purge(self, segment: Segment) -> int:
        try:
            data = files.read(self.where(segment), segment.offset)
        except FileNotFoundError:
            raise
        except OSError:  # another user's, or a bad block: it can be deleted, though, and what its name promises counts
            events, length = segment.slots, 0
        else:
            events, length = data.count(b"\n"), segment.offset + len(data)
        self._count_purged(events)
        if segment.state == "open":
            with contextlib.suppress(OSError):  # at the worst its writer counts them again
                # No more than was counted: a living writer goes on, and counts what it finds in the file later.
                files.blank(self.where(segment), length)
        self.remove(segment)
        return events

    def _count_purged(self, events: int) -> None:
        with contextlib.suppress(OSError):  # consent goes before the books
            self.count({"purged": events})

    def survey(self) -> Survey:
        """Look at the whole queue. Takes the lock itself, and looks without if it cannot have it."""
        with self.lock:
            self.acquire(LOCK_WAIT)
            pending = size = 0
            oldest = None
            for segment in self.segments():
                data = self._look(segment)
                pending += data.count(b"\n") if segment.state == "open" else segment.slots
                size += len(data)
                if oldest is None:
                    oldest = next((moment for line in split_lines(data) if (moment := _time(line))), None)
            return Survey(pending, size, oldest, self.ledger())


def _lies(segment: Segment) -> bool:
    """Whether a name promises no event, or more than a segment has bytes: then what is there counts (invariant 8)."""
    return segment.state == "ready" and not 0 < segment.slots <= SEGMENT_BYTES + LINE_BYTES


def _time(line: bytes) -> str | None:
    event = parse_line(line) or {}
    try:
        return datetime.fromisoformat(event["timestamp"]).astimezone(UTC).isoformat()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
