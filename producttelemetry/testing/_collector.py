"""The real collector, with what a test wants to ask it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from .. import _config
from ..collector import RunningCollector
from . import _clients

if TYPE_CHECKING:
    from typing import Self

    from ._events import Event

#: Seconds between two looks at what has arrived.
_LOOK: Final = 0.02


class Collector(RunningCollector):
    """A server for one test; see `producttelemetry.testing`.

    Args:
        host: name or address to listen on.
        port: 0 takes a free one.
        store: the SQLite file; None for a store that is gone afterwards.
        write_key: the key that the SDK must send; None takes any.

    Attributes:
        url: where it listens, `http://127.0.0.1:…` without a trailing slash.
        faults: what it does wrong: `faults.set(Fault(status=503, remaining=2))`, `faults.clear()`.
        store: all that arrived: `counts()`, `rejected()`, `identities()`, `deletions()`.
        journal: which requests came.
    """

    #: What had arrived by the end; None while the server runs.
    _last: list[Event] | None = None

    def __enter__(self) -> Self:
        super().__enter__()
        self._last = None
        return self

    @property
    def events(self) -> list[Event]:
        """The events that arrived, as plain dicts in order of arrival.

        First the clients of this process send what they have, as `flush()` does; what other processes still hold is not
        waited for (see `wait_for`). After the test it is what had arrived by its end.
        """
        if self._last is not None:
            return self._last
        if (directory := _config.test_dir()) is not None:
            for client in _clients.clients(directory):
                client.flush()
        return self._stored()

    def wait_for(self, number: int, timeout: float = 10.0) -> list[Event]:
        """Return the events when at least so many have arrived.

        Args:
            number: of events.
            timeout: seconds to wait for them.

        Raises:
            TimeoutError: they did not arrive; the message tells how many did.
        """
        deadline = time.monotonic() + timeout
        found = self.events
        while len(found) < number:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{len(found)} of {number} events arrived in {timeout:g} s")
            time.sleep(_LOOK)
            found = self._stored()
        return found

    def stop(self) -> None:
        """Stop the server; `events` can still be read."""
        if self._last is None and hasattr(self, "store"):
            self._last = self._stored()
        super().stop()

    def _stored(self) -> list[Event]:
        return [row.value for row in self.store.events()]
