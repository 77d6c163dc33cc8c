"""Whatever a server answers, no event is lost: whole clients over real sockets, from `track()` to the ledger."""

from __future__ import annotations

import itertools
import json
import os
import random
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry import Telemetry
from producttelemetry._spool._directory import REJECTED_BYTES
from producttelemetry.collector import Fault, RunningCollector
from tests import harness, oracle
from tests.answers import GOOD, JSON, OK, anything, head, judge, reply
from tests.wire import RawServer, Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[..., Telemetry]

ACCEPTED = reply(202, {"accepted": 1})
NO = reply(422, {"error": "no"})
BUSY = reply(503, {"error": "busy"})


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    """A server whose answers each test sets."""
    with RawServer(lambda _: None) as running:
        yield running


@pytest.fixture(scope="module")
def transport() -> Iterator[httpx.HTTPTransport]:
    """Real connections, without reading the CA certificates for each client."""
    with httpx.HTTPTransport(verify=False) as made:
        yield made


def script(server: RawServer, *answers: bytes | None) -> Script:
    """Let a server answer this, then the last one again and again."""
    made = Script(server, answers)
    server.answer = made
    return made


def rejected(client: Telemetry) -> list[dict[str, Any]]:
    """Return the entries of `rejected.jsonl`."""
    path = harness.spool(client) / "rejected.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def name(event: dict[str, Any]) -> str:
    """Return what tells an event, or the link of a user, from all others."""
    return str(event.get("event_id") or event["user_id"])


class Told(NamedTuple):
    """What the server said of events, by name: `acknowledged`, or `refused` each by itself."""

    acknowledged: set[str]
    refused: set[str]


def told(dialogue: Script) -> Told:
    """Read what was answered with another HTTP client."""
    found = Told(set(), set())
    for events, (_, data) in zip(dialogue.sent(), dialogue.exchanges, strict=True):
        verdict = judge(data)
        for index, event in enumerate(events):
            if verdict.acknowledges and index not in verdict.refused:
                found.acknowledged.add(name(event))
            elif verdict.acknowledges or (verdict.refuses and len(events) == 1):
                found.refused.add(name(event))
    return found


def assert_accounted(client: Telemetry, tracked: list[dict[str, Any]], dialogue: Script) -> list[dict[str, Any]]:
    """Assert that each event is pending, set aside, or acknowledged by the server; return those that are pending."""
    by_name = {name(event): event for event in tracked}
    pending, entries, server = harness.events(harness.spool(client)), rejected(client), told(dialogue)
    set_aside = [name(entry["event"]) for entry in entries]
    seen = [*pending, *(entry["event"] for entry in entries), *itertools.chain(*dialogue.sent())]
    assert [] == [event for event in seen if event != by_name[name(event)]], "altered"
    assert pending == [event for event in tracked if event in pending], "out of order, or twice"
    gone = set(by_name) - {name(event) for event in pending}
    assert set() == gone - set(set_aside) - server.acknowledged, "lost"
    assert set() == set(set_aside) - server.refused, "set aside, though the server did not refuse it by itself"
    stats = client.stats()
    assert (len(pending), len(set(set_aside))) == (stats.pending, stats.dropped["rejected"])
    assert (len(set_aside), len(tracked)) == (len(set(set_aside)), len(pending) + len(set_aside) + stats.delivered)
    assert len(set_aside) == sum(stats.dropped.values())
    harness.assert_sound(harness.spool(client))
    return pending


projects = (f"project-{number}" for number in itertools.count())


@settings(max_examples=100, deadline=None)
@given(st.lists(anything, min_size=1, max_size=7), st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 3))
def test_no_answer_loses_an_event(
    server: RawServer,
    transport: httpx.HTTPTransport,
    said: list[bytes | None],
    links: list[bool],
    flushes: int,
) -> None:
    """After any answers, also such as change within the halving, each event is where it must be; the rest arrives."""
    dialogue = script(server, *said)
    arguments: dict[str, Any] = {
        "project_slug": next(projects), "on_exit": "keep", "flush_at": 10**6, "transport": transport
    }  # fmt: skip
    client, later = (Telemetry("key", server.base, **arguments) for _ in range(2))
    try:
        for number, link in enumerate(links):
            client.identify(f"user-{number}") if link else client.track("test.event", {"number": number})
        tracked = harness.events(harness.spool(client))
        assert len(links) == len(tracked)
        for _ in range(flushes):
            client.flush()
        pending = assert_accounted(client, tracked, dialogue)
        (harness.spool(client) / "retry.json").unlink(missing_ok=True)
        good = script(server, ACCEPTED)
        later.flush()
        assert pending == list(itertools.chain(*good.sent()))
        assert 0 == later.stats().pending
    finally:
        harness.discard(client)
        harness.discard(later)


#: None of these is a reason to let go of more than the one event that is refused alone.
HOSTILE: list[bytes | None] = [
    *(None, b"", b"\r\n", b"\0\xff" * 50, OK, head(), head(length=100) + GOOD, ACCEPTED[:-1], ACCEPTED[:40]),
    *(head(kind=b"Content-Type: text/html\r\n") + GOOD, reply(204, {}), reply(200, []), OK + JSON + b"\r\n"),
    *(reply(status, {}) for status in (301, 302, 307, 401, 403, 404, 408, 425, 429, 500, 502, 503, 504)),
    *(reply(302, {}, "Location: http://127.0.0.1:9/"), b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3),
    *[NO, reply(400, {}), reply(413, {})] * 8,
]


def test_a_hostile_server_gives_way_to_ours(telemetry: Make, transport: httpx.HTTPTransport, tmp_path: Path) -> None:
    """Many bad answers, then the real server on the same port: it gets every event."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    journal = tmp_path / "journal"
    end = oracle.listen(journal)
    with RawServer(lambda _: None) as hostile:
        port = hostile.port
        client = telemetry(f"http://127.0.0.1:{port}", flush_at=10**6, transport=transport)
        dialogue = script(hostile, *chance.choices(HOSTILE, k=150))
        while len(dialogue.exchanges) < 150:
            for number in range(chance.randrange(1, 4)):
                client.track("test.event", {"number": number})
            client.flush()
    harness.discard(client)
    end()
    with RunningCollector(port=port) as collector:
        witness = oracle.Oracle(tmp_path / "journals", collector, telemetry)
        os.rename(journal, witness.journal())
        witness.settle(exact=True)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("99999999999999999999", 86_000, 86_400),
        (format_datetime(datetime(9999, 12, 31, tzinfo=UTC), usegmt=True), 86_000, 86_400),
        (format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True), 6_000, 7_200),
        ("1000", 900, 1_000),
        ("-5", 0, 2),
        ("0", 0, 2),
        ("Mon, 99 Foo 2030 99:99:99 GMT", 0, 2),
    ],
    ids=range(7),  # the time is another one in each worker
)
def test_what_retry_after_means_for_the_queue(  # noqa: PLR0913, PLR0917  # a header and what it comes to
    value: str, least: float, most: float, telemetry: Make, transport: httpx.HTTPTransport, collector: RunningCollector
) -> None:
    """A wait that the server asks for is kept, a day at the most; nonsense is our own short back-off."""
    collector.faults.set(Fault(status=503, retry_after=value))
    client = telemetry(collector.url, transport=transport)
    client.track("test.event")
    client.flush()
    retry_at = client.stats().retry_at
    assert retry_at is not None
    assert least <= retry_at.timestamp() - time.time() <= most
    assert 1 == client.stats().pending


def test_a_refusal_ends_the_back_off(telemetry: Make, server: RawServer, transport: httpx.HTTPTransport) -> None:
    """A server that dislikes an event is there: nobody waits any longer for it to come back."""
    script(server, reply(401, {}), NO)
    client = telemetry(server.base, transport=transport)
    client.track("test.event")
    client.flush()
    assert client.stats().retry_at is not None
    client.flush()
    stats = client.stats()
    assert (0, 1, None, None) == (stats.pending, stats.dropped["rejected"], stats.retry_at, stats.last_error)


def test_what_was_refused_is_kept_for_people_up_to_a_bound(
    telemetry: Make, server: RawServer, transport: httpx.HTTPTransport
) -> None:
    """Each entry: the event, the reason, the server's words, the time. A mebibyte at most, and the oldest are out."""
    everything = [{"index": index, "message": f"bad {index}"} for index in range(500)]
    script(server, reply(207, {"errors": everything}))
    client = telemetry(server.base, transport=transport, flush_at=10**6)
    before = datetime.now(UTC).replace(microsecond=0)
    for number in range(60):
        client.track("test.event", {"number": number, "filler": "x" * 30_000})
    tracked = harness.events(harness.spool(client))
    client.flush()
    entries = rejected(client)
    assert REJECTED_BYTES // 4 < (harness.spool(client) / "rejected.jsonl").stat().st_size <= REJECTED_BYTES
    assert tracked[-len(entries) :] == [entry["event"] for entry in entries]
    assert {("event", "message", "reason", "time")} == {tuple(sorted(entry)) for entry in entries}
    assert {"rejected"} == {entry["reason"] for entry in entries}
    assert all(entry["message"].startswith("bad ") for entry in entries)
    assert all(before <= datetime.fromisoformat(entry["time"]) <= datetime.now(UTC) for entry in entries)
    assert (0, 60) == (client.stats().pending, client.stats().dropped["rejected"])
