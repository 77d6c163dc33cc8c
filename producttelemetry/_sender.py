"""Claim → batch → post → decide → acknowledge: the one loop that empties a spool, in whichever process it runs.

Guarantees: nothing is acknowledged that the server did not take or refuse for good; consent is asked before every
request; one sender per destination on the machine; it stops at the first failure that is worth another try, and leaves
the back-off beside the spool for all processes.

The loop runs in the flush thread of a host, in the detached process (`_detached`) and in commands. They differ in the
lock object they bring: filelock registers a fork hook that makes `os.fork()` fail for the other threads of a process on
CPython 3.12 and later, so inside a host the same lock is taken by `_lock.Lock`; both are `flock` on one file.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from . import _batch, _retry
from . import _files as files
from ._errors import ClaimLost, LockTimeout
from ._lock import Lock
from ._record import parse_line
from ._retry import Outcome
from ._spool import RETRY, Directory, Reader, Settled

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ._log import Log
    from ._transport import Transport

#: How a drain ended:
#: `empty`    nothing is left to send
#: `failed`   the server could not be reached or wants us to wait; the back-off is set
#: `waiting`  a back-off forbids sending
#: `busy`     another process is sending
#: `stopped`  consent is gone, or a purge took the events away
#: `late`     the time for it is over, or what is left cannot be read; perhaps it can be later
Drained: TypeAlias = Literal["empty", "failed", "waiting", "busy", "stopped", "late"]

#: Seconds that one request may take, from the name look-up to the last byte.
REQUEST_TIME: Final = 15.0
#: Seconds after which a sender that has changed nothing has been stopped: a request cannot take that long.
STANDSTILL: Final = 2 * REQUEST_TIME
#: Seconds between two looks of somebody who waits for another sender, or lingers.
_LOOK: Final = 0.05


#: How a line is treated.
Kind: TypeAlias = Literal["event", "identify", "corrupt", "purged"]


class Claimed(Protocol):
    """Events in the hands of the sender: of a segment (`_spool.Claim`) or of memory (`_spool.VolatileClaim`)."""

    lines: deque[bytes]

    def exists(self) -> bool:
        """Whether nobody has deleted them meanwhile."""
        ...

    def acknowledge(self, number: int, settled: Settled) -> None:
        """Take the first `number` lines out of the queue."""
        ...

    def release(self) -> None:
        """Give back what is left."""
        ...


class SenderLock(Protocol):
    """What holds `sender.lock`."""

    def acquire(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether we hold it now."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class Erasures(Protocol):
    """What a sender has to know of erasures: `_erasure.Erasures`."""

    def erased(self) -> Collection[bytes]:
        """Return the client ids whose events must not be sent."""
        ...

    def settle_here(self) -> bool:
        """Finish what dead processes have left; False while a living one asks its server to erase a client."""
        ...

    def settle_there(self, connect: Callable[[], Transport]) -> Outcome | None:
        """Ask our server for what dead processes may not have asked it; what it says if it does not agree."""
        ...


class Sender:
    """Empties one destination's spool.

    Args:
        directory: the spool; used by this sender alone.
        lock: `sender.lock` of that spool.
        connect: opens the connection; called when there is something to send.
        may_send: reads consent again.
        erasures: what was erased, and what is about to be.
        log: where failures are told.

    Attributes:
        sending: this one is sending, or about to; True before it has the lock and until after it has given it back.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # what a loop in three surroundings has to be told
        self,
        directory: Directory,
        lock: SenderLock,
        connect: Callable[[], Transport],
        may_send: Callable[[], bool],
        erasures: Erasures,
        log: Log,
    ) -> None:
        self._directory = directory
        self._reader = Reader(directory)
        self._lock = lock
        self._connect = connect
        self._may_send = may_send
        self._erasures = erasures
        self._log = log
        self._remembered = _retry.State()  # where the disk refuses to keep it
        self._file_is_stale = False
        self._posting = False
        self.sending = False

    def after_fork(self) -> None:
        """Forget the parent's locks. Called in a forked child."""
        self._reader.after_fork()
        if isinstance(self._lock, Lock):
            self._lock.forget()

    # --- the shared back-off ----------------------------------------------------------------------------------------

    def state(self) -> _retry.State:
        """Return the back-off that all processes share."""
        return self._remembered if self._file_is_stale else stored_state(self._directory) or self._remembered

    def waits(self, *, explicit: bool = False) -> bool:
        """Whether a back-off forbids sending now."""
        return _retry.waits(self.state(), time.time(), explicit=explicit)

    def until_retry(self) -> float:
        """Return how many seconds a back-off still lasts."""
        return max(self.state().not_before - time.time(), 0.0)

    def _note(self, outcome: Outcome) -> None:
        """Store what an answer means for everybody's next attempt."""
        before = self.state()
        after = _retry.decide(before, outcome, time.time(), _draw)
        self._remembered = after
        if after != before:
            try:
                self._directory.check_place()
                path = self._directory.where(RETRY)
                files.replace(path, json.dumps(_retry.to_json(after)).encode())
                self._file_is_stale = False
            except OSError as error:
                self._file_is_stale = True  # what is on disk is older than what we know
                self._log.debug(f"the back-off cannot be stored: {error}")
        if outcome.kind == "misconfigured":
            self._log.once(
                "error",
                "misconfigured",
                f"the server answered {outcome.message}; check write_key and api_url. Events are kept and tried again",
            )
        elif outcome.kind == "unavailable":
            self._log.debug(f"events are kept for later: {outcome.message}")

    def give_up(self) -> None:
        """Count a request that is under way as failed, for whoever comes next: this process waits no longer.

        Called beside the thread that drains; should the answer come after all, it is noted as usual.
        """
        if self._posting:
            self._note(Outcome("unavailable", "no answer in the time that the host had"))

    # --- draining ---------------------------------------------------------------------------------------------------

    def drain(self, *, explicit: bool = False, deadline: float = float("inf"), linger: float = 0.0) -> Drained:
        """Send what is ready.

        Args:
            explicit: override our own back-off, and wait for another sender to finish.
            deadline: `time.monotonic()` after which no request is started.
            linger: seconds to go on looking, lock in hand, after the queue is empty.
        """
        while True:
            if not self._may_send():  # before anything is imported or opened for it
                return "stopped"
            if not self._settled(deadline):
                return "late"
            if self.waits(explicit=explicit):
                return "waiting"
            self.sending = True
            try:
                if not self._take_turn(deadline if explicit else 0.0):
                    return "busy" if self._reader.has_work() else "empty"
                self._ask_again()
                ended = self._drain_until_empty(deadline, linger)
            except LockTimeout:
                ended = "busy"
            except ClaimLost:
                ended = "stopped"
            finally:
                self._lock.close()
                self.sending = False
            if ended == "late" and not self._erasures.settle_here():
                continue
            # Somebody may have sealed a segment after our last look, and found the lock still held.
            if ended != "empty" or not self._reader.has_work():
                return ended

    def _settled(self, deadline: float) -> bool:
        """Wait while somebody asks for an erasure: until its server has answered, nobody can tell what may be sent."""
        deadline = min(deadline, time.monotonic() + REQUEST_TIME)  # whoever asks may have been stopped
        while not self._erasures.settle_here():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK)
        return True

    def _ask_again(self) -> None:
        answer = self._erasures.settle_there(self._connect)
        if answer is not None:
            what = f"the server answered {answer.message} to the request to erase a client; it is asked again later"
            self._log.once("error", "erasure", what)

    def _take_turn(self, deadline: float) -> bool:
        """Become the one sender; give up at the deadline, or when the other one has sent everything or stands still."""
        self._directory.check_place()  # `sender.lock` must not be made behind a link
        seen: object = None
        changed = time.monotonic()
        while not self._lock.acquire(0.0):
            queue = (self._directory.segments(), self._directory.ledger())
            if queue != seen:
                seen, changed = queue, time.monotonic()
            if time.monotonic() >= min(deadline, changed + STANDSTILL) or not self._reader.has_work():
                return False
            time.sleep(_LOOK)
        return True

    def _drain_until_empty(self, deadline: float, linger: float) -> Drained:
        self._reader.recover()
        until = time.monotonic() + linger
        transport: Transport | None = None
        try:
            while True:
                claim = self._reader.claim()
                if claim is not None:
                    transport = transport or self._connect()
                    ended = self._send_claim(claim, transport, deadline)
                    if ended is not None:
                        return ended
                    until = time.monotonic() + linger
                elif time.monotonic() >= min(until, deadline):
                    return "late" if self._reader.passed_over else "empty"
                elif not (self._may_send() and self._erasures.settle_here()):  # both wait for who holds `sender.lock`
                    return "stopped"
                else:
                    time.sleep(_LOOK)
        finally:
            self._directory.close()
            if transport is not None:
                transport.close()

    def drain_volatile(self, claim: Claimed, *, explicit: bool = False) -> Drained:
        """Send events that wait in memory because the disk does not work. Nobody else sees them: no lock is needed."""
        if not self._may_send():
            claim.release()
            return "stopped"
        if self.waits(explicit=explicit):
            claim.release()
            return "waiting"
        try:
            transport = self._connect()
        except BaseException:
            claim.release()  # they are in nobody else's hands
            raise
        with transport:
            return self._send_claim(claim, transport, float("inf")) or "empty"

    def _send_claim(self, claim: Claimed, transport: Transport, deadline: float) -> Drained | None:
        """Send one segment; None if all of it is done with."""
        if not claim.lines:
            claim.acknowledge(0, Settled())
        try:
            while claim.lines:
                ended = self._send_batch(claim, transport, deadline)
                if ended is not None:
                    return ended
        finally:
            if claim.lines:
                claim.release()
        return None

    def _send_batch(self, claim: Claimed, transport: Transport, deadline: float) -> Drained | None:
        erased = self._erasures.erased()
        kind, lines = _next_batch(claim.lines, erased)
        if kind in {"corrupt", "purged"}:
            claim.acknowledge(len(lines), Settled(dropped={kind: len(lines)}))
            return None
        trial = _batch.Trial(len(lines))
        while (part := trial.next()) is not None:
            obstacle = self._obstacle(claim, deadline)
            if obstacle is not None:
                return obstacle
            if erased != self._erasures.erased():
                break  # what is left of the batch is looked at anew
            outcome = self._post(transport, kind, lines[part.start : part.stop], lambda: self._may_go(claim, erased))
            if outcome.kind == "withdrawn":
                break  # the same
            if not trial.learn(part, outcome):
                return "failed"
            self._settle(claim, trial.settle())
        if trial.wrong_endpoint:
            self._note(Outcome("misconfigured", f"{trial.message}; every event is refused, so is this the endpoint?"))
            return "failed"
        if trial.message:
            self._note(Outcome("refused", trial.message))  # a server that talks about events is there
        return None

    def _obstacle(self, claim: Claimed, deadline: float) -> Drained | None:
        """Ask before every request, for halving a batch may take many: return why it must not be sent."""
        # An erasure waits for `sender.lock`, which we hold: we wait for it in `drain`, without.
        if time.monotonic() > deadline or not self._erasures.settle_here():
            return "late"
        if not self._may_send():
            return "stopped"
        if not claim.exists():
            raise ClaimLost("the claimed segment was deleted")
        return None

    def _may_go(self, claim: Claimed, erased: Collection[bytes]) -> bool:
        """Ask the same when the connection stands: name look-up, TCP and TLS take seconds."""
        return (
            self._may_send() and self._erasures.settle_here() and claim.exists() and erased == self._erasures.erased()
        )

    def _post(self, transport: Transport, kind: Kind, lines: Sequence[bytes], may_go: Callable[[], bool]) -> Outcome:
        deadline = time.monotonic() + REQUEST_TIME
        self._posting = True
        try:
            if kind == "identify":
                outcome = transport.identify(lines[0], deadline, may_go)
            else:
                outcome = transport.ingest(lines, deadline, may_go)
        finally:
            self._posting = False
        # What the others mean is known when the batch has been tried.
        if outcome.kind not in {"refused", "too_large", "withdrawn"}:
            self._note(outcome)
        return outcome

    def _settle(self, claim: Claimed, fates: Sequence[_batch.Fate]) -> None:
        """Take the leading events out of the queue, their fate being certain; refused ones are written down."""
        if not fates:
            return
        refused = [(line, fate) for line, fate in zip(claim.lines, fates, strict=False) if not fate.delivered]
        if refused:
            self._log.loss("rejected", f"the server refused {len(refused)} events: {refused[0][1].message}")
        entries = [_rejection(line, fate) for line, fate in refused]
        settled = Settled(len(fates) - len(refused), {"rejected": len(refused)}, entries)
        claim.acknowledge(len(fates), settled)


def stored_state(directory: Directory) -> _retry.State | None:
    """Return the back-off that stands beside a spool; None if there is none, or nobody can tell."""
    try:
        directory.check_place()
        return _retry.from_json(json.loads(files.read(directory.where(RETRY), limit=65536)))
    except (OSError, ValueError, RecursionError):
        return None


def _next_batch(lines: Iterable[bytes], erased: Collection[bytes]) -> tuple[Kind, list[bytes]]:
    """Return the longest run of leading lines that can be treated alike, within the bounds of a request."""
    run: list[bytes] = []
    size = 0
    kind: Kind = "event"
    for line in lines:
        this = _kind(line, erased)
        size += len(line)
        if run and (this != kind or this == "identify" or len(run) == _batch.MAX_EVENTS or size > _batch.MAX_BYTES):
            break
        kind = this
        run.append(line)
    return kind, run


def _kind(line: bytes, erased: Collection[bytes]) -> Kind:
    value = parse_line(line)
    if value is None:
        return "corrupt"
    if str(value.get("client_id")).encode("utf-8", "replace") in erased:
        return "purged"
    return "event" if "event_name" in value else "identify"


def _rejection(line: bytes, fate: _batch.Fate) -> dict[str, Any]:
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return {"event": parse_line(line), "reason": "rejected", "message": fate.message, "time": moment}


def _draw() -> float:
    """Return a number from 0 to 1, the latter excluded. Not out of `random`, whose sequence is the host's."""
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)
