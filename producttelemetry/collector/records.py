"""The values that go into the store and come out of it."""

import json
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """One event of a batch that was not stored.

    Attributes:
        index: its place in the batch, from 0.
        message: why, for people.
    """

    index: int
    message: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch.

    Attributes:
        accepted: events that are stored now, those that had been stored before included.
        errors: the others, in the order of the batch.
    """

    accepted: int
    errors: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """Which events to list; `None` means any.

    Attributes:
        name: the exact `event_name`.
        event_type: `lifecycle`, `usage` or `error`.
        client_id: the UUID, in either case.
        after: list only events with a greater rowid.
        before: list only events with a smaller rowid.
        limit: at most that many; `None` for all.
        newest_first: the order, and so which of them a limit keeps.
    """

    name: str | None = None
    event_type: str | None = None
    client_id: str | None = None
    after: int = 0
    before: int | None = None
    limit: int | None = None
    newest_first: bool = False

    @property
    def is_filtered(self) -> bool:
        """Whether it asks for some events rather than all from a place on."""
        return (self.name, self.event_type, self.client_id) != (None, None, None)


#: Every event.
EVERYTHING: Final = Query()


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An accepted event.

    Attributes:
        rowid: its place in the order of arrival, from 1; never used twice.
        received_at: when it came, in seconds since 1970.
        text: its JSON, as it was sent.
    """

    rowid: int
    received_at: float
    text: str

    @property
    def value(self) -> dict[str, Any]:
        """The event as an object, parsed anew at each call."""
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """A refused event.

    Attributes:
        rowid: its place in the order of refusal, from 1; never used twice.
        received_at: when it came, in seconds since 1970.
        text: its JSON, as it was sent.
        message: what was wrong with it, for people.
    """

    rowid: int
    received_at: float
    text: str
    message: str


@dataclass(frozen=True, slots=True)
class Brief:
    """What a list shows of an accepted event.

    Attributes:
        rowid: its place among the accepted ones.
        received_at: epoch seconds.
        name, type, client_id: of the event.
    """

    rowid: int
    received_at: float
    name: str
    type: str
    client_id: str


@dataclass(frozen=True, slots=True)
class BriefRejected:
    """What a list shows of a refused event.

    Attributes:
        rowid: its place among the refused ones.
        received_at: epoch seconds.
        excerpt: the start of its JSON text.
        message: what was wrong with it.
    """

    rowid: int
    received_at: float
    excerpt: str
    message: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far somebody has read: the last rowid seen of each of the two lists."""

    accepted: int
    rejected: int


@dataclass(frozen=True, slots=True)
class News:
    """What arrived after a cursor.

    Attributes:
        cursor: where to read on.
        accepted: the newest of the accepted events, in the order of arrival.
        rejected: the newest of the refused ones, in the order of arrival.
        missed: whether there were more than these.
    """

    cursor: Cursor
    accepted: tuple[Brief, ...] = ()
    rejected: tuple[BriefRejected, ...] = ()
    missed: bool = False


@dataclass(frozen=True, slots=True)
class NameCounts:
    """Stored events by name, the most frequent first, and how many names are not among them."""

    counts: dict[str, int]
    more: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Stored events by time of arrival.

    Attributes:
        start: where the first bar begins, epoch seconds.
        seconds: the width of a bar.
        accepted: accepted events of each bar.
        rejected: refused events of each bar.
    """

    start: int
    seconds: int
    accepted: list[int]
    rejected: list[int]


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened since the store was made or reset.

    Attributes:
        accepted: different events taken in, those erased later included.
        duplicates: arrivals of an event that was there already.
        rejected: events refused as invalid.
        identified: different pairs of client and user.
        deletions: erasure requests.
        erased: events removed by erasure requests.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    identified: int = 0
    deletions: int = 0
    erased: int = 0

    @property
    def stored(self) -> int:
        """Events that are in the store now."""
        return self.accepted - self.erased
