"""Erasure: the server forgets a client, and no event with its id leaves this machine any more, from any process.

The order: the request is noted (`_notes`); the server agrees; the id is noted as erased, so that no sender puts it on
the wire; the id is forgotten, so that the next event gets another; every segment of every destination is deleted, also
those that living processes have open; the note of the request goes away.

Guarantees, whoever is killed wherever:

- While a request is under way no sender starts another request with that id: it waits for the outcome. If the server
  refuses, or does not answer in time, the note is taken back, and everything is as it was.
- A process that dies after the first note told nobody that it failed. Whoever sends or tracks next, for whichever
  destination, does the local part: the id is never sent again. Whoever sends to the same destination asks its server
  again, at most once an hour, until it agrees. Events with the next id do not wait for that: a server that refuses
  erasures for good, or a key that is wrong, costs a request an hour and holds up nobody.
- If the disk fails after the server has agreed, the answer is False, because this machine still has the data. The note
  stays, so the id is not sent; trying again, or the next process, ends it.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from . import _files as files
from . import _identity, _process
from . import _notes as notes
from ._notes import ASKING, Request
from ._queues import LOCK_WAIT, destinations, purge, senders_pause
from ._record import parse_line, split_lines
from ._worker import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable

    from ._config import Paths
    from ._retry import Outcome
    from ._transport import Transport

#: Longest wait for the locks of the queues in a host that tracks after somebody has died in an erasure, in seconds.
_HOSTS_PATIENCE: Final = 0.1
#: Seconds after which a server that has not agreed is asked again.
ASK_AGAIN: Final = 3600
#: Seconds that such a request may take.
_REQUEST_TIME: Final = 5.0
#: The part of its time that a request keeps for taking back its note.
_REST: Final = 0.1
#: Seconds between two looks whether somebody else's request has ended.
_LOOK: Final = 0.01


class Answer(NamedTuple):
    """What came of a request.

    Attributes:
        done: the server has agreed, and this machine has nothing left.
        asked: the ids that it was asked to erase.
        said: its last answer, for people; empty if there was none.
        failed: why the disk was the reason, if it was.
    """

    done: bool
    asked: tuple[str, ...]
    said: str
    failed: OSError | None


class Erasures:
    """What one client or sender has to know and to do about the erasures of its project.

    Args:
        project: whose id it is.
        spool: the spool directory for its server and key.
    """

    def __init__(self, project: Paths, spool: str) -> None:
        self._project = project
        self._destination = os.path.basename(spool)

    def erased(self) -> frozenset[bytes]:
        """Return the ids that must never be sent; raises `OSError` if nobody can tell."""
        return notes.erased_ids(self._project)

    def settle_here(self) -> bool:
        """Do what a process that died in the middle of an erasure has left to do on this machine.

        Returns:
            False while a living process asks its server: nobody can tell what will become of the id.

        Raises:
            OSError: it cannot be done; nothing may be sent then.
        """
        if not self._asking():
            return True
        with _held(self._project) as held:
            return held and self._settle_here()

    def _asking(self) -> list[Request]:
        return [request for request in notes.requests(self._project) if request.state == ASKING]

    def _settle_here(self) -> bool:
        ids = {request.client_id for request in self._asking()}
        if not ids:  # somebody was faster
            return True
        notes.note_erased(self._project, ids)
        with contextlib.suppress(OSError):  # the ids are not sent any more; the rest is tried again
            _forget(self._project, ids)
            with contextlib.suppress(OSError):  # what is left of them is not sent; everything else must go on
                purge(self._project, time.monotonic() + _HOSTS_PATIENCE, {each.encode() for each in ids})
            due = str(int(time.time()))
            requests = notes.requests(self._project)
            requests = [each._replace(state=due) if each.state == ASKING else each for each in requests]
            notes.write_requests(self._project, requests)
        return True

    def settle_there(self, connect: Callable[[], Transport]) -> Outcome | None:
        """Ask our server again for what a process that died may not have asked it; events do not wait for this.

        Returns:
            The first answer that is not a yes; None if all is done, or nothing is due.

        Raises:
            OSError: the answer cannot be noted.
        """
        if not self._due():
            return None
        with _held(self._project) as held:
            due = self._due()
            if not held or not due:
                return None
            with connect() as transport:
                deadline = time.monotonic() + _REQUEST_TIME
                answers = {request: transport.erase(request.client_id, deadline) for request in due}
            later = str(int(time.time()) + ASK_AGAIN)
            left = [each for each in notes.requests(self._project) if each not in due]
            left += [request._replace(state=later) for request in due if answers[request].kind != "accepted"]
            with contextlib.suppress(OSError):  # it is asked again sooner, then; events do not wait for a full disk
                notes.write_requests(self._project, left)
            return next((answer for answer in answers.values() if answer.kind != "accepted"), None)

    def _due(self) -> list[Request]:
        now = time.time()
        return [
            request
            for request in notes.requests(self._project)
            if request.destination == self._destination
            and request.state != ASKING
            # A time further away than we ever set was set by a clock that was wrong.
            and not now < int(request.state) <= now + ASK_AGAIN + 1
        ]

    def request(self, ids: Iterable[str], connect: Callable[[], Transport], timeout: float) -> Answer:
        """Have this installation erased, there and here.

        Args:
            ids: what this process has used; others than that on disk, if the disk failed meanwhile.
            connect: opens the connection to the server.
            timeout: seconds that it may take, all in all.

        Returns:
            What came of it. If it is not done, nothing has changed, unless the disk failed or hangs.
        """
        asking = _Asking(self._project, self._destination, frozenset(ids))
        deadline = time.monotonic() + timeout * (1 - 2 * _REST)
        done = False
        try:
            done = bounded(lambda decide: asking.run(connect, deadline, decide), timeout * (1 - _REST))
        finally:  # also after Ctrl-C: who waited has given up
            if not done:
                bounded(lambda _: asking.take_back(), timeout * _REST)
        return Answer(done, tuple(asking.asked), asking.said, asking.failed)


class _Asking:
    """One request of a living process. `run` may hang, and `take_back` comes from another thread then.

    Attributes:
        asked, said, failed: see `Answer`.
    """

    def __init__(self, project: Paths, destination: str, ids: frozenset[str]) -> None:
        self._project = project
        self._destination = destination
        self._ids = ids
        #: Held while the notes are written, and while it is decided whether they are.
        self._mutex = _thread.allocate_lock()
        #: The caller waits no longer.
        self._late = False
        #: What there is to take back: the requests without ours, from the note until the server has agreed.
        self._before: list[Request] | None = None
        self.asked: list[str] = []
        self.said = ""
        self.failed: OSError | None = None

    def run(self, connect: Callable[[], Transport], deadline: float, decide: Callable[[], bool]) -> bool:
        """Ask, and clean up here if the server agrees and `decide` says that somebody still waits for the answer."""
        try:
            return self._run(connect, deadline, decide)
        except OSError as error:
            self.failed = error
            return False

    def _run(self, connect: Callable[[], Transport], deadline: float, decide: Callable[[], bool]) -> bool:
        place = _has_place(self._project, needed=bool(self._ids or _identity.read_client_id(self._project)))
        with _held(self._project, deadline) if place else contextlib.nullcontext(True) as held:
            try:
                ids = self._note(place) if held else None
                if ids is None or not senders_pause(self._project, deadline):
                    return False
                if not self._agrees(ids, connect, deadline, decide):
                    return False
            finally:
                self.take_back()  # whatever was raised: once the lock is free, others finish what they find noted
            if place:
                self._clean_up(ids, deadline)
        return True

    def _note(self, place: bool) -> set[str] | None:
        """Note whom the server is about to be asked to erase; None if it is too late for that."""
        ids = {each for each in (*self._ids, _identity.read_client_id(self._project)) if each is not None}
        ids |= _queued_ids(self._project)
        with self._mutex:
            if self._late:
                return None
            if place:
                before = notes.requests(self._project)
                # Somebody died who asked our server, and nobody has heard what it said.
                ids |= {each.client_id for each in before if each.destination == self._destination}
                asking = [Request(each, self._destination) for each in sorted(ids)]
                self._before = before
                notes.write_requests(self._project, [*self._others(ids, before), *asking])
        return ids

    def _others(self, ids: Collection[str], requests: Iterable[Request]) -> list[Request]:
        return [each for each in requests if each.destination != self._destination or each.client_id not in ids]

    def _agrees(
        self, ids: Collection[str], connect: Callable[[], Transport], deadline: float, decide: Callable[[], bool]
    ) -> bool:
        if ids:
            with connect() as transport:
                if not all(self._ask(transport, each, deadline) for each in sorted(ids)):
                    return False
        with self._mutex:
            if not decide():  # the caller has been told False by now, or is about to be
                return False
            self._before = None
        return True

    def _ask(self, transport: Transport, client_id: str, deadline: float) -> bool:
        self.asked.append(client_id)
        outcome = transport.erase(client_id, deadline)
        self.said = outcome.message
        return outcome.kind == "accepted"

    def _clean_up(self, ids: Collection[str], deadline: float) -> None:
        notes.note_erased(self._project, ids)
        _forget(self._project, ids)
        purge(self._project, deadline)
        notes.write_requests(self._project, self._others(ids, notes.requests(self._project)))

    def take_back(self) -> bool:
        """Have everything as it was, unless the server has agreed in time."""
        with self._mutex:
            self._late = True
            if self._before is not None:
                notes.write_requests(self._project, self._before)
                self._before = None
        return True


class _Tenant:
    """Keeps `erasing.lock` ours: a forked child that lives on must not keep its copy when we die."""

    def __init__(self, lock: files.Lock) -> None:
        self._lock = lock

    def leave(self) -> None:
        """The kernel gives the lock back."""

    before_fork = after_fork_in_parent = leave

    def after_fork(self) -> None:
        """Let go of the copy."""
        self._lock.forget()


@contextlib.contextmanager
def _held(project: Paths, deadline: float = 0.0) -> Generator[bool]:
    """Hold `erasing.lock`; what comes is False if it was not to be had until the deadline."""
    lock = notes.lock(project)
    tenant = _Tenant(lock)
    _process.move_in(tenant)
    try:
        while not (held := lock.acquire(0.0)) and time.monotonic() < deadline:
            time.sleep(_LOOK)
        yield held
    finally:
        _process.move_out(tenant)
        lock.close()


def _has_place(project: Paths, *, needed: bool) -> bool:
    """Whether the project has a directory; one is made where there is an id to be noted.

    Raises:
        OSError: there is something, and it cannot be used.
    """
    if needed:
        try:
            _identity.make_directory(project)
        except OSError:
            if files.exists(project.config_dir) and not os.path.isfile(project.config_dir):
                raise
    return os.path.isdir(project.config_dir)  # where there is none, there is nothing with this id in it


def _forget(project: Paths, ids: Iterable[str]) -> None:
    for each in ids:
        _identity.forget_client_id(project, each)


def _queued_ids(project: Paths) -> set[str]:
    """Return the client ids of what is queued: another than the current one, if that file was lost."""
    found: set[str] = set()
    for directory in destinations(project):
        with closing(directory):
            with contextlib.suppress(OSError):  # or look without: who is missed now is found by the sender's filter
                directory.acquire(LOCK_WAIT)
            for segment in directory.segments():
                with contextlib.suppress(OSError):  # renamed by somebody without the lock, or nobody can send it either
                    data = files.read(directory.where(segment), segment.offset)
                    found.update(str((parse_line(line) or {}).get("client_id")) for line in split_lines(data))
    return {each for each in found if _identity.is_client_id(each)}
