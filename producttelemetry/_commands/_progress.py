"""How far a drain has come: a bar (`rich`, extra `cli`) where stderr is a terminal, plain lines elsewhere.

It looks at the ledger several times a second and asks nobody, so it also shows the work of another process that the
drain waits for.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from . import _screen as screen

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Self, TextIO

    from .._spool import Directory

#: Seconds between two looks.
_LOOK: Final = 0.1
#: Seconds between two plain lines.
_PACE: Final = 1.0


class Display(Protocol):
    """What shows numbers."""

    def update(self, done: int) -> None:
        """Show that so many events have left the queue."""
        ...

    def __enter__(self) -> Self:
        """Begin to show something."""
        ...

    def __exit__(self, *_: object) -> None:
        """End; what follows is printed below."""
        ...


class PlainLines:
    """A line now and then, for logs and pipes.

    Args:
        total: events that are to be sent.
        stream: where to print.
    """

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._shown = 0
        self._next = 0.0

    def update(self, done: int) -> None:
        """Print a line if there is news, and the last one is a while ago."""
        if done > self._shown and time.monotonic() >= self._next:
            self._print(done)

    def _print(self, done: int) -> None:
        self._shown = done
        self._next = time.monotonic() + _PACE
        print(f"{done:,} of {screen.counted(max(self._total, done))}", file=self._stream, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Print nothing: the result follows."""


@contextlib.contextmanager
def shown(directory: Directory, total: int, *, quiet: bool) -> Generator[None]:
    """Show how far a drain has come, while the block runs.

    Args:
        directory: the destination that is drained.
        total: events in it.
        quiet: show nothing unless somebody looks at a terminal.
    """
    display = _display(total, quiet=quiet) if total else None
    if display is None:
        yield
        return
    before = _gone(directory)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK):
            display.update(_gone(directory) - before)

    watcher = threading.Thread(target=watch, daemon=True)
    with display:
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            display.update(_gone(directory) - before)


def _gone(directory: Directory) -> int:
    """Return how many events have left the queue, ever."""
    with contextlib.suppress(OSError):
        counts = directory.ledger()
        return counts.delivered + sum(counts.dropped.values())
    return 0


def _display(total: int, *, quiet: bool) -> Display | None:
    if sys.stderr is None:
        return None
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):  # an extra that need not be installed
            from ._bar import Bar  # noqa: PLC0415  # 100 ms, for this alone

            return Bar(total)
    return None if quiet else PlainLines(total, sys.stderr)
