"""The recipe of an asyncio server, with a watch on its event loop: `uvicorn tests.children_asyncio:app`."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from asyncio_server import (  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  # in `tests/recipes`
    app as recipe,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

#: Seconds between two looks whether the loop is there, and of one window of them.
_LOOK = 0.001
WINDOW = 0.1

#: The longest delay of the loop in each window, in seconds; a window ends with the first look after its time.
_longest: list[float] = []
_watches: list[asyncio.Task[None]] = []


async def _watch() -> None:
    while True:
        until, longest = time.perf_counter() + WINDOW, 0.0
        while (before := time.perf_counter()) < until:
            await asyncio.sleep(_LOOK)
            longest = max(longest, time.perf_counter() - before - _LOOK)
        _longest.append(longest)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the recipe; begin to watch with the first request, and tell about it under `/longest`."""
    if scope["type"] == "http" and not _watches:
        _watches.append(asyncio.get_running_loop().create_task(_watch()))
    if scope["type"] == "http" and scope["path"] == "/longest":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(_longest).encode()})
    else:
        await recipe(scope, receive, send)
