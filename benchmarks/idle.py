"""What a program costs that has tracked one event and then waits: wake-ups and CPU time of all its threads in a minute.

All programs run at the same time, since none of them should do anything. Each tracks one event, waits three seconds
until what that started is over, and then sleeps; the kernel's counts for the whole process (getrusage) are read before
and after. A wake-up is a voluntary context switch: a thread that had gone to sleep was woken. One of them is the
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
import json, os, resource, threading, time
time.sleep({settle})
before = resource.getrusage(resource.RUSAGE_SELF)
time.sleep({seconds})
after = resource.getrusage(resource.RUSAGE_SELF)
switches = after.ru_nvcsw - before.ru_nvcsw
cpu = 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
print(json.dumps([switches, cpu, threading.active_count(), len(os.listdir("/proc/self/task"))]), flush=True)
os._exit(0)
"""


def run(settings: Settings) -> Answer:
    """Measure all programs with both servers at once."""
    seconds = settings.choose(60, 10)
    with answering() as there, refusing() as away:
        programs = _programs(there, away)
        rows = _together(settings, programs, seconds)
    notes = [f"{seconds} s, all programs at the same time; each has the default settings of its SDK."]
    table = Table(f"in {seconds} seconds after one event", "ms of CPU time", rows, notes + _sdks.missing())
    return Answer("What does a program cost that does nothing?", {"idle": table})


def _programs(there: Server, away: Server) -> dict[str, str]:
    programs = {_SLEEPING: ""}
    for name, sdk in _sdks.installed().items():
        programs[name] = sdk.program(there.url)
        programs[f"{name}, server refuses"] = sdk.program(away.url)
    return programs


def _together(settings: Settings, programs: dict[str, str], seconds: int) -> dict[str, Row]:
    rows: dict[str, Row] = {name: {} for name in programs}

    def measure(name: str, home: str) -> None:
        os.mkdir(home)
        source = programs[name] + _IDLE.format(settle=3, seconds=seconds)
        switches, cpu, _, threads = json.loads(run_program(source, home).output)
        rows[name] = {"wake-ups": switches, "CPU": cpu, "threads": threads}

    threads = [
        threading.Thread(target=measure, args=(name, os.path.join(settings.workspace, f"idle-{number}")))
        for number, name in enumerate(programs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rows
