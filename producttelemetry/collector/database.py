"""The database file under the store: its layout, opening it, and what a transaction is.

```
events      rowid, event_id UNIQUE, name, type, client_id, session_id, timestamp, event, received_at
rejected    rowid, event, message, received_at
identities  client_id, user_id, received_at              one row per pair
deletions   rowid, client_id, received_at                one row per erasure request
tally       name, value                                  the counters of `Counts`
```

`rowid` is the order of arrival. `event` is the JSON text of a whole event as it was sent, the columns beside it are
copies for filtering. Ids are in lower case: one UUID, however spelt, is one event. `received_at` is seconds since the
epoch.

A file is opened if it is new or carries our mark and our layout. Any other is left as it is: a mistyped path must not
put our tables into somebody's application database.

With a file, WAL and `synchronous=NORMAL` mean: what was committed survives the death of this process; a power cut may
take the last moments. Without one the database is one of SQLite's private temporary ones (the empty file name). It is
as fast as `:memory:` and gone on close all the same, but what does not fit its page cache goes to an unlinked file: a
million events cost 14 MiB of memory instead of 620.
"""

import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from .errors import StoreError

#: Marks a SQLite file as ours ("PTCL"), so that nobody's application database gets our tables by a mistyped path.
APPLICATION_ID: Final = 0x5054434C

#: The layout above. A file with another number was written by another release and is refused.
LAYOUT: Final = 1

_TABLES: Final = (
    """CREATE TABLE events (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, type TEXT NOT NULL,
        client_id TEXT NOT NULL, session_id TEXT NOT NULL, timestamp TEXT NOT NULL, event TEXT NOT NULL,
        received_at REAL NOT NULL)""",
    """CREATE TABLE rejected (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, message TEXT NOT NULL, received_at REAL NOT NULL)
    """,
    """CREATE TABLE identities (
        client_id TEXT NOT NULL, user_id TEXT NOT NULL, received_at REAL NOT NULL, PRIMARY KEY (client_id, user_id))
    """,
    """CREATE TABLE deletions (
        rowid INTEGER PRIMARY KEY AUTOINCREMENT, client_id TEXT NOT NULL, received_at REAL NOT NULL)""",
    "CREATE TABLE tally (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)


def open_database(path: str | None) -> sqlite3.Connection:
    """Open a store's database, making it if need be.

    Args:
        path: the file; `None` for a private temporary database.

    Returns:
        A connection that any thread may use, one at a time, outside any transaction.

    Raises:
        StoreError: there is no such directory, we may not open the file, or it is not a collector's.
    """
    parent = os.path.dirname(path or "") or os.curdir
    if not os.path.isdir(parent):
        raise StoreError(f"cannot open the store {path}: there is no directory {parent}")
    try:
        # Transactions are written out below, hence no isolation level; the caller's lock replaces the thread check.
        database = sqlite3.connect(path or "", isolation_level=None, check_same_thread=False)
        try:
            _prepare(database)
        except BaseException:
            database.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"cannot open the store {path}: {error}") from error
    return database


def _prepare(database: sqlite3.Connection) -> None:
    # Look before the first write: the file may be somebody else's.
    mark = database.execute("PRAGMA application_id").fetchone()[0]
    if mark != APPLICATION_ID:
        if mark or database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError("it is the database of another program")
        _create(database)
    layout = database.execute("PRAGMA user_version").fetchone()[0]
    if layout != LAYOUT:
        raise sqlite3.DatabaseError(f"it has layout {layout}, this release reads layout {LAYOUT}")
    database.execute("PRAGMA synchronous = NORMAL")


def _create(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    with transaction(database):
        for statement in _TABLES:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {LAYOUT}")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")


@contextmanager
def transaction(database: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """Commit what the block does, or undo all of it if it raises."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back by itself, and then ROLLBACK would hide that error behind one of its own.
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
