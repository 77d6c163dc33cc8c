"""The routes that say how things stand and that change something: counters, requests, faults, reset, health.

The package's docstring has the table.
"""

from dataclasses import asdict, dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .body import parse_object, read_body
from .faults import Fault, Faults
from .journal import Journal
from .store import Store


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
            Route("/counts", self.counts),
            Route("/requests", self.requests),
            Route("/faults", self.fault),
            Route("/faults", self.put_fault, methods=["PUT"]),
            Route("/faults", self.delete_fault, methods=["DELETE"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/health", self.health),
        ]

    def counts(self, _: Request) -> Response:
        """Answer the counters."""
        return JSONResponse(self._counts())

    async def requests(self, _: Request) -> Response:
        """List the last protocol requests."""
        return JSONResponse({"requests": self.journal.to_json()})

    async def fault(self, _: Request) -> Response:
        """Answer the fault in force."""
        return JSONResponse(self._fault())

    async def put_fault(self, request: Request) -> Response:
        """Put a fault in force."""
        body = parse_object(await read_body(request.scope, request.receive))
        try:
            self.faults.set(Fault.from_json(body))
        except (TypeError, ValueError) as error:
            raise HTTPException(422, str(error)) from None
        return JSONResponse(self._fault())

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

    def state(self) -> dict[str, Any]:
        """Return how things stand, as the stream tells it; see `stream`."""
        return {
            "epoch": self.store.epoch,
            "counts": self._counts(),
            "fault": self._fault(),
            "last_request": self.journal.last,
        }

    def _counts(self) -> dict[str, int]:
        counts = self.store.counts()
        return {**asdict(counts), "stored": counts.stored, "requests": self.journal.total}

    def _fault(self) -> dict[str, Any] | None:
        fault = self.faults.current
        return None if fault is None else fault.to_json()
