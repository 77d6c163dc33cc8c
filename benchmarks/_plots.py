"""The plots of a run as SVG: transparent, in colours that can be read on white and on GitHub's dark background.

Text is drawn as paths, so that it looks the same wherever the file is shown, and the files of the same figures are the
same to the byte.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Final

from . import _queues
from ._tables import shown
from .processes import COUNTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._tables import Answer, Figure, Table

#: Of text and axes: a contrast of 4.3 to white and to #0d1117 alike. No colour has more to both.
_INK: Final = "#717b86"
#: Ours first, a contrast above 3 to both; the others are told apart by their markers as well.
_COLOURS: Final = ("#2f81f7", "#d2691e", "#2da44e", "#bf5af2", "#aa7a00", "#e5534b", "#0e93a5", "#8b949e")
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


#: In the plot of `track()`: the kinds of sides with their colours and markers.
_LEGEND: Final = (
    ("this package", _COLOURS[0], "o"),
    ("durable queue", _COLOURS[7], "s"),
    ("SDK, in memory alone", _COLOURS[2], "^"),
    ("for comparison, or lost when killed", _COLOURS[1], "D"),
)
_KINDS: Final = {
    _queues.TRACK: 0,
    **{queue.name: 3 for queue in (_queues.ENCODED, _queues.FLOOR, _queues.BY_HAND, _queues.QUEUELIB)},
}
_HIDDEN: Final = {"(an empty function)"}


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
    """Write the numbers of a logarithmic axis in full, at its major ticks alone."""
    axis.set_major_formatter("{x:,.10g}")
    axis.set_minor_locator(_ticker().NullLocator())


def _ticker() -> Any:
    return importlib.import_module("matplotlib.ticker")


def _track(pyplot: Any, tables: Mapping[str, Table]) -> Any:
    rows = {name: _ratios(tables["small"], name) for name in tables["small"].sides if name not in _HIDDEN}
    kinds = {name: _KINDS.get(name, 1) for name in rows}
    for name in tables["sdks"].sides:
        if name not in rows:
            rows[name], kinds[name] = _ratios(tables["sdks"], name), 2
    order = sorted(rows, key=lambda name: rows[name][0], reverse=True)
    figure, axes = pyplot.subplots(figsize=(8.5, 0.4 * len(order) + 1.2))
    for place, name in enumerate(order):
        middle, tail, text = rows[name]
        label, colour, marker = _LEGEND[kinds[name]]
        axes.plot([middle, tail], [place, place], color=colour, linewidth=1.4, marker="|", markevery=[1], markersize=9)
        axes.plot(middle, place, marker, color=colour, markersize=8, label=label)
        axes.text(tail * 1.15, place, text, va="center", fontsize=9.5)
    axes.set_yticks(range(len(order)), order)
    axes.set_xscale("log")
    axes.set_xlim(right=12 * max(tail for _, tail, _ in rows.values()))
    _plain(axes.xaxis)
    axes.set_xlabel(f"times the median of {_queues.FLOOR.name}: median, line to the 99th percentile (logarithmic)")
    axes.grid(axis="x")
    handles = {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    axes.legend(handles.values(), handles, loc="lower center", ncols=2, bbox_to_anchor=(0.3, 1.0))
    return figure


def _ratios(table: Table, name: str) -> tuple[float, float, str]:
    """Return median and 99th percentile over the median of the floor of that table, and both in microseconds."""
    p50, p99, ratio = (_number(table.sides[name][column]) for column in ("p50", "p99", "ratio"))
    return ratio, ratio * p99 / p50, f"{shown(p50)} µs, p99 {shown(p99)}"


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
        axes.yaxis.set_major_locator(_ticker().LogLocator(subs=(1, 2, 5)))
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
    names = list(tables["answers"].sides)
    figure, axes = pyplot.subplots(figsize=(8.5, 0.75 * len(names) + 1.2))
    for index, (server, text) in enumerate(_SERVERS.items()):
        for row, name in enumerate(names):
            value = _number(tables[server].sides[name]["end of pipe"])
            place = len(names) - row - 0.26 * (index - 1)
            label = text if row == 0 else None
            axes.plot(value, place, _MARKERS[index], color=_COLOURS[index], markersize=7, label=label)
            axes.text(value * 1.12, place, f"{value:,.0f}", va="center", fontsize=9)
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
