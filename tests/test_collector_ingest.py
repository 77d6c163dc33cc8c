"""The collector's ingest route over real sockets: which batches and events it takes, and how it refuses the others."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from producttelemetry.collector import Counts, RunningCollector
from producttelemetry.collector.body import MAX_BODY
from producttelemetry.collector.validate import problem
from tests import collector_support
from tests.collector_support import CLIENT, SESSION, connect, ingest, make_event, new_client, raw_head
from tests.harness import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


# -- batches -----------------------------------------------------------------------------------------------------------


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


# -- events ------------------------------------------------------------------------------------------------------------


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


# -- bodies ------------------------------------------------------------------------------------------------------------


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
