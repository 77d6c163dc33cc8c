"""The local collector over real sockets: what it takes and refuses, and that it fails exactly as it was told to."""

# ruff: noqa: SIM300  # expected == actual, in this order

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from producttelemetry.collector import (
    Counts,
    Fault,
    Journal,
    ListenError,
    Query,
    Receipt,
    Refusal,
    RunningCollector,
    Store,
    StoreError,
    serve,
)
from producttelemetry.collector.body import MAX_BODY
from producttelemetry.collector.guard import objection
from producttelemetry.collector.page import render
from producttelemetry.collector.validate import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

CLIENT = "0b8e7a52-6f0e-4f0e-9d5c-0d3c5a1b2c3d"
SESSION = "7d3f1c80-1b5e-4c52-8a55-6a0f3a9f1e11"
EPOCH = 1_767_225_600.0

#: Bounds every wait for something that happens in another thread or process; nothing comes near it.
DEADLINE = 10.0


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


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; fail if it does not within `DEADLINE`."""
    give_up_at = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never came true"
        time.sleep(0.001)


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


@pytest.fixture(scope="module")
def running() -> Iterator[RunningCollector]:
    """One server for the tests of this file that do not stop it."""
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


# -- ingest ------------------------------------------------------------------------------------------------------------


def test_ingest_stores_the_batch(collector: RunningCollector, client: httpx.Client) -> None:
    """A valid batch is answered with 202 and is in the store, in its order, when the answer arrives."""
    events = [make_event(event_name=f"event {number}") for number in range(3)]

    answer = ingest(client, *events)

    assert 202 == answer.status_code
    assert {"accepted": 3, "rejected": 0, "errors": []} == answer.json()
    assert events == [stored.value for stored in collector.store.events()]


def test_event_text_is_kept_as_sent(collector: RunningCollector, client: httpx.Client) -> None:
    """In the SDK's layout an event's text is stored as it was sent, unknown fields and number spellings included."""
    text = json.dumps(make_event(properties={"n": 1, "é": "ü"}, later=True), ensure_ascii=False)
    text = text.replace('"n": 1', '"n":1.50e1')

    answer = client.post("/api/ingest", content=f'{{"events":[{text}]}}'.encode())

    assert 202 == answer.status_code
    assert [text] == [stored.text for stored in collector.store.events()]


@pytest.mark.parametrize(
    "layout",
    ['{{ "events" : [ {0} , {1} ] }}', '{{"sent_at":1,"events":[{0},{1}]}}', '{{"events":[{0},{1}],"more":[]}}\n'],
)
def test_any_layout_of_the_batch_is_read(collector: RunningCollector, client: httpx.Client, layout: str) -> None:
    """White space and further members make no difference to what is accepted."""
    events = [make_event(), make_event()]

    answer = client.post("/api/ingest", content=layout.format(*map(json.dumps, events)))

    assert 202 == answer.status_code
    assert events == [stored.value for stored in collector.store.events()]


def test_empty_batch_is_accepted(client: httpx.Client) -> None:
    """A batch without events is no error."""
    answer = ingest(client)

    assert 202 == answer.status_code
    assert {"accepted": 0, "rejected": 0, "errors": []} == answer.json()


def test_duplicates_are_accepted_but_stored_once(collector: RunningCollector, client: httpx.Client) -> None:
    """An id that was seen, in any spelling, in the same or an earlier batch, counts as accepted and adds nothing."""
    first, second = make_event(), make_event()
    shouted = {**first, "event_id": first["event_id"].upper()}

    assert 2 == ingest(client, first, first).json()["accepted"]
    assert 2 == ingest(client, shouted, second).json()["accepted"]

    assert [first, second] == [stored.value for stored in collector.store.events()]
    assert Counts(accepted=2, duplicates=2) == collector.store.counts()


def test_duplicates_are_counted_in_large_batches(collector: RunningCollector, client: httpx.Client) -> None:
    """A full batch that overlaps an earlier one adds exactly the new events, whatever the store does in portions."""
    events = [make_event() for _ in range(500)]

    assert 137 == ingest(client, *events[:137]).json()["accepted"]
    assert 500 == ingest(client, *events).json()["accepted"]

    assert events == [stored.value for stored in collector.store.events()]
    assert Counts(accepted=500, duplicates=137) == collector.store.counts()


def test_invalid_events_are_named_and_the_others_stored(collector: RunningCollector, client: httpx.Client) -> None:
    """207 names each rejected event by its place; the valid ones around it are stored, the rejected ones listed."""
    good, bad = make_event(), make_event(event_type="click")

    answer = ingest(client, bad, good, 17)

    assert 207 == answer.status_code
    message = "event_type must be one of lifecycle, usage, error"
    errors = [{"index": 0, "message": message}, {"index": 2, "message": "an event must be an object"}]
    assert {"accepted": 1, "rejected": 2, "errors": errors} == answer.json()
    assert [good] == [stored.value for stored in collector.store.events()]
    rejected = client.get("/rejected").json()["rejected"]
    assert [(bad, message), (17, "an event must be an object")] == [(row["event"], row["message"]) for row in rejected]
    assert Counts(accepted=1, rejected=2) == collector.store.counts()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("event_name", "", "event_name must be a non-empty string"),
        ("event_name", 1, "event_name must be a non-empty string"),
        ("event_name", "half \ud83d", "event_name must be a non-empty string"),
        ("event_type", [], "event_type must be one of lifecycle, usage, error"),
        ("event_type", "Usage", "event_type must be one of lifecycle, usage, error"),
        ("client_id", "nobody", "client_id must be a UUID"),
        ("client_id", CLIENT + "\n", "client_id must be a UUID"),
        ("session_id", SESSION.replace("-", ""), "session_id must be a UUID"),
        ("event_id", 7, "event_id must be a UUID"),
        ("timestamp", "2026-01-02T03:04:05", "timestamp must be an ISO 8601 date and time with an offset"),
        ("timestamp", "2026-01-02", "timestamp must be an ISO 8601 date and time with an offset"),
        ("timestamp", "2026-01-02\ud83d03:04:05Z", "timestamp must be an ISO 8601 date and time with an offset"),
        ("timestamp", "yesterday", "timestamp must be an ISO 8601 date and time with an offset"),
        ("timestamp", 1767225600, "timestamp must be an ISO 8601 date and time with an offset"),
        ("properties", None, "properties must be an object"),
        ("properties", [1], "properties must be an object"),
    ],
)
def test_each_field_is_checked(client: httpx.Client, field: str, value: object, message: str) -> None:
    """A field of the wrong type or form is refused by name; nothing that JSON can spell upsets the store."""
    # Not `json=`: httpx itself cannot send half a surrogate pair, which as an escape is valid JSON.
    answer = client.post("/api/ingest", content=json.dumps({"events": [make_event(**{field: value})]}))

    assert 207 == answer.status_code
    assert [{"index": 0, "message": message}] == answer.json()["errors"]


@pytest.mark.parametrize("field", list(make_event()))
def test_each_field_is_required(field: str) -> None:
    """An event without one of the seven fields is refused, and the message names the field."""
    event = make_event()
    del event[field]

    assert f"{field} is missing" == problem(event)


@pytest.mark.parametrize("timestamp", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678901+05:30", "20260102T030405Z"])
def test_timestamps_with_an_offset_are_valid(timestamp: str) -> None:
    """Every ISO 8601 form that states its offset is taken."""
    assert problem(make_event(timestamp=timestamp)) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b'{"events":[', 400),
        (b'{"events":[{}]', 400),
        (b'{"events":[{}]}]', 400),
        (b'{"events":[{"n":NaN}]}', 400),
        (b'{"events":[{"n":-Infinity}]}', 400),
        (b'{"events":["\xff"]}', 400),
        (b'{"events":[' + b"9" * 5000 + b"]}", 400),
        (b'{"events":' + b"[" * 100_000, 400),
        (b'{"events":[' + b"[" * 100_000, 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"events":{}}', 422),
        (b'{"events":null}', 422),
    ],
)
def test_bodies_that_are_no_batch(collector: RunningCollector, client: httpx.Client, body: bytes, status: int) -> None:
    """What is not JSON gets 400, JSON of another shape 422, each with a reason in JSON; nothing is stored."""
    answer = client.post("/api/ingest", content=body)

    assert status == answer.status_code
    assert ["error"] == list(answer.json())
    assert Counts() == collector.store.counts()


def test_a_batch_holds_at_most_500_events(collector: RunningCollector, client: httpx.Client) -> None:
    """500 events are taken; one more gets 413 and none of them is stored."""
    events = [make_event() for _ in range(501)]

    assert 413 == ingest(client, *events).status_code
    assert 0 == collector.store.counts().accepted
    assert 202 == ingest(client, *events[:500]).status_code
    assert 500 == collector.store.counts().accepted


def test_a_body_of_exactly_the_limit_is_taken(client: httpx.Client) -> None:
    """The bound is 1 MiB, not one byte less."""
    body = json.dumps({"events": [make_event()]}).encode()

    assert 202 == client.post("/api/ingest", content=body.ljust(MAX_BODY)).status_code
    assert 413 == client.post("/api/ingest", content=body.ljust(MAX_BODY + 1)).status_code


def test_a_large_declared_body_is_refused_unread(collector: RunningCollector) -> None:
    """413 arrives although not one byte of the announced body was sent."""
    with connect(collector) as connection:
        connection.sendall(raw_head(f"Content-Length: {MAX_BODY + 1}"))

        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_an_endless_body_is_refused_while_it_is_read(collector: RunningCollector) -> None:
    """A body without a declared length gets 413 at the byte too many, not at its end, which never comes."""
    with connect(collector) as connection:
        connection.sendall(raw_head("Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n" % (MAX_BODY + 1) + b" " * (MAX_BODY + 1))

        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_refused_body_does_not_spoil_the_connection(collector: RunningCollector, client: httpx.Client) -> None:
    """After a 413 the next request is answered as if nothing had happened."""
    assert 413 == client.post("/api/ingest", content=b" " * (4 * MAX_BODY)).status_code

    assert 202 == ingest(client, make_event()).status_code
    assert 1 == collector.store.counts().accepted


def test_a_client_that_leaves_in_the_middle_of_its_body(
    collector: RunningCollector, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a request stores nothing, is noted, and is no error of the server's."""
    with connect(collector) as connection:
        connection.sendall(raw_head("Content-Length: 100") + b"{")
        wait_until(lambda: collector.journal.total == 1)
    wait_until(lambda: collector.journal.to_json()[0]["status"] == 499)

    assert 202 == ingest(client, make_event()).status_code
    assert 1 == collector.store.counts().accepted
    assert [] == [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_a_failing_store_is_answered_with_503(tmp_path: Path) -> None:
    """When the store cannot write, the sender is told to keep its events."""
    with RunningCollector(store=str(tmp_path / "events.db")) as collector, new_client(collector) as client:
        with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as other, other:
            other.execute("DROP TABLE rejected")

        answer = ingest(client, make_event(), "not an event")

        assert 503 == answer.status_code
        assert ["error"] == list(answer.json())
        assert [] == collector.store.events()


# -- the write key -----------------------------------------------------------------------------------------------------

PROTOCOL_ROUTES: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/api/ingest", {"events": []}, 202),
    ("POST", "/api/identify", {"client_id": CLIENT, "user_id": "ada"}, 200),
    ("DELETE", "/api/gdpr/delete-self", {"client_id": CLIENT}, 202),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), PROTOCOL_ROUTES)
def test_a_write_key_is_required(
    collector: RunningCollector, method: str, path: str, body: dict[str, Any], status: int
) -> None:
    """Each protocol route takes any key but none; nothing happens without one."""
    with new_client(collector, key=None) as anonymous:
        for headers in ({}, {"X-Write-Key": ""}):
            answer = anonymous.request(method, path, json=body, headers=headers)
            assert 401 == answer.status_code
            assert {"error": "the X-Write-Key header is missing"} == answer.json()
        assert Counts() == collector.store.counts()

        assert status == anonymous.request(method, path, json=body, headers={"X-Write-Key": "any"}).status_code


def test_a_given_write_key_must_match() -> None:
    """A collector with a key refuses every other one, also one outside ASCII, and never shows its own."""
    with RunningCollector(write_key="schlüssel") as collector:
        for wrong in (b"other", "schlüsse".encode(), "schlüssel".encode("latin-1")):
            with httpx.Client(base_url=collector.url, headers=[(b"X-Write-Key", wrong)], trust_env=False) as client:
                answer = ingest(client, make_event())
                assert 401 == answer.status_code
                assert {"error": "the X-Write-Key header holds another key"} == answer.json()
        right = [(b"X-Write-Key", "schlüssel".encode())]
        with httpx.Client(base_url=collector.url, headers=right, trust_env=False) as client:
            assert 202 == ingest(client, make_event()).status_code


# -- identify and erasure ----------------------------------------------------------------------------------------------


def test_identify_links_a_client_once(collector: RunningCollector, client: httpx.Client) -> None:
    """The first link says so, the same again does not, another user is a link of its own."""
    link = {"client_id": CLIENT, "user_id": "ada"}

    assert {"linked": True, "created": True} == client.post("/api/identify", json=link).json()
    assert {"linked": True, "created": False} == client.post("/api/identify", json=link).json()
    assert {"linked": True, "created": True} == client.post("/api/identify", json={**link, "user_id": "bob"}).json()

    assert [(CLIENT, "ada"), (CLIENT, "bob")] == collector.store.identities()
    assert Counts(identified=2) == collector.store.counts()


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/identify", {"client_id": CLIENT}, "user_id must be a non-empty string"),
        ("/api/identify", {"client_id": CLIENT, "user_id": ""}, "user_id must be a non-empty string"),
        ("/api/identify", {"client_id": "me", "user_id": "ada"}, "client_id must be a UUID"),
        ("/api/identify", [], "the body must be an object"),
        ("/api/gdpr/delete-self", {}, "client_id must be a UUID"),
    ],
)
def test_malformed_identities_are_refused(
    collector: RunningCollector, client: httpx.Client, path: str, body: object, message: str
) -> None:
    """Identify and erasure refuse what names nobody, with a reason, and do nothing."""
    answer = client.request("POST" if path == "/api/identify" else "DELETE", path, json=body)

    assert 422 == answer.status_code
    assert {"error": message} == answer.json()
    assert Counts() == collector.store.counts()


def test_erasure_removes_one_client_only(collector: RunningCollector, client: httpx.Client) -> None:
    """After the answer nothing of that client is left, everything of the others is, and the request is on record."""
    other = str(uuid.uuid4())
    theirs = make_event(client_id=other)
    ingest(client, make_event(), theirs, make_event(client_id=CLIENT.upper()))
    for client_id in (CLIENT, other):
        client.post("/api/identify", json={"client_id": client_id, "user_id": "ada"})

    answer = client.request("DELETE", "/api/gdpr/delete-self", json={"client_id": CLIENT.title()})

    assert 202 == answer.status_code
    assert {"status": "pending"} == answer.json()
    assert [theirs] == [stored.value for stored in collector.store.events()]
    assert [(other, "ada")] == collector.store.identities()
    assert [CLIENT] == collector.store.deletions()
    counts = collector.store.counts()
    assert Counts(accepted=3, identified=2, deletions=1, erased=2) == counts
    assert 1 == counts.stored


# -- wrong addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/ingest/", 404),
        ("POST", "/api/v2/ingest", 404),
        ("GET", "/api/ingest", 405),
        ("GET", "/nothing", 404),
        ("POST", "/events", 405),
    ],
)
def test_wrong_addresses_are_refused_in_json(client: httpx.Client, method: str, path: str, status: int) -> None:
    """A wrong path or method gets a reason in JSON, and a trailing slash no redirect, which could be a portal's."""
    answer = client.request(method, path)

    assert status == answer.status_code
    assert ["error"] == list(answer.json())


# -- looking on --------------------------------------------------------------------------------------------------------


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
    ],
)
def test_a_wrong_query_is_refused_by_name(client: httpx.Client, query: str, name: str) -> None:
    """A misspelt filter does not pass for one that matches everything."""
    answer = client.get(f"/events?{query}")

    assert 422 == answer.status_code
    assert name in answer.json()["error"]


def test_received_at_is_the_time_of_arrival() -> None:
    """The server's clock, not the event's timestamp, dates what came, the rejected included."""
    with Store(clock=lambda: EPOCH) as store:
        assert Receipt(1, (Refusal(1, "an event must be an object"),)) == store.add_events([make_event(), None])

        assert [EPOCH] == [stored.received_at for stored in store.events()]
        assert [(EPOCH, "null")] == [(refused.received_at, refused.text) for refused in store.rejected()]


def test_listings_show_the_time_of_arrival_in_utc(client: httpx.Client) -> None:
    """Over HTTP the time of arrival is ISO 8601 with an offset."""
    ingest(client, make_event(), "no event")

    rows = [*client.get("/events").json()["events"], *client.get("/rejected").json()["rejected"]]

    assert 2 == len(rows)
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+\+00:00", row["received_at"]) for row in rows)


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


def test_health(client: httpx.Client) -> None:
    """The server says that it is there."""
    assert {"status": "ok"} == client.get("/health").json()


def test_the_page_is_for_people(client: httpx.Client) -> None:
    """The page shows the counters and the routes, and neither loads nor may be framed by anything."""
    ingest(client, *[make_event() for _ in range(42)])

    answer = client.get("/")

    assert 200 == answer.status_code
    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "<tr><th>accepted</th><td>42</td></tr>" in answer.text
    assert "POST /api/ingest" in answer.text
    assert not re.search(r"\b(?:src|href)=|<script", answer.text)


def test_the_page_is_escaped() -> None:
    """What is shown cannot become markup."""
    assert "<th>&lt;b&gt;</th>" in render({"<b>": 1})


# -- who may ask -------------------------------------------------------------------------------------------------------


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


# -- faults: setting them ----------------------------------------------------------------------------------------------


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


# -- faults: what they do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_fault_status(collector: RunningCollector, client: httpx.Client, status: int) -> None:
    """The status is answered in JSON with `Retry-After`, nothing is stored, and the log has the batch."""
    collector.faults.set(Fault(status=status, retry_after=120))

    answer = ingest(client, make_event(), make_event())

    assert status == answer.status_code
    assert "120" == answer.headers["retry-after"]
    assert {"error": "injected"} == answer.json()
    assert Counts() == collector.store.counts()
    assert [(status, 2)] == [(entry["status"], entry["events"]) for entry in collector.journal.to_json()]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(status=204, body="ignored", retry_after=1), (204, None, "")),
        (Fault(status=202), (202, "text/plain; charset=utf-8", "")),
        (Fault(body="{", content_type="application/json"), (200, "application/json", "{")),
        (Fault(status=202, body="thanks"), (202, "text/plain; charset=utf-8", "thanks")),
        (Fault(status=422, body="<b>", content_type="text/html"), (422, "text/html; charset=utf-8", "<b>")),
    ],
)
def test_fault_success_that_is_none(
    collector: RunningCollector, client: httpx.Client, fault: Fault, expected: tuple[int, str | None, str]
) -> None:
    """Any body and content type can come with any status; without them a 2xx never looks like an acknowledgement."""
    collector.faults.set(fault)

    answer = ingest(client, make_event())

    assert expected == (answer.status_code, answer.headers.get("content-type"), answer.text)
    assert Counts() == collector.store.counts()


def test_fault_retry_after_alone_means_unavailable(collector: RunningCollector, client: httpx.Client) -> None:
    """A date is sent as it is, with 503 where no status was given."""
    collector.faults.set(Fault(retry_after="Wed, 21 Oct 2026 07:28:00 GMT"))

    answer = ingest(client, make_event())

    assert 503 == answer.status_code
    assert "Wed, 21 Oct 2026 07:28:00 GMT" == answer.headers["retry-after"]


def test_fault_portal(collector: RunningCollector, client: httpx.Client) -> None:
    """A captive portal answers 200 with a page, to everything, and keeps nothing."""
    collector.faults.set(Fault(portal=True))

    answer = ingest(client, make_event())

    assert 200 == answer.status_code
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")
    assert Counts() == collector.store.counts()


def test_fault_redirect(collector: RunningCollector, client: httpx.Client) -> None:
    """A portal of the other kind redirects; the status can be chosen."""
    collector.faults.set(Fault(redirect="http://127.0.0.1:9/login", remaining=1))
    answer = ingest(client, make_event())
    assert (302, "http://127.0.0.1:9/login") == (answer.status_code, answer.headers["location"])

    collector.faults.set(Fault(redirect="/login", status=307))
    answer = ingest(client, make_event())
    assert (307, "/login") == (answer.status_code, answer.headers["location"])
    assert Counts() == collector.store.counts()


def test_fault_poison(collector: RunningCollector, client: httpx.Client) -> None:
    """One event of the name spoils its whole batch; without it the batch is taken."""
    collector.faults.set(Fault(poison="bad apple"))
    good, bad = make_event(), make_event(event_name="bad apple")

    answer = ingest(client, good, bad, "no object")

    assert 422 == answer.status_code
    assert Counts() == collector.store.counts()
    assert 202 == ingest(client, good).status_code
    assert 422 == ingest(client, bad).status_code
    assert [good] == [stored.value for stored in collector.store.events()]
    assert [3, 1, 1] == [entry["events"] for entry in collector.journal.to_json()]


def test_fault_max_events(collector: RunningCollector, client: httpx.Client) -> None:
    """A batch over the limit gets 413 as a whole, one at the limit is taken."""
    collector.faults.set(Fault(max_events=2))
    events = [make_event() for _ in range(3)]

    assert 413 == ingest(client, *events).status_code
    assert 0 == collector.store.counts().accepted
    assert 202 == ingest(client, *events[:2]).status_code
    assert 2 == collector.store.counts().accepted


def test_fault_drop_before(collector: RunningCollector, client: httpx.Client) -> None:
    """The connection ends without an answer and nothing was stored; the log has a request without a status."""
    collector.faults.set(Fault(drop="before", remaining=1))

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        ingest(client, make_event())

    assert Counts() == collector.store.counts()
    assert [(None, None)] == [(entry["status"], entry["events"]) for entry in collector.journal.to_json()]
    assert 202 == ingest(client, make_event()).status_code


def test_fault_drop_after(collector: RunningCollector, client: httpx.Client) -> None:
    """The connection ends without an answer although the batch was stored; sent again it is a duplicate."""
    collector.faults.set(Fault(drop="after", remaining=1))
    event = make_event()

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ingest(client, event)

    assert Counts(accepted=1) == collector.store.counts()
    assert [(None, 1)] == [(entry["status"], entry["events"]) for entry in collector.journal.to_json()]
    assert 202 == ingest(client, event).status_code
    assert Counts(accepted=1, duplicates=1) == collector.store.counts()


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_dropped_connection_ends_without_a_byte(
    collector: RunningCollector, caplog: pytest.LogCaptureFixture, drop: str
) -> None:
    """On the wire there is the end of the connection and nothing before it; the server reports no error."""
    collector.faults.set(Fault.from_json({"drop": drop}))
    with connect(collector) as connection:
        connection.sendall(raw_ingest())
        try:
            received = connection.recv(4096)
        except ConnectionResetError:
            received = b""

    assert b"" == received
    assert [] == [record for record in caplog.records if record.name.startswith("uvicorn")]


def test_fault_latency(collector: RunningCollector, client: httpx.Client) -> None:
    """The answer comes that much later, and it is the true one."""
    collector.faults.set(Fault(latency_seconds=0.15))
    started = time.monotonic()

    answer = ingest(client, make_event())

    assert 202 == answer.status_code
    assert time.monotonic() - started >= 0.15
    assert 1 == collector.store.counts().accepted


def test_fault_latency_with_a_status(collector: RunningCollector, client: httpx.Client) -> None:
    """Latency goes together with every other fault."""
    collector.faults.set(Fault(latency_seconds=0.05, status=503))
    started = time.monotonic()

    assert 503 == ingest(client, make_event()).status_code
    assert time.monotonic() - started >= 0.05


def test_a_client_that_gives_up_has_had_its_events_stored(collector: RunningCollector, client: httpx.Client) -> None:
    """The delay comes after the work: a client that times out and sends again makes a duplicate, not a second event."""
    collector.faults.set(Fault(latency_seconds=60, remaining=1))
    event = make_event()
    with connect(collector) as impatient:
        impatient.sendall(raw_ingest(event))
        wait_until(lambda: collector.store.counts().accepted == 1)
        impatient.setblocking(False)
        with pytest.raises(BlockingIOError):
            impatient.recv(1)

    assert 202 == ingest(client, event).status_code
    assert Counts(accepted=1, duplicates=1) == collector.store.counts()
    assert [None, 202] == [entry["status"] for entry in collector.journal.to_json()]


def test_a_request_that_hangs_holds_up_nobody(collector: RunningCollector, client: httpx.Client) -> None:
    """While one answer is held back for a minute, others are answered at once."""
    collector.faults.set(Fault(latency_seconds=60, remaining=1))
    with connect(collector) as hanging:
        hanging.sendall(raw_ingest())
        wait_until(lambda: collector.faults.current is None)

        assert 202 == ingest(client, make_event()).status_code
        assert [None, 202] == [entry["status"] for entry in collector.journal.to_json()]


def test_fault_trickle(collector: RunningCollector, client: httpx.Client) -> None:
    """The body arrives byte by byte, about one each second; a reader that stops early is no error."""
    collector.faults.set(Fault(trickle=True))
    with client.stream("POST", "/api/ingest", json={"events": []}) as answer:
        assert 202 == answer.status_code
        chunks = answer.iter_raw()
        assert b"{" == next(chunks)
        started = time.monotonic()
        assert b'"' == next(chunks)
        assert time.monotonic() - started >= 0.5

    collector.faults.clear()
    assert 202 == ingest(client).status_code


def test_faults_spare_the_control_routes(collector: RunningCollector, client: httpx.Client) -> None:
    """Whoever set a fault can always see and end it."""
    collector.faults.set(Fault(drop="before"))

    for path in ("/", "/events", "/rejected", "/counts", "/requests", "/faults", "/health"):
        assert 200 == client.get(path).status_code
    assert 204 == client.delete("/faults").status_code


# -- many at once, and again later -------------------------------------------------------------------------------------


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


def test_many_senders_at_once(collector: RunningCollector) -> None:
    """Eight senders, each sending every batch that the others send: every event is stored exactly once."""
    batches = [[make_event() for _ in range(60)] for _ in range(8)]

    def sender(number: int) -> Callable[[], None]:
        def send() -> None:
            with new_client(collector) as client:
                for batch in [*batches[number:], *batches[:number]]:
                    assert 60 == ingest(client, *batch).json()["accepted"]

        return send

    run_all([sender(number) for number in range(8)])

    expected = {event["event_id"] for batch in batches for event in batch}
    assert sorted(expected) == sorted(stored.value["event_id"] for stored in collector.store.events())
    assert Counts(accepted=480, duplicates=7 * 480) == collector.store.counts()
    assert 64 == collector.journal.total


def test_a_store_on_disk_survives_a_restart(tmp_path: Path) -> None:
    """Events, counters and order go on where the last run stopped, and its events are still known as duplicates."""
    path = str(tmp_path / "events.db")
    first, second = make_event(), make_event()
    with RunningCollector(store=path) as collector, new_client(collector) as client:
        ingest(client, first)

    with RunningCollector(store=path) as collector, new_client(collector) as client:
        ingest(client, first, second)

        assert [first, second] == [stored.value for stored in collector.store.events()]
        assert [second] == [stored.value for stored in collector.store.events(Query(after=1))]
        assert Counts(accepted=2, duplicates=1) == collector.store.counts()


def test_a_store_without_a_file_starts_empty() -> None:
    """Without a file nothing is left for the next run."""
    for _ in range(2):
        with RunningCollector() as collector, new_client(collector) as client:
            ingest(client, make_event())
            assert Counts(accepted=1) == collector.store.counts()


def test_a_failed_batch_leaves_no_trace(tmp_path: Path) -> None:
    """When the disk fails in the middle of a batch, its first events are not there either, and the next batch is."""
    path = str(tmp_path / "events.db")
    with Store(path) as store:
        with contextlib.closing(sqlite3.connect(path)) as other, other:
            other.execute(
                "CREATE TRIGGER fail BEFORE INSERT ON events WHEN NEW.name = 'last' BEGIN SELECT RAISE(FAIL, 'no'); END"
            )
        with pytest.raises(sqlite3.Error, match="no"):
            store.add_events([*[make_event() for _ in range(60)], make_event(event_name="last")])
        assert ([], Counts()) == (store.events(), store.counts())

        store.add_events([make_event()])
        assert 1 == len(store.events())


def test_the_store_lists_what_a_query_asks_for() -> None:
    """From Python the same filters apply, and without a limit everything is listed."""
    with Store() as store:
        events = [make_event(event_type=kind) for kind in ("usage", "error")] * 100
        for number, event in enumerate(events):
            store.add_events([{**event, "event_id": str(uuid.UUID(int=number))}])

        assert 200 == len(store.events())
        assert 100 == len(store.events(Query(event_type="error")))
        assert [200] == [stored.rowid for stored in store.events(Query(event_type="error", after=198))]


@pytest.mark.parametrize("content", ["text", "other program", "other mark", "other layout"])
def test_a_foreign_file_is_left_alone(tmp_path: Path, content: str) -> None:
    """A file that is not a collector's is refused in one line, and not one byte of it changes."""
    path = tmp_path / "data.db"
    if content == "text":
        path.write_text("a diary, " * 1000)
    elif content == "other layout":
        Store(str(path)).close()
        run_sql(path, "PRAGMA user_version = 2")
    else:
        run_sql(path, "CREATE TABLE t (a)" if content == "other program" else "PRAGMA application_id = 77")
    before = path.read_bytes()

    with pytest.raises(StoreError) as raised:
        Store(str(path))

    assert str(raised.value).startswith(f"cannot open the store {path}: ")
    assert "\n" not in str(raised.value)
    assert before == path.read_bytes()


def run_sql(path: Path, statement: str) -> None:
    """Do something to a database file behind the store's back."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


def test_a_store_needs_its_directory(tmp_path: Path) -> None:
    """A missing directory is named, and not made."""
    missing = tmp_path / "no" / "such"

    with pytest.raises(StoreError, match=f"there is no directory {missing}$"):
        Store(str(missing / "events.db"))

    assert not missing.exists()


# -- starting and stopping ---------------------------------------------------------------------------------------------


def test_it_stops_although_requests_hang() -> None:
    """Leaving the block takes a moment, not the minute that an answer is held back for."""
    with RunningCollector() as collector, connect(collector) as hanging:
        collector.faults.set(Fault(latency_seconds=60, remaining=1))
        hanging.sendall(raw_ingest())
        wait_until(lambda: collector.faults.current is None)
        started = time.monotonic()
        collector.stop()

        assert time.monotonic() - started < 5
        with contextlib.suppress(ConnectionResetError):
            assert b"" == hanging.recv(1)
    assert not _is_listening(collector.url)


def _is_listening(url: str) -> bool:
    address = httpx.URL(url)
    assert address.port is not None
    with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), timeout=1):
        return True
    return False


def test_answers_do_not_wait_for_acknowledgements(client: httpx.Client) -> None:
    """On a kept connection answers take a millisecond, not the 40 that TCP waits for when it may delay small writes."""
    started = time.monotonic()
    for _ in range(50):
        assert 200 == client.get("/health").status_code

    assert time.monotonic() - started < 1


def test_a_server_can_come_back_under_its_address() -> None:
    """A collector on the port of one that was stopped serves the same URL; while none runs, nobody listens."""
    with RunningCollector() as collector, new_client(collector) as client:
        assert 202 == ingest(client, make_event()).status_code
    url = collector.url
    assert not _is_listening(url)

    again = RunningCollector(port=httpx.URL(url).port or 0)
    for _ in range(2):
        with again, new_client(again) as client:
            assert url == again.url
            assert 202 == ingest(client, make_event()).status_code


def test_a_taken_port_is_one_clear_line(collector: RunningCollector) -> None:
    """Both ways to start say which address is taken, as an `OSError`, and leave nothing open."""
    port = httpx.URL(collector.url).port or 0
    expected = f"cannot listen on 127.0.0.1 port {port}: Address already in use"

    with pytest.raises(ListenError) as raised:
        serve(port=port)
    assert expected == str(raised.value)
    with pytest.raises(OSError, match=expected), RunningCollector(port=port):
        pass


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 65536), ("127.0.0.1", -1), ("192.0.2.1", 0), ("a..b", 0), ("a\0b", 0)]
)
def test_an_impossible_address_is_one_clear_line(host: str, port: int) -> None:
    """A port out of range, an address of another machine, a name that is none: each says what is wrong with it."""
    with pytest.raises(ListenError, match=rf"^cannot listen on {re.escape(host)} port {port}: .+$"):
        serve(host, port)


def test_a_bad_store_stops_it_before_it_listens(tmp_path: Path) -> None:
    """The error of the store comes out of both ways to start."""
    path = str(tmp_path / "no" / "events.db")
    with pytest.raises(StoreError):
        serve(port=0, store=path)
    with pytest.raises(StoreError), RunningCollector(store=path):
        pass


def test_ipv6(collector: RunningCollector) -> None:
    """An IPv6 address gets its brackets in the URL, and works."""
    assert collector.url.startswith("http://127.0.0.1:")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with RunningCollector(host="::1") as other, new_client(other) as client:
        assert other.url.startswith("http://[::1]:")
        assert 200 == client.get("/health").status_code


def test_what_ready_raises_stops_the_server() -> None:
    """A caller that cannot use the URL gets its own error back, and nobody listens any more."""
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        serve(port=0, ready=ready)

    assert not _is_listening(urls[0])


SERVE = """
import sys
from producttelemetry.collector import serve
serve(port=0, store=sys.argv[1], write_key="key", ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a signal for one process is TerminateProcess")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_clean_exit(tmp_path: Path, stop: signal.Signals) -> None:
    """The process says where it listens, serves, and on a signal ends with status 0 and not a word on stderr."""
    path = str(tmp_path / "events.db")
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVE, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with httpx.Client(base_url=url, headers={"X-Write-Key": "key"}, trust_env=False) as client:
                assert 202 == ingest(client, make_event()).status_code
                process.send_signal(stop)
                output = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()

    assert (0, ("stopped\n", "")) == (process.returncode, output)
    with Store(path) as store:
        assert Counts(accepted=1) == store.counts()


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_extra_is_named(missing: str) -> None:
    """Without the extra the import fails with one line that says what to install."""
    program = f"""
import sys
sys.modules[{missing!r}] = None
try:
    import producttelemetry.collector
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert f'the collector needs {missing}: pip install "producttelemetry[collector]"\n' == done.stdout
