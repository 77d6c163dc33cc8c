"""Draw the plots of a run and write its tables into benchmarks/README.md, so that no figure is typed by hand.

    python -m benchmarks.report RESULTS.json

The README has blocks `<!-- begin NAME -->` … `<!-- end NAME -->`: the name of a question stands for its tables,
`machine` for what it ran on, `targets` for what this project aims at. What is outside of them is left alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from ._plots import draw
from ._queues import FLOOR
from ._sdks import OURS
from ._tables import Table, as_markdown, from_json, shown
from .leaving import BARE
from .processes import TRACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
    blocks["targets"] = _targets(answers)
    readme = os.path.join(_HERE, "README.md")
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


def _targets(answers: Mapping[str, Answer]) -> str:
    rows: dict[str, Row] = {}
    for what, aim, measure in _AIMS:
        try:
            rows[what] = {"aim": aim, "measured": measure(_Figures(answers))}
        except KeyError:  # that question was not asked, or a peer is not installed
            continue
    return as_markdown(Table("What this project aims at", "this run", rows))


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
    alone = figures("processes", "1", FLOOR.name, "p99")
    return _times(figures("processes", "8", TRACK, "p99") / alone)


_AIMS: Final[tuple[tuple[str, str, Callable[[_Figures], str]], ...]] = (
    (
        "track(), median, to `json.dumps` + `os.write` of a ready event",
        "≤ 1.0 times",
        lambda figures: _times(figures("track", "small", TRACK, "ratio")),
    ),
    ("the same, p99", "≤ 1.5 times", lambda figures: _times(figures("track", "small", TRACK, "ratio p99"))),
    ("track() p99 with 8 processes, to the floor's in one process", "≤ 3 times", _tail),
    (
        "longest track() while a neighbour is stopped",
        "≤ 150 ms",
        lambda figures: f"{shown(figures('processes', 'stopped', TRACK, 'longest of all'))} ms",
    ),
    (
        "import, to `import ptelemetry`",
        "≤ 0.30 times",
        lambda figures: _times(figures("startup", "startup", OURS, "import ratio")),
    ),
    ("whole program with one event, over `python -c pass`, any server", "≤ 60 ms", _over_pass),
    (
        "draining 1,000,000 events, SDK's side (bare server)",
        "≥ 50,000 events/s",
        lambda figures: f"{shown(figures('draining', 'bare', _LARGEST, 'events/s'))} events/s",
    ),
    (
        "memory for 1,000,000 events beyond that for 1,000",
        "≤ 16 MiB",
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
