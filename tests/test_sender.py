"""Delivery to the real collector over real sockets: nothing leaves the queue that the server did not take."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from producttelemetry import _retry
from producttelemetry.collector import Fault, RunningCollector
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry

    Make = Callable[..., Telemetry]


def track(client: Telemetry, count: int, first: int = 0) -> None:
    """Track numbered events."""
    for number in range(first, first + count):
        client.track("test.event", {"number": number})


def statuses(collector: RunningCollector) -> list[tuple[str, int | None, int | None]]:
    """Return (path, status, events) of every request."""
    return [(entry["path"], entry["status"], entry["events"]) for entry in collector.journal.to_json()]


@pytest.fixture
def quiet(telemetry: Make) -> Make:
    """Make clients that flush only when they are asked to."""

    def make(url: str, **arguments: Any) -> Telemetry:
        return telemetry(url, **{"flush_at": 10**6, "max_queue_size": 10_000, **arguments})

    return make


def test_events_arrive_in_order_in_batches(quiet: Make, collector: RunningCollector) -> None:
    """1,200 events: three requests of at most 500, the queue is empty, the ledger knows."""
    client = quiet(collector.url)
    track(client, 1200)
    client.flush()
    assert list(range(1200)) == harness.numbers(harness.stored(collector))
    assert [("/api/ingest", 202, 500), ("/api/ingest", 202, 500), ("/api/ingest", 202, 200)] == statuses(collector)
    stats = client.stats()
    assert (0, 1200, {0}) == (stats.pending, stats.delivered, set(stats.dropped.values()))
    assert [] == harness.segments(harness.spool(client))


def test_a_batch_is_bounded_in_bytes(quiet: Make, collector: RunningCollector) -> None:
    """Events of 30 KiB: at most seventeen fit into 512 KiB. A request does not reach over the end of a segment."""
    client = quiet(collector.url)
    for number in range(40):
        client.track("test.event", {"number": number, "filler": "x" * 30_000})
    client.flush()
    assert [17, 17, 1, 5] == [events for _, _, events in statuses(collector)]


def test_identify_is_sent_in_its_place(quiet: Make, collector: RunningCollector) -> None:
    """What came before a link is sent before it, what came after is sent after it."""
    client = quiet(collector.url)
    track(client, 2)
    client.identify("user-1")
    track(client, 3, first=2)
    client.flush()
    assert [("/api/ingest", 202, 2), ("/api/identify", 200, None), ("/api/ingest", 202, 3)] == statuses(collector)
    assert 1 == collector.store.counts().identified


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=500), "500"),
        (Fault(status=503), "503"),
        (Fault(status=408), "408"),
        (Fault(status=425), "425"),
        (Fault(status=429), "429"),
        (Fault(status=401), "401"),
        (Fault(status=403), "403"),
        (Fault(status=404), "404"),
        (Fault(status=402), "402"),
        (Fault(portal=True), "captive portal"),
        (Fault(redirect="http://127.0.0.1:9/"), "captive portal"),
        (Fault(status=204), "captive portal"),
        (Fault(status=200, body="{", content_type="application/json"), "captive portal"),
        (Fault(status=200, body="[]", content_type="application/json"), "captive portal"),
        (Fault(drop="before"), ""),
    ],
)
def test_what_the_server_did_not_take_stays(fault: Fault, said: str, quiet: Make, collector: RunningCollector) -> None:
    """Kept and backed off, whatever went wrong; delivered once it is well again, and never twice in the store."""
    collector.faults.set(fault)
    client = quiet(collector.url)
    track(client, 3)
    client.flush()
    kept = client.stats()
    assert (3, 0, {0}) == (kept.pending, kept.delivered, set(kept.dropped.values()))
    assert kept.retry_at is not None
    assert kept.last_error is not None
    assert said in kept.last_error
    assert 1 == len(statuses(collector))
    collector.faults.clear()
    client.flush()
    assert [0, 1, 2] == harness.numbers(harness.stored(collector))
    after = client.stats()
    assert (0, 3, None, None) == (after.pending, after.delivered, after.retry_at, after.last_error)


@pytest.mark.parametrize("fault", [Fault(drop="after", remaining=1), Fault(drop="during", remaining=1)])
def test_an_answer_that_gets_lost_makes_an_identical_resend(
    fault: Fault, quiet: Make, collector: RunningCollector
) -> None:
    """The server stored the batch and the answer was lost or cut: same bytes, same key, dropped there as duplicates."""
    collector.faults.set(fault)
    client = quiet(collector.url)
    track(client, 3)
    client.flush()
    assert 3 == client.stats().pending
    client.flush()
    assert 0 == client.stats().pending
    assert (3, 3) == (collector.store.counts().accepted, collector.store.counts().duplicates)
    assert 1 == len({entry["idempotency_key"] for entry in collector.journal.to_json()})


def test_one_poison_event_does_not_block_the_others(quiet: Make, collector: RunningCollector) -> None:
    """The offending event is found by halving, goes to `rejected.jsonl` with the server's words, the rest arrives."""
    collector.faults.set(Fault(poison="poison"))
    client = quiet(collector.url)
    track(client, 200)
    client.track("poison", {"number": 200})
    track(client, 199, first=201)
    client.flush()
    assert [number for number in range(400) if number != 200] == harness.numbers(harness.stored(collector))
    stats = client.stats()
    assert (0, 399, 1) == (stats.pending, stats.delivered, stats.dropped["rejected"])
    assert len(statuses(collector)) <= 2 * 9 + 1
    (rejected,) = [json.loads(line) for line in (harness.spool(client) / "rejected.jsonl").read_text().splitlines()]
    assert ("poison", "rejected") == (rejected["event"]["event_name"], rejected["reason"])
    assert "422" in rejected["message"]


def test_a_server_that_refuses_everything_is_a_wrong_endpoint(quiet: Make, collector: RunningCollector) -> None:
    """Three refused alone, the last one too: nothing is given up, and somebody is told."""
    collector.faults.set(Fault(status=422))
    client = quiet(collector.url)
    track(client, 20)
    client.flush()
    stats = client.stats()
    assert (20, 0) == (stats.pending, stats.dropped["rejected"])
    assert stats.retry_at is not None
    assert stats.retry_at.timestamp() - time.time() > _retry.LONGEST_WAIT
    collector.faults.clear()
    client.flush()
    assert list(range(20)) == harness.numbers(harness.stored(collector))


def test_a_batch_that_is_too_large_is_halved(quiet: Make, collector: RunningCollector) -> None:
    """413: smaller batches, everything delivered."""
    collector.faults.set(Fault(max_events=7))
    client = quiet(collector.url)
    track(client, 40)
    client.flush()
    assert list(range(40)) == sorted(harness.numbers(harness.stored(collector)))
    assert (0, 40) == (client.stats().pending, client.stats().delivered)


def test_events_refused_one_by_one_are_set_aside(quiet: Make, collector: RunningCollector) -> None:
    """207: the events that the answer names are `rejected`, the others delivered."""
    client = quiet(collector.url)
    track(client, 1)
    client._writer.append(b'{"event_id":"not one","event_name":"e"}\n')
    track(client, 1, first=2)
    client.flush()
    assert [0, 2] == harness.numbers(harness.stored(collector))
    stats = client.stats()
    assert (0, 2, 1) == (stats.pending, stats.delivered, stats.dropped["rejected"])


@pytest.mark.parametrize("status", [401, 403, 404])
def test_misconfiguration_is_told_once(
    status: int, quiet: Make, collector: RunningCollector, caplog: pytest.LogCaptureFixture
) -> None:
    """One ERROR that says what to check, and no key in it; two flushes, one line."""
    collector.faults.set(Fault(status=status))
    client = quiet(collector.url, write_key="secret-key")
    track(client, 1)
    client.flush()
    client.flush()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert 1 == len(errors)
    assert "write_key" in errors[0]
    assert "secret-key" not in caplog.text


def test_retry_after_binds_an_explicit_flush(quiet: Make, collector: RunningCollector) -> None:
    """Our own back-off gives way to `flush()`, the server's does not; it is shared with other clients."""
    collector.faults.set(Fault(status=429, retry_after=3600, remaining=1))
    client = quiet(collector.url)
    track(client, 1)
    client.flush()
    client.flush()
    quiet(collector.url).flush()
    assert 1 == len(statuses(collector))


def test_our_own_back_off_holds_for_background_flushes(telemetry: Make, collector: RunningCollector) -> None:
    """After a failure fifty clients that only shut down make no request at all."""
    collector.faults.set(Fault(status=401))
    first = telemetry(collector.url)
    track(first, 1)
    first.flush()
    for _ in range(50):
        with telemetry(collector.url) as client:
            track(client, 1)
    assert 1 == len(statuses(collector))
    assert 51 == first.stats().pending


def test_the_interval_and_the_count_trigger_a_flush(telemetry: Make, collector: RunningCollector) -> None:
    """Nobody calls `flush()`: the third event triggers one, and a single event is sent after the interval."""
    by_count = telemetry(collector.url, flush_at=3, flush_interval=600)
    track(by_count, 3)
    harness.wait_until(lambda: len(harness.stored(collector)) == 3)
    by_time = telemetry(collector.url, flush_at=100, flush_interval=0.05)
    track(by_time, 1, first=3)
    harness.wait_until(lambda: len(harness.stored(collector)) == 4)
    harness.wait_until(lambda: by_time.stats().pending == 0)


def test_an_opt_out_stops_a_running_client(quiet: Make, collector: RunningCollector) -> None:
    """Consent is read at each flush: after the choice nothing is sent, and nothing is stored any more."""
    client = quiet(collector.url)
    track(client, 3)
    (harness.spool(client).parents[2] / "config.json").write_text('{"telemetry": false}')
    client.flush()
    assert [] == statuses(collector)
    assert not client.enabled
    track(client, 1)
    assert 3 == len(harness.events(harness.spool(client)))


def test_an_opt_out_is_seen_during_back_off(telemetry: Make, collector: RunningCollector) -> None:
    """A back-off may last for hours; one interval after an event the choice is known all the same."""
    collector.faults.set(Fault(status=401))
    client = telemetry(collector.url, flush_interval=0.05)
    track(client, 1)
    harness.wait_until(lambda: client.stats().retry_at is not None)
    (harness.spool(client).parents[2] / "config.json").write_text('{"telemetry": false}')
    track(client, 1)
    harness.wait_until(lambda: not client.enabled)


def test_damage_is_skipped_and_counted(quiet: Make, collector: RunningCollector) -> None:
    """Garbage in the middle of a segment: what surrounds it is delivered."""
    client = quiet(collector.url)
    track(client, 4)
    client._seal()
    path = harness.spool(client) / harness.segments(harness.spool(client))[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\xff\xfe garbage\n" + lines[2][:-5] + b"\n" + lines[3])
    client.flush()
    assert [0, 3] == harness.numbers(harness.stored(collector))
    assert (0, 2, 2) == (client.stats().pending, client.stats().delivered, client.stats().dropped["corrupt"])


def test_flush_is_bounded(quiet: Make, collector: RunningCollector) -> None:
    """A server that does not answer: `flush()` returns after `flush_timeout`, and nothing is lost."""
    collector.faults.set(Fault(latency_seconds=30))
    client = quiet(collector.url, flush_timeout=0.3)
    track(client, 1)
    started = time.monotonic()
    client.flush()
    assert 0.3 <= time.monotonic() - started < 3.0
    assert 1 == client.stats().pending


def _flush_elsewhere(url: str) -> None:
    from producttelemetry import Telemetry  # noqa: PLC0415  # in the child

    client = Telemetry("key", url, on_exit="keep", flush_timeout=20)
    client.flush()


def test_several_processes_that_flush_send_each_event_once(quiet: Make, collector: RunningCollector) -> None:
    """One sender per destination: four flushes at once, no duplicate at the server."""
    client = quiet(collector.url)
    track(client, 3000)
    client._seal()
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_flush_elsewhere, args=(collector.url,)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert (3000, 0) == (collector.store.counts().accepted, collector.store.counts().duplicates)
    assert 0 == client.stats().pending


def test_a_sender_killed_after_the_answer_sends_the_same_again(quiet: Make, collector: RunningCollector) -> None:
    """SIGKILL between the server's 202 and the acknowledgement: nothing lost, the same bytes again."""
    client = quiet(collector.url)
    track(client, 5)
    client._seal()
    child = os.fork()
    if child == 0:
        from producttelemetry._spool import Claim  # noqa: PLC0415  # patched in the child only

        Claim.acknowledge = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        client.flush()
        os._exit(1)
    assert -signal.SIGKILL == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.flush()
    assert (5, 5) == (collector.store.counts().accepted, collector.store.counts().duplicates)
    assert 1 == len({entry["idempotency_key"] for entry in collector.journal.to_json()})
    assert 0 == client.stats().pending


def test_a_custom_transport_is_used(quiet: Make, collector: RunningCollector) -> None:
    """The host's own httpx transport carries every request, and is still open afterwards."""
    seen: list[str] = []

    class Counting(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            seen.append(request.url.path)
            return super().handle_request(request)

    with Counting() as transport:
        client = quiet(collector.url, transport=transport)
        for first in (0, 1):
            track(client, 1, first)
            client.flush()
    assert ["/api/ingest", "/api/ingest"] == seen


def test_an_erasure_forgets_here_and_there(quiet: Make, collector: RunningCollector) -> None:
    """After True: nothing of the old id is queued, sent or kept, and the next event has another."""
    client, other = quiet(collector.url), quiet(collector.url)
    track(client, 2)
    client.flush()
    track(client, 1)
    track(other, 1)
    old = harness.events(harness.spool(client))[0]["client_id"]
    assert client.request_deletion()
    assert [] == harness.events(harness.spool(client))
    track(client, 1, first=10)
    track(other, 20, first=20)
    client.flush()
    other.flush()
    stored = harness.stored(collector)
    assert old not in {event["client_id"] for event in stored}
    assert 1 == len({event["client_id"] for event in stored})
    assert 10 in harness.numbers(stored)


def test_an_erasure_that_fails_changes_nothing(quiet: Make, collector: RunningCollector) -> None:
    """False: the same id, the same queue; trying again works."""
    collector.faults.set(Fault(status=500, remaining=1))
    client = quiet(collector.url)
    track(client, 1)
    before = harness.events(harness.spool(client))
    assert not client.request_deletion()
    assert before == harness.events(harness.spool(client))
    assert client.request_deletion()


def test_threads_that_flush_at_once_all_return(quiet: Make, collector: RunningCollector) -> None:
    """Several threads ask at the same time: each returns, each event arrives once."""
    client = quiet(collector.url)
    track(client, 100)
    threads = [threading.Thread(target=client.flush) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert (100, 0) == (collector.store.counts().accepted, collector.store.counts().duplicates)
