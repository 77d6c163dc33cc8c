"""The routes for people and tests: what arrived, and what shall go wrong.

| route | |
|---|---|
| `GET /` | a page for people |
| `GET /events?name=&type=&client_id=&after=&limit=` | `{"events": [{"rowid", "received_at", "event"}]}` as they came |
| `GET /rejected?after=&limit=` | the same, with `message` |
| `GET /counts` | the counters of the store, `stored`, and `requests` |
| `GET /requests` | `{"requests": […]}`: the last 1000 protocol requests |
| `GET`, `PUT`, `DELETE /faults` | the fault in force or `null`; put one in force; take it back |
| `POST /reset` | forget events, requests and faults |
| `GET /health` | `{"status": "ok"}` |

To follow the store, ask again with `after` set to the last `rowid` you have seen.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from .body import parse_object, read_body
from .faults import Fault, Faults
from .journal import Journal
from .page import HEADERS, render
from .records import Query
from .store import Store

#: Rows of one answer, unless asked for otherwise, and at most.
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 10_000

#: The largest integer SQLite compares a rowid with.
_MAX_ROWID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Control:
    """The endpoints. Those that touch the store are plain functions: Starlette runs them on worker threads.

    Args:
        store: the events.
        faults: what shall go wrong.
        journal: the requests.
    """

    store: Store
    faults: Faults
    journal: Journal

    def routes(self) -> list[Route]:
        """Return the routing table."""
        return [
            Route("/", self.page),
            Route("/events", self.events),
            Route("/rejected", self.rejected),
            Route("/counts", self.counts),
            Route("/requests", self.requests),
            Route("/faults", self.fault),
            Route("/faults", self.put_fault, methods=["PUT"]),
            Route("/faults", self.delete_fault, methods=["DELETE"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/health", self.health),
        ]

    def page(self, _: Request) -> Response:
        """Answer people."""
        return HTMLResponse(render(self._counts()), headers=HEADERS)

    def events(self, request: Request) -> Response:
        """List accepted events."""
        asked = _parameters(request, "name", "type", "client_id", "after", "limit")
        query = Query(
            name=asked.get("name"),
            event_type=asked.get("type"),
            client_id=asked.get("client_id"),
            after=_number(asked, "after", 0, _MAX_ROWID),
            limit=_number(asked, "limit", DEFAULT_LIMIT, MAX_LIMIT),
        )
        return _listing("events", [_row(row.rowid, row.received_at, row.text) for row in self.store.events(query)])

    def rejected(self, request: Request) -> Response:
        """List refused events."""
        asked = _parameters(request, "after", "limit")
        rows = self.store.rejected(
            _number(asked, "after", 0, _MAX_ROWID), _number(asked, "limit", DEFAULT_LIMIT, MAX_LIMIT)
        )
        return _listing("rejected", [_row(row.rowid, row.received_at, row.text, row.message) for row in rows])

    def counts(self, _: Request) -> Response:
        """Answer the counters."""
        return JSONResponse(self._counts())

    async def requests(self, _: Request) -> Response:
        """List the last protocol requests."""
        return JSONResponse({"requests": self.journal.to_json()})

    async def fault(self, _: Request) -> Response:
        """Answer the fault in force."""
        return self._current_fault()

    async def put_fault(self, request: Request) -> Response:
        """Put a fault in force."""
        body = parse_object(await read_body(request.scope, request.receive))
        try:
            self.faults.set(Fault.from_json(body))
        except (TypeError, ValueError) as error:
            raise HTTPException(422, str(error)) from None
        return self._current_fault()

    async def delete_fault(self, _: Request) -> Response:
        """Take the fault back."""
        self.faults.clear()
        return Response(status_code=204)

    def reset(self, _: Request) -> Response:
        """Forget everything."""
        self.faults.clear()
        self.store.reset()
        self.journal.clear()
        return Response(status_code=204)

    async def health(self, _: Request) -> Response:
        """Tell that the server answers."""
        return JSONResponse({"status": "ok"})

    def _counts(self) -> dict[str, int]:
        counts = self.store.counts()
        return {**asdict(counts), "stored": counts.stored, "requests": self.journal.total}

    def _current_fault(self) -> Response:
        fault = self.faults.current
        return JSONResponse(None if fault is None else fault.to_json())


def _parameters(request: Request, *known: str) -> Mapping[str, str]:
    # A misspelt filter that is ignored looks like a filter that matches everything.
    for name in request.query_params:
        if name not in known:
            raise HTTPException(422, f"unknown parameter {name!r}; known are {', '.join(known)}")
    return request.query_params


def _number(asked: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = asked.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most):
        raise HTTPException(422, f"{name} must be a number from 0 to {most}")
    return int(text)


def _row(rowid: int, received_at: float, text: str, message: str | None = None) -> str:
    # The stored text is JSON already; to parse it and serialise it again would cost more than reading it did.
    moment = datetime.fromtimestamp(received_at, UTC).isoformat()
    tail = "" if message is None else f',"message":{json.dumps(message)}'
    return f'{{"rowid":{rowid},"received_at":"{moment}","event":{text}{tail}}}'


def _listing(name: str, rows: list[str]) -> Response:
    return Response(f'{{"{name}":[{",".join(rows)}]}}', media_type="application/json")
