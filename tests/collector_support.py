"""What the tests of the collector share: a server for each file, valid events, and ways to send them.

A file takes the fixtures by assigning them, as in `client = collector_support.client`; its `collector` then hides
the one in `conftest.py`, which starts a server for each test, and stopping each would take a fifth of a second.
"""

from __future__ import annotations

import json
import socket
import threading
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from producttelemetry.collector import RunningCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CLIENT: Final = "0b8e7a52-6f0e-4f0e-9d5c-0d3c5a1b2c3d"
SESSION: Final = "7d3f1c80-1b5e-4c52-8a55-6a0f3a9f1e11"

#: Where an injected clock stands.
EPOCH: Final = 1_767_225_600.0

#: Bounds every wait for a socket, thread or process; nothing comes near it.
DEADLINE: Final = 10.0


def make_event(**fields: Any) -> dict[str, Any]:
    """Build a valid event with an id of its own, changed by `fields`."""
    return {
        "event_name": "opened",
        "event_type": "usage",
        "client_id": CLIENT,
        "session_id": SESSION,
        "event_id": str(uuid.uuid4()),
        "timestamp": "2026-01-02T03:04:05.678901+00:00",
        "properties": {"page": "home"},
        **fields,
    }


def new_client(collector: RunningCollector, key: str | None = "key") -> httpx.Client:
    """Build an HTTP client for a collector, with a write key unless `key` is None."""
    headers = {} if key is None else {"X-Write-Key": key}
    # Loading the CA certificates takes longer than most of these tests, and there is no TLS here.
    return httpx.Client(base_url=collector.url, headers=headers, timeout=DEADLINE, trust_env=False, verify=False)


def connect(collector: RunningCollector) -> socket.socket:
    """Open a bare TCP connection to a collector."""
    url = httpx.URL(collector.url)
    assert url.port is not None
    return socket.create_connection((url.host, url.port), timeout=DEADLINE)


def ingest(client: httpx.Client, *events: object) -> httpx.Response:
    """Send a batch."""
    return client.post("/api/ingest", json={"events": events})


def raw_head(framing: str) -> bytes:
    """Spell out the head of an ingest request whose body is announced by `framing`."""
    return f"POST /api/ingest HTTP/1.1\r\nHost: localhost\r\nX-Write-Key: key\r\n{framing}\r\n\r\n".encode()


def raw_ingest(*events: object) -> bytes:
    """Spell out an ingest request."""
    body = json.dumps({"events": events}).encode()
    return raw_head(f"Content-Length: {len(body)}") + body


def run_all(work: Sequence[Callable[[], None]]) -> None:
    """Run functions in a thread each, and raise the first failure of any."""
    failures: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised again below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    if failures:
        raise failures[0]


@pytest.fixture(scope="module")
def running() -> Iterator[RunningCollector]:
    """One server for the tests of a file that do not stop it."""
    with RunningCollector() as collector:
        yield collector


@pytest.fixture
def collector(running: RunningCollector) -> RunningCollector:
    """Give an empty collector without faults."""
    running.faults.clear()
    running.store.reset()
    running.journal.clear()
    return running


@pytest.fixture
def client(collector: RunningCollector) -> Iterator[httpx.Client]:
    """Give an HTTP client for the empty collector."""
    with new_client(collector) as opened:
        yield opened
