"""Draw the plots of a run and write its tables into benchmarks/README.md, so that no figure is typed by hand.

Four figures go into the project's README, block `figures`.

    python -m benchmarks.report RESULTS.json

The README has blocks `<!-- begin NAME -->` … `<!-- end NAME -->`: the name of a question stands for its tables,
`machine` for what it ran on, `targets` for what this project aims at. What is outside of them is left alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ._plots import draw
from ._queues import BY_HAND, TRACK
from ._sdks import OURS
from ._tables import Table, as_markdown, from_json, shown
from .leaving import BARE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

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
    answers = {name: from_json(value) for name, value in results["questions"].items()}
    draw(answers, os.path.join(_HERE, "plots"))
    blocks = {name: "\n\n".join(map(as_markdown, answer.tables.values())) for name, answer in answers.items()}
    blocks["machine"] = _machine(results)
    blocks["targets"] = _measured(answers, "What this project aims at", _AIMS)
    blocks["figures"] = _measured(answers, "", _FRONT_PAGE)
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


def _measured(answers: Mapping[str, Answer], title: str, wanted: Iterable[_Wanted]) -> str:
    rows: dict[str, Row] = {}
    for what, beside, measure in wanted:
        try:
            rows[what] = {**beside, "measured": measure(_Figures(answers))}
        except KeyError:  # that question was not asked, or a peer is not installed
            continue
    return as_markdown(Table(title, "this run" if title else "", rows))


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
        for name in self._answers["leaving"].tables:
            bare = self("leaving", name.removesuffix("-full"), BARE, "end of pipe")
            yield self("leaving", name, OURS, "end of pipe") - bare


def _times(value: float) -> str:
    return f"{value:.2f} times"


def _over_pass(figures: _Figures) -> str:
    found = list(figures.whole_programs())
    return f"{shown(min(found))} … {shown(max(found))} ms"


def _tail(figures: _Figures) -> str:
    return _times(figures("processes", "8", TRACK, "p99") / figures("processes", "1", TRACK, "p99"))


def _one_event(figures: _Figures) -> str:
    ours, by_hand = (figures("track", "small", side, "p50") for side in (TRACK, BY_HAND.name))
    return f"{shown(ours)} µs ({shown(by_hand)} µs)"


def _crowd(figures: _Figures) -> str:
    ours, theirs = (figures("processes", "16", side, "p99") for side in (TRACK, "litequeue"))
    return f"{shown(ours)} µs ({shown(theirs)} µs)"


def _backlog(figures: _Figures) -> str:
    speed, memory = (figures("draining", "bare", _LARGEST, column) for column in ("events/s", "peak"))
    return f"{shown(speed)} events/s, {shown(memory)} MiB"


#: What is told, with what stands beside it and how it is found.
_Wanted: TypeAlias = "tuple[str, Row, Callable[[_Figures], str]]"

_FRONT_PAGE: Final[tuple[_Wanted, ...]] = (
    ("one `track()`, median (the same by hand: id, time, `json.dumps`, `os.write`)", {}, _one_event),
    ("a whole command with one event, beyond `python -c pass`, whatever the server does", {}, _over_pass),
    ("`track()` with 16 processes on one queue, 99th percentile (litequeue, which is SQLite)", {}, _crowd),
    ("a backlog of 1,000,000 events: speed of sending it, memory of the whole process", {}, _backlog),
)
_AIMS: Final[tuple[_Wanted, ...]] = (
    (
        "track(), median, to `json.dumps` + `os.write` of a ready event",
        {"aim": "≤ 1.0 times"},
        lambda figures: _times(figures("track", "small", TRACK, "ratio")),
    ),
    ("the same, p99", {"aim": "≤ 1.5 times"}, lambda figures: _times(figures("track", "small", TRACK, "ratio p99"))),
    ("track() p99 with 8 processes, to that of one", {"aim": "≤ 3 times"}, _tail),
    (
        "longest track() while a neighbour is stopped",
        {"aim": "≤ 150 ms"},
        lambda figures: f"{shown(figures('processes', 'stopped', TRACK, 'longest of all'))} ms",
    ),
    (
        "import, to `import ptelemetry`",
        {"aim": "≤ 0.30 times"},
        lambda figures: _times(figures("startup", "startup", OURS, "import ratio")),
    ),
    ("whole program with one event, over `python -c pass`, any server", {"aim": "≤ 60 ms"}, _over_pass),
    (
        "draining 1,000,000 events, SDK's side (bare server)",
        {"aim": "≥ 50,000 events/s"},
        lambda figures: f"{shown(figures('draining', 'bare', _LARGEST, 'events/s'))} events/s",
    ),
    (
        "memory for 1,000,000 events beyond that for 1,000",
        {"aim": "≤ 16 MiB"},
        lambda figures: (
            shown(figures("draining", "bare", _LARGEST, "peak") - figures("draining", "bare", "1,000 events", "peak"))
            + " MiB"
        ),
    ),
)


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004  # the program and its argument
        sys.exit(__doc__)
    main(sys.argv[1])
