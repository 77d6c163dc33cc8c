"""Who may ask the collector what: this machine everything, others no more than the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producttelemetry.collector import Fault, RunningCollector
from producttelemetry.collector.guard import objection
from tests import collector_support

if TYPE_CHECKING:
    import httpx

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


@pytest.mark.parametrize("path", ["/", "/counts", "/faults", "/api/ingest"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost@evil", "10.0.0.1", "[::2]:1", ""]
)
def test_a_foreign_host_name_is_refused(client: httpx.Client, path: str, host: str) -> None:
    """A name that was only made to resolve to this machine does not get in."""
    answer = client.get(path, headers={"Host": host})

    assert 403 == answer.status_code
    assert {"error": "the Host header does not name this machine"} == answer.json()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.8.9.10:65535", "[::1]", "[::1]:8765"])
def test_loopback_host_names_pass(client: httpx.Client, host: str) -> None:
    """Every way to write this machine is taken, with any port."""
    assert 200 == client.get("/health", headers={"Host": host}).status_code


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1"])
def test_pages_of_other_sites_have_no_control(collector: RunningCollector, client: httpx.Client, origin: str) -> None:
    """A request that a browser sends for another site changes nothing; the collector's own page may ask."""
    collector.faults.set(Fault(status=503))

    answer = client.post("/reset", headers={"Origin": origin})

    assert 403 == answer.status_code
    assert {"error": "control requests from other sites are refused"} == answer.json()
    assert Fault(status=503) == collector.faults.current
    assert 204 == client.post("/reset", headers={"Origin": collector.url}).status_code


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_sites_read_nothing(client: httpx.Client, site: str) -> None:
    """What another site's page loads from here without asking, images, scripts, frames, is refused; a link is not."""
    for path in ("/", "/events", "/stream", "/assets/main.js"):
        answer = client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
        assert 403 == answer.status_code
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert 200 == client.get("/", headers=link).status_code
    assert 403 == client.get("/events", headers=link).status_code
    assert 403 == client.get("/", headers={**link, "Sec-Fetch-Dest": "iframe"}).status_code
    assert 204 == client.post("/reset", headers={"Sec-Fetch-Site": "same-origin"}).status_code


@pytest.mark.parametrize(
    ("path", "host", "peer", "any_host", "passes"),
    [
        ("/api/ingest", b"metrics.local:80", "10.0.0.7", True, True),
        ("/api/ingest", b"metrics.local:80", "10.0.0.7", False, False),
        ("/events", b"metrics.local:80", "127.0.0.1", True, False),
        ("/events", b"localhost", "10.0.0.7", True, False),
        ("/events", b"localhost", "127.0.0.1", True, True),
        ("/events", b"localhost", "::1", False, True),
        ("/events", b"localhost", None, False, False),
    ],
)
def test_control_stays_on_this_machine(
    *, path: str, host: bytes, peer: str | None, any_host: bool, passes: bool
) -> None:
    """On a public address other machines and names get to the protocol routes, and nowhere else."""
    scope = {
        "type": "http",
        "scheme": "http",
        "path": path,
        "headers": [(b"host", host)],
        "client": None if peer is None else (peer, 40000),
    }

    assert passes is (objection(scope, any_host=any_host) is None)
