"""What was tracked, read from the file to which every process of the test appends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, TypeAlias, overload

from .._record import parse_line

#: One event as the server would get it; the package describes it.
Event: TypeAlias = dict[str, Any]


class Events(Sequence[Event]):
    """The events of a test, in the order in which `track()` and `error()` were called, in whichever process.

    It is a sequence of plain dicts, compares equal to a list of them, and grows while events are tracked: a child's
    events are there when the child has tracked them. Those that `before_send` drops or that are refused (too large,
    after `shutdown()`) are not there.

    Args:
        path: the file, one JSON object per line.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._read = 0
        self._frozen = False
        self._events: list[Event] = []
        self._users: list[str] = []
        self._mutex = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The `event_name` of each event."""
        return [event["event_name"] for event in self]

    @property
    def identified(self) -> list[str]:
        """What `identify()` was called with, in order."""
        self._look()
        return list(self._users)

    def named(self, name: str) -> list[Event]:
        """Return the events of one name."""
        return [event for event in self if event["event_name"] == name]

    def clear(self) -> None:
        """Forget what was tracked so far."""
        self._look()
        self._events.clear()
        self._users.clear()

    def freeze(self) -> None:
        """Read for the last time: the file is about to go away."""
        self._look()
        self._frozen = True

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        self._look()
        return self._events[index]

    def __len__(self) -> int:
        self._look()
        return len(self._events)

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, Events) else other)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return repr(list(self))

    def _look(self) -> None:
        with self._mutex:
            if not self._frozen:
                self._read_on()

    def _read_on(self) -> None:
        with open(self._path, "rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # another process may be in the middle of a line
        self._read += len(whole)
        for line in whole.splitlines():
            value = parse_line(line)
            if value is None:  # between two lines, or what a process was killed in the middle of
                continue
            if "event_id" in value:
                self._events.append(value)
            else:
                self._users.append(value["user_id"])
