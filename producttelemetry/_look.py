"""The way from `Telemetry.stats()` to `_stats`, which costs 18 ms to import, also where nothing can be imported.

Guarantees: what comes back has the attributes of `Stats`; nothing is raised for want of an import.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from . import _process
from ._spool import REASONS

if TYPE_CHECKING:
    from collections import Counter

    from ._retry import State
    from ._stats import Stats


class Facts(NamedTuple):
    """What a client knows of its queue.

    Attributes:
        path: directory of the destination.
        state: its back-off.
        volatile: events in this process's memory.
        uncounted: what this process has to add to the ledger.
    """

    path: str
    state: State
    volatile: int
    uncounted: Counter[str]


def look(facts: Facts | None) -> Stats:
    """Look at the queue; zeros without facts."""
    stats = _process.late_import("_stats")
    if stats is None:
        return unknown(0 if facts is None else facts.volatile)
    looked: Stats = stats.nothing() if facts is None else stats.collect(*facts)
    return looked


def unknown(volatile: int = 0) -> Stats:
    """Return what has the attributes of `Stats`, where that cannot be had."""
    attributes: dict[str, Any] = {"pending": volatile, "volatile": volatile, "pending_bytes": 0, "delivered": 0}
    attributes |= dict.fromkeys(("oldest_pending", "retry_at", "last_error", "spool_dir"))
    return cast("Stats", SimpleNamespace(**attributes, dropped=dict.fromkeys(REASONS, 0)))
