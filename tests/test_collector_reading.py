"""Reading the collector as its page does: newest first, brief rows, one event, counts by name and time."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry.collector import Query, RunningCollector, Store
from tests import collector_support
from tests.collector_support import CLIENT, EPOCH, ingest, make_event

if TYPE_CHECKING:
    import httpx

running = collector_support.running
collector = collector_support.collector
client = collector_support.client

FILTERS: list[dict[str, Any]] = [
    {"name": "rare"},
    {"event_type": "error"},
    {"client_id": CLIENT.upper()},
    {"name": "common", "event_type": "usage"},
    {"name": "common", "event_type": "error", "client_id": CLIENT},
]


@pytest.mark.parametrize("kind", ["events", "rejected"])
def test_the_newest_come_first_page_by_page(client: httpx.Client, kind: str) -> None:
    """Asking for what is older than the last row seen goes through everything once, whatever arrives meanwhile."""
    ingest(client, *[make_event() for _ in range(7)], *range(7))
    seen: list[int] = []
    for _ in range(3):
        seen += [row["rowid"] for row in client.get(f"/{kind}", params=_older_than(seen)).json()[kind]]
        ingest(client, make_event(), "another")

    assert 7 == len(seen)
    assert sorted(seen, reverse=True) == seen


def _older_than(seen: list[int]) -> dict[str, str | int]:
    return {"order": "newest", "limit": 3, **({"before": seen[-1]} if seen else {})}


def test_brief_rows_have_what_a_list_shows(client: httpx.Client) -> None:
    """Brief, an event's row has no properties, and a rejected one only the start of what came."""
    ingest(client, make_event(properties={"text": "x" * 5000}), {"event_name": "x" * 5000})

    (accepted,) = client.get("/events", params={"brief": 1}).json()["events"]
    (rejected,) = client.get("/rejected", params={"brief": 1}).json()["rejected"]

    assert {"rowid", "received_at", "name", "type", "client_id"} == set(accepted)
    assert ("opened", "usage", CLIENT) == (accepted["name"], accepted["type"], accepted["client_id"])
    assert {"rowid", "received_at", "excerpt", "message"} == set(rejected)
    assert 200 == len(rejected["excerpt"])
    assert rejected["excerpt"].startswith('{"event_name":"xxx')


def test_one_event_is_what_was_sent(client: httpx.Client) -> None:
    """By its rowid an event comes alone, character by character as it was sent; what is not there gets 404."""
    ingest(client, make_event(), event := make_event(properties={"big": 2**63, "<b>": "<script>"}), [1])
    accepted = client.get("/events").json()["events"][-1]["rowid"]
    rejected = client.get("/rejected").json()["rejected"][-1]["rowid"]

    assert event == client.get(f"/events/{accepted}").json()["event"]
    assert '"big":9223372036854775808' in client.get(f"/events/{accepted}").text
    assert "nosniff" == client.get(f"/events/{accepted}").headers["x-content-type-options"]
    found = client.get(f"/rejected/{rejected}").json()
    assert ([1], "an event must be an object") == (found["event"], found["message"])
    for path in (f"/events/{accepted + 1}", "/events/0", f"/events/{2**63}", "/rejected/0"):
        assert 404 == client.get(path).status_code
        assert "there is no such event" == client.get(path).json()["error"]


def test_names_are_counted(client: httpx.Client) -> None:
    """The most frequent name stands first, erased events do not count, and the names left out are told."""
    other = str(uuid.uuid4())
    names = ["b", "a", "c", "a", "<script>", "b", "a"]
    ingest(client, *[make_event(event_name=name) for name in names], make_event(event_name="gone", client_id=other))
    client.request("DELETE", "/api/gdpr/delete-self", json={"client_id": other})

    expected = [{"name": "a", "count": 3}, {"name": "b", "count": 2}, {"name": "<script>", "count": 1}]
    assert {"names": expected, "more": 1} == client.get("/names", params={"limit": 3}).json()


def test_arrivals_are_counted_by_time() -> None:
    """Each bar has what arrived in its seconds, the last bar holds the present, what is older is left out."""
    now = [EPOCH]
    with Store(clock=lambda: now[0]) as store:
        for at in (-100, -20, -20, -1, 0):
            now[0] = EPOCH + at
            store.add_events([make_event(), "no event"] if at == -20 else [make_event()])
        now[0] = EPOCH + 9

        found = store.timeline(10, 4)

    assert (EPOCH - 30, 10) == (found.start, found.seconds)
    assert ([0, 2, 1, 1], [0, 2, 0, 0]) == (found.accepted, found.rejected)


@pytest.mark.parametrize("query", ["seconds=0", "bars=0", "bars=501", "seconds=86401", "seconds=x", "second=1"])
def test_a_wrong_timeline_is_refused(client: httpx.Client, query: str) -> None:
    """The number of bars is bounded, and so is their width."""
    assert 422 == client.get(f"/timeline?{query}").status_code


@pytest.mark.parametrize("filters", FILTERS)
def test_filters_use_an_index(collector: RunningCollector, filters: dict[str, Any]) -> None:
    """No filter walks through the whole table: SQLite finds the rows by an index, and they need no sorting."""
    statements: list[str] = []
    database = collector.store._database
    collector.store.events(Query(**filters))
    database.set_trace_callback(statements.append)
    collector.store.brief_events(Query(**filters, before=10**6, limit=100, newest_first=True))
    database.set_trace_callback(None)

    plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statements[-1]}"))

    assert "SEARCH events USING INDEX events_" in plan
    assert "TEMP B-TREE" not in plan
    assert len(filters) == 1 or "events_type" not in plan


def test_a_store_that_nobody_filters_has_no_index(collector: RunningCollector) -> None:
    """Storing stays fast for those who only store and list: indices come with the first question that needs them."""
    del collector
    with Store() as store:
        store.add_events([make_event()])
        store.events()
        indices = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        assert 0 == store._database.execute(indices).fetchone()[0]
        store.names(1)
        assert 0 < store._database.execute(indices).fetchone()[0]
