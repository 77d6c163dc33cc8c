"""`on` and `off`: write the choice down, then make it true of what is there already.

The order of `off`: the choice is on stable storage first, so that whoever looks from now on stops; then everything that
is queued goes; then the command waits for a sender that is in the middle of a request, so that nothing leaves the
machine once it has said so.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from .. import _config, _identity
from .. import _files as files
from .._consent import resolve
from .._errors import TelemetryError
from .._queues import purge, senders_pause
from . import _facts, _report
from . import _screen as screen
from ._run import DONE, FAILED

if TYPE_CHECKING:
    from .._config import ConfigFile, Paths
    from .._consent import Consent
    from ._run import Context

#: Longest wait for a sender that is in the middle of a request, in seconds.
_PATIENCE: Final = 5.0
#: Longest wait for another command that writes a choice, in seconds.
_LOCK_WAIT: Final = 1.0
#: Levels of a path that may be links: `config.json`, the project's directory and the one of all projects.
_LINKS: Final = 3
_SILENT: Final = _config.Environment(None, None, "", "")


class _Written(NamedTuple):
    path: str
    replaced: bool


def off(context: Context) -> int:
    """Turn telemetry off for good and delete what is queued."""
    project = context.project()
    try:
        written = [_write(project, project.config_files[0], choice=False)]
    except OSError as error:
        hint = "the choice is not stored. DO_NOT_TRACK=1 in the environment turns telemetry off, too"
        raise TelemetryError(f"{screen.describe(error)}; {hint}") from error
    try:
        deleted = purge(project)
    except OSError as error:
        stored = "the choice is stored and nothing will be sent, but what is queued could not be deleted: "
        raise TelemetryError(stored + screen.describe(error)) from error
    sending = not senders_pause(project, time.monotonic() + _PATIENCE)
    consent = _facts.consent(project)
    if context.as_json:
        choice = {"telemetry": False, "config": written[0].path, "deleted": deleted, "sending": sending}
        screen.say_json({**choice, "consent": _facts.told(consent)})
        return DONE
    screen.tell(f"Telemetry is off for {context.project_slug!r}.", "good")
    screen.say(f"{screen.counted(deleted, 'waiting event')} deleted." if deleted else "Nothing was waiting to be sent.")
    _tell_of_files(written)
    if sending:
        screen.say("A request that was already on its way may still end.")
    return DONE


def on(context: Context) -> int:
    """Turn telemetry on, as far as this project's files decide."""
    project = context.project()
    first, *others = project.config_files
    if _saying_no(project):  # what is queued is older than that: `off` may have been ended before it was done
        purge(project)
    written = [_write(project, first, choice=True)]
    written += [_write(project, file.path, choice=True) for file in _saying_no(project) if file.path in others]
    consent = _facts.consent(project)
    if context.as_json:
        choice = {"telemetry": True, "config": first}
        screen.say_json({**choice, "consent": _facts.told(consent)})
    else:
        _tell_of_consent(context, consent)
        _tell_of_files(written)
    return FAILED if consent.source == "config.json" else DONE


def _tell_of_consent(context: Context, consent: Consent) -> None:
    if consent.stores:
        screen.tell(f"Telemetry is on for {context.project_slug!r}.", "good")
        screen.tell("A program that runs now, and has stopped reporting, begins again when it is started again.")
        return
    screen.say(f"The choice for {context.project_slug!r} is stored: on.")
    if consent.log_only:
        text = "But OPS_TELEMETRY=log is set here: events are printed, and neither stored nor sent."
    elif consent.source == "config.json":
        text = f"But it is off all the same: {_report.why(consent)}."
    else:
        text = f"But the environment variable {consent.source} is set here, and turns it off all the same."
    screen.tell(text, "warning")


def _tell_of_files(written: list[_Written]) -> None:
    if _config.test_dir() is not None:
        screen.tell("A test runs (OPS_TEST_DIR is set): this is its choice, and your own has not changed.", "warning")
    for file in written:
        screen.say(f"Written to {screen.short_path(screen.harmless(file.path))}")
        if file.replaced:
            screen.say("What it held before could not be understood, and was replaced.")


def _saying_no(project: Paths) -> list[ConfigFile]:
    """Return the files that turn telemetry off, or that nobody can understand."""
    return [file for file in _config.read_config_files(project) if not resolve(False, _SILENT, (file,)).enabled]


def _write(project: Paths, path: str, *, choice: bool) -> _Written:
    """Write a choice into a `config.json`, at once, and keep what else it holds.

    Raises:
        OSError: it cannot be written, and stays as it was.
    """
    if project.config_dir == _config.NOWHERE:
        raise TelemetryError("there is no home directory to store the choice in; DO_NOT_TRACK=1 turns telemetry off")
    _identity.make_directory(project)
    with closing(_identity.lock(project)) as lock:
        lock.acquire(_LOCK_WAIT)
        before = next((file for file in _config.read_config_files(project) if file.path == path), None)
        understood = before is None or resolve(False, _SILENT, (before,)).problem is None
        known = json.loads(before.content) if before is not None and before.content and understood else {}
        content = json.dumps({**known, "telemetry": choice}, indent=2) + "\n"
        # A link is followed, for users keep such files elsewhere; by root not to another owner's.
        files.check_links(path, _LINKS)
        files.replace(os.path.realpath(path), content.encode(), durable=True)
    return _Written(path, replaced=not understood)
