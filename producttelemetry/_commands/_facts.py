"""What the reading commands know, as plain values. Changes nothing.

Guarantees: what cannot be read becomes a note and `None`, and does not hide the rest.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import _config, _identity, _retry
from .. import _files as files
from .. import _notes as notes
from .._consent import resolve
from .._queues import destinations
from .._record import parse_line, split_lines
from .._sender import stored_state
from .._spool import DESTINATION, Directory
from .._spool._check import check
from .._version import __version__
from . import _screen as screen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from .._config import Paths
    from .._consent import Consent
    from .._record import Segment

    Value = TypeVar("Value")

#: Times that a segment is looked for under its next name.
_RENAMES: Final = 10


class Look(NamedTuple):
    """What `status` knows.

    Attributes:
        consent: the effective one, with its reason.
        facts: the value that `--json` prints.
        notes: a sentence for each thing that could not be read.
        failures: failed attempts in a row, for each destination.
    """

    consent: Consent
    facts: dict[str, Any]
    notes: list[str]
    failures: list[int]


def consent(project: Paths) -> Consent:
    """Return what applies to a client that this environment's programs make."""
    return resolve(False, _config.environment(), _config.read_config_files(project))


def told(consent: Consent) -> dict[str, Any]:
    """Return the consent as `--json` prints it."""
    return {"enabled": consent.enabled, "source": consent.source}


def status(project: Paths) -> Look:
    """Gather everything for `status`."""
    unread: list[str] = []
    nowhere: list[Directory] = []
    found = _or_note(unread, lambda: destinations(project), nowhere)
    look = consent(project)
    described = [_destination(directory, unread) for directory in found]
    facts = {
        "consent": told(look),
        "client_id": _or_note(unread, lambda: _identity.read_client_id(project), None),
        "config_dir": None if project.config_dir == _config.NOWHERE else project.config_dir,
        "destinations": described,
        "version": __version__,
    }
    if project.config_dir == _config.NOWHERE:
        unread.append("there is no home directory: nothing can be stored")
    return Look(look, facts, unread, [(stored_state(directory) or _retry.State()).failures for directory in found])


def _or_note(unread: list[str], read: Callable[[], Value], otherwise: Value) -> Value:
    try:
        return read()
    except OSError as error:
        unread.append(f"cannot be read: {screen.describe(error)}")
        return otherwise


def api_url(directory: Directory) -> str | None:
    """Return the server of a destination; None if nobody can tell."""
    try:
        value = json.loads(files.read(directory.where(DESTINATION), limit=65536))
    except (OSError, ValueError, RecursionError):
        return None
    url = value.get("api_url") if isinstance(value, dict) else None
    return url if isinstance(url, str) else None


def _destination(directory: Directory, unread: list[str]) -> dict[str, Any]:
    with closing(directory):
        survey = _or_note(unread, directory.survey, None)
    state = stored_state(directory) or _retry.State()
    waits = _retry.waits(state, time.time())
    return {
        "api_url": api_url(directory),
        "spool_dir": directory.path,
        "pending": None if survey is None else survey.pending,
        "pending_bytes": None if survey is None else survey.pending_bytes,
        "oldest_pending": None if survey is None else survey.oldest,
        "delivered": None if survey is None else survey.counts.delivered,
        "dropped": None if survey is None else survey.counts.dropped,
        "retry_at": datetime.fromtimestamp(state.not_before, UTC).isoformat() if waits else None,
        "last_error": state.last_error,
    }


def pending_lines(project: Paths) -> Iterator[tuple[Directory, bytes]]:
    """Yield every line that would be sent, oldest first, destination by destination.

    Raises:
        OSError: something cannot be read; what can be was yielded before.
    """
    erased = notes.erased_ids(project)
    failed: OSError | None = None
    for directory in destinations(project):
        try:
            directory.check_place()
            for segment in directory.segments():
                for line in split_lines(_content(directory, segment)):
                    value = parse_line(line)
                    if value is not None and str(value.get("client_id")).encode("utf-8", "replace") not in erased:
                        yield directory, line
        except OSError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def _content(directory: Directory, segment: Segment) -> bytes:
    """Read a segment, without lock: living processes rename it meanwhile, and go on. Nothing if it is done with."""
    current: Segment | None = segment
    for _ in range(_RENAMES):
        if current is None:
            break
        try:
            return files.read(directory.where(current), current.offset)
        except FileNotFoundError:
            current = next((each for each in directory.segments() if each.identity == segment.identity), None)
    return b""


def findings(project: Paths) -> list[dict[str, Any]]:
    """Return what is broken, destination by destination: `{"api_url", "spool_dir", "problems": [text]}`.

    Raises:
        OSError: nobody can tell which destinations there are.
    """
    found: list[dict[str, Any]] = []
    for directory in destinations(project):
        try:
            problems = check(directory.path)
        except OSError as error:
            problems = [f"{os.path.basename(directory.path)}: cannot be read, {error.strerror}"]
        found.append({"api_url": api_url(directory), "spool_dir": directory.path, "problems": problems})
    return found
