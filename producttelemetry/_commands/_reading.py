"""`status`, `show`, `check`: the commands that change nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from . import _facts, _report
from . import _screen as screen
from ._run import DONE, FAILED

if TYPE_CHECKING:
    from ._run import Context


def status(context: Context) -> int:
    """Show whether telemetry is on, and what is waiting."""
    look = _facts.status(context.project())
    if context.as_json:
        screen.say_json(look.facts)
    else:
        for line in _report.status(context, look):
            screen.say(line)
    for note in look.notes:
        screen.complain(f"{context.prog} status", note)
    return DONE


def show(context: Context) -> int:
    """Print every event that would be sent."""
    number = 0
    for _, line in _facts.pending_lines(context.project()):
        screen.say_line(line)
        number += 1
    if number == 0 and sys.stdout is not None and sys.stdout.isatty() and not context.as_json:
        screen.say("Nothing is waiting.")
    return DONE


def check(context: Context) -> int:
    """Verify every queue."""
    found = _facts.findings(context.project())
    sound = not any(destination["problems"] for destination in found)
    if context.as_json:
        screen.say_json({"sound": sound, "destinations": found})
    else:
        for line in _report.findings(found):
            screen.say(line)
    return DONE if sound else FAILED
