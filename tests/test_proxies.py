"""Proxies and certificate authorities of the machine: real ones, on loopback, named by the environment alone."""

from __future__ import annotations

import json
import logging
import os
import shutil
from typing import TYPE_CHECKING, Final

import certifi
import httpx
import pytest

from producttelemetry import _queues
from tests import harness
from tests.proxies import NAME, PASSWORD, Authority, Proxy, ask_locally, make_authority
from tests.wire import listening, read_request

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from producttelemetry import Stats, Telemetry
    from producttelemetry.collector import RunningCollector

    Make = Callable[..., Telemetry]

KEY: Final = "write-key-of-ours"
VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Forget the settings of this machine; return what sets others."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def port_of(collector: RunningCollector) -> int:
    """Return where a collector listens."""
    return int(collector.url.rpartition(":")[2])


@pytest.fixture
def proxy(collector: RunningCollector) -> Iterator[Proxy]:
    """A proxy before the collector."""
    with Proxy(port_of(collector)).running() as running:
        yield running


def send(make: Make, url: str) -> Stats:
    """Track one event and flush; return what is known then."""
    client = make(url, write_key=KEY, flush_timeout=20.0)
    client.track("test.event", {"number": 0})
    client.flush()
    return client.stats()


# --- http -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_http_goes_through_the_proxy(  # noqa: PLR0913, PLR0917  # a proxy, what it stands before, and who listens
    variable: str,
    proxy: Proxy,
    collector: RunningCollector,
    telemetry: Make,
    machine: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In absolute form, with the credentials of its URL, which no log line shows at any level."""
    machine.setenv(variable, proxy.url)
    with caplog.at_level(logging.DEBUG):
        stats = send(telemetry, f"http://{NAME}")
    assert (0, 1, None) == (stats.pending, stats.delivered, stats.last_error)
    assert [0] == harness.numbers(harness.stored(collector))
    (request,) = proxy.requests
    assert request.startswith(f"POST http://{NAME}/api/ingest HTTP/1.1\r\n".encode())
    assert PASSWORD not in caplog.text
    assert set() == {record.name for record in caplog.records if record.name.startswith("http")}


@pytest.mark.parametrize("exception", ["127.0.0.1", "*", "example.org, 127.0.0.1"])
def test_no_proxy_is_an_exception(
    exception: str, proxy: Proxy, collector: RunningCollector, telemetry: Make, machine: pytest.MonkeyPatch
) -> None:
    """What `NO_PROXY` names is reached directly."""
    machine.setenv("ALL_PROXY", proxy.url)
    machine.setenv("NO_PROXY", exception)
    assert 0 == send(telemetry, collector.url).pending
    assert [] == proxy.requests
    assert 1 == len(harness.stored(collector))


# --- https ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private certificate authority."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command to make certificates with")
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def encrypted(authority: Authority, collector: RunningCollector) -> Iterator[int]:
    """The port of a TLS server before the collector."""
    context = authority.context()

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as opened:
            opened.sendall(ask_locally(port_of(collector), read_request(opened)))

    with listening(serve) as port:
        yield port


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_private_authority_is_trusted(  # noqa: PLR0913, PLR0917  # a server, its authority, and who asks
    variable: str,
    authority: Authority,
    encrypted: int,
    collector: RunningCollector,
    telemetry: Make,
    machine: pytest.MonkeyPatch,
) -> None:
    """Without the variable the server is a stranger and gets nothing; with it the event arrives."""
    before = send(telemetry, f"https://127.0.0.1:{encrypted}")
    assert 1 == before.pending
    assert before.last_error is not None
    assert "CERTIFICATE_VERIFY_FAILED" in before.last_error
    assert 0 == collector.journal.total
    machine.setenv(variable, authority.file if variable == "SSL_CERT_FILE" else authority.directory)
    after = send(telemetry, f"https://127.0.0.1:{encrypted}")
    assert (0, 2, None) == (after.pending, after.delivered, after.last_error)
    assert 2 == len(harness.stored(collector))


def test_https_goes_through_the_proxy(  # noqa: PLR0913, PLR0917  # a proxy, what it stands before, and who listens
    authority: Authority,
    encrypted: int,
    collector: RunningCollector,
    telemetry: Make,
    machine: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Through a tunnel: the proxy learns the server's name, and neither the key nor an event."""
    machine.setenv("SSL_CERT_FILE", authority.file)
    with Proxy(encrypted).running() as proxy, caplog.at_level(logging.DEBUG):
        machine.setenv("HTTPS_PROXY", proxy.url)
        stats = send(telemetry, f"https://{NAME}")
    assert (0, None) == (stats.pending, stats.last_error)
    assert [0] == harness.numbers(harness.stored(collector))
    (request,) = proxy.requests
    assert request.startswith(f"CONNECT {NAME}:443 HTTP/1.1\r\n".encode())
    assert KEY.encode() not in request
    assert PASSWORD not in caplog.text
    assert set() == {record.name for record in caplog.records if record.name.startswith("http")}


def test_a_detached_sender_finds_them_too(
    authority: Authority, encrypted: int, collector: RunningCollector, telemetry: Make, machine: pytest.MonkeyPatch
) -> None:
    """The process that is left behind has the host's environment: the proxy, and the authority."""
    machine.setenv("SSL_CERT_FILE", authority.file)
    with Proxy(encrypted).running() as proxy:
        machine.setenv("HTTPS_PROXY", proxy.url)
        settings = json.dumps({"url": f"https://{NAME}", "key": KEY, "arguments": {"on_exit": "detach"}})
        assert 0 == harness.run("one", settings).returncode
        harness.wait_until(lambda: harness.stored(collector))
        spool = telemetry(f"https://{NAME}", write_key=KEY)._spool_dir
        harness.wait_until(lambda: not _queues.is_sending(spool))
    assert 1 == len(proxy.requests)


# --- what is broken -------------------------------------------------------------------------------------------------

SAYS: dict[str, bytes] = {
    "no": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "who are you": b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    "nobody there": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "log in": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\0\xff\x80" * 100,
    "half": b"HTTP/1.1 200 Connection est",
}


@pytest.mark.parametrize("said", SAYS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_work_is_being_offline(
    said: str, scheme: str, telemetry: Make, machine: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it says instead: the event is kept, and nobody is told its password."""
    with Proxy(0, SAYS[said]).running() as proxy, caplog.at_level(logging.DEBUG):
        machine.setenv("ALL_PROXY", proxy.url)
        stats = send(telemetry, f"{scheme}://{NAME}")
    assert 1 == len(proxy.requests)
    assert_offline(stats, caplog)


def assert_offline(stats: Stats, caplog: pytest.LogCaptureFixture) -> None:
    """Assert that an event was kept for later, and no secret told."""
    assert (1, 0) == (stats.pending, sum(stats.dropped.values()))
    assert stats.retry_at is not None
    assert stats.last_error
    assert stats.spool_dir is not None
    told = f"{stats.last_error} {caplog.text} {(stats.spool_dir / 'retry.json').read_text()}"
    assert [] == [secret for secret in (PASSWORD, KEY) if secret in told]
    assert set() == {record.name for record in caplog.records if record.name.startswith("http")}
    assert set() == {record.levelname for record in caplog.records} - {"DEBUG", "ERROR"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", f"http://user:{PASSWORD}@127.0.0.1:9"),
        ("ALL_PROXY", f"https://user:{PASSWORD}@127.0.0.1:9"),
        ("ALL_PROXY", f"socks5://user:{PASSWORD}@127.0.0.1:9"),
        ("HTTPS_PROXY", f"nonsense://user:{PASSWORD}@127.0.0.1:9"),
        ("HTTPS_PROXY", f"http://user:{PASSWORD}@[:9"),
        ("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:port"),
        ("HTTPS_PROXY", f"http://user:{PASSWORD}/@127.0.0.1:9"),  # not quoted, so that it looks like a port
        ("HTTPS_PROXY", f"http://user:{PASSWORD}@\u00e4\u2028:9"),
        ("SSL_CERT_FILE", "/nowhere"),
        ("SSL_CERT_FILE", os.devnull),
        ("SSL_CERT_FILE", os.path.abspath(__file__)),
        ("SSL_CERT_DIR", "/nowhere"),
        ("SSL_CERT_DIR", os.path.dirname(os.path.abspath(__file__))),
    ],
)
def test_a_variable_that_makes_no_sense_is_being_offline(  # noqa: PLR0913, PLR0917  # a setting and who is to suffer
    variable: str,
    value: str,
    encrypted: int,
    telemetry: Make,
    machine: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No exception, no loss, and nobody is told a password."""
    machine.setenv(variable, value)
    with caplog.at_level(logging.DEBUG):
        stats = send(telemetry, f"https://127.0.0.1:{encrypted}")
    assert_offline(stats, caplog)


def test_a_variable_that_is_mended_is_noticed(
    authority: Authority, encrypted: int, telemetry: Make, machine: pytest.MonkeyPatch
) -> None:
    """The program goes on and the machine is set right: the next flush sends."""
    machine.setenv("SSL_CERT_FILE", "/nowhere")
    client = telemetry(f"https://127.0.0.1:{encrypted}", flush_timeout=20.0)
    client.track("test.event", {"number": 0})
    client.flush()
    assert 1 == client.stats().pending
    machine.setenv("SSL_CERT_FILE", authority.file)
    client.flush()
    assert 0 == client.stats().pending


def test_authorities_are_loaded_once(
    authority: Authority, encrypted: int, telemetry: Make, machine: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Loading them costs more than a flush; but a file that was exchanged is loaded again once TLS has failed."""
    loaded: list[bool] = []
    given = httpx.create_ssl_context

    def load(*, trust_env: bool) -> ssl.SSLContext:
        loaded.append(trust_env)
        return given(trust_env=trust_env)

    machine.setattr(httpx, "create_ssl_context", load)
    file = tmp_path / "authorities.pem"
    shutil.copy(certifi.where(), file)
    machine.setenv("SSL_CERT_FILE", str(file))
    client = telemetry(f"https://127.0.0.1:{encrypted}", write_key=KEY, flush_timeout=20.0)
    client.track("test.event", {"number": 0})
    client.flush()
    assert (1, [True]) == (client.stats().pending, loaded)
    shutil.copy(authority.file, file)
    for number in range(1, 4):
        client.track("test.event", {"number": number})
        client.flush()
        assert (0, [True, True]) == (client.stats().pending, loaded)
