"""Reading a store: the statements behind its lists, counts and news, on a connection that the caller holds.

**Lists are read by key, not by offset.** "The hundred before rowid n" costs the same for the first page and for the
last. A filter needs an index for that, or a name that is rare makes the reader walk through all that are not.

**The indices are built by the first question that needs one**, and stay. They would make storing an event three times
as dear (250,000 events/s without them, 70,000 with them, on two cores), and most collectors are never looked at: those
of test runs and benchmarks. Building them takes 0.2 s for 100,000 events.
"""

import sqlite3
from itertools import pairwise
from typing import Any, Final

from .records import Brief, BriefRejected, Cursor, NameCounts, News, Query, Timeline

#: Characters of a refused event that a list shows.
EXCERPT: Final = 200

_INDICES: Final = (
    "CREATE INDEX IF NOT EXISTS events_name ON events (name)",
    "CREATE INDEX IF NOT EXISTS events_type ON events (type)",
    "CREATE INDEX IF NOT EXISTS events_client ON events (client_id)",
    "CREATE INDEX IF NOT EXISTS events_received ON events (received_at)",
    "CREATE INDEX IF NOT EXISTS rejected_received ON rejected (received_at)",
)

_EVENT: Final = "rowid, received_at, event"
_REJECTED: Final = "rowid, received_at, event, message"
_BRIEF: Final = "rowid, received_at, name, type, client_id"
_BRIEF_REJECTED: Final = f"rowid, received_at, substr(event, 1, {EXCERPT}), message"


def build_indices(database: sqlite3.Connection) -> None:
    """Build what `events`, `names` and `timeline` need to be quick; nothing if it is there. Outside any transaction."""
    for statement in _INDICES:
        database.execute(statement)


def events(database: sqlite3.Connection, query: Query) -> list[tuple[Any, ...]]:
    """Read rowid, time of arrival and text of accepted events."""
    return _select(database, _EVENT, "events", query, _filters(query))


def rejected(database: sqlite3.Connection, query: Query) -> list[tuple[Any, ...]]:
    """Read rowid, time of arrival, text and reason of refused events; a refused event has no fields to filter by."""
    return _select(database, _REJECTED, "rejected", query, {})


def brief_events(database: sqlite3.Connection, query: Query) -> list[Brief]:
    """Read what a list shows of accepted events."""
    return [Brief(*row) for row in _select(database, _BRIEF, "events", query, _filters(query))]


def brief_rejected(database: sqlite3.Connection, query: Query) -> list[BriefRejected]:
    """Read what a list shows of refused events."""
    return [BriefRejected(*row) for row in _select(database, _BRIEF_REJECTED, "rejected", query, {})]


def names(database: sqlite3.Connection, limit: int) -> NameCounts:
    """Count stored events by name; see `Store.names`."""
    rows = database.execute("SELECT name, count(*) FROM events GROUP BY name ORDER BY 2 DESC, 1").fetchall()
    return NameCounts(dict(rows[:limit]), max(0, len(rows) - limit))


def timeline(database: sqlite3.Connection, now: float, seconds: int, bars: int) -> Timeline:
    """Count stored events by time of arrival; see `Store.timeline`."""
    start = (int(now // seconds) + 1 - bars) * seconds

    def heights(table: str) -> list[int]:
        # A count between two keys of an index is several times as fast as computing each row's bar and grouping by it.
        statement = f"SELECT count(*) FROM {table} WHERE received_at >= ? AND received_at < ?"  # noqa: S608  # ours
        edges = [start + bar * seconds for bar in range(bars + 1)]
        return [database.execute(statement, edge).fetchone()[0] for edge in pairwise(edges)]

    return Timeline(start, seconds, heights("events"), heights("rejected"))


def end(database: sqlite3.Connection) -> Cursor:
    """Return the cursor after everything that ever arrived, also where it is gone again."""
    last = dict(database.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    return Cursor(last.get("events", 0), last.get("rejected", 0))


def news(database: sqlite3.Connection, cursor: Cursor, limit: int) -> News:
    """Read what arrived after a cursor; see `Store.news`."""
    now = end(database)
    accepted: list[Brief] = []
    refused: list[BriefRejected] = []
    # One row more than asked for tells that there are more.
    if now.accepted > cursor.accepted:
        accepted = brief_events(database, Query(after=cursor.accepted, limit=limit + 1, newest_first=True))
    if now.rejected > cursor.rejected:
        refused = brief_rejected(database, Query(after=cursor.rejected, limit=limit + 1, newest_first=True))
    return News(
        cursor=now,
        accepted=tuple(reversed(accepted[:limit])),
        rejected=tuple(reversed(refused[:limit])),
        missed=max(len(accepted), len(refused)) > limit,
    )


def _filters(query: Query) -> dict[str, str]:
    asked = {
        "name": query.name,
        "client_id": query.client_id and query.client_id.lower(),
        "type": query.event_type,
    }
    return {column: value for column, value in asked.items() if value is not None}


def _select(
    database: sqlite3.Connection, columns: str, table: str, query: Query, filters: dict[str, str]
) -> list[tuple[Any, ...]]:
    # There are three types and many names: the plus keeps SQLite from taking the index that narrows least.
    terms = [f"{'+' if column == 'type' and len(filters) > 1 else ''}{column} = ?" for column in filters]
    values: list[object] = [*filters.values(), query.after]
    terms.append("rowid > ?")
    if query.before is not None:
        terms.append("rowid < ?")
        values.append(query.before)
    order = "DESC" if query.newest_first else "ASC"
    values.append(-1 if query.limit is None else query.limit)
    statement = f"SELECT {columns} FROM {table} WHERE {' AND '.join(terms)} ORDER BY rowid {order} LIMIT ?"  # noqa: S608  # nothing of the caller's
    return database.execute(statement, values).fetchall()
