"""What one `track()` costs in one process: against the floor, durable queues and memory-only SDKs, and synced.

Each side runs in a process of its own; they take turns in small batches (see `_harness`). Our client keeps everything
on disk and sends nothing; the memory-only SDKs send as rarely as they can be made to (see `_sdks`), each to a server
of its own, which counts their requests. The floor and the queues get a ready event; `track()` also makes id and time,
checks the properties and keeps the shared cap. One side makes a new id and time by hand. `json.dumps` alone says how
much of the floor is the encoding. Four tables: small properties, 2 KB properties, the SDKs, and `fsync=True` against
`synchronous=FULL`, which wait for the disk.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from . import _queues, _sdks
from ._harness import Plan, Settings, interleave, summary
from ._servers import answering
from ._tables import Answer, Table
from ._workers import Opener, workers

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Final = "(an empty function)"


def run(settings: Settings) -> Answer:
    """Measure all four tables."""
    cheap = Plan(settings.choose(40, 4), batch=500, warm_up=500)
    synced = Plan(settings.choose(15, 3), batch=settings.choose(30, 10), warm_up=5)
    tables = {
        "small": _against(settings, "small", _sdks.SMALL, cheap),
        "large": _against(settings, "large", _sdks.LARGE, cheap),
        "sdks": _sdks_table(settings, cheap),
        "fsync": _synced(settings, synced),
    }
    tables["small"].notes.extend(_queues.missing((*_queues.DURABLE, _queues.QUEUELIB)))
    return Answer("What does one track() cost in one process?", tables)


def _against(settings: Settings, name: str, properties: Mapping[str, Any], plan: Plan) -> Table:
    given = dict(properties)
    sides: dict[str, Opener] = {_queues.TRACK: _queues.ours(given)}
    for queue in (_queues.ENCODED, _queues.FLOOR, _queues.BY_HAND, *_queues.DURABLE, _queues.QUEUELIB):
        if queue.installed:
            sides[queue.name] = queue.opener(given)
    sides[_NOTHING] = lambda: lambda: None
    what = {"small": "five small properties, event of about 350 bytes", "large": "2 KB of properties"}[name]
    return _table(settings, name, f"track() and durable queues, {what}", sides, plan)


def _sdks_table(settings: Settings, plan: Plan) -> Table:
    with contextlib.ExitStack() as stack:
        sdks = {name if name != _sdks.OURS else _queues.TRACK: sdk for name, sdk in _sdks.installed().items()}
        servers = {name: stack.enter_context(answering()) for name in sdks}
        sides: dict[str, Opener] = {
            name: partial(sdk.call, servers[name].url, _sdks.SMALL) for name, sdk in sdks.items()
        }
        sides[_queues.FLOOR.name] = _queues.FLOOR.opener(_sdks.SMALL)
        table = _table(settings, "sdks", "track() and SDKs that keep events in memory", sides, plan)
        for name, server in servers.items():
            table.sides[name]["requests"] = server.counts().requests
    table.notes.append(
        f"All have thresholds of time and number that are never reached; `requests` is what was sent nevertheless in "
        f"{plan.warm_up + plan.rounds * plan.batch:,} calls, for a limit in bytes. Sentry's transport is a function "
        f"that drops."
    )
    table.notes.extend(_sdks.missing())
    return table


def _synced(settings: Settings, plan: Plan) -> Table:
    sides: dict[str, Opener] = {
        "track(), fsync=True": _queues.ours(_sdks.SMALL, fsync=True),
        _queues.SYNCED.name: _queues.SYNCED.opener(_sdks.SMALL),
        _queues.SQLITE_FULL.name: _queues.SQLITE_FULL.opener(_sdks.SMALL),
    }
    return _table(settings, "fsync", "on stable storage when the call returns", sides, plan, _queues.SYNCED.name)


def _table(  # noqa: PLR0913, PLR0917  # what a table consists of
    settings: Settings, name: str, title: str, sides: dict[str, Opener], plan: Plan, floor: str = _queues.FLOOR.name
) -> Table:
    place = os.path.join(settings.workspace, f"track-{name}")
    os.sync()  # what the sides of another table have written is not to be waited for here
    with workers(sides, place) as batches:
        rounds = interleave(batches, plan)
    note = f"{plan.rounds} rounds of {plan.batch} calls each; ratios to {floor}, formed in each round."
    return Table(title, "µs", summary(rounds, floor), [note])
