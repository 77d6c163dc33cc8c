"""A typer command-line tool that reports which of its commands are used, and its crashes.

    python typer_cli.py add milk

`call_on_close` runs however a command ends. An exception that nobody expected is tracked, too; those by which click
ends a command (wrong usage, `Exit`) are none of them.
"""

import time

import typer

from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="todo", default_properties={"version": "1.2.0"})
app = typer.Typer()


@app.callback()
def todo(context: typer.Context) -> None:
    """Keep a list."""
    began = time.monotonic()

    def report() -> None:
        seconds = time.monotonic() - began
        telemetry.track("command.executed", {"command": context.invoked_subcommand, "seconds": seconds})

    context.call_on_close(report)


@app.command()
def add(thing: str) -> None:
    """Put something on the list."""
    typer.echo(f"added {thing}, of {100 // len(thing)} that fit")


if __name__ == "__main__":
    try:
        app()
    except Exception as error:
        telemetry.error(error)
        raise
