"""Where the collector keeps what it was sent: one SQLite database (`database` has the tables).

**Exactly once.** The sender delivers at least once: after a lost answer it sends the batch again. `event_id` is
unique, a second arrival changes nothing, and it counts as accepted, because for the sender it is a success.

**A batch is one transaction.** Its events, its rejects and its counters are there together or not at all, so an answer
that was sent speaks of rows that are stored.

**Rowids never go backwards**, not after an erasure and not after a reset, so a reader may always ask for "what came
after n". What a reader cannot see that way is that rows are gone: then, and with every opening, the `epoch` is another.

**Threads.** One connection, one lock around each transaction; SQLite lets one writer in at a time anyway. The rows are
built before the lock is taken.
"""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, Self

from . import listing
from .database import open_database, transaction
from .records import (
    EVERYTHING,
    Brief,
    BriefRejected,
    Counts,
    Cursor,
    NameCounts,
    News,
    Query,
    Receipt,
    Refusal,
    RejectedEvent,
    StoredEvent,
    Timeline,
)
from .validate import problem

#: Events of one INSERT. Each step of a statement gives the interpreter lock up and takes it back: once per fifty rows
#: instead of once per row makes a batch a quarter cheaper next to a busy event loop.
_CHUNK: Final = 50

_ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?)"


def _insert_events(rows: int) -> str:
    return f"""INSERT INTO events (event_id, name, type, client_id, session_id, timestamp, event, received_at)
        VALUES {", ".join([_ROW] * rows)} ON CONFLICT (event_id) DO NOTHING"""  # noqa: S608  # nothing but placeholders


_INSERT_EVENT: Final = _insert_events(1)
_INSERT_CHUNK: Final = _insert_events(_CHUNK)

_INSERT_REJECTED: Final = "INSERT INTO rejected (event, message, received_at) VALUES (?, ?, ?)"

# ASCII only: the text then holds whatever JSON can spell, half surrogate pairs included, and SQLite can store it.
_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


class Store:
    """The events of one collector. Safe to use from any thread; a context manager that closes it.

    Args:
        path: the SQLite file, made if it is missing; `None` for a store that is gone when it is closed.
        clock: where `received_at` comes from, in epoch seconds.

    Raises:
        StoreError: the directory is missing or closed to us, or the file is not a collector's store.
    """

    def __init__(self, path: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._database = open_database(path)
        self._indexed = False
        self._epoch = _new_epoch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; a second call does nothing. Others raise `sqlite3.ProgrammingError` after this."""
        with self._lock:
            self._database.close()

    def add_events(self, events: Sequence[Any], texts: Sequence[str] | None = None) -> Receipt:
        """Store the valid events of a batch, once each, and note the others as rejected.

        Args:
            events: JSON values as parsed, valid or not.
            texts: the JSON text of each, kept as it is; serialised from the values if left out.

        Returns:
            How many are stored now, and which are not and why.

        Raises:
            sqlite3.Error: the disk failed; nothing of the batch is stored.
        """
        now = self._clock()
        texts = texts or [_to_json(event) for event in events]
        rows, errors = _sift(events, texts, now)
        refused = [(texts[error.index], error.message, now) for error in errors]
        with self._transaction() as database:
            new = _insert(database, rows)
            database.executemany(_INSERT_REJECTED, refused)
            self._count(accepted=new, duplicates=len(rows) - new, rejected=len(refused))
        return Receipt(len(rows), errors)

    def add_identity(self, client_id: str, user_id: str) -> bool:
        """Link a client to a user; tell whether the link is new.

        Args:
            client_id: a UUID in any case.
            user_id: a text.
        """
        with self._transaction() as database:
            created = database.execute(
                "INSERT INTO identities VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (client_id.lower(), user_id, self._clock()),
            ).rowcount
            self._count(identified=created)
        return created == 1

    def erase(self, client_id: str) -> int:
        """Remove every event and identity of a client and note the request; return the number of events removed.

        Args:
            client_id: a UUID in any case.
        """
        client_id = client_id.lower()
        with self._transaction() as database:
            erased = database.execute("DELETE FROM events WHERE client_id = ?", (client_id,)).rowcount
            database.execute("DELETE FROM identities WHERE client_id = ?", (client_id,))
            database.execute("INSERT INTO deletions (client_id, received_at) VALUES (?, ?)", (client_id, self._clock()))
            self._count(deletions=1, erased=erased)
            self._epoch = _new_epoch()
        return erased

    def reset(self) -> None:
        """Forget everything but the last rowids, so that a reader who follows the store misses nothing."""
        with self._transaction() as database:
            for table in ("events", "rejected", "identities", "deletions", "tally"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608  # the names stand in the line above
            self._epoch = _new_epoch()

    def events(self, query: Query = EVERYTHING) -> list[StoredEvent]:
        """List accepted events, all or those that a `query` asks for."""
        with self._reading(indexed=query.is_filtered) as database:
            return [StoredEvent(*row) for row in listing.events(database, query)]

    def rejected(self, query: Query = EVERYTHING) -> list[RejectedEvent]:
        """List refused events; the filters of a query do not apply to them."""
        with self._reading() as database:
            return [RejectedEvent(*row) for row in listing.rejected(database, query)]

    def brief_events(self, query: Query = EVERYTHING) -> list[Brief]:
        """List accepted events, all or those that a `query` asks for, without their text."""
        with self._reading(indexed=query.is_filtered) as database:
            return listing.brief_events(database, query)

    def brief_rejected(self, query: Query = EVERYTHING) -> list[BriefRejected]:
        """List refused events with the start of their text; the filters of a query do not apply to them."""
        with self._reading() as database:
            return listing.brief_rejected(database, query)

    def names(self, limit: int) -> NameCounts:
        """Count stored events by name, at most `limit` names."""
        with self._reading(indexed=True) as database:
            return listing.names(database, limit)

    def timeline(self, seconds: int, bars: int) -> Timeline:
        """Count stored events by time of arrival, in bars of `seconds` each; the last one holds the present."""
        with self._reading(indexed=True) as database:
            return listing.timeline(database, self._clock(), seconds, bars)

    @property
    def epoch(self) -> str:
        """A token that changes whenever stored rows vanish, and with each opening of the store."""
        return self._epoch

    def end(self) -> Cursor:
        """Return the cursor for `news` that passes over everything there is."""
        with self._reading() as database:
            return listing.end(database)

    def news(self, cursor: Cursor, limit: int) -> News:
        """Return what arrived after a cursor: of each list the newest `limit` rows."""
        with self._reading() as database:
            return listing.news(database, cursor, limit)

    def identities(self) -> list[tuple[str, str]]:
        """List the pairs of client id and user id, in the order of arrival."""
        return self._read("SELECT client_id, user_id FROM identities ORDER BY rowid", ())

    def deletions(self) -> list[str]:
        """List the client ids of the erasure requests, in the order of arrival."""
        return [client_id for (client_id,) in self._read("SELECT client_id FROM deletions ORDER BY rowid", ())]

    def counts(self) -> Counts:
        """Return the counters. They are kept, not counted, so this costs the same for any number of events."""
        return Counts(**dict(self._read("SELECT name, value FROM tally", ())))

    def _read(self, statement: str, parameters: Any) -> list[Any]:
        with self._lock:
            return self._database.execute(statement, parameters).fetchall()

    @contextmanager
    def _reading(self, *, indexed: bool = False) -> Generator[sqlite3.Connection]:
        with self._lock:
            if indexed and not self._indexed:
                listing.build_indices(self._database)
                self._indexed = True
            yield self._database

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._lock, transaction(self._database) as database:
            yield database

    def _count(self, **increments: int) -> None:
        # Inside the caller's transaction.
        self._database.executemany(
            "INSERT INTO tally VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            [(name, increment) for name, increment in increments.items() if increment],
        )


def _new_epoch() -> str:
    return uuid.uuid4().hex[:12]


def _sift(
    events: Sequence[Any], texts: Sequence[str], now: float
) -> tuple[list[tuple[object, ...]], tuple[Refusal, ...]]:
    rows: list[tuple[object, ...]] = []
    errors: list[Refusal] = []
    for index, event in enumerate(events):
        message = problem(event)
        if message is not None:
            errors.append(Refusal(index, message))
            continue
        rows.append(
            (
                event["event_id"].lower(),
                event["event_name"],
                event["event_type"],
                event["client_id"].lower(),
                event["session_id"].lower(),
                event["timestamp"],
                texts[index],
                now,
            )
        )
    return rows, tuple(errors)


def _insert(database: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> int:
    """Insert the rows whose event is not there yet; return how many those were."""
    before = database.total_changes
    whole = len(rows) - len(rows) % _CHUNK
    for start in range(0, whole, _CHUNK):
        database.execute(_INSERT_CHUNK, tuple(chain.from_iterable(rows[start : start + _CHUNK])))
    database.executemany(_INSERT_EVENT, rows[whole:])
    return database.total_changes - before
