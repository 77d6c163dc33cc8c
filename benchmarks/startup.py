"""What a program pays before its first event: importing the SDK, making a client, the first `track()`.

Every sample is a new interpreter that reads its own clock around the three steps, prints it and ends without exit
handlers; what an exit costs is another question (`leaving`). Each has a new home directory, so the first event also
makes the directories, the client id and the first segment. The server answers at once. The floor of the import is what
the package needs anyway: `json`, `threading`, `datetime` and `platformdirs`; ours imports the last one later, in the
constructor. Ratios are formed of the import and of all three steps together, so that a step that does its work in
another does not look cheaper for it.
"""

from __future__ import annotations

import json
import os
import statistics
from typing import TYPE_CHECKING, Final

from . import _sdks
from ._harness import Settings, between, in_turn
from ._programs import run as run_program
from ._servers import answering
from ._tables import Answer, Row, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The side that others are compared with.
REFERENCE: Final = "ptelemetry"
_FLOOR: Final = "json, threading, datetime, platformdirs"
_STEPS: Final = ("import", "constructor", "first track()")
_TIMED: Final = """
from time import perf_counter
times = [perf_counter()]
{imports}
times.append(perf_counter())
{construct}
times.append(perf_counter())
{track}
times.append(perf_counter())
import json, os
print(json.dumps([1000 * (b - a) for a, b in zip(times, times[1:])]), flush=True)
os._exit(0)
"""


def run(settings: Settings) -> Answer:
    """Measure the three steps of every SDK."""
    rounds = settings.choose(20, 4)
    samples: dict[str, list[list[float]]] = {}
    with answering() as server:
        programs = _programs(server.url)
        for number in range(-1, rounds):  # the first round only warms up: bytecode, the page cache
            for name in in_turn(list(programs), max(number, 0)):
                home = os.path.join(settings.workspace, f"{name}-{number}")
                times: list[float] = json.loads(run_program(programs[name], home).output)
                if number >= 0:
                    samples.setdefault(name, []).append(times)
    notes = [
        f"{rounds} rounds, a new interpreter and a new home each; ratios are to {REFERENCE}, of the import and of all."
    ]
    table = Table("before and including the first event", "ms", _rows(samples), notes + _sdks.missing())
    return Answer("What does a program pay before its first event?", {"startup": table})


def _programs(url: str) -> dict[str, str]:
    programs = {
        name: sdk.variables(url) + _TIMED.format(imports=sdk.imports, construct=sdk.construct, track=sdk.track)
        for name, sdk in _sdks.installed().items()
    }
    imports = "import json, threading, datetime, platformdirs"
    return {**programs, _FLOOR: _TIMED.format(imports=imports, construct="", track="")}


def _rows(samples: Mapping[str, list[list[float]]]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    base = samples.get(REFERENCE)
    for name, found in samples.items():
        steps = list(zip(*found, strict=True))
        row: Row = {step: statistics.median(values) for step, values in zip(_STEPS, steps, strict=True)}
        row["together"] = statistics.median(map(sum, found))
        row["quartiles"] = between(list(map(sum, found)))
        for column, of in (("import ratio", _imported), ("together ratio", sum)):
            if base:
                ratios = [of(mine) / of(other) for mine, other in zip(found, base, strict=True)]
                row |= {column: statistics.median(ratios), f"{column}, quartiles": between(ratios)}
        rows[name] = row
    for column in ("constructor", "first track()", "together", "quartiles"):
        del rows[_FLOOR][column]
    for column in [name for name in rows[_FLOOR] if name.startswith("together")]:
        del rows[_FLOOR][column]
    return rows


def _imported(times: list[float]) -> float:
    return times[0]
