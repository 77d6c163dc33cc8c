"""The command `producttelemetry`, also as `python -m producttelemetry`.

Exit status: 0 done, 1 failed, 2 wrong usage. What goes wrong is one line on stderr, never a traceback; a closed pipe or
Ctrl-C ends a command quietly.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

from ._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2


def main(argv: Sequence[str] | None = None, *, prog: str = "producttelemetry") -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; those of this process, if None.
        prog: the name that help and errors show.

    Returns:
        The exit status: 0 done, 1 failed, 2 wrong usage.
    """
    try:
        arguments = _parser(prog).parse_args(argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse, after --help or a wrong argument
        return leaving.code if isinstance(leaving.code, int) else USAGE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    return status


def entry_point() -> None:
    """Run as a program."""
    sys.exit(main())


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Durable, offline-first product telemetry.")
    parser.add_argument("--version", action="version", version=f"producttelemetry {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    collector = commands.add_parser(
        "collector",
        help="run a local server that speaks the protocol",
        description="A real server for development and tests. It listens until it is interrupted.",
    )
    collector.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    collector.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    collector.add_argument("--store", metavar="FILE", help="SQLite file to keep events in (default: in memory)")
    collector.set_defaults(run=_collector)

    demo = commands.add_parser(
        "demo",
        help="see that nothing is lost",
        description="Tracks from three processes with no server, kills one with SIGKILL, starts the collector, drains "
        "the queue, and compares. Needs no account, no network, and leaves nothing behind.",
    )
    demo.set_defaults(run=_demo)
    return parser


def _collector(arguments: argparse.Namespace) -> int:
    try:
        from .collector import CollectorError, serve  # noqa: PLC0415  # an extra that need not be installed
    except ImportError as error:
        return _fail(str(error))

    def announce(url: str) -> None:
        print(f"Collector on {url}  (set OPS_API_URL={url}; end with Ctrl-C)", flush=True)

    try:
        serve(host=arguments.host, port=arguments.port, store=arguments.store, ready=announce)
    except CollectorError as error:
        return _fail(str(error))
    return DONE


def _demo(_: argparse.Namespace) -> int:
    try:
        importlib.import_module(".collector", __package__)  # an extra that need not be installed
    except ImportError as error:
        return _fail(str(error))
    from . import _demo  # noqa: PLC0415  # httpx, for this command only

    return DONE if _demo.run() else FAILED


def _fail(message: str) -> int:
    print(f"producttelemetry: {message}", file=sys.stderr)
    return FAILED
