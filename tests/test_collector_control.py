"""Looking at what the collector received: listings, counters, the request log, and starting anew."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.routing import Route

from producttelemetry import collector as collector_package
from producttelemetry.collector import Counts, Journal, RunningCollector, Store, create_app
from tests import collector_support
from tests.collector_support import CLIENT, EPOCH, ingest, make_event

if TYPE_CHECKING:
    import httpx

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


# -- listings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"name": "opened"}, [0, 3]),
        ({"type": "error"}, [1]),
        ({"client_id": CLIENT.upper()}, [0, 1, 3]),
        ({"name": "opened", "limit": "1"}, [0]),
        ({"limit": "0"}, []),
        ({"name": "no such"}, []),
    ],
)
def test_events_can_be_filtered(client: httpx.Client, filters: dict[str, str], expected: list[int]) -> None:
    """Each filter narrows the list, together they narrow it further, the order stays that of arrival."""
    events = [
        make_event(),
        make_event(event_name="error.ValueError", event_type="error"),
        make_event(event_name="closed", client_id=str(uuid.uuid4())),
        make_event(),
    ]
    ingest(client, *events)

    rows = client.get("/events", params=filters).json()["events"]

    assert [events[number] for number in expected] == [row["event"] for row in rows]


def test_the_store_can_be_followed(client: httpx.Client) -> None:
    """Asking for what came after the last rowid seen shows each event once, across an erasure and a reset."""
    ingest(client, make_event(), make_event())
    seen = client.get("/events").json()["events"][-1]["rowid"]
    client.request("DELETE", "/api/gdpr/delete-self", json={"client_id": CLIENT})
    ingest(client, after_erasure := make_event())

    rows = client.get("/events", params={"after": seen}).json()["events"]
    assert [after_erasure] == [row["event"] for row in rows]

    seen = rows[-1]["rowid"]
    client.post("/reset")
    ingest(client, after_reset := make_event())
    rows = client.get("/events", params={"after": seen}).json()["events"]
    assert [after_reset] == [row["event"] for row in rows]


def test_a_listing_is_bounded(client: httpx.Client) -> None:
    """Without a limit a listing ends after 100 rows."""
    ingest(client, *[make_event() for _ in range(101)])
    ingest(client, *range(101))

    assert 100 == len(client.get("/events").json()["events"])
    assert 101 == len(client.get("/events", params={"limit": 500}).json()["events"])
    assert 100 == len(client.get("/rejected").json()["rejected"])
    assert [100] == [row["event"] for row in client.get("/rejected", params={"after": 100}).json()["rejected"]][-1:]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("nam=opened", "nam"),
        ("limit=-1", "limit"),
        ("limit=10001", "limit"),
        ("after=x", "after"),
        ("after=²", "after"),
        ("before=", "before"),
        ("order=random", "order"),
        ("brief=2", "brief"),
    ],
)
def test_a_wrong_query_is_refused_by_name(client: httpx.Client, query: str, name: str) -> None:
    """A misspelt filter does not pass for one that matches everything."""
    answer = client.get(f"/events?{query}")

    assert 422 == answer.status_code
    assert name in answer.json()["error"]


def test_listings_show_the_time_of_arrival_in_utc(client: httpx.Client) -> None:
    """Over HTTP the time of arrival is ISO 8601 with an offset."""
    ingest(client, make_event(), "no event")

    rows = [*client.get("/events").json()["events"], *client.get("/rejected").json()["rejected"]]

    assert 2 == len(rows)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+\+00:00", row["received_at"]) for row in rows)


# -- counters and the request log --------------------------------------------------------------------------------------


def test_counts_show_everything(client: httpx.Client) -> None:
    """One request tells all counters, requests included, and asking does not count."""
    event = make_event()
    ingest(client, event, event, "no event")
    client.post("/api/identify", json={"client_id": CLIENT, "user_id": "ada"})
    client.request("DELETE", "/api/gdpr/delete-self", json={"client_id": CLIENT})

    expected = {
        "accepted": 1,
        "duplicates": 1,
        "rejected": 1,
        "identified": 1,
        "deletions": 1,
        "erased": 1,
        "stored": 0,
        "requests": 3,
    }
    assert expected == client.get("/counts").json()
    assert expected == client.get("/counts").json()


def test_requests_are_logged(client: httpx.Client) -> None:
    """The log has what each protocol request was and what was answered; control requests are not in it."""
    client.post("/api/ingest", json={"events": [make_event()]}, headers={"Idempotency-Key": "abc"})
    client.post("/api/ingest", content=b"{")
    client.get("/events")

    entries = client.get("/requests").json()["requests"]

    assert [
        ("POST", "/api/ingest", 202, 1, "abc"),
        ("POST", "/api/ingest", 400, None, None),
    ] == [
        (entry["method"], entry["path"], entry["status"], entry["events"], entry["idempotency_key"])
        for entry in entries
    ]
    assert entries[0]["at"] <= entries[1]["at"] <= time.time()


def test_the_request_log_is_bounded() -> None:
    """The last 1000 requests are kept, all are counted, and clearing starts both anew."""
    journal = Journal(clock=lambda: EPOCH)
    for number in range(1001):
        journal.open("POST", f"/api/{number}", None)

    entries = journal.to_json()
    assert (1000, 1001) == (len(entries), journal.total)
    assert ["/api/1", "/api/1000"] == [entries[0]["path"], entries[-1]["path"]]
    assert EPOCH == entries[0]["at"]
    journal.clear()
    assert ([], 0) == (journal.to_json(), journal.total)


def test_reset_forgets_everything(collector: RunningCollector, client: httpx.Client) -> None:
    """After a reset the collector is as new: no events, requests, counters or faults."""
    ingest(client, make_event(), "no event")
    client.put("/faults", json={"status": 503})

    assert 204 == client.post("/reset").status_code

    assert Counts() == collector.store.counts()
    assert ([], []) == (collector.store.events(), collector.store.rejected())
    assert 0 == collector.journal.total
    assert collector.faults.current is None


# -- documentation -----------------------------------------------------------------------------------------------------


def test_every_route_is_documented() -> None:
    """The table in the package's docstring and the one in the README have every route for tests."""
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    with Store() as store:
        paths = {route.path for route in create_app(store).routes if isinstance(route, Route)}

    for path in sorted(path for path in paths if not path.startswith(("/api/", "/assets/"))):
        documented = path.replace(":int", "") + ("`" if path == "/" else "")
        assert documented in (collector_package.__doc__ or "")
        assert documented in readme


# -- health ------------------------------------------------------------------------------------------------------------


def test_health(client: httpx.Client) -> None:
    """The server says that it is there."""
    assert {"status": "ok"} == client.get("/health").json()
