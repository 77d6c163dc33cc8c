"""`check`: does a directory keep the invariants? Reads only, beside living writers; for tests and commands."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Final

from .. import _files as files
from .._record import Segment, parse_line, parse_name, split_lines
from ._directory import DESTINATION, LOCK, LOCK_WAIT, PURGE_MARK, REJECTED, RETRY, SENDER_LOCK, Directory
from ._ledger import LEDGER

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Besides segments; a `.new` is the next content of one of them, on its way.
_OTHER_FILES: Final = frozenset(
    (
        *(LOCK, SENDER_LOCK, LEDGER, DESTINATION, RETRY, REJECTED, PURGE_MARK),
        *(f"{name}.new" for name in (RETRY, REJECTED, PURGE_MARK)),
    )
)


def check(path: str, cap: int | None = None) -> list[str]:
    """Verify the invariants of one destination's spool.

    Args:
        path: the destination's directory.
        cap: `max_queue_size`, if it is known; the directory does not record it.

    Returns:
        One sentence for each thing that is not as it should be; empty if all is well.

    Raises:
        OSError: the directory cannot be read.
    """
    with closing(Directory(path)) as directory:
        if not directory.acquire(LOCK_WAIT):
            return ["lock: held by a process that does not go on (invariant 9); the rest was not looked at"]
        return [*_foreign(directory), *_counts(directory, cap), *_contents(directory)]


def _foreign(directory: Directory) -> Iterator[str]:
    for name, regular in sorted(files.entries(directory.path)):
        if not regular:
            yield f"{name}: not a regular file (invariant 8)"
        elif parse_name(name) is None and name not in _OTHER_FILES:
            yield f"{name}: not a name of this format (invariant 8)"
    versions, current = os.path.split(os.path.dirname(directory.path))
    for name in files.listing(versions):
        if name != current and name.startswith("v"):
            yield f"{name}: another format version (invariant 8)"


def _counts(directory: Directory, cap: int | None) -> Iterator[str]:
    segments = directory.segments()
    for identity, number in Counter(segment.identity for segment in segments).items():
        if number > 1:
            yield f"{identity[0]}-{identity[1]}: {number} names for one segment (invariant 5)"
    total = sum(segment.slots for segment in segments)
    if cap is not None and total > cap:
        yield f"the names promise {total} events, the cap is {cap} (invariant 3)"


def _contents(directory: Directory) -> Iterator[str]:
    for segment in directory.segments():
        try:
            data = files.read(directory.where(segment), segment.offset)
        except OSError as error:
            yield f"{segment}: cannot be read, {error.strerror} (invariant 8)"
        else:
            yield from _content(segment, data)


def _content(segment: Segment, data: bytes) -> Iterator[str]:
    lines = split_lines(data)
    if segment.state == "open" and len(lines) > segment.slots:
        yield f"{segment}: holds {len(lines)} events, more than were reserved (invariant 3)"
    if segment.state != "open" and len(lines) != segment.slots:
        yield f"{segment}: holds {len(lines)} events (invariant 3)"
    if segment.state != "open" and data and not data.endswith(b"\n"):
        yield f"{segment}: the last line is torn (invariant 2)"
    damaged = sum(parse_line(line) is None for line in lines)
    if damaged:
        lines_are = "1 line is" if damaged == 1 else f"{damaged} lines are"
        yield f"{segment}: {lines_are} not valid (invariant 8)"
