"""What a program costs that has tracked one event and then waits: wake-ups and CPU time of all its threads.

All programs run at the same time, since none of them should do anything. Each tracks one event and then sleeps; the
kernel's counts for the whole process (getrusage) are read three times. The first window starts with the event and is
longer than the longest interval after which an SDK flushes by default, so that one flush is in it; the second one is
what follows. A wake-up is a voluntary context switch: a thread that had gone to sleep was woken. One of them is the
program's own sleep. Servers answer, or refuse.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Final

from . import _sdks
from ._programs import run as run_program
from ._servers import answering, refusing
from ._tables import Answer, Row, Table

if TYPE_CHECKING:
    from ._harness import Settings
    from ._servers import Server

_SLEEPING: Final = "a program that only sleeps"
_IDLE: Final = """
import json, os, resource, time
used = [resource.getrusage(resource.RUSAGE_SELF)]
for seconds in {windows}:
    time.sleep(seconds)
    used.append(resource.getrusage(resource.RUSAGE_SELF))
found = [
    [b.ru_nvcsw - a.ru_nvcsw, 1000 * (b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime)]
    for a, b in zip(used, used[1:])
]
print(json.dumps([found, len(os.listdir("/proc/self/task"))]), flush=True)
os._exit(0)
"""


def run(settings: Settings) -> Answer:
    """Measure all programs with both servers at once."""
    first, later = settings.choose(60, 35), settings.choose(30, 5)
    with answering() as there, refusing() as away:
        tables = _together(settings, _programs(there, away), (first, later))
    notes = ["All programs at the same time; each has the default settings of its SDK."]
    titles = {
        "first": f"the first {first} seconds after an event, with its one flush",
        "later": f"the {later} seconds after that",
    }
    return Answer(
        "What does a program cost that does nothing?",
        {name: Table(title, "ms of CPU time", tables[name], notes + _sdks.missing()) for name, title in titles.items()},
    )


def _programs(there: Server, away: Server) -> dict[str, str]:
    programs = {_SLEEPING: ""}
    for name, sdk in _sdks.installed().items():
        programs[name] = sdk.program(there.url)
        programs[f"{name}, server refuses"] = sdk.program(away.url)
    return programs


def _together(settings: Settings, programs: dict[str, str], windows: tuple[int, int]) -> dict[str, dict[str, Row]]:
    tables: dict[str, dict[str, Row]] = {table: {name: {} for name in programs} for table in ("first", "later")}

    def measure(name: str, home: str) -> None:
        os.mkdir(home)
        found, threads = json.loads(run_program(programs[name] + _IDLE.format(windows=windows), home).output)
        for rows, (switches, cpu) in zip(tables.values(), found, strict=True):
            rows[name] = {"wake-ups": switches, "CPU": cpu, "threads": threads}

    threads = [
        threading.Thread(target=measure, args=(name, os.path.join(settings.workspace, f"idle-{number}")))
        for number, name in enumerate(programs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tables
