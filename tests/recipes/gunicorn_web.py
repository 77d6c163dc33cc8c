"""A WSGI application under gunicorn, loaded once and forked into workers that are replaced now and then.

    gunicorn --preload --workers 4 --max-requests 1000 --max-requests-jitter 100 gunicorn_web:application

One client is made before the fork, and each worker goes on with it: it writes to a file of its own and has its own
session. What a killed worker had tracked is on disk, and sent by whoever sends next. gunicorn's signal handlers stay
as they are.
"""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="shop", flush_at=100)
telemetry.track("server.loaded", event_type="lifecycle")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request; a WSGI application like yours, or like Flask's and Django's."""
    began = time.monotonic()
    body = f"served by {os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    properties = {"method": environ["REQUEST_METHOD"], "seconds": time.monotonic() - began}
    telemetry.track("request.served", properties)
    return [body]
