"""A real server for the telemetry protocol, for development, tests and benchmarks. Needs the extra `collector`.

| module | what lives there |
|---|---|
| `server` | `serve`, `RunningCollector`: sockets, signals, threads |
| `app` | `create_app`: the layers put together |
| `guard` | who may talk to it |
| `misbehave`, `faults` | failing on purpose: carrying it out, and what there is to choose from |
| `protocol` | the routes for the SDK |
| `control`, `reading`, `stream`, `parameters` | the routes for tests and for the page |
| `page`, `assets/` | the page: plain files, no build step |
| `body`, `validate` | bounds, JSON, what an event is |
| `store`, `listing`, `database`, `records` | what arrived: keeping it, reading it, the SQLite file, the values |
| `journal` | which requests came, in memory |
| `errors` | what keeps it from starting |

## REST

What tests and people ask. Answers are JSON, refusals `{"error": "…"}`: 403 for another machine's or site's request,
404, 405, 413 for a body over 1 MiB, 422 naming the field or parameter that is wrong or unknown.

| route | |
|---|---|
| `GET /events` | `{"events": [{"rowid", "received_at", "event"}]}`, the accepted events |
| `GET /rejected` | `{"rejected": [{"rowid", "received_at", "event", "message"}]}`, the refused ones and why |
| `GET /events/{rowid}`, `GET /rejected/{rowid}` | one of these rows |
| `GET /names?limit=100` | `{"names": [{"name", "count"}], "more": n}`: stored events by name, the most frequent first |
| `GET /timeline?seconds=60&bars=60` | `{"start", "seconds", "accepted": [n, …], "rejected": [n, …]}`: arrivals |
| `GET /counts` | `accepted`, `duplicates`, `rejected`, `identified`, `deletions`, `erased`, `stored`, `requests` |
| `GET /requests` | `{"requests": [{"method", "path", "idempotency_key", "at", "status", "events"}]}`, the last 1000 |
| `GET /stream` | server-sent events: what happens, as it happens |
| `GET /faults` | the fault in force, an object with the fields of `Fault`, or `null` |
| `PUT /faults`, `DELETE /faults` | put one in force in place of any other; take it back, 204 |
| `POST /reset` | 204: events, counters, requests and faults are forgotten |
| `GET /health` | `{"status": "ok"}` |
| `GET /` | the page |

The two lists take these parameters; the filters are for `/events` only and compare whole values:

| parameter | |
|---|---|
| `name`, `type`, `client_id` | only events with that name, type, client |
| `after`, `before` | only rows with a greater, a smaller `rowid` |
| `order` | `oldest` first (the default) or `newest` first |
| `limit` | rows at most: 100 unless given, 10000 at most |
| `brief` | `1`: rows without the event: `name`, `type`, `client_id`; of refused ones `excerpt` and `message` |

`received_at` is ISO 8601 in UTC. A `rowid` is never used twice, so a test that follows the store asks again with
`after` set to the last one it has seen.

## What the SDK asks

Bodies are JSON in UTF-8, the key is in the header `X-Write-Key`. A batch is `{"events": [...]}`, at most 500 events and
1 MiB, with an `Idempotency-Key` that is the same when the same batch comes again.

| route | answers |
|---|---|
| `POST /api/ingest` | 202 with the counts; 207 if some events were rejected, who and why in `errors` |
| `POST /api/identify` | 200 `{"linked": true, "created": bool}` |
| `DELETE /api/gdpr/delete-self` | 202 `{"status": "pending"}`; the events are gone by then |

Refusals are `{"error": "…"}`: 401 without the right key (before the body is read), 413 for a body or a batch too large,
400 for what is not JSON, 422 for JSON of another shape, 503 when the store fails.

Nothing here imports the rest of the package: a server that shared the SDK's code would share its mistakes.
"""

from .errors import CollectorError, ListenError, StoreError
from .faults import Fault, Faults
from .journal import Journal
from .records import Counts, Query, Receipt, Refusal, RejectedEvent, StoredEvent
from .store import Store

try:
    from .app import create_app
    from .server import RunningCollector, serve
except ModuleNotFoundError as error:
    # starlette and uvicorn bring the others along. Anything else that is missing is a fault of ours and says so itself.
    missing = (error.name or "").partition(".")[0]
    if missing not in {"starlette", "uvicorn", "anyio", "h11"}:
        raise
    message = f'the collector needs {missing}: pip install "producttelemetry[collector]"'
    raise ImportError(message, name=missing) from error

__all__ = [
    "CollectorError",
    "Counts",
    "Fault",
    "Faults",
    "Journal",
    "ListenError",
    "Query",
    "Receipt",
    "Refusal",
    "RejectedEvent",
    "RunningCollector",
    "Store",
    "StoreError",
    "StoredEvent",
    "create_app",
    "serve",
]
