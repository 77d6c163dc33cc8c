"""Draw the plots of a run and write its tables into benchmarks/README.md, so that no figure is typed by hand.

Four figures go into the project's README, block `figures`.

    python -m benchmarks.report RESULTS.json

A file that lacks a question is refused: its figures would stand beside those of another run.

The README has blocks `<!-- begin NAME -->` … `<!-- end NAME -->`: the name of a question stands for its tables,
`machine` for what it ran on, `targets` for what this project aims at. What is outside of them is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .__main__ import QUESTIONS
from ._plots import draw
from ._queues import BY_HAND, TRACK
from ._sdks import OURS
from ._tables import Table, as_markdown, from_json, shown
from .leaving import BARE, FULL, SERVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ._tables import Answer, Row

_HERE: Final = os.path.dirname(os.path.abspath(__file__))
_MACHINE: Final = {
    "date": "date",
    "cpu": "CPU",
    "cores": "cores",
    "memory_gib": "memory (GiB)",
    "system": "kernel",
    "file_system": "file system",
    "load_before": "load before the run",
    "python": "Python",
    "sqlite": "SQLite",
}
_LARGEST: Final = "1,000,000 events"


def main(path: str) -> None:
    """Draw and write.

    Args:
        path: the JSON file of a run.
    """
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    missing = [name for name in QUESTIONS if name not in results["questions"]]
    if missing:
        sys.exit(f"{path}: no answers to {', '.join(missing)}; a report is of one complete run")
    answers = {name: from_json(value) for name, value in results["questions"].items()}
    draw(answers, os.path.join(_HERE, "plots"))
    blocks = {name: "\n\n".join(map(as_markdown, answer.tables.values())) for name, answer in answers.items()}
    blocks["machine"] = _machine(results)
    blocks["targets"] = as_markdown(Table("What this project aims at", "this run", dict(_targets(_Figures(answers)))))
    blocks["figures"] = _front_page(_Figures(answers))
    for readme in (os.path.join(_HERE, "README.md"), os.path.join(os.path.dirname(_HERE), "README.md")):
        with open(readme, encoding="utf-8") as file:
            text = file.read()
        with open(readme, "w", encoding="utf-8") as file:
            file.write(_filled(text, blocks))


def _filled(text: str, blocks: Mapping[str, str]) -> str:
    """Return a text with the content of its blocks replaced; a block that nothing is known of stays as it is."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- begin {name} -->\n\n{blocks[name]}\n\n<!-- end {name} -->" if name in blocks else match[0]

    return re.sub(r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->", replace, text, flags=re.DOTALL)


def _machine(results: Mapping[str, Any]) -> str:
    environment = results["environment"]
    lines = [f"| {label} | {environment[name]} |" for name, label in _MACHINE.items()]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    minutes = sum(answer["seconds"] for answer in results["questions"].values()) / 60
    quick = " **A quick run: rough figures.**" if results["quick"] else ""
    return "\n".join(
        ["| | |", "|---|---|", *lines, f"| packages | {packages} |", f"\nIt took {minutes:.0f} minutes.{quick}"]
    )


def _front_page(figures: _Figures) -> str:
    rows: dict[str, Row] = {}
    for what, measure in _FRONT_PAGE:
        with contextlib.suppress(KeyError):  # a peer is not installed
            rows[what] = {"measured": measure(figures)}
    return as_markdown(Table("", "", rows))


def _targets(figures: _Figures) -> Iterator[tuple[str, Row]]:
    for aim in _AIMS:
        with contextlib.suppress(KeyError):  # a peer is not installed
            yield aim.what, aim.row(list(aim.measure(figures)))


class _Figures:
    """Looks a figure up in the answers.

    Args:
        answers: by question.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers

    def __call__(self, question: str, table: str, side: str, column: str) -> float:
        """Return a figure, or raise KeyError."""
        figure = self._answers[question].tables[table].sides[side][column]
        assert isinstance(figure, (int, float))
        return float(figure)

    def whole_programs(self) -> Iterator[float]:
        """Return what our program takes over one that does nothing, for each server and queue."""
        for name in SERVERS:
            for side in (OURS, OURS + FULL):
                yield self("leaving", name, side, "end of pipe") - self("leaving", name, BARE, "end of pipe")


def _over_pass(figures: _Figures) -> str:
    found = list(figures.whole_programs())
    return f"{shown(min(found))} … {shown(max(found))} ms"


def _one_event(figures: _Figures) -> str:
    ours, by_hand = (figures("track", "small", side, "p50") for side in (TRACK, BY_HAND.name))
    return f"{shown(ours)} µs ({shown(by_hand)} µs)"


def _crowd(figures: _Figures) -> str:
    ours, theirs = (figures("processes", "16", side, "p99") for side in (TRACK, "litequeue"))
    return f"{shown(ours)} µs ({shown(theirs)} µs)"


def _backlog(figures: _Figures) -> str:
    speed, memory = (figures("draining", "bare", _LARGEST, column) for column in ("events/s", "peak"))
    return f"{shown(speed)} events/s, {shown(memory)} MiB"


@dataclass(frozen=True)
class _Aim:
    """A target.

    Attributes:
        what: is measured.
        unit: of the figures.
        measure: finds them; several, if it has to be met more than once.
        most: no figure should be above it.
        least: no figure should be below it.
    """

    what: str
    unit: str
    measure: Callable[[_Figures], Iterable[float]]
    most: float | None = None
    least: float | None = None

    def row(self, found: Sequence[float]) -> Row:
        """Return what is aimed at, what was measured, and whether that is met."""
        ends = dict.fromkeys(map(shown, (min(found), max(found))))
        row: Row = {"aim": self._aim(), "measured": f"{' … '.join(ends)} {self.unit}"}
        if self.most is not None or self.least is not None:
            met = [self._is_met(figure) for figure in found]
            row["met"] = "yes" if all(met) else "partly" if any(met) else "no"
        return row

    def _aim(self) -> str:
        limits = (("≤", self.most), ("≥", self.least))
        return ", ".join(f"{sign} {limit:,.6g} {self.unit}" for sign, limit in limits if limit is not None)

    def _is_met(self, figure: float) -> bool:
        return (self.most is None or figure <= self.most) and (self.least is None or figure >= self.least)


def _tail(figures: _Figures) -> Iterator[float]:
    yield figures("processes", "8", TRACK, "p99") / figures("processes", "1", TRACK, "p99")


def _extra_memory(figures: _Figures) -> Iterator[float]:
    many, few = (figures("draining", "bare", size, "peak") for size in (_LARGEST, "1,000 events"))
    yield many - few


def _one(question: str, table: str, side: str, column: str) -> Callable[[_Figures], Iterable[float]]:
    return lambda figures: [figures(question, table, side, column)]


_FRONT_PAGE: Final[tuple[tuple[str, Callable[[_Figures], str]], ...]] = (
    ("one `track()`, median (the same by hand: id, time, `json.dumps`, `os.write`)", _one_event),
    ("a whole command with one event, beyond `python -c pass`, whatever the server does", _over_pass),
    ("`track()` with 16 processes on one queue, 99th percentile (litequeue, which is SQLite)", _crowd),
    ("a backlog of 1,000,000 events: speed of sending it, memory of the whole process", _backlog),
)
_AIMS: Final = (
    _Aim(
        "track(), median, to `json.dumps` + `os.write` of a ready event",
        "times",
        _one("track", "small", TRACK, "ratio"),
        most=1.0,
    ),
    _Aim("the same, p99", "times", _one("track", "small", TRACK, "ratio p99"), most=1.5),
    _Aim("track(), p99 with 8 processes on one queue, to track() of one process", "times", _tail, most=3.0),
    _Aim(
        "longest track() while a neighbour is stopped",
        "ms",
        _one("processes", "stopped", TRACK, "longest of all"),
        most=150.0,
    ),
    _Aim("import, to `import ptelemetry`", "times", _one("startup", "startup", OURS, "import ratio"), most=0.3),
    _Aim(
        "import, constructor and first track(), to ptelemetry",
        "times",
        _one("startup", "startup", OURS, "together ratio"),
    ),
    _Aim("whole program with one event, over `python -c pass`, any server", "ms", _Figures.whole_programs, most=60.0),
    _Aim(
        "draining 1,000,000 events, SDK's side (bare server)",
        "events/s",
        _one("draining", "bare", _LARGEST, "events/s"),
        least=50_000.0,
    ),
    _Aim("memory for 1,000,000 events beyond that for 1,000", "MiB", _extra_memory, most=16.0),
)


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004  # the program and its argument
        sys.exit(__doc__)
    main(sys.argv[1])
