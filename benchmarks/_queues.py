"""The queues that a developer would reach for, and the floor below all of them, as one call: store this event.

queuelib's queue on disk stands beside the durable ones: what was pushed is not there when it is opened after a SIGKILL,
since only `close()` writes how much there is, as its documentation says.

Each opener makes the call in the process that measures it. What is stored is a ready event, as our `track()` writes it:
the queues get it for nothing, while ours has to find client, time and id and check the properties first.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import json
import os
import sqlite3
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ._sdks import OURS, SDKS
from ._tables import left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


#: Seconds that SQLite waits for another process. With its default of five, sixteen processes see errors.
_BUSY: Final = 60.0


def event(properties: dict[str, Any]) -> dict[str, Any]:
    """Return an event as `track()` writes it."""
    return {
        "event_name": "command.executed",
        "event_type": "usage",
        "client_id": "6f0f4b9e-6f6c-4f0c-9d6c-0b8f5f1f2a11",
        "session_id": "2c1b3a80-3c5e-4c39-8a5d-6a1f3c9f7d22",
        "event_id": "01936a2e-7c00-7000-8000-1a2b3c4d5e6f",
        "timestamp": "2026-11-23T12:00:00.000000+00:00",
        "properties": properties,
    }


@dataclass(frozen=True)
class Queue:
    """A way to store events.

    Attributes:
        name: how the tables call it.
        open: gets a directory and an event, returns the call that stores the event there.
        module: what has to be installed.
    """

    name: str
    open: Callable[[str, dict[str, Any]], Callable[[], object]]
    module: str = "json"

    @property
    def installed(self) -> bool:
        """Whether it can be imported."""
        return importlib.util.find_spec(self.module) is not None

    def opener(self, properties: dict[str, Any], place: str | None = None) -> Callable[[], Callable[[], object]]:
        """Return what opens it in a directory, or in the home directory of the process."""
        return lambda: self.open(place or os.environ["HOME"], event(properties))


def ours(properties: dict[str, Any], **options: Any) -> Callable[[], Callable[[], object]]:
    """Return what opens a client of this package that sends nothing; with constructor arguments, if given."""
    chosen = {"max_queue_size": 10**7, "flush_at": 10**7, "flush_interval": 3600.0, "on_exit": "keep", **options}
    construct = f"client = Telemetry('key', url, **{chosen!r})"
    return lambda: SDKS[OURS].call_of(construct, "http://127.0.0.1:9", properties)


def _append_only(directory: str) -> int:
    return os.open(os.path.join(directory, "floor"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _encoded(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    del directory
    return lambda: json.dumps(value).encode()


def _floor(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    descriptor = _append_only(directory)
    return lambda: os.write(descriptor, json.dumps(value).encode() + b"\n")


def _by_hand(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    descriptor = _append_only(directory)

    def store() -> None:
        made = {**value, "event_id": str(uuid.uuid4()), "timestamp": datetime.now(UTC).isoformat()}
        os.write(descriptor, json.dumps(made).encode() + b"\n")

    return store


def _floor_synced(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    descriptor = _append_only(directory)

    def store() -> None:
        os.write(descriptor, json.dumps(value).encode() + b"\n")
        os.fsync(descriptor)

    return store


def _flock(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    descriptor = _append_only(directory)

    def store() -> None:
        line = json.dumps(value).encode() + b"\n"
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            os.write(descriptor, line)
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    return store


def _filelock(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    descriptor = _append_only(directory)
    lock: Any = importlib.import_module("filelock").FileLock(os.path.join(directory, "lock"))

    def store() -> None:
        line = json.dumps(value).encode() + b"\n"
        with lock:
            os.write(descriptor, line)

    return store


def _sqlite(directory: str, value: dict[str, Any], synchronous: str) -> Callable[[], object]:
    connection = sqlite3.connect(os.path.join(directory, "queue.db"), timeout=_BUSY, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT)")
    return lambda: connection.execute("INSERT INTO queue (event) VALUES (?)", (json.dumps(value),))


def _litequeue(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    module: Any = importlib.import_module("litequeue")
    connection = sqlite3.connect(os.path.join(directory, "litequeue.db"), timeout=_BUSY, isolation_level=None)
    queue = module.LiteQueue(connection)
    return lambda: queue.put(json.dumps(value))


def _diskcache(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    module: Any = importlib.import_module("diskcache")
    deque = module.Deque(directory=os.path.join(directory, "diskcache"))
    return lambda: deque.append(json.dumps(value))


def _queuelib(directory: str, value: dict[str, Any]) -> Callable[[], object]:
    module: Any = importlib.import_module("queuelib")
    queue = module.FifoDiskQueue(os.path.join(directory, "queuelib"))
    return lambda: queue.push(json.dumps(value).encode())


def _persist(directory: str, value: dict[str, Any], kind: str) -> Callable[[], object]:
    module: Any = importlib.import_module("persistqueue")
    serializer: Any = importlib.import_module("persistqueue.serializers.json")
    place = os.path.join(directory, kind)
    if kind == "Queue":
        temporary = os.path.join(directory, "temporary")
        os.makedirs(temporary, exist_ok=True)
        queue = module.Queue(place, serializer=serializer, tempdir=temporary)
    else:
        queue = getattr(module, kind)(place, serializer=serializer, auto_commit=True)
    return lambda: queue.put(value)


#: Name of our own side in the tables.
TRACK: Final = "track()"
ENCODED: Final = Queue("json.dumps alone, stores nothing", _encoded)
FLOOR: Final = Queue("json.dumps + os.write", _floor)
BY_HAND: Final = Queue("json.dumps + os.write, new id and time", _by_hand)
FLOCK: Final = Queue("flock around each write", _flock)
FILELOCK: Final = Queue("filelock around each write", _filelock, module="filelock")
SQLITE: Final = Queue("SQLite WAL, NORMAL", partial(_sqlite, synchronous="NORMAL"))
#: Survives the process and not the power, as our `track()` without `fsync` does.
SQLITE_OFF: Final = Queue("SQLite WAL, OFF", partial(_sqlite, synchronous="OFF"))
SQLITE_FULL: Final = Queue("SQLite WAL, FULL", partial(_sqlite, synchronous="FULL"))
SYNCED: Final = Queue("os.write + os.fsync", _floor_synced)
LITEQUEUE: Final = Queue("litequeue", _litequeue, module="litequeue")
DISKCACHE: Final = Queue("diskcache.Deque", _diskcache, module="diskcache")
QUEUELIB: Final = Queue("queuelib.FifoDiskQueue (lost when killed)", _queuelib, module="queuelib")
PERSIST_FILE: Final = Queue("persist-queue, file", partial(_persist, kind="Queue"), module="persistqueue")
PERSIST_SQLITE: Final = Queue("persist-queue, SQLite", partial(_persist, kind="SQLiteQueue"), module="persistqueue")
PERSIST_ACK: Final = Queue("persist-queue, SQLite ack", partial(_persist, kind="SQLiteAckQueue"), module="persistqueue")

#: All that keep an event over the death of the process.
DURABLE: Final = (SQLITE_OFF, SQLITE, LITEQUEUE, DISKCACHE, PERSIST_FILE, PERSIST_SQLITE, PERSIST_ACK)
#: Those whose documentation says nothing of several processes.
THREADS_ONLY: Final = (PERSIST_FILE, PERSIST_SQLITE, PERSIST_ACK)


def missing(queues: Iterable[Queue]) -> list[str]:
    """Return a note that names the queues that are not installed, if there are any."""
    return left_out({queue.name: queue for queue in queues})
