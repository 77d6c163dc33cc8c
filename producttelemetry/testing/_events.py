"""What was tracked, read from the file to which every process of the test appends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, overload

from .._record import parse_line

#: One event as the server would get it; the package describes it.
Event: TypeAlias = dict[str, Any]


class _Seen(NamedTuple):
    """What was read: so many bytes, and what they hold."""

    end: int
    events: tuple[Event, ...]
    users: tuple[str, ...]


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
        self._frozen = False
        self._seen = _Seen(0, (), ())

    @property
    def names(self) -> list[str]:
        """The `event_name` of each event."""
        return [event["event_name"] for event in self]

    @property
    def identified(self) -> list[str]:
        """What `identify()` was called with, in order."""
        return list(self._look().users)

    def named(self, name: str) -> list[Event]:
        """Return the events of one name."""
        return [event for event in self if event["event_name"] == name]

    def clear(self) -> None:
        """Forget what was tracked so far."""
        self._seen = _Seen(self._look().end, (), ())

    def freeze(self) -> None:
        """Read for the last time: the file is about to go away."""
        self._look()
        self._frozen = True

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        found = self._look().events[index]
        return list(found) if isinstance(found, tuple) else found

    def __len__(self) -> int:
        return len(self._look().events)

    def __eq__(self, other: object) -> bool:
        return list(self) == (list(other) if isinstance(other, Events) else other)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return repr(list(self))

    def _look(self) -> _Seen:
        """Read on. No lock: a forked child or a signal handler may come amid another look; each stores a whole."""
        seen = self._seen
        if self._frozen:
            return seen
        with open(self._path, "rb") as file:
            file.seek(seen.end)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # another process may be in the middle of a line
        # No value is between two lines, and where a process was killed in the middle of one.
        values = [value for line in whole.splitlines() if (value := parse_line(line)) is not None]
        events = tuple(value for value in values if "event_id" in value)
        users = tuple(value["user_id"] for value in values if "event_id" not in value)
        self._seen = seen = _Seen(seen.end + len(whole), seen.events + events, seen.users + users)
        return seen
