"""The ledger: how many events left the queue, and why. The only memory the spool has of what is gone.

The file is written in place, in one `write` of one block: a process that dies leaves the old content or the new one.

`Counts` is the file's content; `Tally` is what one process has to add and does not know how to add yet, because adding
needs the directory's lock.
"""

from __future__ import annotations

import errno
import json
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import _files as files
from .._record import decode_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEDGER: Final = "ledger.json"
#: More bytes than a ledger has; what is longer is damage.
_LEDGER_BYTES: Final = 1 << 16
#: Counts the events that the server took; every other key is a reason for dropping one.
DELIVERED: Final = "delivered"
REASONS: Final = ("overflow", "too_large", "invalid", "before_send", "rejected", "corrupt", "purged", "memory")


class Settled(NamedTuple):
    """What became of lines that leave the queue.

    Attributes:
        delivered: how many of them the server took.
        dropped: how many of them left otherwise, by reason.
        rejected: entries for `rejected.jsonl`.
    """

    delivered: int = 0
    dropped: Mapping[str, int] = {}
    rejected: Sequence[Mapping[str, Any]] = ()


class Counts(NamedTuple):
    """What became of the events that are no longer in the queue.

    Attributes:
        delivered: events that the server took.
        dropped: events that left otherwise, by reason; every reason is there.
    """

    delivered: int
    dropped: dict[str, int]

    def plus(self, more: Mapping[str, int]) -> Counts:
        """Return the sum with counts by reason, `DELIVERED` among them."""
        dropped = dict(self.dropped)
        for reason, number in more.items():
            if reason != DELIVERED:
                dropped[reason] = dropped.get(reason, 0) + number
        return Counts(self.delivered + more.get(DELIVERED, 0), dropped)

    def encode(self) -> bytes:
        """Return the file's content."""
        return json.dumps({"delivered": self.delivered, "dropped": self.dropped}).encode()


def read_counts(path: str) -> Counts:
    """Read a ledger; zeros if there is none, or what is there is damaged or no file of ours.

    Raises:
        OSError: there is one that cannot be read. Counting on from zero would forget it.
    """
    try:
        content = files.read(path, limit=_LEDGER_BYTES)
    except OSError as error:
        if error.errno not in {errno.ENOENT, *files.FOREIGN}:
            raise
        content = b""
    dropped = dict.fromkeys(REASONS, 0)
    try:
        value = decode_json(content.decode())
        dropped |= {str(reason): _number(number) for reason, number in value["dropped"].items()}
        return Counts(_number(value["delivered"]), dropped)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Counts(0, dict.fromkeys(REASONS, 0))


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("not a count")
    return value


class Tally:
    """Counts of this process that are not in the ledger yet."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        # One entry for each event and no sums: a signal handler may come in between a sum's reading and its writing.
        self._noted: deque[str] = deque()

    def note(self, reason: str, number: int = 1) -> None:
        """Count events under `DELIVERED` or a reason."""
        self._noted.extend([reason] * number)

    def drop(self, lines: deque[bytes], reason: str, keep: int = 0) -> None:
        """Let go of the first lines until `keep` are left, and count each."""
        append = self._noted.append
        while len(lines) > keep:
            # A signal handler comes after a call, so not between these two: what it raises changes no count.
            del lines[0]
            append(reason)

    def counts(self) -> Counter[str]:
        """Return what the ledger does not know yet."""
        return Counter(list(self._noted))

    def forget(self, counts: Counter[str]) -> None:
        """The ledger knows these now; what was noted meanwhile stays."""
        for _ in range(counts.total()):
            self._noted.popleft()
