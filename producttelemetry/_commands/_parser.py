"""What may be typed: the parsers of the program and of a host's tool, and which function runs a command."""

from __future__ import annotations

import argparse
import functools
import importlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from .. import _config
from .._errors import ConfigurationError
from .._version import __version__
from ._run import Context, guarded

if TYPE_CHECKING:
    from collections.abc import Callable


class Host(NamedTuple):
    """Who mounts the commands.

    Attributes:
        prog: the name under which the commands are called.
        project_slug: None lets the user choose.
        write_key: None leaves it to `OPS_WRITE_KEY`.
        api_url: None leaves it to `OPS_API_URL`.
    """

    prog: str
    project_slug: str | None
    write_key: str | None
    api_url: str | None

    def __repr__(self) -> str:
        """Leave out what must not appear in a log or a crash report."""
        return f"Host(prog={self.prog!r}, project_slug={self.project_slug!r})"

    def check(self) -> Host:
        """Raise `ValueError` or `TypeError` if one of the host's values is wrong; return self."""
        if self.project_slug is not None:
            _config.check_slug(self.project_slug)
        if self.write_key is not None:
            _config.check_key(self.write_key, "write_key")
        if self.api_url is not None:
            _config.check_url(self.api_url, "api_url")
        return self


class _Command(NamedTuple):
    name: str
    module: str
    help: str
    description: str


_COMMANDS: Final = (
    _Command(
        "status",
        "_reading",
        "whether telemetry is on, and what is waiting",
        "Shows whether telemetry is on and which source decided that, where everything lies, and for each server what "
        "is waiting, was delivered or dropped, and when it is tried again. The exit status is 0 whatever it shows.",
    ),
    _Command(
        "show",
        "_reading",
        "the waiting events, exactly as they would be sent",
        "Prints every event that waits to be sent, oldest first, one JSON object per line (with --json the same): "
        "show | jq .event_name",
    ),
    _Command(
        "check",
        "_reading",
        "whether the queue on disk is sound",
        "Verifies the files of every queue and says what each finding means. Changes nothing. The exit status is 1 if "
        "something is broken.",
    ),
    _Command(
        "flush",
        "_sending",
        "send what is waiting, now",
        "Sends everything that waits for this tool's server and write key (else OPS_API_URL and OPS_WRITE_KEY), "
        "however long that takes, and shows how far it has come. A pause that the server asked for is respected. The "
        "exit status is 1 if something could not be sent; it stays queued. What a running program still holds is sent "
        "by that program, and does not count as a failure.",
    ),
    _Command(
        "on",
        "_choosing",
        "turn telemetry on",
        "Remembers the choice for this project. Says so if an environment variable still turns it off. Deletes what "
        "was queued before it was turned off. Programs that run now and have stopped stay off until they are started "
        "again.",
    ),
    _Command(
        "off",
        "_choosing",
        "turn telemetry off and delete what is waiting",
        "Remembers the choice for this project, stops programs that run now, and deletes every event that waits to be "
        "sent, for every server. None of them is ever sent, also if telemetry is turned on again.",
    ),
    _Command(
        "forget",
        "_sending",
        "have everything erased, here and at the server",
        "Asks this tool's server, with its write key (else OPS_API_URL and OPS_WRITE_KEY), to erase what it has of "
        "this installation, and deletes its events and its id here. Works when telemetry is off, too. If the server "
        "does not agree within half a minute nothing changes.",
    ),
)


class _Parser(argparse.ArgumentParser):
    """Answers a wrong argument with one line, as everything that goes wrong here."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where to read what would be right."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def program(host: Host, *, own: bool) -> argparse.ArgumentParser:
    """Return the parser of a program that has these commands and no others.

    Args:
        host: who mounts them.
        own: it is the package's own program, with the commands for developers.
    """
    host_description = "See, change and erase what this tool reports about its use."
    description = "Durable, offline-first product telemetry." if own else host_description
    parser = _Parser(prog=host.prog, description=description)
    parser.add_argument("--version", action="version", version=f"producttelemetry {__version__}")
    commands = mount(parser, host)
    if own:
        from ._own import add_to  # noqa: PLC0415  # not for hosts

        add_to(commands)
    return parser


def mount(parser: argparse.ArgumentParser, host: Host) -> argparse._SubParsersAction[Any]:
    """Add the commands to a parser; `arguments.run(arguments)` runs the one that was given."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        added = commands.add_parser(command.name, help=command.help, description=command.description)
        added.add_argument("--json", dest="telemetry_json", action="store_true", help="print JSON, for programs")
        if host.project_slug is None:
            added.add_argument(
                "--project",
                dest="telemetry_project",
                metavar="SLUG",
                type=_slug,
                default="default",
                help="the project_slug of the tool that it is about (default: %(default)s)",
            )
        added.set_defaults(run=functools.partial(_run, command, host))
    return commands


def _slug(text: str) -> str:
    try:
        return _config.check_slug(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(command: _Command, host: Host, arguments: argparse.Namespace) -> int:
    slug = host.project_slug or arguments.telemetry_project
    context = Context(host.prog, slug, host.write_key, host.api_url, arguments.telemetry_json)

    def run() -> int:
        body: Callable[[Context], int] = getattr(
            importlib.import_module(f".{command.module}", __package__), command.name
        )
        return body(context)

    return guarded(f"{host.prog} {command.name}", run)
