"""Spools in which so many events are pending: filled once through `track()` of one process, and copied for each use.

One with none has been used as well: it has its client id and its directories, like the others.
"""

from __future__ import annotations

import glob
import os
import shutil
from typing import TYPE_CHECKING, Any, Final

from ._queues import ours
from ._sdks import SMALL
from ._servers import answering
from ._workers import in_child

if TYPE_CHECKING:
    from ._harness import Settings

_V1: Final = os.path.join(".config", "producttelemetry", "default", "spool", "v1")


def home_with(settings: Settings, name: str, pending: int, url: str) -> str:
    """Return a new home directory in which so many events wait for a server.

    Args:
        settings: where.
        name: of the directory; not used before.
        pending: events of the size of `SMALL`.
        url: the server that they are meant for.
    """
    template = os.path.join(settings.workspace, f"filled-{pending}")
    if not os.path.exists(template):
        if pending:
            in_child(lambda: _fill(pending), template)
        else:
            _use(template)
    home = os.path.join(settings.workspace, name)
    shutil.copytree(template, home)
    # Where a queue lies depends on the server, and nothing else does.
    destination = in_child(lambda: _spool_dir(url), home)
    for filled in glob.glob(os.path.join(home, _V1, "*")):
        if filled != destination:
            os.rename(filled, destination)
    return home


def _fill(pending: int) -> None:
    track = ours(SMALL)()
    for _ in range(pending):
        track()


def _use(template: str) -> None:
    """Have a client in it, whose one event is delivered."""

    def deliver() -> None:
        client = _client(server.url)
        client.track("command.executed", SMALL)
        client.flush()

    with answering() as server:
        in_child(deliver, template)


def _spool_dir(url: str) -> str:
    return str(_client(url).stats().spool_dir)


def _client(url: str) -> Any:
    from producttelemetry import Telemetry  # noqa: PLC0415  # not in the parent, see `_workers`

    return Telemetry("key", url)
