"""What was asked of the protocol routes lately, for tests that count requests and for people who look on.

An entry is written when a request arrives and completed as it proceeds, so a request that hangs, or whose connection is
dropped, is there as well: its `status` stays `None`. Status 499 means that the client left before its request was
complete (nobody saw that answer). The journal lives in memory: it is about this run, the store is about the events.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

#: Entries kept; older ones are forgotten, but still counted.
CAPACITY: Final = 1000


@dataclass(slots=True)
class Entry:
    """One request.

    Attributes:
        method: the HTTP method.
        path: the path without its query.
        idempotency_key: the header of that name.
        at: when its head had arrived, epoch seconds.
        status: what was answered; `None` as long as nothing was.
        events: the length of its batch; `None` if it has none or it was not read.
    """

    method: str
    path: str
    idempotency_key: str | None
    at: float
    status: int | None = None
    events: int | None = None


class Journal:
    """The last `CAPACITY` requests and the number of all. Safe to use from any thread.

    Args:
        clock: where `at` comes from, in epoch seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=CAPACITY)
        self._total = 0

    def open(self, method: str, path: str, idempotency_key: str | None) -> Entry:
        """Note a request that has just arrived; the caller completes the entry it gets.

        Args:
            method: `POST`, for example.
            path: of the URL, without the query.
            idempotency_key: the header, or None.
        """
        entry = Entry(method, path, idempotency_key, self._clock())
        with self._lock:
            self._entries.append(entry)
            self._total += 1
        return entry

    @property
    def total(self) -> int:
        """Requests since the start or the last `clear`, the forgotten ones included."""
        with self._lock:
            return self._total

    @property
    def last(self) -> dict[str, Any] | None:
        """The entry of the latest request, or `None`."""
        with self._lock:
            return asdict(self._entries[-1]) if self._entries else None

    def to_json(self) -> list[dict[str, Any]]:
        """Return copies of the entries, oldest first."""
        with self._lock:
            return [asdict(entry) for entry in self._entries]

    def clear(self) -> None:
        """Forget all; a request under way completes an entry that nobody sees any more."""
        with self._lock:
            self._entries.clear()
            self._total = 0
