"""The guard around every command: a status for whatever happens, one line on stderr, no traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from .. import _config
from .._errors import TelemetryError
from . import _screen as screen

if TYPE_CHECKING:
    from collections.abc import Callable

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
#: What shells give a program that Ctrl-C ended.
INTERRUPTED: Final = 130


class WrongUsage(TelemetryError):  # noqa: N818  # a state, like `argparse`'s error
    """The command cannot be run like this; the message says what is missing."""


class Context(NamedTuple):
    """What a command is told.

    Attributes:
        prog: the name under which the commands are called, for hints.
        project_slug: whose consent, client id and queues.
        write_key: given by the host, or None.
        api_url: given by the host, or None.
        as_json: for a program, not for a person.
    """

    prog: str
    project_slug: str
    write_key: str | None
    api_url: str | None
    as_json: bool

    def __repr__(self) -> str:
        """Leave out what must not appear in a log or a crash report."""
        return f"Context(prog={self.prog!r}, project_slug={self.project_slug!r})"

    def project(self) -> _config.Paths:
        """Return where everything of the project lies."""
        return _config.paths(self.project_slug)


def guarded(prog: str, command: Callable[[], int]) -> int:
    """Run a command and return its exit status, whatever happens.

    Args:
        prog: the name that errors show.
        command: returns its status, or raises.
    """
    try:
        status = _status(command)
        if sys.stdout is not None:
            with screen.naming_output():
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        return FAILED
    except WrongUsage as error:
        screen.complain(prog, str(error))
        return USAGE
    except OSError as error:
        screen.complain(prog, screen.describe(error))
        _give_up_output()
        return FAILED
    except TelemetryError as error:
        screen.complain(prog, str(error))
        return FAILED
    return status


def _status(command: Callable[[], int]) -> int:
    try:
        return command()
    except SystemExit as leaving:  # argparse, after --help or a wrong argument
        return leaving.code if isinstance(leaving.code, int) else USAGE


def _give_up_output() -> None:
    """Let what stdout does not take go nowhere: Python would complain once more when it flushes at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError):  # no file behind it
            os.dup2(null, sys.stdout.fileno())
        os.close(null)
