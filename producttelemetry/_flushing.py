"""When this process sends, and what one flush does: ask for consent, seal, drain the disk, then what waits in memory.

Guarantees: all of it happens in the flush thread (`_worker`), so that nobody who tracks waits for it; whatever fails is
tried again after `flush_interval` at the latest; a flush that a back-off forbids seals nothing that is still in use.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._consent import Consent
    from ._log import Log
    from ._options import Options
    from ._sender import Drained, Sender
    from ._spool import Writer


class Flusher:
    """Flushes one client's queue in the background, and when it is asked to.

    Args:
        options: `flush_interval`, `flush_at` and `flush_timeout` are looked at.
        writer: what this process has not handed over yet.
        sender: the loop that empties the spool.
        seal: hands the open segment over; False if that has to wait.
        consent: reads consent again.
        log: where failures are told.

    Attributes:
        tracked: events that this process has stored.
        worker: the flush thread.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # what a flush consists of
        self,
        options: Options,
        writer: Writer,
        sender: Sender,
        seal: Callable[[], bool],
        consent: Callable[[], Consent],
        log: Log,
    ) -> None:
        self._options = options
        self._writer = writer
        self._sender = sender
        self._seal = seal
        self._consent = consent
        self._log = log
        self.tracked = self._tracked_at_flush = self._seen_by_timer = 0
        self.worker = Worker(self._flush, options.flush_interval)

    def note_tracked(self) -> None:
        """An event was stored: flush now if there are enough, else when the interval is over."""
        self.tracked += 1
        if self.tracked - self._tracked_at_flush >= self._options.flush_at:
            self.worker.due()
        else:
            self.worker.event()

    def flush_and_wait(self, *, explicit: bool) -> None:
        """Flush, and wait for it at most `flush_timeout`."""
        if not self.worker.flush(self._options.flush_timeout, explicit=explicit):
            self._sender.give_up()

    def _flush(self, explicit: bool) -> float | None:
        """Flush once, in the flush thread; return in how many seconds to do so again."""
        self._tracked_at_flush = self.tracked
        interval = self._options.flush_interval
        try:
            again = self._flush_once(explicit)
        except Exception as error:  # noqa: BLE001  # a disk that fails here works again later; a thread that died would not
            self._log.debug(f"flush failed: {type(error).__name__}: {error}")
            return interval
        return min(again or interval, interval) if self._writer.volatile else again

    def _flush_once(self, explicit: bool) -> float | None:
        interval = self._options.flush_interval
        consent = self._consent()  # at every tick: a back-off may last for hours
        if not consent.sends:
            return interval if consent.enabled or consent.passing else None
        if self._sender.waits(explicit=explicit):
            # Nothing is sealed for a flush that may not happen, unless nobody uses the slots.
            idle = self._seen_by_timer == self.tracked
            self._seen_by_timer = self.tracked
            if idle:
                self._seal()
            return self._sender.until_retry() if idle else min(interval, self._sender.until_retry())
        sealed = self._seal()
        ended = self._drain_disk(explicit)
        waiting = self._writer.claim_volatile()
        if waiting is not None:
            ended = self._sender.drain_volatile(waiting, explicit=explicit)
        if ended in {"empty", "stopped"}:
            return None if sealed else interval
        return interval if ended in {"busy", "late"} else self._sender.until_retry()

    def _drain_disk(self, explicit: bool) -> Drained:
        try:
            deadline = time.monotonic() + self._options.flush_timeout
            return self._sender.drain(explicit=explicit, deadline=deadline)
        except FileNotFoundError:  # there is no spool yet
            return "empty"
        except OSError as error:
            self._log.debug(f"the spool cannot be read: {error}")
            return "late"
