"""What the sender does in which order, and when it stops: one destination, one sender, the same bytes again."""

from __future__ import annotations

import hashlib
import itertools
import json
import signal
import socket
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _detached, _identity, _queues, _sender
from producttelemetry import _files as files
from producttelemetry import _notes as notes
from producttelemetry._detach import Task
from producttelemetry._spool import SENDER_LOCK, Directory
from producttelemetry.collector import Fault
from tests import harness
from tests.answers import reply
from tests.wire import RawServer, Script, ask, events_of, listening, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producttelemetry import Telemetry
    from tests.oracle import Oracle

    Make = Callable[..., Telemetry]

ACCEPTED = reply(202, {"accepted": 1})
NO = reply(422, {"error": "no"})
BUSY = reply(503, {"error": "busy"})
CHILDREN = "tests.children_sending"


@pytest.fixture
def server() -> Iterator[RawServer]:
    """A server whose answers each test sets."""
    with RawServer(lambda _: None) as running:
        yield running


@pytest.fixture
def quiet(telemetry: Make, server: RawServer) -> Make:
    """Make clients that flush only when they are asked to."""

    def make(**arguments: Any) -> Telemetry:
        return telemetry(server.base, **{"flush_at": 10**6, "max_queue_size": 10_000, **arguments})

    return make


def script(server: RawServer, *answers: bytes | None) -> Script:
    """Let a server answer this, then the last one again and again."""
    made = Script(server, answers)
    server.answer = made
    return made


def track(client: Telemetry, count: int, first: int = 0) -> None:
    """Track numbered events."""
    for number in range(first, first + count):
        client.track("test.event", {"number": number})


def pending(client: Telemetry) -> list[int]:
    """Return the numbers of the events that wait on disk."""
    return harness.numbers(harness.events(harness.spool(client)))


# --- when it stops --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "sizes", "left"),
    [
        ([BUSY], [500], range(1200)),
        ([ACCEPTED, BUSY], [500, 500], range(500, 1200)),
        ([ACCEPTED, NO, BUSY], [500, 500, 250], range(500, 1200)),
        ([NO, ACCEPTED, None], [500, 250, 250], range(250, 1200)),
        ([ACCEPTED, reply(404, {})], [500, 500], range(500, 1200)),
    ],
)
def test_draining_stops_at_the_first_failure(
    answers: list[bytes | None], sizes: list[int], left: range, quiet: Make, server: RawServer
) -> None:
    """Also in the middle of the queue and of the halving: no further request, and what was taken by then is gone."""
    dialogue = script(server, *answers)
    client = quiet()
    track(client, 1200)
    client.flush()
    assert sizes == [len(events) for events in dialogue.sent()]
    assert list(left) == pending(client)
    assert client.stats().retry_at is not None


def test_a_sender_that_does_not_go_on_is_not_waited_for_for_ever(quiet: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped with `sender.lock` in hand: the command `flush`, which has no deadline, ends all the same."""
    monkeypatch.setattr(_sender, "STANDSTILL", 0.2)
    client = quiet()
    track(client, 1)
    client._seal()
    task = Task("key", client._options.api_base, *client._project, client._spool_dir)
    with closing(files.Lock(str(harness.spool(client) / SENDER_LOCK))) as lock:
        assert lock.acquire(0.0)
        assert "busy" == _detached.sender(task).drain(explicit=True)


@pytest.mark.parametrize("choice", ["opted out", "deleted", "erased"])
def test_what_must_not_be_sent_any_more_is_withdrawn(
    choice: str, quiet: Make, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens while the connection is made, which may take seconds: not a byte of the request goes out."""
    client = quiet(write_key="a-write-key")
    track(client, 1)
    project = client._project
    ended: list[str] = []

    def connect(*given: Any, **named: Any) -> socket.socket:
        if not ended and choice == "opted out":
            Path(project.config_files[0]).write_text('{"telemetry": false}')
        elif not ended and choice == "deleted":
            _queues.purge(project)
        elif not ended:
            notes.note_erased(project, [_identity.client_id(project)])
        ended.append(choice)
        return real(*given, **named)

    real = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", connect)
    server.answer = socket.socket.close
    client.flush()
    assert [choice] == ended
    assert [b""] * len(server.requests) == server.requests


@pytest.mark.parametrize("first", [ACCEPTED, NO], ids=["between batches", "within the halving"])
def test_draining_stops_when_consent_is_gone(first: bytes, quiet: Make, server: RawServer) -> None:
    """The choice is made while a request is on its way: it is the last one, whatever its answer asks for."""
    client = quiet()
    track(client, 1200)
    config = harness.spool(client).parents[2] / "config.json"

    def answer(connection: socket.socket) -> None:
        config.write_text('{"telemetry": false}')
        connection.sendall(first)

    server.answer = answer
    client.flush()
    assert 1 == len(server.requests)
    assert not client.enabled
    assert list(range(500 if first is ACCEPTED else 0, 1200)) == pending(client)


@pytest.mark.parametrize(
    ("wait", "by_server", "sends"),
    [(3000, False, False), (80_000, True, False), (3700, False, True), (90_000, True, True), (10**9, True, True)],
)
def test_a_back_off_that_cannot_be_meant_stops_nobody(
    wait: int, by_server: bool, sends: bool, quiet: Make, server: RawServer
) -> None:
    """The clock was wrong when the back-off was stored: beyond the longest wait that there is, it is none."""
    dialogue = script(server, ACCEPTED)
    client = quiet()
    track(client, 1)
    state = {"failures": 1, "not_before": time.time() + wait, "by_server": by_server, "last_error": None}
    (harness.spool(client) / "retry.json").write_text(json.dumps(state))
    client.shutdown()
    assert sends is bool(dialogue.exchanges)
    assert int(not sends) == client.stats().pending


def test_a_back_off_is_shared_by_processes(quiet: Make, server: RawServer) -> None:
    """One process has met a failure: others, started later and ending in any way that sends, make no request."""
    dialogue = script(server, reply(503, {}, "Retry-After: 3600"))
    client = quiet()
    track(client, 1)
    client.flush()
    for way in ("wait", "detach"):
        settings = json.dumps({"url": server.base, "arguments": {"on_exit": way}})
        assert 0 == harness.run("one", settings).returncode
    assert "3\n" == harness.run("drain", json.dumps({"url": server.base})).stdout  # by an explicit flush
    assert 1 == len(dialogue.exchanges)


# --- one sender -----------------------------------------------------------------------------------------------------


def test_one_request_at_a_time_on_the_machine(oracle: Oracle) -> None:
    """Three processes track and flush at once: the server never has two requests at a time, and each event once."""
    port = int(oracle.collector.url.rpartition(":")[2])
    lock, now, most = threading.Lock(), [0], [0]

    def relay(connection: socket.socket) -> None:
        request = read_request(connection)
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        answer = ask(port, request)
        with lock:  # before the answer arrives, after which the next request may come
            now[0] -= 1
        connection.sendall(answer)

    oracle.collector.faults.set(Fault(latency_seconds=0.02))
    with listening(relay) as relayed:
        oracle.collector.url = f"http://127.0.0.1:{relayed}"
        settings = {"url": oracle.collector.url, "events": 60, "rounds": 3}
        journals = [oracle.journal() for _ in range(3)]
        children = [
            harness.start("track_and_flush", json.dumps({**settings, "journal": journal}), CHILDREN)
            for journal in journals
        ]
        assert ["", "", ""] == [child.communicate(timeout=60)[0] for child in children]
        verdict = oracle.settle(exact=True, max_queue_size=10_000)
    assert (1, 541) == (most[0], len(verdict.stored))


# --- the same again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("killed_at", "poison"), [(1, False), (0, True), (2, True)])
def test_a_killed_sender_is_followed_by_the_same_bytes(
    killed_at: int, poison: bool, quiet: Make, server: RawServer
) -> None:
    """SIGKILL between an answer and its acknowledgement: each event goes out with the same bytes as before.

    The batch is the same too, unless a part of it was acknowledged before; then the rest of it is.
    """

    def answer(connection: socket.socket) -> None:
        spoilt = poison and any(event["properties"]["number"] == 450 for event in events_of(server.requests[-1]))
        connection.sendall(NO if spoilt else ACCEPTED)

    server.answer = answer
    client = quiet()
    track(client, 1200)
    client._seal()
    lines = [
        json.dumps(event, separators=(",", ":"), ensure_ascii=False) for event in harness.events(harness.spool(client))
    ]
    settings = json.dumps({"url": server.base, "killed_at": killed_at})
    assert -signal.SIGKILL == harness.run("flush_until_killed", settings, CHILDREN).returncode
    lost = server.requests[-1]
    again = len(server.requests)
    client.flush()
    assert 0 == client.stats().pending
    numbers = [harness.numbers(events_of(request)) for request in server.requests]
    for request, inside in zip(server.requests, numbers, strict=True):
        body = f'{{"events":[{",".join(lines[number] for number in inside)}]}}'.encode()
        assert body == request.partition(b"\r\n\r\n")[2]
        assert hashlib.sha256(body).hexdigest().encode() in request
    assert numbers[again][0] == numbers[again - 1][0], "what was not acknowledged comes again, and first"
    assert poison or lost == server.requests[again]


# --- links and erasure ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [BUSY, NO, reply(207, {"errors": [{"index": 0}]}), None])
def test_a_link_keeps_its_place_whatever_is_said_of_it(answer: bytes | None, quiet: Make, server: RawServer) -> None:
    """Nothing overtakes it while it waits; once it is refused it goes aside by itself, and what follows is sent."""
    dialogue = script(server, ACCEPTED, answer, ACCEPTED)
    client = quiet()
    track(client, 2)
    client.identify("one")
    client.identify("two")
    track(client, 2, first=2)
    for _ in range(2):
        client.flush()
    sent = [[event.get("user_id") or event["properties"]["number"] for event in events] for events in dialogue.sent()]
    waits = answer in {BUSY, None}
    assert [[0, 1], ["one"], *([["one"]] if waits else []), ["two"], [2, 3]] == sent
    stats = client.stats()
    assert (0, 6 - (not waits), int(not waits)) == (stats.pending, stats.delivered, stats.dropped["rejected"])


@pytest.mark.parametrize("piece", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["silent", "trickling"])
def test_an_erasure_is_bounded(piece: bytes, quiet: Make, server: RawServer) -> None:
    """A server that says nothing, or never comes to the point: False after `flush_timeout`, and nothing has changed."""

    def answer(connection: socket.socket) -> None:
        if piece:
            server.drip(piece, connection)
        connection.recv(1)

    server.answer = answer
    client = quiet(flush_timeout=0.3)
    track(client, 3)
    before = harness.events(harness.spool(client))
    started = time.monotonic()
    assert client.request_deletion() is False
    assert 0.2 < time.monotonic() - started < 2.5
    assert before == harness.events(harness.spool(client))
    dialogue = script(server, ACCEPTED)
    track(client, 1, first=3)
    client._seal()
    quiet().flush()
    assert 1 == len({event["client_id"] for event in itertools.chain(*dialogue.sent())})
    assert [0, 1, 2, 3] == harness.numbers(itertools.chain(*dialogue.sent()))


def test_an_erasure_that_the_time_ends_is_done_or_not_begun(quiet: Make, server: RawServer) -> None:
    """The server agrees, and another process holds the spool's lock from then on: True, for the id is forgotten."""
    client = quiet(flush_timeout=2.0)
    track(client, 3)
    client._seal()
    id_file = harness.spool(client).parents[2] / "client_id"
    before = id_file.read_text()
    other = Directory(str(harness.spool(client)))

    def answer(connection: socket.socket) -> None:
        other.lock.acquire(1.0)
        connection.sendall(reply(200, {"status": "pending"}))

    server.answer = answer
    with closing(other):
        started = time.monotonic()
        assert client.request_deletion() is True
        assert time.monotonic() - started < 8.0
        assert not id_file.exists() or before != id_file.read_text()
    assert [] == harness.events(harness.spool(client))
