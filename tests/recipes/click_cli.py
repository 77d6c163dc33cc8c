"""A click command-line tool that reports which of its commands are used, how long they take and whether they fail.

    python click_cli.py add milk

A command is told by its name, never by its arguments: those are the user's. Nothing waits for the server: at exit, the
queue is left to a process of its own, one for all commands of a loop.
"""

import time
from typing import Any

import click

from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="todo", default_properties={"version": "1.2.0"})


class Reporting(click.Group):
    """A group that tracks each command."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and track it however it ends."""
        began, outcome = time.monotonic(), "failed"
        try:
            result = super().invoke(ctx)
            outcome = "done"
            return result
        finally:
            properties = {"command": ctx.invoked_subcommand, "outcome": outcome}
            telemetry.track("command.executed", {**properties, "seconds": time.monotonic() - began})


@click.group(cls=Reporting)
def todo() -> None:
    """Keep a list."""


@todo.command()
@click.argument("thing")
def add(thing: str) -> None:
    """Put something on the list."""
    if not thing:
        raise click.BadParameter("there must be something to do")
    click.echo(f"added {thing}")


if __name__ == "__main__":
    todo()
