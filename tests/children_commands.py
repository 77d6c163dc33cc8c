"""Programs for the tests of the commands: one that goes on tracking, one that shows a notice."""

from __future__ import annotations

import contextlib
import io
import os
import pwd
import sys
from typing import Any, NoReturn

from producttelemetry import cli
from producttelemetry.cli import first_run_notice
from tests import harness
from tests.children import make, report


def on_request(settings: dict[str, Any]) -> None:
    """Track and flush as the lines on stdin say; report each when it is done."""
    client = make(settings)
    for number, line in enumerate(sys.stdin):
        if line == "track\n":
            client.track(f"{settings['name']}.{number}")
        else:
            client.flush()
        report(f"{client.enabled}")


def left_behind(settings: dict[str, Any]) -> None:
    """Track and end; a detached sender takes over."""
    client = make(settings)
    for number in range(settings["events"]):
        client.track("before.off", {"number": number})
    report(client.stats().pending)


def notice(settings: dict[str, Any]) -> None:
    """Show the notice; report whether it was shown, and whether that imported what a command needs."""
    shown = first_run_notice("This tool reports its use.", settings["project_slug"])
    report(f"{shown} {'argparse' in sys.modules}")


def as_nobody(settings: dict[str, Any]) -> None:
    """Run a command as another user, who may not touch what is there."""
    home, os.environ["OPS_WRITE_KEY"], os.environ["OPS_API_URL"] = os.environ["HOME"], "key", harness.NO_SERVER
    os.makedirs(settings["elsewhere"], exist_ok=True)
    os.environ["HOME"] = settings["elsewhere"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for command in ("status", "show", "check", "on", "off", "flush", "forget"):
            cli.main([command])  # whatever it imports, where the other user may perhaps not read
    os.environ["HOME"] = home
    os.setresuid(*[harness.NOBODY] * 3)
    sys.exit(cli.main(settings["argv"]))


def without_home(settings: dict[str, Any]) -> None:
    """Run a command as a user whom the system does not know a home directory of."""

    def nobody(_: int) -> NoReturn:
        raise KeyError("no such user")

    pwd.getpwuid = nobody  # what a container with an unknown uid gets
    del os.environ["HOME"]
    sys.exit(cli.main(settings["argv"]))


if __name__ == "__main__":
    harness.main(on_request, left_behind, notice, as_nobody, without_home)
