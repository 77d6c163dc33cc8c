"""What `Telemetry.stats()` returns.

Imported when it is asked for: `dataclasses` costs start-up time that `track()` need not pay.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import _retry
from ._config import NOWHERE
from ._spool import REASONS, Counts, Directory, Survey

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Stats:
    """A look at the queue that all processes of this project and destination share.

    Attributes:
        pending: events waiting to be delivered, on disk and in this process's memory.
        pending_bytes: size of those on disk, in bytes.
        volatile: how many of `pending` are in this process's memory only, because the disk does not work or a stopped
            process holds the spool's lock; they would die with this process.
        oldest_pending: time of the first pending event, aware, or None.
        delivered: events that the server took, ever.
        dropped: events that left otherwise, by reason: `overflow`, `too_large`, `invalid`, `before_send`, `rejected`,
            `corrupt`, `purged`, `memory`.
        retry_at: when the next attempt to send is due, aware; None if there is no back-off.
        last_error: the last failure to send, for people, or None.
        spool_dir: where the events are; None if the client is disabled or there is no place to store anything.
    """

    pending: int
    pending_bytes: int
    volatile: int
    oldest_pending: datetime | None
    delivered: int
    dropped: Mapping[str, int]
    retry_at: datetime | None
    last_error: str | None
    spool_dir: Path | None


def nothing() -> Stats:
    """Return the stats of a client that is disabled."""
    return Stats(0, 0, 0, None, 0, dict.fromkeys(REASONS, 0), None, None, None)


def collect(path: str, state: _retry.State, volatile: int, uncounted: Counter[str]) -> Stats:
    """Look at a destination.

    Args:
        path: its directory.
        state: its back-off.
        volatile: events in this process's memory.
        uncounted: what this process has to add to the ledger.
    """
    survey = _survey(path)
    counts = survey.counts.plus(uncounted)
    return Stats(
        pending=survey.pending + volatile,
        pending_bytes=survey.pending_bytes,
        volatile=volatile,
        oldest_pending=datetime.fromisoformat(survey.oldest) if survey.oldest else None,
        delivered=counts.delivered,
        dropped=counts.dropped,
        retry_at=datetime.fromtimestamp(state.not_before, UTC) if _retry.waits(state, time.time()) else None,
        last_error=state.last_error,
        spool_dir=None if path.startswith(NOWHERE) else Path(path),
    )


def _survey(path: str) -> Survey:
    try:
        with closing(Directory(path)) as directory:
            return directory.survey()
    except OSError:  # nothing was stored yet, or nothing can be
        return Survey(0, 0, None, Counts(0, dict.fromkeys(REASONS, 0)))
