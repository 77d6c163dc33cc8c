"""Where a test ends: what is made in it does nothing outside, and what is outside does nothing in it.

A user's opt-out and files must not depend on which variables a test has set, or on when it takes them back.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

import httpx
import pytest

from producttelemetry import Telemetry, _config
from producttelemetry.testing import Collector, Isolation, capture, collect
from pytest_producttelemetry import set_variables
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry.collector import RunningCollector


def enter(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Isolation:
    """Begin a test as another test runner does, with the variables alone."""
    directory.mkdir()
    isolation = Isolation(directory)
    set_variables(monkeypatch, isolation.variables())
    return isolation


def test_what_is_made_in_a_test_sends_nothing_after_it(
    home: Path, tmp_path: Path, collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user has opted out, and the client has never looked at that choice."""
    enter(tmp_path / "test", monkeypatch)
    client = Telemetry("key", collector.url, on_exit="detach")
    client.track("app.started")
    monkeypatch.delenv("OPS_TEST_DIR")
    client.track("after")
    client.flush()
    assert not client.request_deletion()
    client.leave()
    assert "withdrawn" == client._connect().identify(b"{}", float("inf")).kind
    assert (0, []) == (collector.journal.total, list(home.iterdir()))
    harness.discard(client)


def test_only_the_tests_server_is_spoken_to(
    tmp_path: Path, collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies of the machine, and a transport that has one, would carry events to somewhere else."""
    enter(tmp_path / "test", monkeypatch)
    monkeypatch.setenv("OPS_TEST_URL", harness.NO_SERVER)
    monkeypatch.setenv("http_proxy", collector.url)
    for transport in (None, httpx.HTTPTransport(proxy=collector.url)):
        client = Telemetry("key", "http://example.com", transport=transport, flush_timeout=2.0)
        client.track("app.started")
        client.flush()
        assert 1 == client.stats().pending
        harness.discard(client)
        shutil.rmtree(tmp_path / "test" / "config")
    assert 0 == collector.journal.total


def test_nobody_claims_to_have_erased_what_a_test_hides(
    home: Path, telemetry: Callable[..., Telemetry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable was forgotten: the user's id and events are where they were, and the answer is no."""
    real = telemetry()
    real.track("app.started")
    before = harness.tree(home)
    enter(tmp_path / "test", monkeypatch)
    client = Telemetry("key")
    assert not client.request_deletion()
    client.track("app.started")
    assert not client.request_deletion()
    ended = subprocess.run(
        [sys.executable, "-m", "producttelemetry", "forget"], capture_output=True, text=True, check=False
    )
    assert (1, "") == (ended.returncode, ended.stdout)
    assert "captured by a test (OPS_TEST_DIR)" in ended.stderr
    assert before == harness.tree(home)
    harness.discard(client)


@pytest.mark.parametrize(("command", "said"), [("status", "captured by a test"), ("off", "A test runs")])
def test_commands_say_that_they_speak_of_a_test(
    command: str, said: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who forgot the variable would take a test's choice for their own."""
    enter(tmp_path / "test", monkeypatch)
    program = [sys.executable, "-m", "producttelemetry", command]
    ended = subprocess.run(program, capture_output=True, text=True, check=True)
    assert said in ended.stdout
    assert [] == list(home.iterdir())


def test_a_real_client_is_not_touched_by_a_test(
    home: Path, collector: RunningCollector, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its flush thread goes on: it changes none of its files, sets no back-off, and takes no opt-out from a test."""
    client = telemetry(collector.url)
    client.track("before")
    before = harness.tree(home)
    with collect():
        assert client._flusher.worker.flush(10.0, explicit=False)
    with capture(), monkeypatch.context() as patch:
        patch.setenv("DO_NOT_TRACK", "1")
        assert client._flusher.worker.flush(10.0, explicit=True)
    assert before == harness.tree(home)
    client.track("after")
    client.flush()
    assert ["before", "after"] == [event["event_name"] for event in harness.stored(collector)]


def test_bound_methods_that_outlive_a_test() -> None:
    """A program keeps `client.track`, or a mock puts our wrapper back: no exception reaches the host."""
    with capture() as events:
        client = Telemetry("key")
        track, wrapper = client.track, Telemetry.track
        track("inside")
    track("outside")
    wrapper(Telemetry("key", disabled=True), "outside")
    assert ["inside"] == events.names


def test_no_moment_without_an_opt_out() -> None:
    """The user has opted out: another thread that makes a client must find that, or the test, at each moment."""
    program = """
import os, sys
from producttelemetry import _config
from producttelemetry.testing import capture
open_moments = []
def look(event, _):
    if event in ("os.putenv", "os.unsetenv"):
        now = _config.environment()
        open_moments.append(now.do_not_track == "" and now.test_dir is None)
sys.addaudithook(look)
with capture():
    pass
print(len(open_moments) > 4, any(open_moments), os.environ["DO_NOT_TRACK"])
"""
    variables = {**os.environ, "DO_NOT_TRACK": "1", "OPS_TELEMETRY": "0", "OPS_WRITE_KEY": "key"}
    ended = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    assert "True False 1" == ended.stdout.strip()


def track_in_a_pool(name: str) -> None:
    """Track something as a worker of a pool does."""
    Telemetry("key", harness.NO_SERVER, on_exit="keep").track(name)


def test_children_of_a_fork_server_that_was_there_before(home: Path) -> None:
    """It has the environment it was started in, and so have its children: from Python 3.14 on this is the default."""
    context = get_context("forkserver")

    def run(name: str) -> None:
        process = context.Process(target=track_in_a_pool, args=(name,))
        process.start()
        process.join()
        assert 0 == process.exitcode

    run("before")
    before = harness.tree(home)
    with capture() as events:
        run("in a test")
    assert (["in a test"], before) == (events.names, harness.tree(home))
    run("after")
    assert before != harness.tree(home)


def test_a_fork_server_with_children_is_left_alone() -> None:
    """A pool of the session lives on: nobody waits for it, and how its processes end is still told."""
    context = get_context("forkserver")
    living = context.Process(target=time.sleep, args=(60,))
    living.start()
    with capture() as events:
        process = context.Process(target=track_in_a_pool, args=("in a test",))
        process.start()
        process.join()
    assert ["in a test"] == events.names
    living.terminate()
    living.join(30)
    assert -signal.SIGTERM == living.exitcode


def test_looks_at_events_amid_a_look() -> None:
    """A signal handler, a forked child: nobody waits for another look, and each sees all."""
    with capture() as events:
        client = Telemetry("key")
        for _ in range(100):
            client.track("test.event")
        seen: list[int] = []
        before = signal.signal(signal.SIGALRM, lambda _signal, _frame: seen.append(len(events)))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            for _ in range(300):
                client.track("test.event")
                assert len(events) > 100
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert (400, sorted(seen)) == (len(events), seen)
        assert 400 == len({event["event_id"] for event in events})


def test_what_waits_in_memory_reaches_its_own_queue(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that sets the variable before it ends: what it had accepted before is neither lost nor the test's."""
    (home / ".config").write_text("a file in place of the directory")
    client = Telemetry("key", harness.NO_SERVER, on_exit="keep")
    client.track("app.started")
    assert 1 == client.stats().volatile
    (home / ".config").unlink()
    isolation = enter(tmp_path / "test", monkeypatch)
    client.leave()
    monkeypatch.delenv("OPS_TEST_DIR")
    assert (1, 0, 0) == (client.stats().pending, client.stats().volatile, len(isolation.events))


def test_a_client_without_a_hash() -> None:
    """A program's own subclass is a client like others."""

    class Equal(Telemetry):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        __hash__ = None  # type: ignore[assignment]

    early = Equal("key", disabled=False, on_exit="keep")
    with capture() as events:
        early.track("app.started")
    assert ["app.started"] == events.names


def test_a_line_that_was_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process was killed in the middle of telling: that event is missing, and no other."""
    with capture() as events:
        Telemetry("key").track("first")
        noted = os.path.join(os.environ["OPS_TEST_DIR"], "tracked.jsonl")
        with open(noted, "ab") as file:
            file.write(b'\n{"event_name": "to')
        Telemetry("key").track("last")
        assert ["first", "last"] == events.names
        monkeypatch.undo()


def test_a_test_that_is_over_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that outlives it does not make its directory again."""
    enter(tmp_path / "test", monkeypatch)
    client = Telemetry("key", on_exit="keep")
    client.track("app.started")
    shutil.rmtree(tmp_path / "test")
    client.track("app.started")
    assert not (tmp_path / "test").exists()
    harness.discard(client)


def test_a_forked_child_that_leaves_the_block() -> None:
    """The directory is its parent's."""
    program = """
import os, sys
from producttelemetry import Telemetry
from producttelemetry.testing import capture
with capture() as events:
    if (child := os.fork()) == 0:
        Telemetry("key").track("child")
        sys.exit()
    assert 0 == os.waitpid(child, 0)[1]
    Telemetry("key").track("parent")
    print(events.names)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "['child', 'parent']" == ended.stdout.strip()


def test_a_client_from_before_has_its_own_arguments_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's variables gave it is not what the test's would: both find the same queue."""
    monkeypatch.setenv("OPS_WRITE_KEY", "machine")
    early = Telemetry()
    with capture():
        early.track("app.started")
        late = Telemetry()
        assert (1, "test-key") == (late.stats().pending, late._options.write_key)
    assert "machine" == early._options.write_key
    harness.discard(early)


def test_the_command_sends_to_the_tests_server() -> None:
    """`flush` is the sender there, with the test's own variables."""
    program = "from producttelemetry import Telemetry; Telemetry(on_exit='keep').track('app.started')"
    with collect() as collector:
        subprocess.run([sys.executable, "-c", program], check=True)
        subprocess.run([sys.executable, "-m", "producttelemetry", "flush"], check=True)
        assert 1 == len(collector.wait_for(1, timeout=0))


def test_a_server_that_is_entered_again() -> None:
    """What had arrived by its end can be read, and does not hide what arrives later."""
    server = Collector()
    server.stop()
    with capture(), server:
        assert [] == server.events
    with collect() as other, server:
        assert (0, 0) == (len(server.events), len(other.events))
        assert server._last is None


def test_a_server_that_is_no_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is none, and nothing is sent."""
    enter(tmp_path / "test", monkeypatch)
    monkeypatch.setenv("OPS_TEST_URL", "http://127.0.0.1:9/?q")
    assert _config.environment().captured
