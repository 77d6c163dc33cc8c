"""A real server for the telemetry protocol, for development, tests and benchmarks. Needs the extra `collector`.

| module | what lives there |
|---|---|
| `server` | `serve`, `RunningCollector`: sockets, signals, threads |
| `app` | `create_app`: the layers put together |
| `guard` | who may talk to it |
| `misbehave`, `faults` | failing on purpose: carrying it out, and what there is to choose from |
| `protocol`, `control`, `page` | the routes for the SDK, for tests and for people |
| `body`, `validate` | bounds, JSON, what an event is |
| `store`, `database`, `records` | what arrived: the questions to it, the SQLite file, the values |
| `journal` | which requests came, in memory |
| `errors` | what keeps it from starting |

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
