"""The client id: one UUID per project, made by whichever of its processes comes first, replaced by an erasure.

Guarantees: processes that start at the same moment agree on one id; an id that was erased (`_notes`) is not used again,
even if its file could not be deleted.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import closing
from typing import TYPE_CHECKING, Final

from . import _files as files
from . import _notes as notes
from ._event import uuid4

if TYPE_CHECKING:
    from ._config import Paths

#: Levels of the path that are this package's: the project's directory and the one of all projects.
_OWN_DEPTH: Final = 2
#: Longest wait for another process that creates the id, in seconds; after that we go on without it.
_WAIT: Final = 0.1


class Identity:
    """The client id as one process knows it.

    Args:
        project: whose id it is; an attribute, too.

    Attributes:
        used: every id that this process has given to an event.
    """

    def __init__(self, project: Paths) -> None:
        self.project = project
        self._made_up: str | None = None
        self.used: set[str] = set()

    def get(self) -> str:
        """Return the stored id; where there is none, store the one that was made up.

        Raises:
            OSError: it can be neither read nor written; `make_up` has to do.
        """
        found = client_id(self.project, self._made_up)
        self._made_up = None
        self.used.add(found)
        return found

    def make_up(self) -> str:
        """Return an id that is stored as soon as the disk works: a later erasure, by any process, has to know it."""
        self._made_up = self._made_up or uuid4()
        self.used.add(self._made_up)
        return self._made_up

    def keep(self) -> bool:
        """Store the id that was made up, if the disk works again; False if another is stored by now."""
        made_up = self._made_up
        try:
            return made_up is None or self.get() == made_up
        except OSError:
            return True

    def forget(self) -> None:
        """Do not store an id that was made up: there was a purge."""
        self._made_up = None


def read_client_id(project: Paths) -> str | None:
    """Return the client id, or None if there is none yet or the file is damaged.

    Raises:
        OSError: the file exists and cannot be read.
    """
    return _read(project.client_id) or _former_id(project)


def _read(path: str) -> str | None:
    try:
        content = files.read(path, limit=64).strip().lower()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content.decode() if notes.CLIENT_ID.fullmatch(content) else None


def _former(project: Paths) -> str | None:
    """Return where `ptelemetry`, the SDK before this one, keeps its client id; None if that is our own place."""
    return None if project.former == project.config_dir else os.path.join(project.former, "client_id")


def _former_id(project: Paths) -> str | None:
    """Return the id of an installation that used the SDK before this one: it stays the same one."""
    path = _former(project)
    with contextlib.suppress(OSError):
        return None if path is None else _read(path)
    return None


def client_id(project: Paths, mine: str | None = None) -> str:
    """Return the client id; create it if there is none.

    Args:
        project: whose.
        mine: what it shall be if there is none: this process has used it already, while the disk failed.

    Raises:
        OSError: it can be neither read nor written.
    """
    known = _read(project.client_id)
    if known is not None and _is_erased(project, known):  # whoever erased it could not delete the file
        forget_client_id(project, known)
        known = None
    if known is not None:
        return known
    make_directory(project)
    mine = mine or _former_id(project)
    if mine is None or _is_erased(project, mine):
        mine = uuid4()
    # Exclusive without a lock: also against a signal handler that comes in between and tracks the first event itself.
    with contextlib.suppress(OSError):  # a file system without hard links; the lock below has to do
        if files.publish(project.client_id, mine.encode() + b"\n"):
            return mine
    known = _read(project.client_id)
    if known is not None:
        return known
    with closing(lock(project)) as held:
        held.acquire(_WAIT)
        known = _read(project.client_id)
        if known is None:  # there is none, or what is there is no UUID
            known = mine
            files.replace(project.client_id, mine.encode() + b"\n")
        return known


def is_client_id(text: str) -> bool:
    """Whether a text has the form of a client id."""
    return notes.CLIENT_ID.fullmatch(text.encode("utf-8", "replace")) is not None


def forget_client_id(project: Paths, erased: str) -> None:
    """Delete the id if it is still this one: the next `client_id` makes another.

    Raises:
        OSError: it cannot be deleted.
    """
    if not os.path.isdir(project.config_dir):
        return
    with closing(lock(project)) as held:
        held.acquire(_WAIT)
        for path in (project.client_id, _former(project)):
            if path is not None and _read(path) == erased:
                files.unlink(path)


def _is_erased(project: Paths, known: str) -> bool:
    try:
        return known.encode() in notes.erased_ids(project)
    except OSError:  # nobody can tell; nothing is sent then, whatever its id is
        return False


def make_directory(project: Paths) -> None:
    """Make the project's directory; it may be a link of the user's to another disk, as it may for the spool."""
    files.check_links(project.config_dir, _OWN_DEPTH)
    if not os.path.isdir(project.config_dir):
        files.make_directory(project.config_dir)


def lock(project: Paths) -> files.Lock:
    """Return the lock of what has no other in the project's directory: the client id, `config.json`."""
    return files.Lock(os.path.join(project.config_dir, "client_id.lock"))
