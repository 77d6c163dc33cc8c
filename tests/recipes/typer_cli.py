"""A typer command-line tool that reports which of its commands are used, and its crashes.

    python typer_cli.py add milk
    python typer_cli.py telemetry status

`call_on_close` runs however a command ends. An exception that nobody expected is tracked, too; those by which click
ends a command (wrong usage, `Exit`) are none of them.
"""

import time

import typer

from producttelemetry import Telemetry
from producttelemetry.cli import main

KEY, SLUG = "your-write-key", "todo"
telemetry = Telemetry(KEY, project_slug=SLUG, default_properties={"version": "1.2.0"})
app = typer.Typer()


@app.callback()
def todo(context: typer.Context) -> None:
    """Keep a list."""
    began = time.monotonic()

    def report() -> None:
        seconds = time.monotonic() - began
        telemetry.track("command.executed", {"command": context.invoked_subcommand, "seconds": seconds})

    # Who looks at telemetry adds nothing to it, and after `forget` an event would begin a new id.
    if context.invoked_subcommand != "telemetry":
        context.call_on_close(report)


@app.command()
def add(thing: str) -> None:
    """Put something on the list."""
    typer.echo(f"added {thing}, of {100 // len(thing)} that fit")


@app.command(
    "telemetry",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def telemetry_command(context: typer.Context) -> None:
    """See, change and erase what this tool reports about its use."""
    raise typer.Exit(main(context.args, project_slug=SLUG, write_key=KEY, prog=context.command_path))


if __name__ == "__main__":
    try:
        app()
    except Exception as error:
        telemetry.error(error)
        raise
