"""Processes for `test_erasure`: some track beside an erasure, some die in one."""

from __future__ import annotations

import os
import sys
from typing import Any

import httpx

from tests import harness
from tests.children import make, report


def track_on_request(settings: dict[str, Any]) -> None:
    """Track one event now and one for each line of input; in a forked child, if asked; then end without a word."""
    client = make(settings)
    client.track("test.event", {"number": 0})
    child = 0
    if settings.get("fork"):
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        client.track("test.event", {"number": 1})
    report("ready")
    for _ in sys.stdin:
        client.track("test.event", {"number": 2})
        client.flush()
        report(client.stats().dropped["purged"])
    os._exit(0)


def die_asking(settings: dict[str, Any]) -> None:
    """Die in the middle of an erasure; a forked child lives on until its input ends."""

    class Dying(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "DELETE":
                child = os.fork() if settings.get("fork") else -1
                if child == 0:
                    report("forked")
                    sys.stdin.read()
                os._exit(0)
            return httpx.Response(503)

    client = make({**settings, "arguments": {"transport": Dying(), **settings.get("arguments", {})}})
    client.track("test.event", {"number": 0})
    client._seal(last=True)
    client.request_deletion()


if __name__ == "__main__":
    harness.main(track_on_request, die_asking)
