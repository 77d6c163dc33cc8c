"""The application: which layers a request passes, and how failures become answers.

```
guard ─ 403 ─ misbehave ─ journal, faults ─┬─ /api/…      protocol
                                           └─ the others  control, reading, stream, page
```

Every refusal is `{"error": "…"}`, those of the router included, so that a client finds the reason in one place.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from . import page
from .control import Control
from .faults import Faults
from .guard import Guard
from .journal import Journal
from .misbehave import Misbehave
from .protocol import Protocol
from .reading import Reading
from .store import Store
from .stream import Stream


def create_app(
    store: Store,
    faults: Faults | None = None,
    write_key: str | None = None,
    *,
    journal: Journal | None = None,
    any_host: bool = False,
) -> Starlette:
    """Build the collector as an ASGI application.

    Any ASGI server can run it, but only `serve` and `RunningCollector` can drop connections.

    Args:
        store: where the events go; the caller closes it after the server has stopped.
        faults: shared with whoever sets faults from Python; a new one if left out.
        write_key: the key that the SDK must send; `None` takes any.
        journal: shared with whoever reads the request log from Python; a new one if left out.
        any_host: let the protocol routes be asked for under names that are not this machine's.
    """
    faults = faults or Faults()
    journal = journal or Journal()
    control = Control(store, faults, journal)
    app = Starlette(
        routes=[
            *Protocol(store, write_key).routes(),
            *control.routes(),
            *Reading(store).routes(),
            *Stream(control).routes(),
            *page.routes(),
        ],
        middleware=[
            Middleware(Guard, any_host=any_host),
            Middleware(Misbehave, faults=faults, journal=journal),
        ],
        exception_handlers=_HANDLERS,
    )
    # `/api/ingest/` is a wrong address, and a redirect would be taken for a captive portal.
    app.router.redirect_slashes = False
    return app


def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _store_failed(_: Request, error: Exception) -> Response:
    # Nothing of the batch is stored; 503 makes the sender keep it.
    return JSONResponse({"error": f"the store failed: {error}"}, 503)


def _client_left(_: Request, __: Exception) -> Response:
    # Nobody reads this. It keeps a client's disappearance from being reported as an error of ours.
    return Response(status_code=499)


_HANDLERS: Final[Mapping[Any, Callable[[Request, Exception], Response]]] = {
    HTTPException: _refuse,
    sqlite3.Error: _store_failed,
    ClientDisconnect: _client_left,
}
