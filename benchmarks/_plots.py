"""The plots of a run as SVG: transparent, in colours that can be read on white and on GitHub's dark background.

Text is drawn as paths, so that it looks the same wherever the file is shown, and the files of the same figures are the
same to the byte.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

from . import _queues
from .processes import COUNTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._tables import Answer, Figure, Table

#: Of text and axes: a contrast above 4 to both backgrounds.
_INK: Final = "#727d88"
#: Ours first; the others are told apart by their markers as well.
_COLOURS: Final = ("#2f81f7", "#d2691e", "#2da44e", "#bf5af2", "#cf8a00", "#e5534b", "#1ba5b8", "#8b949e")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_STYLE: Final[dict[str, Any]] = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlesize": 12,
    "font.size": 11,
    "grid.alpha": 0.25,
    "grid.color": _INK,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "svg.hashsalt": "benchmarks",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_SERVERS: Final = {"answers": "server answers after 80 ms", "refuses": "refuses", "hangs": "never answers"}


def draw(answers: Mapping[str, Answer], directory: str) -> list[str]:
    """Draw what there are answers for.

    Args:
        answers: by question.
        directory: where the files go.

    Returns:
        The names of the files, without `.svg`.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    os.makedirs(directory, exist_ok=True)
    drawn: list[str] = []
    with matplotlib.rc_context(_STYLE):
        for name, draw_one in _PLOTS.items():
            if name in answers:
                figure = draw_one(pyplot, answers[name].tables)
                figure.savefig(os.path.join(directory, f"{name}.svg"), metadata={"Date": None})
                pyplot.close(figure)
                drawn.append(name)
    return drawn


def _number(figure: Figure) -> float:
    assert isinstance(figure, (int, float))
    return float(figure)


def _leading_numbers(table: Table) -> list[float]:
    """Return the numbers that the names of the rows begin with: 1000 of `1,000 events`."""
    return [float(name.split()[0].replace(",", "")) for name in table.sides]


def _plain(axis: Any) -> None:
    """Write the numbers of a logarithmic axis in full, at the powers of ten alone."""
    axis.set_major_formatter("{x:,.0f}")
    axis.set_minor_locator(importlib.import_module("matplotlib.ticker").NullLocator())


def _track(pyplot: Any, tables: Mapping[str, Table]) -> Any:
    rows = {**tables["small"].sides, **{f"{name} (memory)": row for name, row in tables["sdks"].sides.items()}}
    hidden = {"(an empty function)", f"{_queues.TRACK} (memory)", f"{_queues.FLOOR.name} (memory)"}
    shown = sorted((name for name in rows if name not in hidden), key=lambda name: _number(rows[name]["p50"]))
    figure, axes = pyplot.subplots(figsize=(8.5, 0.42 * len(shown) + 1.2))
    for place, name in enumerate(reversed(shown)):
        p50, p99 = _number(rows[name]["p50"]), _number(rows[name]["p99"])
        colour = _COLOURS[0] if name == _queues.TRACK else _COLOURS[2] if "(memory)" in name else _COLOURS[-1]
        axes.barh(place, p50, color=colour, height=0.62)
        axes.plot([p50, p99], [place, place], color=colour, linewidth=1.4)
        axes.plot(p99, place, marker="|", markersize=11, color=colour)
        axes.text(p99 * 1.12, place, f"{p50:,.0f} µs, p99 {p99:,.0f}", va="center", fontsize=9.5)
    axes.set_yticks(range(len(shown)), list(reversed(shown)))
    axes.set_xscale("log")
    axes.set_xlim(1, 9 * max(_number(rows[name]["p99"]) for name in shown))
    _plain(axes.xaxis)
    axes.set_xlabel("µs for one event: bar median, line to the 99th percentile (logarithmic)")
    axes.grid(axis="x")
    return figure


def _processes(pyplot: Any, tables: Mapping[str, Table]) -> Any:
    counts = [count for count in COUNTS if str(count) in tables]
    names = [name for name, row in tables[str(counts[0])].sides.items() if "p99" in row]
    figure, panels = pyplot.subplots(1, 2, figsize=(10.5, 4.2))
    for axes, column, label in zip(panels, ("events/s", "p99"), ("events/s, all together", "p99 in µs"), strict=True):
        for index, name in enumerate(names):
            values = [_number(tables[str(count)].sides[name][column]) for count in counts]
            _line(axes, index, name, (counts, values))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(counts, [str(count) for count in counts])
        _plain(axes.yaxis)
        axes.set_xlabel("processes on one queue")
        axes.set_title(label)
        axes.grid()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="lower center", ncols=4, bbox_to_anchor=(0.5, -0.14))
    return figure


def _line(axes: Any, index: int, name: str, points: tuple[Sequence[float], Sequence[float]]) -> None:
    width = 2.6 if index == 0 else 1.5
    axes.plot(*points, label=name, color=_COLOURS[index], marker=_MARKERS[index], linewidth=width)


def _leaving(pyplot: Any, tables: Mapping[str, Table]) -> Any:
    names = [name for name, row in tables["answers"].sides.items() if isinstance(row["end of pipe"], float)]
    figure, axes = pyplot.subplots(figsize=(8.5, 0.75 * len(names) + 1.2))
    for index, (server, label) in enumerate(_SERVERS.items()):
        for row, name in enumerate(names):
            value = _number(tables[server].sides[name]["end of pipe"])
            place = len(names) - row - 0.26 * (index - 1)
            axes.barh(place, value, height=0.24, color=_COLOURS[index], label=label if row == 0 else None)
            axes.text(value * 1.07, place, f"{value:,.0f}", va="center", fontsize=9)
    axes.set_yticks([len(names) - row for row in range(len(names))], names)
    axes.set_xscale("log")
    axes.set_xlim(5, 60_000)
    _plain(axes.xaxis)
    axes.set_xlabel("ms from the start of the program to the end of its pipe (logarithmic)")
    axes.grid(axis="x")
    axes.legend(loc="lower center", ncols=3, bbox_to_anchor=(0.5, 1.0))
    return figure


def _growth(pyplot: Any, tables: Mapping[str, Table]) -> Any:
    rows = tables["growth"].sides
    lengths = _leading_numbers(tables["growth"])
    columns = [column for column in next(iter(rows.values())) if "p99" not in column]
    figure, axes = pyplot.subplots(figsize=(8.5, 4.2))
    for index, column in enumerate(reversed(columns)):
        _line(axes, index, column, (lengths, [_number(row[column]) for row in rows.values()]))
    axes.set_xscale("symlog", linthresh=100)
    axes.set_yscale("log")
    axes.set_xticks(lengths, [f"{length:,.0f}" for length in lengths])
    axes.minorticks_off()
    _plain(axes.yaxis)
    axes.set_xlabel("events that wait")
    axes.set_title("µs for one call")
    axes.grid()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draining(pyplot: Any, tables: Mapping[str, Table]) -> Any:
    figure, axes = pyplot.subplots(figsize=(8.5, 3.4))
    sizes = _leading_numbers(tables["bare"])
    for index, table in enumerate(tables.values()):
        _line(axes, index, table.title, (sizes, [_number(row["events/s"]) for row in table.sides.values()]))
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("events in the backlog")
    axes.set_title("events/s, the import of httpx included")
    axes.grid()
    axes.legend()
    return figure


_PLOTS: Final = {
    "track": _track,
    "processes": _processes,
    "leaving": _leaving,
    "draining": _draining,
    "growth": _growth,
}
