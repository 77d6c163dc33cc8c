"""`flush` and `forget`: the commands that talk to the server, by the loop and the erasure that all processes use."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from .. import _config, _options
from .._detach import Task
from .._detached import sender
from .._erasure import Erasures
from .._errors import TelemetryError
from .._queues import LOCK_WAIT
from .._sender import stored_state
from .._spool import Directory, Survey
from .._transport import Transport
from . import _facts, _progress, _report
from . import _screen as screen
from ._run import DONE, FAILED, WrongUsage

if TYPE_CHECKING:
    from .._config import Paths
    from .._sender import Drained
    from ._run import Context

#: Seconds that an erasure may take.
ERASURE_TIME: Final = 30.0


def _server(context: Context) -> tuple[str, str]:
    """Return (base of all requests, write key)."""
    given = {"write_key": context.write_key, "api_url": context.api_url}
    key, base, problem = _options.destination(given, _config.environment())
    if problem is not None:
        raise WrongUsage(problem)
    if key is None:
        raise WrongUsage(
            "set OPS_WRITE_KEY to the write key of the project (and OPS_API_URL, if it has a server of its own)"
        )
    return base, key


# --- flush ------------------------------------------------------------------------------------------------------------


def flush(context: Context) -> int:
    """Send everything that waits for one server and key."""
    base, key = _server(context)
    project = context.project()
    consent = _facts.consent(project)
    if not consent.sends:
        raise TelemetryError(f"telemetry {_report.why_unsent(consent)}: nothing was sent")
    path = project.destination(base, key)
    with closing(Directory(path)) as directory:
        try:
            before = directory.survey()
        except (FileNotFoundError, NotADirectoryError):
            return _tell_of_nothing(context, project, base)
        ended = _drain(context, Task(key, base, *project, path), directory, before.pending)
        after = directory.survey()
        reason = _reason(ended, directory)
    return _tell(context, base, before, after, reason)


def _drain(context: Context, task: Task, directory: Directory, pending: int) -> Drained:
    with directory.lock:  # what dead writers left is ready then, also for another sender that we wait for
        if directory.acquire(LOCK_WAIT):
            directory.recover_orphans(directory.segments())
    with _progress.shown(directory, pending, quiet=context.as_json):
        return sender(task).drain(explicit=True)


def _reason(ended: Drained, directory: Directory) -> str | None:
    """Return why not everything was sent, for people; None if it was."""
    state = stored_state(directory)
    said = (state and state.last_error) or "no reason is known"
    if ended == "failed":
        hint = "; check the write key and the URL" if said.startswith("4") else ""
        return f"the server could not be reached or does not take the events: {said}{hint}"
    if ended == "waiting":
        until = datetime.fromtimestamp(state.not_before if state else time.time(), UTC)
        return f"the server asked to be tried again {screen.relative(until, datetime.now(UTC))}: {said}"
    return {
        "empty": None,
        "busy": "another process is sending and does not go on",
        "stopped": "telemetry was turned off, or the events were deleted, meanwhile",
        "late": "some of the events cannot be read",
    }[ended]


def _tell(context: Context, base: str, before: Survey, after: Survey, reason: str | None) -> int:
    delivered = after.counts.delivered - before.counts.delivered
    dropped = {name: number - before.counts.dropped.get(name, 0) for name, number in after.counts.dropped.items()}
    if context.as_json:
        _say_result(base, delivered, dropped, after.pending, reason)
    else:
        lost = ", ".join(f"{number:,} {name}" for name, number in dropped.items() if number > 0)
        screen.tell(f"{screen.counted(delivered)} delivered{f', dropped: {lost}' if lost else ''}.")
        if after.pending and reason is None:
            screen.tell(f"{screen.counted(after.pending)} still in the hands of running programs, which send them.")
    if reason is None:
        return DONE
    screen.complain(f"{context.prog} flush", f"{screen.counted(after.pending)} still waiting: {reason}")
    return FAILED


def _tell_of_nothing(context: Context, project: Paths, base: str) -> int:
    if context.as_json:
        _say_result(base, 0, {}, 0, None)
        return DONE
    screen.tell(f"Nothing is waiting for {_config.without_password(base)} and this write key.")
    others = sum(each["pending"] or 0 for each in _facts.status(project).facts["destinations"])
    if others:
        screen.tell(f"{screen.counted(others)} waiting for another server or key; `{context.prog} status` lists them.")
    return DONE


def _say_result(base: str, delivered: int, dropped: dict[str, int], pending: int, error: str | None) -> None:
    url = _config.without_password(base)
    result = {"api_url": url, "delivered": delivered, "dropped": dropped, "pending": pending, "error": error}
    screen.say_json(result)


# --- forget -----------------------------------------------------------------------------------------------------------


def forget(context: Context) -> int:
    """Have this installation erased, there and here."""
    base, key = _server(context)
    environment = _config.environment()
    if environment.captured:
        raise TelemetryError(f"telemetry is {_report.CAPTURED}: nothing was erased")
    project = context.project()
    url = _config.without_password(base)
    erasures = Erasures(project, project.destination(base, key))
    answer = erasures.request((), lambda: Transport(base, key, test_dir=environment.test_dir), ERASURE_TIME)
    if answer.failed is not None:
        raise answer.failed
    error = None if answer.done else f"nothing was erased, and nothing has changed: {answer.said or 'it took too long'}"
    if context.as_json:
        screen.say_json({"api_url": url, "erased": answer.done, "client_ids": answer.asked, "error": error})
    elif answer.done and answer.asked:
        screen.tell("This installation is forgotten.", "good")
        screen.tell(f"{url} has agreed to erase {' and '.join(answer.asked)}.")
        screen.tell("Its events and its id were deleted here. The next event, if there is one, gets a new id.")
    elif answer.done:
        screen.tell("Nothing to forget: this installation has no id and no events.")
    if error is not None:
        screen.complain(f"{context.prog} forget", error)
        return FAILED
    return DONE
