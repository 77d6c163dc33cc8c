"""The logger `producttelemetry`: silent unless the host configures it, and never chatty.

Guarantees: importing the package does not import `logging` (it costs more than the rest of the package); a message of
    one kind appears once a minute, or once per process; a host that routes its log records into `track()` gets no
    loop, because the time of a message is noted before it is handed out.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Final, Literal, TypeAlias

Level: TypeAlias = Literal["debug", "warning", "error"]

#: Seconds between two messages of one kind.
INTERVAL: Final = 60.0


class Log:
    """Messages of one client object."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def debug(self, message: str) -> None:
        """Say what is normal, such as being offline."""
        _emit("debug", message)

    def loss(self, kind: str, message: str) -> None:
        """Warn that an event could not be kept; once a minute per kind."""
        now = time.monotonic()
        last = self._last.get(kind)
        if last is None or now - last >= INTERVAL:
            self._last[kind] = now
            _emit("warning", message)

    def once(self, level: Level, kind: str, message: str) -> None:
        """Say something that a person has to mend; once per client object."""
        if kind not in self._last:
            self._last[kind] = time.monotonic()
            _emit(level, message)


def _emit(level: Level, message: str) -> None:
    if "logging" not in sys.modules:  # then nobody listens, and importing it takes time and may meet a fork
        return
    # A handler of the host may raise anything; that is no reason to fail in track().
    with contextlib.suppress(Exception):
        if sys.is_finalizing():  # the import may wait for a thread that was stopped in the middle of one
            return
        import logging  # noqa: PLC0415  # start-up time, see above

        logger = logging.getLogger("producttelemetry")
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())
        logger.log({"debug": logging.DEBUG, "warning": logging.WARNING, "error": logging.ERROR}[level], "%s", message)
