"""The progress bar, by `rich`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

if TYPE_CHECKING:
    from typing import Self


class Bar:
    """A bar on stderr.

    Args:
        total: events that are to be sent.
    """

    def __init__(self, total: int) -> None:
        columns = (
            TextColumn("Sending"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=2 * len(str(total)) + 1)),
            TextColumn("events"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task("Sending", total=total)
        self._total = total

    def update(self, done: int) -> None:
        """Move the bar. Others may queue more meanwhile."""
        self._total = max(self._total, done)
        self._progress.update(self._task, completed=done, total=self._total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
