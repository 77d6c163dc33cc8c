"""A click command-line tool that reports which of its commands are used, how long they take and whether they fail.

    python click_cli.py add milk
    python click_cli.py telemetry status

A command is told by its name, never by its arguments: those are the user's. Nothing waits for the server: at exit, the
queue is left to a process of its own, one for all commands of a loop.
"""

import time
from typing import Any

import click

from producttelemetry import Telemetry
from producttelemetry.cli import main

KEY, SLUG = "your-write-key", "todo"
telemetry = Telemetry(KEY, project_slug=SLUG, default_properties={"version": "1.2.0"})


class Reporting(click.Group):
    """A group that tracks each command."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and track it however it ends."""
        began, outcome = time.monotonic(), "failed"
        try:
            result = super().invoke(ctx)
            outcome = "done"
        except click.exceptions.Exit as leaving:
            outcome = "failed" if leaving.exit_code else "done"
            raise
        finally:
            # Who looks at telemetry adds nothing to it, and after `forget` an event would begin a new id.
            if ctx.invoked_subcommand != "telemetry":
                properties = {"command": ctx.invoked_subcommand, "outcome": outcome}
                telemetry.track("command.executed", {**properties, "seconds": time.monotonic() - began})
        return result


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


@todo.command("telemetry", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def telemetry_command(context: click.Context, arguments: tuple[str, ...]) -> None:
    """See, change and erase what this tool reports about its use."""
    context.exit(main(arguments, project_slug=SLUG, write_key=KEY, prog=context.command_path))


if __name__ == "__main__":
    todo()
