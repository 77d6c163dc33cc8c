"""What `ptelemetry`, the SDK before this one, has left behind: its waiting events become ours, once.

`ptelemetry` 0.2 keeps a `client_id` (that one is `_identity`'s business) and, after a request has failed,
`pending_events.json`: `{"events": [...]}` in ASCII, rewritten in place and without a lock. An event there is as the
server gets it, but for the `event_id`, which that SDK does not know.

Guarantees:

- The file goes when the queue has all of it. Who is killed before that makes the next process begin anew, and the
  server gets some events twice with one `event_id`: it is made from the event.
- One process takes over; the others do not wait for it. A tool with the old SDK may run beside us: what it writes
  meanwhile stays, and is taken by the next process.
- An event passes the same checks as one that is tracked now, `before_send` too, and the queue keeps its cap.
- What of a damaged file can be read is taken; the rest, however much it was, counts as one `corrupt`.
- A file that cannot be opened, and a link, stay and harm nobody.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import _config, _event, _identity
from . import _exceptions as exceptions
from . import _files as files
from ._errors import EventRejected, QueueFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._config import Paths
    from ._spool import Writer

#: Longest file that is read to its end, in bytes: what a thousand events of the largest size have.
_MOST_BYTES: Final = 1000 * _event.MAX_EVENT_BYTES
#: Longest wait, in seconds, of somebody who deletes the file, for a process that takes it over.
_WAIT: Final = 1.0


class Host(NamedTuple):
    """What the client that takes over adds to the events.

    Attributes:
        client_id: for events that have none: an `OSError` at the wrong moment left the old SDK with an empty one.
        cap: most events that are taken, the newest; the others count as `overflow`.
        write_key: is removed from stack traces.
        before_send: the host's hook, or None.
    """

    client_id: str
    cap: int
    write_key: str
    before_send: Callable[[dict[str, Any]], dict[str, Any] | None] | None


def take_over(project: Paths, writer: Writer, host: Host) -> None:
    """Put what waits into the queue, and delete the file.

    Args:
        project: whose.
        writer: of the queue that gets the events: that of the first client to come.
        host: what it adds.

    Raises:
        OSError: the file cannot be read or deleted; it stays.
        Purged: see `Writer.append`; whoever purges deletes the file.
    """
    with closing(_identity.lock(project)) as held:
        if not held.acquire(0.0):  # somebody else is at it
            return
        path = project.former_events
        seen = files.path_identity(path, changes=True)
        if seen is None or writer.volatile:  # the disk fails: the events are safer where they are
            return
        events, whole = _read(path)
        if not whole:
            writer.note("corrupt")
        beyond = max(0, len(events) - host.cap)
        writer.note("overflow", beyond)
        _append(events[beyond:], writer, host)
        if not writer.volatile and seen == files.path_identity(path, changes=True):
            files.unlink(path)


def delete(project: Paths) -> int:
    """Delete what waits: an opt-out or an erasure. Return how many events that were, as far as they can be read.

    Raises:
        OSError: it cannot be deleted.
    """
    path = project.former_events
    with closing(_identity.lock(project)) as held:
        held.acquire(_WAIT)  # or without: then the process that is at it finds out by the purge of its queue
        if not files.exists(path):
            return 0
        number = 0
        with contextlib.suppress(OSError):
            number = len(_read(path)[0])
        files.unlink(path)
        return number


def _read(path: str) -> tuple[list[Any], bool]:
    """Return the events of the file, and whether they are all that it held."""
    text = files.read(path, limit=_MOST_BYTES).decode("ascii", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _legible(text), False
    events = value.get("events") if isinstance(value, dict) else None
    return (events, True) if isinstance(events, list) else ([], False)


def _legible(text: str) -> list[Any]:
    """Return the events before the damage: the old SDK rewrites in place, and may be killed, or the disk full."""
    events: list[Any] = []
    at = text.find("[") + 1
    decode = json.JSONDecoder().raw_decode
    with contextlib.suppress(ValueError, RecursionError):
        while at:
            event, end = decode(text, at)
            events.append(event)
            at = end + len(", ")
    return events


def _append(events: list[Any], writer: Writer, host: Host) -> None:
    seen: Counter[str] = Counter()
    for event in events:
        try:
            text = json.dumps(event, sort_keys=True)
            seen[text] += 1
            writer.append(_line(event, f"{seen[text]} {text}", host))
        except EventRejected as error:
            writer.note(error.reason)
        except QueueFull:  # counted
            pass


def _line(event: Any, unique: str, host: Host) -> bytes:
    """Return the line of an event.

    Args:
        event: as the old SDK stored it.
        unique: a text that no other event has, and this one whenever it is read.
        host: what the client adds.

    Raises:
        EventRejected: it could not be tracked today (`invalid`, `too_large`), or the hook dropped it (`before_send`).
    """
    try:
        client_id, session_id = str(event["client_id"]).lower(), str(event["session_id"]).lower()
        name, kind, properties = event["event_name"], event["event_type"], event["properties"]
        moment = datetime.fromisoformat(event["timestamp"])
        milliseconds = int(moment.astimezone(UTC).timestamp() * 1000)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise EventRejected("invalid", "this is no event of the former SDK") from error
    if not _identity.is_client_id(session_id) or not isinstance(properties, dict):
        raise EventRejected("invalid", "this is no event of the former SDK")
    if kind == "error":
        properties = exceptions.describe_again(properties, *_config.user(), host.write_key)
    encoder = _event.Encoder(client_id if _identity.is_client_id(client_id) else host.client_id, session_id, {})
    event_id = {"event_id": _event.uuid7(max(0, milliseconds) * 1_000_000, hashlib.sha256(unique.encode()).hexdigest())}
    hook = host.before_send
    if hook is None:
        line = encoder.event(name, properties, kind, moment)
    else:
        line = encoder.filtered_event(lambda plain: hook({**plain, **event_id}), name, properties, kind, moment)
    stored = {**json.loads(line), **event_id}
    return json.dumps(stored, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
