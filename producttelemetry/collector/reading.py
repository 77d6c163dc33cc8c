"""The routes that show what arrived: lists, one event, counts by name and by time. `stream` tells it as it happens.

The package's docstring has the table. Those that touch the store are plain functions: Starlette runs them on worker
threads.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from . import parameters
from .records import Brief, BriefRejected, Query
from .store import Store

#: What is sent with every list: it holds what any program sent, and no browser may take it for anything else.
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}

#: Names of one answer, unless asked for otherwise, and at most.
_DEFAULT_NAMES: Final = 100
_MAX_NAMES: Final = 10_000

#: Bars of one answer, and seconds of one bar, at most.
_MAX_BARS: Final = 500
_MAX_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Reading:
    """The endpoints.

    Args:
        store: the events.
    """

    store: Store

    def routes(self) -> list[Route]:
        """Return the routing table."""
        return [
            Route("/events", self.events),
            Route("/events/{rowid:int}", self.event),
            Route("/rejected", self.rejected),
            Route("/rejected/{rowid:int}", self.rejected_event),
            Route("/names", self.names),
            Route("/timeline", self.timeline),
        ]

    def events(self, request: Request) -> Response:
        """List accepted events."""
        query, brief = parameters.query(request, "name", "type", "client_id")
        if brief:
            return _brief("events", self.store.brief_events(query))
        return _listing("events", [_row(row.rowid, row.received_at, row.text) for row in self.store.events(query)])

    def rejected(self, request: Request) -> Response:
        """List refused events."""
        query, brief = parameters.query(request)
        if brief:
            return _brief("rejected", self.store.brief_rejected(query))
        found = self.store.rejected(query)
        return _listing("rejected", [_row(row.rowid, row.received_at, row.text, row.message) for row in found])

    def event(self, request: Request) -> Response:
        """Answer one accepted event."""
        return _one([_row(row.rowid, row.received_at, row.text) for row in self.store.events(_only(request))])

    def rejected_event(self, request: Request) -> Response:
        """Answer one refused event."""
        found = self.store.rejected(_only(request))
        return _one([_row(row.rowid, row.received_at, row.text, row.message) for row in found])

    def names(self, request: Request) -> Response:
        """Count stored events by name."""
        asked = parameters.known(request, "limit")
        found = self.store.names(parameters.number(asked, "limit", _DEFAULT_NAMES, _MAX_NAMES))
        rows = [{"name": name, "count": count} for name, count in found.counts.items()]
        return JSONResponse({"names": rows, "more": found.more}, headers=_HEADERS)

    def timeline(self, request: Request) -> Response:
        """Count stored events by time of arrival."""
        asked = parameters.known(request, "seconds", "bars")
        seconds = parameters.number(asked, "seconds", 60, _MAX_SECONDS, least=1)
        bars = parameters.number(asked, "bars", 60, _MAX_BARS, least=1)
        found = self.store.timeline(seconds, bars)
        return JSONResponse({**asdict(found), "start": _moment(found.start)}, headers=_HEADERS)


def _brief(name: str, rows: Sequence[Brief | BriefRejected]) -> Response:
    return JSONResponse({name: [brief_row(row) for row in rows]}, headers=_HEADERS)


def brief_row(row: Brief | BriefRejected) -> dict[str, Any]:
    """Return a row as JSON has it: `received_at` in ISO 8601."""
    return {**asdict(row), "received_at": _moment(row.received_at)}


def _only(request: Request) -> Query:
    rowid = request.path_params["rowid"]
    if not 0 < rowid < parameters.MAX_ROWID:
        raise HTTPException(404, "there is no such event")
    return Query(after=rowid - 1, before=rowid + 1, limit=1)


def _one(rows: list[str]) -> Response:
    if not rows:
        raise HTTPException(404, "there is no such event")
    return Response(rows[0], media_type="application/json", headers=_HEADERS)


def _row(rowid: int, received_at: float, text: str, message: str | None = None) -> str:
    # The stored text is JSON already; to parse it and serialise it again would cost more than reading it did.
    tail = "" if message is None else f',"message":{json.dumps(message)}'
    return f'{{"rowid":{rowid},"received_at":"{_moment(received_at)}","event":{text}{tail}}}'


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _listing(name: str, rows: list[str]) -> Response:
    return Response(f'{{"{name}":[{",".join(rows)}]}}', media_type="application/json", headers=_HEADERS)
