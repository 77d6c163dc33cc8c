"""The ASGI layer that keeps the journal and carries out faults, between the guard and the routes.

For each protocol request: take a fault, open a journal entry, then either answer in the routes' place or let them work
and tamper with how their answer travels. Whether a *batch* is refused depends on its content, so that question is left
to the ingest route, which finds the fault under `request.state.fault`.

Waiting is done on the client's channel, not on a bare clock: a client that gives up ends the wait, so no request
outlives its connection and the server can stop at once.

Dropping means closing the TCP connection. ASGI has no word for it, and the near misses all differ on the wire: raising
gets the client a 500 page, stopping in the middle of a body looks like a broken answer instead of none. So the server
puts the connection's transport into the scope's `state` (see `server`), and this layer aborts it: buffered output is
discarded, and the server finds the client gone and does not answer.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .body import parse_batch, read_body
from .faults import Fault, Faults
from .guard import PROTOCOL_PREFIX
from .journal import Entry, Journal

#: Where the server leaves the connection's `asyncio.Transport` in `scope["state"]`.
TRANSPORT: Final = "producttelemetry.transport"

#: Seconds between two bytes of a trickled body.
TRICKLE_SECONDS: Final = 1.0

#: HTTP allows these no body; the server below refuses to send one.
_BODILESS: Final = frozenset({204, 304})

_PORTAL: Final = """<!DOCTYPE html><html lang="en"><head><title>Welcome to the guest network</title></head>
<body><h1>Guest network</h1><form method="post"><p>Accept the terms of use to go online.</p>
<button>Accept</button></form></body></html>
"""


class Misbehave:
    """ASGI middleware: the journal and the faults.

    Args:
        app: the routes.
        faults: what to do wrong.
        journal: where each protocol request is noted.
    """

    def __init__(self, app: ASGIApp, faults: Faults, journal: Journal) -> None:
        self._app = app
        self._faults = faults
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, truly or not."""
        if scope["type"] != "http" or not scope["path"].startswith(PROTOCOL_PREFIX):
            await self._app(scope, receive, send)
            return
        fault = self._faults.take()
        entry = self._journal.open(scope["method"], scope["path"], _idempotency_key(scope))
        scope.setdefault("state", {}).update(fault=fault, entry=entry)
        answer = _Answer(fault, entry, scope, receive, send)
        if fault.drop == "before":
            await answer.drop()
        elif fault.injected_status is None:
            await self._app(scope, receive, answer)
        else:
            entry.events = await _count_events(scope, receive)
            await _injected(fault, fault.injected_status)(scope, receive, answer)


@dataclass(slots=True)
class _Answer:
    """The `send` channel as a fault wants it. Once `dropped`, whatever is sent goes nowhere."""

    fault: Fault
    entry: Entry
    scope: Scope
    receive: Receive
    send: Send
    dropped: bool = False

    async def __call__(self, message: Message) -> None:
        if self.dropped:
            return
        if message["type"] == "http.response.start":
            await self._start(message)
        elif self.fault.drop == "during":
            body = message.get("body", b"")
            await self.send({**message, "body": body[: len(body) // 2], "more_body": True})
            await self._abort()
        elif self.fault.trickle:
            await self._trickle(message)
        else:
            await self.send(message)

    async def drop(self) -> None:
        """Close the connection without an answer, and return when the server knows it."""
        self.dropped = not await _still_there(self.receive, self.fault.latency_seconds)
        if not self.dropped:
            await self._abort()

    async def _abort(self) -> None:
        self.dropped = True
        transport = self.scope["state"].get(TRANSPORT)
        if transport is None:
            raise RuntimeError("only producttelemetry.collector.serve can drop connections")
        transport.abort()
        # The server would answer a handler that returns without an answer, unless it has seen the connection end.
        await _still_there(self.receive, None)

    async def _start(self, message: Message) -> None:
        if self.fault.drop == "after":
            await self.drop()
        elif await _still_there(self.receive, self.fault.latency_seconds):
            self.entry.status = message["status"]
            await self.send(message)
        else:
            self.dropped = True

    async def _trickle(self, message: Message) -> None:
        body = message.get("body", b"")
        for position in range(len(body)):
            if position and not await _still_there(self.receive, TRICKLE_SECONDS):
                self.dropped = True
                return
            await self.send({**message, "body": body[position : position + 1], "more_body": True})
        await self.send({**message, "body": b""})


async def _still_there(receive: Receive, seconds: float | None) -> bool:
    """Wait that long (`None`: for ever), or until the client leaves; tell whether it stayed."""
    if seconds == 0:
        return True
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return True
    return False


async def _count_events(scope: Scope, receive: Receive) -> int | None:
    try:
        return len(parse_batch(await read_body(scope, receive))[0])
    except (HTTPException, ClientDisconnect):
        return None


def _injected(fault: Fault, status: int) -> Response:
    fields = {"Retry-After": fault.retry_after, "Location": fault.redirect}
    headers = {name: str(value) for name, value in fields.items() if value is not None}
    if fault.redirect is not None or status in _BODILESS:
        return Response(None, status, headers)
    if fault.portal:
        return Response(_PORTAL, status, headers, media_type="text/html")
    # Built-in bodies of refusals only: a JSON object under a 2xx would be an acknowledgement, and it would be a lie.
    if fault.body is None and status >= 400:  # noqa: PLR2004  # where refusals begin
        return JSONResponse({"error": "injected"}, status, headers, media_type=fault.content_type)
    return Response(fault.body, status, headers, media_type=fault.content_type or "text/plain")


def _idempotency_key(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"idempotency-key"), None)
