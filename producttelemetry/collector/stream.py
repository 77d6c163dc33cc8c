"""`GET /stream`: what happens, as server-sent events, for the page and for `curl -N`.

| event | data |
|---|---|
| `state` | `{"epoch", "counts", "fault", "last_request"}`: first, and whenever one of them is another |
| `news` | `{"accepted": […], "rejected": […], "missed": bool}`: brief rows, in the order of arrival |

**Bounded.** A message holds the newest `PORTION` rows of each list; if there were more since the last one, it says
`missed`, and a reader who wants them asks `/events`. Nothing is kept for a reader who is slow: the server looks again
when the last message has left, and tells what is new then. So 100,000 events/s cost a page 400 rows/s.

**Resumed.** Each message has the id `epoch.accepted.rejected`. A browser sends the last one it saw when it comes back,
and gets what arrived since. Under another epoch (the server was restarted, or rows are gone) that says nothing: the
reader sees the new epoch in `state`, and loads its list anew.

**Looking rather than being told.** Every `INTERVAL` the stream asks for the last rowids and the counters. That takes
0.04 ms, and nobody who stores an event, sets a fault or makes a request has to know that somebody looks on.
Events that another process writes to the same file are seen as well.

**Ending.** A stream never ends by itself. It is cut when the server stops, as every answer under way is (`server`).
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from .control import Control
from .parameters import MAX_ROWID, known
from .reading import brief_row
from .records import Cursor, News

#: Seconds between two looks: short to a person, long to a processor.
INTERVAL: Final = 0.25

#: Rows of each list in one message, at most: what the page has room for.
PORTION: Final = 100

#: Milliseconds after which a browser that was cut off comes back.
_RETRY: Final = 1000

#: Looks without news between two comments, so that whatever forwards the stream does not take it for dead.
_QUIET: Final = 60

#: `no-transform` as well: a proxy that compresses holds the messages back.
_HEADERS: Final = {"Cache-Control": "no-store, no-transform", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Stream:
    """The endpoint.

    Args:
        control: what is told of.
    """

    control: Control

    def routes(self) -> list[Route]:
        """Return the routing table."""
        return [Route("/stream", self.stream)]

    async def stream(self, request: Request) -> Response:
        """Tell what happens until the client leaves."""
        known(request)
        following = self._follow(request.headers.get("last-event-id", ""))
        return StreamingResponse(following, media_type="text/event-stream", headers=_HEADERS)

    async def _follow(self, last_id: str) -> AsyncGenerator[str]:
        yield f"retry: {_RETRY}\n\n"
        told: dict[str, Any] = {}
        quiet = 0
        try:
            cursor = await run_in_threadpool(self._start, last_id)
            while True:
                state, news = await run_in_threadpool(self._look, cursor)
                text = _tell(told, state, news)
                told, cursor = state, news.cursor
                quiet = 0 if text else quiet + 1
                if text:
                    yield text
                elif quiet % _QUIET == 0:
                    yield ": nothing new\n\n"
                await asyncio.sleep(INTERVAL)
        except sqlite3.Error:
            # The head has left, so there is no status to put it in. The browser comes back and tries again.
            return

    def _start(self, last_id: str) -> Cursor:
        epoch, _, rowids = last_id.partition(".")
        accepted, _, rejected = rowids.partition(".")
        if epoch == self.control.store.epoch and _is_rowid(accepted) and _is_rowid(rejected):
            return Cursor(int(accepted), int(rejected))
        return self.control.store.end()

    def _look(self, cursor: Cursor) -> tuple[dict[str, Any], News]:
        # The epoch first: rows that vanish after this are told of next time.
        return self.control.state(), self.control.store.news(cursor, PORTION)


def _tell(told: dict[str, Any], state: dict[str, Any], news: News) -> str:
    """Return the messages that one look makes, "" if nothing happened.

    Args:
        told: the state that the reader has.
        state: the state now.
        news: what arrived since the last look.
    """
    last_id = f"{state['epoch']}.{news.cursor.accepted}.{news.cursor.rejected}"
    messages = "" if state == told else _message("state", last_id, state)
    if news.accepted or news.rejected:
        rows = {
            "accepted": [brief_row(row) for row in news.accepted],
            "rejected": [brief_row(row) for row in news.rejected],
            "missed": news.missed,
        }
        messages += _message("news", last_id, rows)
    return messages


def _message(event: str, last_id: str, data: dict[str, Any]) -> str:
    # JSON escapes every line break, so one line is always enough.
    return f"event: {event}\nid: {last_id}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _is_rowid(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ROWID)) and int(text) <= MAX_ROWID
