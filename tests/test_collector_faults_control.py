"""Setting the collector's faults: what is taken and refused, and how often a fault is handed out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry.collector import Fault, RunningCollector
from tests import collector_support
from tests.collector_support import CLIENT, ingest, new_client, run_all

if TYPE_CHECKING:
    import httpx

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


def test_a_fault_can_be_set_seen_and_taken_back(collector: RunningCollector, client: httpx.Client) -> None:
    """What was put is in force, shown with all its fields, and gone after DELETE."""
    assert client.get("/faults").json() is None

    answer = client.put("/faults", json={"status": 429, "retry_after": 7, "remaining": 2, "poison": None})

    assert 200 == answer.status_code
    assert Fault(status=429, retry_after=7, remaining=2) == collector.faults.current
    assert Fault(status=429, retry_after=7, remaining=2) == Fault.from_json(client.get("/faults").json())
    assert 204 == client.delete("/faults").status_code
    assert client.get("/faults").json() is None


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"stauts": 503}, "stauts"),
        ({"status": "503"}, "status"),
        ({"status": True}, "status"),
        ({"status": 99}, "status"),
        ({"status": 600}, "status"),
        ({"latency_seconds": -1}, "latency_seconds"),
        ({"latency_seconds": 3601}, "latency_seconds"),
        ({"latency_seconds": "1"}, "latency_seconds"),
        ({"drop": "sometimes"}, "drop"),
        ({"drop": 1}, "drop"),
        ({"portal": 1}, "portal"),
        ({"trickle": "yes"}, "trickle"),
        ({"redirect": "http://x/\r\nSet-Cookie: a=b"}, "redirect"),
        ({"retry_after": "soon\n"}, "retry_after"),
        ({"retry_after": 1.5}, "retry_after"),
        ({"content_type": "text/é"}, "content_type"),
        ({"poison": 1}, "poison"),
        ({"max_events": -1}, "max_events"),
        ({"remaining": 0}, "remaining"),
        ({"remaining": True}, "remaining"),
        ({"body": {}}, "body"),
    ],
)
def test_a_wrong_fault_is_refused_by_name(
    collector: RunningCollector, client: httpx.Client, fault: dict[str, Any], name: str
) -> None:
    """An unknown field, a wrong type or a value out of range gets 422 naming it, and changes nothing."""
    answer = client.put("/faults", json=fault)

    assert 422 == answer.status_code
    assert name in answer.json()["error"]
    assert collector.faults.current is None


def test_a_fault_must_be_an_object(client: httpx.Client) -> None:
    """Anything else is refused as well, from Python too."""
    assert 422 == client.put("/faults", json=[503]).status_code
    with pytest.raises(TypeError, match="object"):
        Fault.from_json([503])


def test_a_fault_ends_after_so_many_requests(collector: RunningCollector, client: httpx.Client) -> None:
    """`remaining` counts protocol requests; control requests neither count nor suffer."""
    collector.faults.set(Fault(status=500, remaining=2))

    assert 500 == ingest(client).status_code
    assert 200 == client.get("/counts").status_code
    assert 1 == client.get("/faults").json()["remaining"]
    assert 500 == client.request("DELETE", "/api/gdpr/delete-self", json={"client_id": CLIENT}).status_code
    assert collector.faults.current is None
    assert 202 == ingest(client).status_code


def test_a_fault_is_handed_out_exactly_so_often(collector: RunningCollector) -> None:
    """Of many requests at once exactly `remaining` fail."""
    collector.faults.set(Fault(status=500, remaining=10))
    statuses: list[int] = []

    def send() -> None:
        with new_client(collector) as client:
            statuses.extend(ingest(client).status_code for _ in range(5))

    run_all([send] * 5)

    assert [202] * 15 + [500] * 10 == sorted(statuses)


def test_faults_spare_the_control_routes(collector: RunningCollector, client: httpx.Client) -> None:
    """Whoever set a fault can always see and end it."""
    collector.faults.set(Fault(drop="before"))

    for path in ("/", "/events", "/rejected", "/counts", "/requests", "/faults", "/health"):
        assert 200 == client.get(path).status_code
    assert 204 == client.delete("/faults").status_code
