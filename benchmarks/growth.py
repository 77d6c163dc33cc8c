"""Whether a long queue makes anything slower: `track()`, constructor, `stats()` and `flush()`, up to 1,000,000 events.

For each length there is a home directory in which so many events wait, written by a process that is dead; the lengths
are the sides and take turns. `first track()` is that of a new process, which looks for orphans and takes a segment;
`flush()` meets a server that refuses, so it is what a flush costs before anything is sent; the first one of a process
imports `httpx` and loads the certificates that TLS trusts, so it is measured apart from later ones, in new processes.
"""

from __future__ import annotations

import contextlib
import shutil
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ._harness import Plan, Settings, Times, at, between, interleave, timed
from ._sdks import SMALL
from ._servers import refusing
from ._spools import home_with
from ._tables import Answer, Row, Table
from ._workers import Opener, Worker, in_child

if TYPE_CHECKING:
    from collections.abc import Callable

#: The constructor's arguments for a client that sends nothing by itself and whose cap is not reached.
_OPTIONS: Final[dict[str, Any]] = {
    "max_queue_size": 10**8,
    "flush_at": 10**7,
    "flush_interval": 3600.0,
    "on_exit": "keep",
    "flush_timeout": 60.0,
}


def run(settings: Settings) -> Answer:
    """Measure every operation at every length."""
    lengths = (0, 1_000, 10_000) if settings.quick else (0, 1_000, 100_000, 1_000_000)
    with refusing() as server:
        homes = {f"{n:,} pending": home_with(settings, f"growth-{n}", n, server.url) for n in lengths}
        found = _all(settings, homes, server.url)
    for home in homes.values():
        shutil.rmtree(home)
    calls = {
        column: {name: list(chain.from_iterable(rounds)) for name, rounds in sides.items()}
        for column, sides in found.items()
    }
    rows: dict[str, Row] = {name: {column: at(calls[column][name], 0.5) for column in calls} for name in homes}
    for name, row in rows.items():
        row["track() p99"] = at(calls["track()"][name], 0.99)
    spread: dict[str, Row] = {name: {column: between(calls[column][name]) for column in calls} for name in homes}
    note = "Medians; the cap is far above every length, so that nothing is evicted."
    tables = {
        "growth": Table("by length of the queue", "µs", rows, [note]),
        "spread": Table("quartiles of the same", "µs", spread),
    }
    return Answer("Does a long queue make anything slower?", tables)


def _all(settings: Settings, homes: dict[str, str], url: str) -> dict[str, dict[str, list[Times]]]:
    """Return the times of each operation, by its name and that of the home directory."""
    few = settings.choose(10, 3)
    singly = Plan(few, batch=1, warm_up=1)
    return {
        "constructor": _measure(homes, _constructor(url), Plan(few, batch=10, warm_up=2)),
        "stats()": _measure(homes, _method(url, "stats"), Plan(settings.choose(5, 3), batch=1, warm_up=1)),
        "first flush(), refused": _first(homes, partial(_flush_once, url), few),
        "later flush(), refused": _measure(homes, _method(url, "flush"), singly),
        "first track()": _first(homes, partial(_track_once, url), few),
        "track()": _measure(homes, _track(url), Plan(settings.choose(20, 4), batch=500, warm_up=500)),
    }


def _measure(homes: dict[str, str], opener: Opener, plan: Plan) -> dict[str, list[Times]]:
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(opener, home)) for name, home in homes.items()}
        return interleave(workers, plan)


def _first(homes: dict[str, str], act: Callable[[], Times], rounds: int) -> dict[str, list[Times]]:
    """Measure what each of several new processes does once."""

    def side(home: str) -> Callable[[int], Times]:
        return lambda _: in_child(act, home)

    sides = {name: side(home) for name, home in homes.items()}
    return interleave(sides, Plan(rounds, batch=1, warm_up=1))


def _track_once(url: str) -> Times:
    return _in_microseconds(partial(_client(url).track, "command.executed", SMALL))


def _flush_once(url: str) -> Times:
    return _in_microseconds(_client(url).flush)


def _in_microseconds(operation: Callable[[], object]) -> Times:
    return [time / 1000 for time in timed(operation, 1)]


def _client(url: str) -> Any:
    from producttelemetry import Telemetry  # noqa: PLC0415  # not in the parent, see `_workers`

    return Telemetry("key", url, **_OPTIONS)


def _constructor(url: str) -> Opener:
    return lambda: partial(_client, url)


def _method(url: str, name: str) -> Opener:
    return lambda: getattr(_client(url), name)


def _track(url: str) -> Opener:
    return lambda: partial(_client(url).track, "command.executed", SMALL)
