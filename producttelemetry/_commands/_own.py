"""`collector` and `demo`: commands for developers, of the package's own program only."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from .._errors import TelemetryError
from ._run import DONE, FAILED, guarded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_to(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the two commands."""
    collector = commands.add_parser(
        "collector",
        help="run a local server that speaks the protocol",
        description="A real server for development and tests. It listens until it is interrupted.",
    )
    collector.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    collector.add_argument("--port", type=int, default=8765, help="0 takes a free one (default: %(default)s)")
    collector.add_argument("--store", metavar="FILE", help="SQLite file to keep events in (default: in memory)")
    collector.set_defaults(run=functools.partial(_run, _collector))

    demo = commands.add_parser(
        "demo",
        help="see that nothing is lost",
        description="Tracks from three processes with no server, kills one with SIGKILL, starts the collector, drains "
        "the queue, and compares. Needs no account, no network, and leaves nothing behind.",
    )
    demo.set_defaults(run=functools.partial(_run, _demo))


def _run(command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    return guarded("producttelemetry", functools.partial(command, arguments))


def _collector(arguments: argparse.Namespace) -> int:
    try:
        from ..collector import CollectorError, serve  # noqa: PLC0415  # an extra that need not be installed
    except ImportError as error:
        raise TelemetryError(str(error)) from error

    def announce(url: str) -> None:
        print(f"Collector on {url}  (set OPS_API_URL={url}; end with Ctrl-C)", flush=True)

    try:
        serve(host=arguments.host, port=arguments.port, store=arguments.store, ready=announce)
    except CollectorError as error:
        raise TelemetryError(str(error)) from error
    return DONE


def _demo(_: argparse.Namespace) -> int:
    try:
        importlib.import_module("..collector", __package__)  # an extra that need not be installed
    except ImportError as error:
        raise TelemetryError(str(error)) from error
    from .. import _demo  # noqa: PLC0415  # httpx, for this command only

    return DONE if _demo.run() else FAILED
