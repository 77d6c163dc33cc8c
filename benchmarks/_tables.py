"""What a question answers with: tables of figures, for the terminal, for JSON and for Markdown alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A number, or the words that stand where a side has none ("one process only").
Figure: TypeAlias = float | str | None
#: Whole numbers below this are counts.
_COUNT: Final = 100
#: The figures of one side by column.
Row: TypeAlias = dict[str, Figure]


@dataclass(frozen=True)
class Table:
    """Figures of several sides that were measured in turn.

    Attributes:
        title: what was measured.
        unit: of all columns whose name has none of its own.
        sides: rows, by the name of the side, in the order in which they are shown.
        notes: what a reader must know to judge a figure.
    """

    title: str
    unit: str
    sides: dict[str, Row]
    notes: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Answer:
    """What one question found out.

    Attributes:
        title: the question.
        tables: by a short name that the report and the plots use.
    """

    title: str
    tables: dict[str, Table]

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON has it; `from_json` is the way back."""
        return asdict(self)


class Optional(Protocol):
    """A side that may be missing."""

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        ...


def left_out(sides: Mapping[str, Optional]) -> list[str]:
    """Return a note that names the sides that are not installed, if there are any."""
    names = [name for name, side in sides.items() if not side.installed]
    return [f"Not installed and left out: {', '.join(names)}."] if names else []


def from_json(value: Mapping[str, Any]) -> Answer:
    """Return an answer from what `Answer.to_json` gave."""
    return Answer(value["title"], {name: Table(**table) for name, table in value["tables"].items()})


def as_text(table: Table) -> str:
    """Return a table for a terminal, columns aligned."""
    cells = _cells(table)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    return "\n".join(
        [f"{table.title} ({table.unit})", *(f"  {line}" for line in lines), *(f"  {n}" for n in table.notes)]
    )


def as_markdown(table: Table) -> str:
    """Return a table for a Markdown file, below its title if it has one."""
    head, *rows = _cells(table)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    notes = [f"\n{note}" for note in table.notes]
    title = [f"**{table.title}** ({table.unit})\n"] if table.title else []
    return "\n".join([*title, *(f"| {' | '.join(line)} |" for line in lines), *notes])


def _cells(table: Table) -> list[list[str]]:
    columns: list[str] = []
    for row in table.sides.values():
        columns += [column for column in row if column not in columns]
    rows = [[side, *(shown(row.get(column)) for column in columns)] for side, row in table.sides.items()]
    return [["", *columns], *rows]


def shown(figure: Figure) -> str:
    """Return a figure with three digits that count, or the words in its place."""
    if figure is None:
        return ""
    if isinstance(figure, str):
        return figure
    if figure == int(figure) and abs(figure) < _COUNT:
        return str(int(figure))
    decimals = next((digits for digits, least in ((0, 100), (1, 10), (2, 1)) if abs(figure) >= least), 3)
    return f"{figure:,.{decimals}f}"
