"""`_transport`: what depends on the host: no server, broken settings, a transport and a log of theirs."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import httpcore
import httpx
import pytest

from producttelemetry import _transport
from producttelemetry._transport import Transport
from producttelemetry.collector import Fault, RunningCollector
from tests.wire import LINE, soon

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[RunningCollector]:
    """A collector for all tests of this file."""
    with RunningCollector() as running:
        yield running


def send(base: str, custom: httpx.BaseTransport | None = None) -> str:
    """Send one event; return the kind of the outcome."""
    with Transport(base, "secret", custom) as transport:
        return transport.ingest([LINE], soon()).kind


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:9/api", "http://[::1]:9/api", "https://127.0.0.1:9/api", "http://\\/api"]
)
def test_nobody_there(base: str) -> None:
    """A refused connection, and a URL that httpx does not like, is being offline."""
    assert "unavailable" == send(base)


def test_a_server_that_speaks_no_tls(server: RunningCollector) -> None:
    """A failed handshake is being offline, too."""
    assert "unavailable" == send(server.url.replace("http:", "https:") + "/api")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("HTTP_PROXY", value) for value in ("http://127.0.0.1:9", "nonsense://x", "http://[")),
        *(("ALL_PROXY", "::"), ("SSL_CERT_FILE", "/nowhere"), ("SSL_CERT_DIR", "/nowhere")),
    ],
)
def test_broken_settings_of_the_machine(
    name: str, value: str, server: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy or certificate variable that leads nowhere is being offline at most, and no exception."""
    monkeypatch.setenv(name, value)
    assert send(f"{server.url}/api") in {"unavailable", "accepted"}


# --- a transport of the host's, and its log -----------------------------------------------------------------------


class _Theirs(httpx.HTTPTransport):
    """A transport of the host's that notes what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []
        self.closed = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["X-Write-Key"])
        return super().handle_request(request)

    def close(self) -> None:
        self.closed += 1
        super().close()


def test_a_transport_of_the_hosts_is_used_and_left_open(server: RunningCollector) -> None:
    """Every request goes through it, and it can be used again after we have closed ours."""
    theirs = _Theirs()
    for _ in range(2):
        assert "accepted" == send(f"{server.url}/api", theirs)
    assert (["secret"] * 2, 0) == (theirs.keys, theirs.closed)
    theirs.close()


def test_their_log_is_theirs(server: RunningCollector, caplog: pytest.LogCaptureFixture) -> None:
    """Our requests leave no record of httpx and httpcore; the host's own do, before, after and at the same time."""
    base = f"{server.url}/api"

    def theirs() -> None:
        httpx.get(f"{server.url}/health")

    class Between(_Theirs):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            thread = threading.Thread(target=theirs)
            thread.start()
            thread.join()
            return super().handle_request(request)

    def names() -> set[str]:
        found = {name.partition(".")[0] for name, _, _ in caplog.record_tuples}
        caplog.clear()
        return found & {"httpx", "httpcore"}

    with caplog.at_level(logging.DEBUG):
        assert "accepted" == send(base)
        server.faults.set(Fault(drop="before", remaining=1))
        assert "unavailable" == send(base)
        assert set() == names()
        theirs()
        assert {"httpx", "httpcore"} == names()
        between = Between()
        assert "accepted" == send(base, between)
        between.close()
        assert {"httpx", "httpcore"} == names()
        assert "accepted" == send(base)
        assert set() == names()


def test_every_logger_of_httpx_is_known() -> None:
    """Those of the synchronous client, also of protocols that need a further package: a transport may use them."""
    said = [path.read_text() for path in Path(httpcore.__file__).parent.glob("_sync/*.py")]
    found = {name for text in said for name in re.findall(r'getLogger\("([^"]+)"\)', text)}
    assert found
    assert set() == found - set(_transport._LOGGERS)
