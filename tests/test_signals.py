"""Signal handlers, finalisers and threads that come at the worst moment: nothing dead-locks and nothing is lost."""

from __future__ import annotations

import json
import random
import sys
import threading
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import Stats
from producttelemetry import _files as files
from producttelemetry.collector import Fault
from tests import harness
from tests.collector_support import run_all
from tests.oracle import listen

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from producttelemetry import Telemetry
    from tests.oracle import Oracle, Verdict

    Make = Callable[..., Telemetry]

MODULE = "tests.children_signals"


def run(program: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a program of ours to its end."""
    return harness.run(program, json.dumps({"url": harness.NO_SERVER, **settings}), MODULE, env=harness.unmeasured())


def balanced(oracle: Oracle) -> Verdict:
    """Settle, and assert that the ledger knows each event exactly once.

    A batch may come twice: a sender that does not get the lock beside writers this busy sends it again.
    """
    verdict = oracle.settle()
    refused = len(verdict.told.attempted) - len(verdict.told.accepted)
    dropped = sum(verdict.stats.dropped.values())
    assert (len(verdict.missing) + refused, len(verdict.stored)) == (dropped, verdict.stats.delivered)
    return verdict


def alarmed(oracle: Oracle, events: int, cap: int, **settings: Any) -> dict[str, Any]:
    """Have a process track while its handler does so at 1 kHz; return what it tells."""
    arguments = {"max_queue_size": cap, "flush_at": 100, "flush_timeout": 10.0, "flush_interval": 3600.0}
    ended = run(
        "alarmed", url=oracle.collector.url, journal=oracle.journal(), events=events, arguments=arguments, **settings
    )
    assert (0, "") == (ended.returncode, ended.stderr)
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


@pytest.mark.parametrize(("events", "cap"), [(20_000, 100_000), (5000, 64)])
def test_a_handler_may_track_at_a_thousand_hertz(events: int, cap: int, oracle: Oracle) -> None:
    """The main thread tracks, the flush thread sends, and goes on with it; from a small queue it evicts meanwhile."""
    told = alarmed(oracle, events, cap, wake=True)
    assert told["woken"], "nothing is sent any more unless flush() is called"
    assert told["alarms"] > 200, "the handler has not come in between"
    verdict = balanced(oracle)
    names = [event["event_name"] for event in verdict.told.attempted.values()]
    assert (told["events"], told["alarms"]) == (names.count("test.event"), names.count("from.handler"))
    assert 0 == verdict.stats.dropped["memory"]
    if cap > events:
        assert set() == verdict.missing


@pytest.mark.parametrize("cap", [64, 100_000])
def test_a_handler_may_use_everything(cap: int, oracle: Oracle) -> None:
    """`flush()` and `stats()` in the middle of any other call of ours end, and nothing is lost."""
    told = alarmed(oracle, 1000, cap, all=True)
    assert told["longest"] < 10.0, "flush() in a handler has waited for the thread that it interrupts"
    verdict = oracle.settle(max_queue_size=100_000)
    assert len(verdict.told.attempted) > 1000
    if cap > 10_000:
        assert set() == verdict.missing


@pytest.mark.parametrize("answers", [True, False])
def test_a_handler_may_shut_down(answers: bool, oracle: Oracle) -> None:
    """At any instant of `track()` it returns in `flush_timeout`; what was accepted before is delivered or pending."""
    seed = random.randrange(2**32)
    print("seed", seed)
    if not answers:
        oracle.collector.faults.set(Fault(latency_seconds=3600.0))
    for last in random.Random(seed).sample(range(100), 3):
        arguments = {"max_queue_size": 100_000, "flush_at": 100, "flush_timeout": 0.5}
        settings = {"url": oracle.collector.url, "journal": oracle.journal(), "arguments": arguments}
        ended = run("alarmed", **settings, events=500, last=last)
        assert (0, "") == (ended.returncode, ended.stderr)
        assert json.loads(ended.stdout)["longest"] < 5.0
    oracle.collector.faults.clear()
    verdict = oracle.settle(max_queue_size=100_000)
    assert set() == verdict.missing
    assert verdict.stats.dropped["invalid"] > 0, "nothing was refused after shutdown()"


@pytest.mark.parametrize("call", ["append", "seal", "purge", "lend", "close"])
def test_a_handler_that_raises_leaves_the_other_threads_alone(call: str) -> None:
    """Wherever it throws the main thread out of a call of ours, no other thread of the host waits for ever."""
    ended = run("thrown_out", call=call, arguments={"flush_at": 10**6, "max_queue_size": 10**6})
    assert (0, "", "true\n") == (ended.returncode, ended.stderr, ended.stdout)


def test_a_finaliser_may_track_in_any_thread(oracle: Oracle) -> None:
    """The garbage collector comes in the middle of `track()` and of a flush; each event counts once, and is stored."""
    arguments = {"flush_at": 50, "max_queue_size": 100_000}
    ended = run("collected", url=oracle.collector.url, journal=oracle.journal(), events=3000, arguments=arguments)
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    verdict = balanced(oracle)
    assert set() == verdict.missing
    assert [event["event_name"] for event in verdict.stored].count("from.finaliser") >= 3000


@pytest.mark.parametrize("leave", [False, True])
def test_an_event_from_within_a_seal_is_on_disk_after_it(leave: bool, telemetry: Make) -> None:
    """A handler or finaliser that tracks while the segment is handed over, and nobody calls us again."""
    client = telemetry(flush_at=10**6)
    client.track("test.event", {"number": 0})
    rename = files.rename
    with pytest.MonkeyPatch.context() as patched:

        def tracking(old: str, new: str) -> None:
            rename(old, new)
            if new.endswith(".ready"):
                client.track("test.event", {"number": 1})

        patched.setattr(files, "rename", tracking)
        if leave:
            client.leave()
        else:
            client._seal()
    assert 0 == client._writer.volatile
    assert [0, 1] == harness.numbers(harness.events(harness.spool(client)))


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("kept", ["cycle", "main", "builtins", "sys"])
def test_a_finaliser_may_track_when_the_interpreter_ends(kept: str, used: bool, telemetry: Make) -> None:
    """Modules are being cleared, nothing can be imported: no output, status 0, and the event is for the next process.

    What lives until Python has cleared our modules, too, cannot be served; it does no harm.
    """
    ended = run("torn_down", kept=kept, used=used, threads=0, arguments={"flush_timeout": 20.0})
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    path = harness.spool(telemetry())
    found = harness.numbers(harness.events(path)) if path.exists() else []
    assert ([0] if used else []) == found[:used]
    if kept in {"cycle", "main"}:
        assert [1] == found[used:]
    if path.exists():
        harness.assert_sound(path)


def test_a_finaliser_does_not_wait_for_threads_that_never_go_on(telemetry: Make) -> None:
    """Daemon threads are frozen where they are when the interpreter ends, one of them in the middle of `track()`."""
    for _ in range(3):
        ended = run("torn_down", kept="cycle", used=True, threads=4, arguments={"max_queue_size": 10**6})
        assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    path = harness.spool(telemetry())
    assert 3 == harness.numbers(harness.events(path)).count(1)
    telemetry()._sender._reader.recover()
    harness.assert_sound(path)


def test_stats_have_their_attributes_even_where_they_cannot_be_imported(
    telemetry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that interrupts the first `stats()` in its import gets an answer, and no ImportError."""
    monkeypatch.setitem(sys.modules, "producttelemetry._stats", None)
    unknown = telemetry().stats()
    monkeypatch.undo()
    assert {each.name for each in fields(Stats)} == set(vars(unknown))
    assert 0 == sum(unknown.dropped.values())


# --- threads ----------------------------------------------------------------------------------------------------------


def test_eight_threads_evict_flush_and_look_at_once(oracle: Oracle, telemetry: Make) -> None:
    """A small queue, tracked, flushed and looked at from every side: it ends, and the books are exact."""
    client = telemetry(oracle.collector.url, max_queue_size=64, flush_at=20, flush_timeout=10.0)

    def work(thread: int) -> None:
        for number in range(300):
            client.track("test.event", {"number": number, "thread": thread})
            if number % 100 == thread * 10:
                (client.flush if thread % 2 else client.stats)()

    end = listen(oracle.journal())
    try:
        run_all([partial(work, thread) for thread in range(8)])
    finally:
        harness.discard(client)
        end()
    verdict = balanced(oracle)
    assert 2401 == len(verdict.told.attempted)
    for thread in range(8):
        arrived = [event["properties"] for event in verdict.stored if event["properties"].get("thread") == thread]
        in_order = [each["number"] for each in arrived]
        assert sorted(in_order) == in_order, "a thread's events have changed their order"


def test_shutdown_while_eight_threads_track(oracle: Oracle, telemetry: Make) -> None:
    """From two threads at once: it ends, and each event is either accepted and safe, or refused and counted."""
    client = telemetry(oracle.collector.url, max_queue_size=100_000, flush_at=20, flush_timeout=10.0)
    started = threading.Barrier(10)

    def work() -> None:
        started.wait()
        for number in range(200):
            client.track("test.event", {"number": number})

    def shut_down() -> None:
        started.wait()
        client.shutdown()

    end = listen(oracle.journal())
    try:
        run_all([*[work] * 8, shut_down, shut_down])
    finally:
        harness.discard(client)
        end()
    verdict = oracle.settle(max_queue_size=100_000)
    assert set() == verdict.missing
    assert 1601 == len(verdict.told.accepted) + verdict.stats.dropped["invalid"]


def test_shutdown_leaves_the_lock_to_a_thread_that_is_inside(telemetry: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that came in before `shutdown()` holds the spool's lock when that gives descriptors back."""
    client = telemetry(flush_at=10**6)
    inside, go_on = threading.Event(), threading.Event()
    rename = files.rename
    held: list[bool] = []
    lock = client._writer._segment._directory.lock

    def slow(old: str, new: str) -> None:
        if threading.current_thread() is thread:
            inside.set()
            go_on.wait(10.0)
            held.append(lock.held)
        rename(old, new)

    def work() -> None:
        for number in range(40):
            client.track("test.event", {"number": number})

    thread = threading.Thread(target=work)
    monkeypatch.setattr(files, "rename", slow)
    thread.start()
    assert inside.wait(10.0)
    client._writer.close()  # what shutdown() ends with
    go_on.set()
    thread.join()
    assert {True} == set(held)
    assert list(range(40)) == harness.numbers(harness.events(harness.spool(client)))
