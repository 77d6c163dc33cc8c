"""An asyncio server: Starlette under uvicorn, as FastAPI would be. Handlers call `track()` without `await`.

    uvicorn asyncio_server:app

`track()` makes one write to a file and waits for nothing, so the event loop goes on; sending happens in a thread.
`flush()` and `shutdown()` do wait, so they are called in a thread. uvicorn ends by the signal that has stopped it, and
no exit handler of Python's runs: without the last line here, the last events wait on disk for the next start.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="search", max_queue_size=10_000)


async def search(request: Request) -> PlainTextResponse:
    """Answer a query; what was asked for is the user's, how long it was is not."""
    query = request.query_params.get("q", "")
    telemetry.track("search.made", {"characters": len(query), "route": "/search"})
    return PlainTextResponse("nothing found\n")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
    """Send what is left when the server stops."""
    yield
    await asyncio.to_thread(telemetry.shutdown)


app = Starlette(routes=[Route("/search", search)], lifespan=lifespan)
