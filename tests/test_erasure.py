"""Erasure: after True nothing of the old client leaves this machine, from any process; False changes nothing."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from producttelemetry import _notes as notes
from producttelemetry._config import paths
from producttelemetry._erasure import ASK_AGAIN
from producttelemetry._notes import ASKING, Request
from producttelemetry._queues import is_sending
from producttelemetry.collector import Fault, RunningCollector
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry

    Make = Callable[..., Telemetry]


@pytest.fixture
def quiet(telemetry: Make) -> Make:
    """Make clients that send when told to, and no sooner."""

    def make(*arguments: Any, **options: Any) -> Telemetry:
        return telemetry(*arguments, **{"flush_at": 10**6, "flush_interval": 3600.0, **options})

    return make


class Hook(httpx.HTTPTransport):
    """Does something before a request goes out, and may answer it itself."""

    def __init__(self, before: Callable[[httpx.Request], httpx.Response | None]) -> None:
        super().__init__(verify=False)
        self._before = before

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Call the hook, then the server."""
        return self._before(request) or super().handle_request(request)


def client_ids(collector: RunningCollector) -> set[str]:
    """Return whose events the server has."""
    return {event["client_id"] for event in harness.stored(collector)}


def queued_id(client: Telemetry) -> str:
    """Return the client id of the first event in the queue."""
    return str(harness.events(harness.spool(client))[0]["client_id"])


def ask_child(child: subprocess.Popen[str]) -> str:
    """Have a child track and flush; return how many of its events were purged."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    return child.stdout.readline().strip()


# --- after True ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fork", [False, True], ids=["process", "forked child"])
def test_another_process_takes_the_new_id(fork: bool, quiet: Make, collector: RunningCollector) -> None:
    """Its open segment is gone, what it tracks next has another id, whichever that is for all processes."""
    settings = {"url": collector.url, "fork": fork, "arguments": {"flush_at": 10**6}}
    with harness.start(
        "track_on_request", json.dumps(settings), "tests.children_forget", stdin=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert "ready\n" == child.stdout.readline()
        client = quiet(collector.url)
        old = queued_id(client)
        assert client.request_deletion()
        client.track("test.event", {"number": 3})
        client.flush()
        assert int(ask_child(child)) >= 1
        ask_child(child)
    (new,) = client_ids(collector)
    assert old != new
    assert {2, 3} == set(harness.numbers(harness.stored(collector)))


def test_what_waits_in_memory_goes_too(quiet: Make, collector: RunningCollector, home: Path) -> None:
    """Another client works from memory since its disk failed: when that works again, nothing old gets through."""
    (home / ".config").write_text("a file in place of the directory")
    other = quiet(collector.url)
    other.track("test.event", {"number": 0})
    assert 1 == other.stats().volatile
    (home / ".config").unlink()
    client = quiet(collector.url)
    client.track("test.event", {"number": 1})
    assert client.request_deletion()
    other._writer._disk_failed_at = 0.0  # the pause after a failure is over
    for number in (2, 3):
        other.track("test.event", {"number": number})
    other.flush()
    assert {0, 1}.isdisjoint(harness.numbers(harness.stored(collector)))
    assert 3 in harness.numbers(harness.stored(collector))


def test_every_destination_is_purged(quiet: Make, collector: RunningCollector) -> None:
    """Tools that share a slug share the client id: the queue of each is deleted, and each goes on with the new id."""
    one, two = quiet(collector.url), quiet(collector.url, "other")
    for client in (one, two):
        client.track("test.event", {"number": 0})
    old = queued_id(one)
    assert old == queued_id(two)
    assert one.request_deletion()
    assert [[], []] == [harness.events(harness.spool(client)) for client in (one, two)]
    for client in (one, two):
        client.track("test.event", {"number": 1})
        client.track("test.event", {"number": 2})
        client.flush()
    (new,) = client_ids(collector)
    assert old != new
    assert 1 == collector.store.counts().deletions, "one server was asked: that of the caller"


def test_a_client_that_never_tracked_has_nothing_to_erase(quiet: Make, collector: RunningCollector, home: Path) -> None:
    """True without asking anybody, and nothing is created."""
    assert quiet(collector.url).request_deletion()
    assert 0 == collector.store.counts().deletions
    assert [] == list(home.iterdir())


@pytest.mark.parametrize("how", ["DO_NOT_TRACK", "config.json", "disabled"])
def test_an_opted_out_client_can_be_erased(
    how: str, quiet: Make, collector: RunningCollector, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored and sent before the opt-out is erased; the id stays erased."""
    before = quiet(collector.url)
    before.track("test.event")
    before.flush()
    before.track("test.event")
    if how == "config.json":
        (home / harness.CONFIG / "config.json").write_text('{"telemetry": false}')
    elif how == "DO_NOT_TRACK":
        monkeypatch.setenv("DO_NOT_TRACK", "1")
    client = quiet(collector.url, disabled=how == "disabled")
    assert not client.enabled
    assert client.request_deletion()
    assert (0, 1) == (collector.store.counts().stored, collector.store.counts().deletions)
    assert [] == harness.events(harness.spool(before))
    assert not (home / harness.CONFIG / "client_id").exists()


def test_two_processes_erase_at_once(quiet: Make, collector: RunningCollector) -> None:
    """Both get True, and both mean the same client; nothing of it is left."""
    clients = [quiet(collector.url), quiet(collector.url)]
    for client in clients:
        client.track("test.event")
    old = queued_id(clients[0])
    answers: list[bool] = []

    def erase(client: Telemetry) -> None:
        answers.append(client.request_deletion())

    threads = [threading.Thread(target=erase, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [True, True] == answers
    assert {old.encode()} <= notes.erased_ids(paths("default"))
    assert [] == notes.requests(paths("default"))
    clients[0].track("test.event")
    clients[0].flush()
    assert old not in client_ids(collector)


# --- while it is asked --------------------------------------------------------------------------------------------


def test_nobody_sends_while_the_server_is_asked(quiet: Make, collector: RunningCollector) -> None:
    """Another process waits for the outcome: no request with the id starts after the server may have agreed."""
    other = quiet(collector.url, flush_timeout=0.3)
    other.track("test.event", {"number": 0})

    def before(request: httpx.Request) -> None:
        assert "DELETE" == request.method
        other.flush()
        assert [] == harness.stored(collector)

    with Hook(before) as transport:
        assert quiet(collector.url, transport=transport).request_deletion()
    other.track("test.event", {"number": 1})
    other.track("test.event", {"number": 2})
    other.flush()
    assert 0 not in harness.numbers(harness.stored(collector))
    assert 2 in harness.numbers(harness.stored(collector))


def test_a_request_that_is_on_its_way_ends_before_the_server_is_asked(quiet: Make, collector: RunningCollector) -> None:
    """What the server got after it has erased would stay there."""
    order: list[str] = []
    begun, asked = threading.Event(), threading.Event()

    def slowly(_: httpx.Request) -> None:
        begun.set()
        harness.wait_until(lambda: notes.requests(paths("default")))
        asked.wait(0.5)  # it does not come, or this test fails
        order.append("sent")

    def before(_: httpx.Request) -> None:
        order.append("asked")
        asked.set()

    with Hook(slowly) as slow, Hook(before) as transport:
        other = quiet(collector.url, transport=slow)
        other.track("test.event")
        sending = threading.Thread(target=other.flush)
        sending.start()
        assert begun.wait(10)
        assert quiet(collector.url, transport=transport).request_deletion()
        sending.join()
    assert ["sent", "asked"] == order
    assert [] == harness.stored(collector)


def test_a_sender_that_does_not_end_makes_it_false(quiet: Make, collector: RunningCollector) -> None:
    """Nobody can promise then that nothing more arrives; the server is not asked, and nothing changes."""
    over = threading.Event()
    with Hook(lambda _: (over.wait(20), None)[1]) as slow:
        other = quiet(collector.url, transport=slow)
        other.track("test.event")
        sending = threading.Thread(target=other.flush)
        sending.start()
        harness.wait_until(lambda: is_sending(other._spool_dir))
        assert not quiet(collector.url, flush_timeout=0.5).request_deletion()
        over.set()
        sending.join()
    assert 1 == len(harness.stored(collector))
    assert [] == notes.requests(paths("default"))


def test_a_sender_that_waited_sends_when_the_server_has_refused(quiet: Make, collector: RunningCollector) -> None:
    """False changes nothing: the flush that waited for the outcome goes on with it, under the same id."""
    other = quiet(collector.url, flush_timeout=30.0)
    other.track("test.event", {"number": 0})
    old = queued_id(other)
    flushing = threading.Thread(target=other.flush)

    def before(request: httpx.Request) -> httpx.Response:
        del request
        flushing.start()
        flushing.join(0.3)  # it would be through by then, if it did not wait
        assert [] == harness.stored(collector)
        return httpx.Response(404)

    with Hook(before) as transport:
        assert not quiet(collector.url, transport=transport).request_deletion()
    flushing.join(30)
    assert {old} == client_ids(collector)
    assert [] == notes.requests(paths("default"))


@pytest.mark.parametrize("answer", [Fault(status=500), Fault(status=404), Fault(portal=True), Fault(latency_seconds=3)])
def test_false_changes_nothing(answer: Fault, quiet: Make, collector: RunningCollector, home: Path) -> None:
    """In time, whatever the server does: the same files as before, the same id, and trying again works."""
    client = quiet(collector.url, flush_timeout=1.0)
    client.track("test.event")
    before = harness.tree(home, locks=False)
    collector.faults.set(answer)
    started = time.monotonic()
    assert not client.request_deletion()
    assert time.monotonic() - started < 2.5
    assert before == harness.tree(home, locks=False)
    collector.faults.clear()
    harness.wait_until(client.request_deletion)  # a busy disk may need more than its second
    assert before != harness.tree(home, locks=False)


def test_a_request_that_cannot_be_made_is_taken_back_before_others_see_it(
    quiet: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`httpx` cannot be imported: while the note is there the lock is held, or others took its process for dead."""
    client = quiet()
    client.track("test.event")
    write_requests, free = notes.write_requests, list[bool]()

    def writing(*given: Any) -> None:
        with closing(notes.lock(paths("default"))) as lock:
            free.append(lock.acquire(0.0))
        write_requests(*given)

    def connect() -> None:
        raise ImportError("no httpx")

    monkeypatch.setattr(notes, "write_requests", writing)
    monkeypatch.setattr(client, "_connect", connect)
    assert not client.request_deletion()
    assert [False, False] == free
    assert [] == notes.requests(paths("default"))


def test_an_answer_that_comes_too_late_changes_nothing(quiet: Make, collector: RunningCollector) -> None:
    """The caller has been told False; the transport hangs in something that cannot be cut off, and agrees later."""
    go, late = threading.Event(), threading.Event()

    def before(request: httpx.Request) -> httpx.Response:
        del request
        go.wait(30)
        late.set()
        return httpx.Response(202, json={"status": "pending"})

    with Hook(before) as transport:
        client = quiet(collector.url, transport=transport, flush_timeout=0.5)
        client.track("test.event")
        old = queued_id(client)
        assert not client.request_deletion()
        assert [] == notes.requests(paths("default"))
        go.set()
        assert late.wait(30)
        with closing(notes.lock(paths("default"))) as lock:
            harness.wait_until(lambda: lock.acquire(0.0))
    assert old == queued_id(client)
    assert not notes.erased_ids(paths("default"))


# --- after a crash ------------------------------------------------------------------------------------------------


def crash(collector: RunningCollector) -> None:
    """Have a process die in the middle of an erasure, with an event in the queue."""
    assert 0 == harness.run("die_asking", json.dumps({"url": collector.url}), "tests.children_forget").returncode


def test_the_first_event_of_the_next_process_has_the_new_id(quiet: Make, collector: RunningCollector) -> None:
    """Before it is stored what the dead process began is finished here; the server is asked before anything is sent."""
    crash(collector)
    (request,) = notes.requests(paths("default"))
    client = quiet(collector.url)
    client.track("test.event", {"number": 1})
    assert [1] == harness.numbers(harness.events(harness.spool(client)))
    assert request.client_id != queued_id(client)
    assert {request.client_id.encode()} == notes.erased_ids(paths("default"))
    client.flush()
    assert (1, 1) == (collector.store.counts().deletions, collector.store.counts().stored)
    assert [] == notes.requests(paths("default"))


def test_a_process_that_lives_on_takes_the_new_id(quiet: Make, collector: RunningCollector) -> None:
    """It tracked before the crash and tracks after it: what is queued is purged when the next one sends."""
    client = quiet(collector.url)
    client.track("test.event", {"number": 1})
    old = queued_id(client)
    crash(collector)
    for number in (2, 3, 4):
        client.flush()
        client.track("test.event", {"number": number})
    client.flush()
    assert old not in client_ids(collector)
    assert [3, 4] == harness.numbers(harness.stored(collector))[-2:]


def test_finishing_it_twice_takes_nothing_new(quiet: Make, collector: RunningCollector) -> None:
    """Who finished it died before saying so: what others have tracked since, under the new id, is not deleted again."""
    crash(collector)
    (request,) = notes.requests(paths("default"))
    one, two = quiet(collector.url), quiet(collector.url, "other")
    for client in (one, two):
        client.track("test.event", {"number": 1})
    notes.write_requests(paths("default"), [request])
    for client in (one, two):
        client.flush()
    assert [1, 1] == harness.numbers(harness.stored(collector))


@pytest.mark.parametrize("answer", [Fault(status=404), Fault(status=503)])
def test_a_server_that_does_not_agree_holds_up_nobody(answer: Fault, quiet: Make, collector: RunningCollector) -> None:
    """It is asked at most once an hour until it does; events with the new id flow, those with the old one never."""
    crash(collector)
    asked: list[str] = []

    def before(request: httpx.Request) -> httpx.Response | None:
        if request.method != "DELETE":
            return None
        asked.append(json.loads(request.read())["client_id"])
        return httpx.Response(answer.status or 0)

    with Hook(before) as transport:
        client = quiet(collector.url, transport=transport)
        for number in range(3):
            client.track("test.event", {"number": number})
            client.flush()
    assert [0, 1, 2] == harness.numbers(harness.stored(collector))
    ((old, destination, state),) = notes.requests(paths("default"))
    assert [old] == asked
    assert abs(int(state) - time.time() - ASK_AGAIN) < 60
    notes.write_requests(paths("default"), [Request(old, destination, str(int(time.time())))])  # the hour is over
    client = quiet(collector.url)
    client.track("test.event", {"number": 3})
    client.flush()
    assert (1, []) == (collector.store.counts().deletions, notes.requests(paths("default")))


def test_another_destination_does_its_part_and_asks_nobody(quiet: Make, collector: RunningCollector) -> None:
    """A tool that shares the slug has another server and key: it never sends the id again, and leaves the request."""
    crash(collector)
    other = quiet(collector.url, "other")
    other.track("test.event", {"number": 1})
    other.flush()
    assert (0, [1]) == (collector.store.counts().deletions, harness.numbers(harness.stored(collector)))
    (request,) = notes.requests(paths("default"))
    assert ASKING != request.state
    assert quiet(collector.url).request_deletion(), "it names the client of the request that nobody heard the end of"
    assert 2 == collector.store.counts().deletions, "that one, and the one that the other has made since"
    assert [] == notes.requests(paths("default"))


def test_a_child_of_the_dead_does_not_keep_its_lock(quiet: Make, collector: RunningCollector) -> None:
    """The process that asked was killed after a fork, and the child lives on: nobody waits for it."""
    settings = json.dumps({"url": collector.url, "fork": True})
    with harness.start("die_asking", settings, "tests.children_forget", stdin=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert "forked\n" == child.stdout.readline()
        child.wait(30)
        client = quiet(collector.url)
        client.track("test.event", {"number": 1})
        client.flush()
        assert [1] == harness.numbers(harness.stored(collector))
        assert child.stdin is not None
        child.stdin.close()
