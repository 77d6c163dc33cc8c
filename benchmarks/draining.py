"""Draining a backlog: events per second, memory and bytes on the wire, for 1,000 to 1,000,000 events.

The queue is filled through `track()` of one process that sends nothing. Then a new interpreter makes a client and
calls `flush()` until the queue is empty, and reads its own clock, peak memory (VmHWM) and CPU time. It sends to a bare
socket server that parses nothing, which shows what the SDK can do, and to the local collector, which checks each event
and stores it in SQLite; nobody looks at the collector's page. Every event has to arrive and none may be dropped. Each
server is a process of its own on the same machine, so with two cores they have one each. The sides take turns within
each round.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
from typing import TYPE_CHECKING, Any, Final

from ._harness import Settings, between, in_turn
from ._programs import run as run_program
from ._servers import answering, collector
from ._spools import home_with
from ._tables import Answer, Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._servers import Server

_DRAIN: Final = """
import json, os, time
from producttelemetry import Telemetry

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(name))

client = Telemetry("key", {url!r}, on_exit="keep", flush_timeout=600.0)
before = memory("VmRSS")
used, started = time.process_time(), time.perf_counter()
client.flush()
seconds, cpu = time.perf_counter() - started, time.process_time() - used
peak = memory("VmHWM")
stats = client.stats()
accounts = [stats.pending, sum(stats.dropped.values())]
print(json.dumps([accounts, seconds, cpu, before, peak]), flush=True)
os._exit(0)
"""


def run(settings: Settings) -> Answer:
    """Measure every size against both servers."""
    sizes = (1_000, 10_000) if settings.quick else (1_000, 10_000, 100_000, 1_000_000)
    bare: dict[str, Row] = {}
    collected: dict[str, Row] = {}
    for size in sizes:
        rounds = 1 if settings.quick or size == max(sizes) else 3
        found: dict[str, list[Row]] = {"bare": [], "collector": []}
        for number in range(rounds):
            for name in in_turn(list(found), number):
                found[name].append(_drain_to(settings, size, name))
        bare[f"{size:,} events"] = _middle(found["bare"])
        collected[f"{size:,} events"] = _middle(found["collector"])
    note = "Seconds and CPU seconds of the sending process, from the call of flush() on, the import of httpx included."
    tables = {
        "bare": Table("to a bare socket server", "events/s; memory in MiB", bare, [note]),
        "collector": Table("to the local collector", "events/s; memory in MiB", collected, [note]),
    }
    return Answer("How fast is a backlog drained, with how much memory?", tables)


def _drain_to(settings: Settings, size: int, server: str) -> Row:
    if server == "bare":
        return _drain(settings, size, answering)
    with tempfile.TemporaryDirectory(dir=settings.workspace) as place:
        return _drain(settings, size, lambda: collector(os.path.join(place, "events.db")))


def _drain(settings: Settings, size: int, start: Callable[[], Any]) -> Row:
    server: Server
    with start() as server:
        home = home_with(settings, "draining", size, server.url)
        program = _DRAIN.format(url=server.url)
        accounts, seconds, cpu, before, peak = json.loads(run_program(program, home).output)
        counts = server.counts()
    shutil.rmtree(home)
    assert accounts == [0, 0], f"of {size} events are left and dropped: {accounts}"
    assert counts.events in {size, 0}, (
        f"the server got {counts.events} of {size} events"
    )  # the collector does not count
    row: Row = {"events/s": size / seconds, "seconds": seconds, "CPU seconds": cpu}
    row |= {"memory before": before, "peak": peak, "growth": peak - before}
    if counts.events:
        row |= {"bytes/event": counts.wire_bytes / counts.events, "requests": counts.requests}
    return row


def _middle(rows: list[Row]) -> Row:
    """Return the median of each column, and the quartiles of the first."""
    columns = {name: [float(row[name] or 0) for row in rows] for name in rows[0]}
    middle: Row = {name: statistics.median(values) for name, values in columns.items()}
    spread: Row = {"quartiles": between(columns["events/s"])} if len(rows) > 1 else {}
    return {"events/s": middle["events/s"], **spread, **middle, "rounds": len(rows)}
