"""The commands: the program `producttelemetry`, and the same commands inside a tool of yours.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. What goes wrong is one line on stderr, never a traceback;
a closed pipe or Ctrl-C ends a command quietly. Importing this module is cheap: a command imports what it needs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

PROG: Final = "producttelemetry"
"""The package's own program."""
HELP: Final = "see, change and erase what this tool reports about its use"
"""The line for the commands in a tool's own help."""


def main(
    argv: Sequence[str] | None = None,
    *,
    project_slug: str | None = None,
    write_key: str | None = None,
    api_url: str | None = None,
    prog: str = PROG,
) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; those of this process, if None.
        project_slug: your client's; `--project` is not offered then. If None, users choose, and get `default`.
        write_key: your client's; else `OPS_WRITE_KEY`. Only `flush` and `forget` need it.
        api_url: your client's; else `OPS_API_URL`.
        prog: the name that help and errors show, for example `"mytool telemetry"`.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Raises:
        ValueError, TypeError: an argument of yours is wrong. Whatever your user types is answered by a status.
    """
    from ._commands._parser import Host, program  # noqa: PLC0415  # hosts import this module for the notice
    from ._commands._run import guarded  # noqa: PLC0415  # the same

    parser = program(Host(prog, project_slug, write_key, api_url).check(), own=project_slug is None and prog == PROG)

    def run() -> int:
        arguments = parser.parse_args(argv)
        status: int = arguments.run(arguments)
        return status

    return guarded(prog, run)


def add_to(  # noqa: PLR0913  # what a host may have to say
    subparsers: argparse._SubParsersAction[Any],
    *,
    project_slug: str,
    write_key: str | None = None,
    api_url: str | None = None,
    name: str = "telemetry",
    help: str = HELP,  # noqa: A002  # as argparse calls it
) -> argparse.ArgumentParser:
    """Add the commands to a tool's own argparse parser, below one name: `mytool telemetry status`.

    Afterwards `arguments.run(arguments)` runs the command that was given and returns its exit status, and never raises.
    The namespace gets `run` and names that begin with `telemetry_`, and no others. A tool that calls its functions by
    another name says so: `add_to(...).set_defaults(func=lambda arguments: arguments.run(arguments))`.

    Args:
        subparsers: what `ArgumentParser.add_subparsers()` returned.
        project_slug: your client's.
        write_key: your client's; else `OPS_WRITE_KEY`. Only `flush` and `forget` need it.
        api_url: your client's; else `OPS_API_URL`.
        name: the command that the others are below.
        help: the line that your tool's help shows for it.

    Returns:
        The parser that was added, as `add_parser()` does.

    Raises:
        ValueError, TypeError: an argument is wrong.
    """
    from ._commands._parser import Host, mount  # noqa: PLC0415  # as in `main`

    Host(name, project_slug, write_key, api_url).check()
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=help, description=f"{help[:1].upper()}{help[1:]}."
    )
    mount(parser, Host(parser.prog, project_slug, write_key, api_url))
    return parser


def first_run_notice(text: str, project_slug: str) -> bool:
    """Tell people once, before anything is reported, that this tool reports its use and how to turn that off.

    Prints to stderr, once per project and user: only on a terminal, not in continuous integration, not where telemetry
    is off or only printed anyway. That it was shown is remembered in the config directory, in a file of its own; where
    that cannot be written nothing is shown, since it would be shown each time. Never raises.

    Args:
        text: what to print; a newline is added.
        project_slug: your client's.

    Returns:
        Whether the text was printed now.
    """
    try:
        if sys.stderr is None or not sys.stderr.isatty():
            return False
        from ._commands._notice import show_once  # noqa: PLC0415  # most runs have ended above, or need no more than that

        return show_once(text, project_slug)
    except Exception:  # noqa: BLE001  # the host's start must not depend on it, whatever its stderr is
        return False


def entry_point() -> None:
    """Run as a program."""
    try:
        status = main()
    except KeyboardInterrupt:  # before there is a guard
        status = 130
    sys.exit(status)
