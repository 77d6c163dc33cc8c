"""What the collector's faults do: it fails exactly as it was told to, and stores exactly what it should."""

from __future__ import annotations

import time
from dataclasses import replace

import httpx
import pytest

from producttelemetry.collector import Counts, Fault, RunningCollector
from tests import collector_support
from tests.collector_support import connect, ingest, make_event, raw_ingest
from tests.harness import wait_until

running = collector_support.running
collector = collector_support.collector
client = collector_support.client


# -- wrong answers -----------------------------------------------------------------------------------------------------


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


# -- no answer ---------------------------------------------------------------------------------------------------------


def test_fault_drop_before(collector: RunningCollector, client: httpx.Client) -> None:
    """The connection ends without an answer and nothing was stored; the log has a request without a status."""
    collector.faults.set(Fault(drop="before", remaining=1))

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
        ingest(client, make_event())

    assert Counts() == collector.store.counts()
    assert [(None, None)] == [(entry["status"], entry["events"]) for entry in collector.journal.to_json()]
    assert 202 == ingest(client, make_event()).status_code


@pytest.mark.parametrize(
    ("fault", "accepted", "status"),
    [(Fault(drop="after"), 1, None), (Fault(drop="during"), 1, 202), (Fault(drop="during", status=422), 0, 422)],
)
def test_fault_drop_of_an_answer(
    collector: RunningCollector, client: httpx.Client, fault: Fault, accepted: int, status: int | None
) -> None:
    """No answer, or a part of one, whatever it is; a batch that was stored is a duplicate when it is sent again."""
    collector.faults.set(replace(fault, remaining=1))
    event = make_event()

    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ingest(client, event)

    assert Counts(accepted=accepted) == collector.store.counts()
    assert [(status, 1)] == [(entry["status"], entry["events"]) for entry in collector.journal.to_json()]
    assert 202 == ingest(client, event).status_code
    assert Counts(accepted=1, duplicates=accepted) == collector.store.counts()


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


# -- late answers ------------------------------------------------------------------------------------------------------


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
