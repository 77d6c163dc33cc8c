"""A host's own forks: a client beside them makes none fail, delays none, and prints nothing."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._worker import Worker
from tests import harness

if TYPE_CHECKING:
    from producttelemetry.collector import RunningCollector
    from tests.oracle import Oracle

#: Python counts the threads only after the hooks behind the fork (gh-137109), and finds one that a hook has started.
COUNTS_LATE = (3, 13) <= sys.version_info < (3, 13, 10) or sys.version_info[:3] == (3, 14, 0)


def run(program: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, warnings: str = "always") -> Any:
    """Run a program with all warnings on; it must print nothing but its report, which is returned."""
    monkeypatch.setenv("PYTHONWARNINGS", warnings)
    ended = harness.run(program, json.dumps(settings), "tests.children_host_forks")
    assert (0, "") == (ended.returncode, ended.stderr)
    return json.loads(ended.stdout) if ended.stdout else None


def test_1200_forks_from_four_threads_beside_an_active_sender(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    """All succeed, although events are tracked and sent all the while; `filelock` would make most of them fail."""
    arguments = {"flush_at": 5, "flush_interval": 0.05, "flush_timeout": 30.0, "max_queue_size": 10**5}
    settings = {"url": oracle.collector.url, "journal": oracle.journal(), "arguments": arguments, "forks": 300}
    told = run("sending_host", settings, monkeypatch)
    requests = oracle.collector.journal.total
    assert {"status 0": 1200} == told["ends"]
    assert not told["filelock"]
    assert requests > 20, "the sender was not active"
    verdict = oracle.settle(exact=True)
    assert set() == verdict.missing
    assert told["delivered"] == len(verdict.stored) - 1


@pytest.mark.parametrize("warnings", ["always", "error"])
@pytest.mark.parametrize("state", ["tracked", "flushed", "shut down"])
def test_a_fork_beside_an_idle_client_prints_nothing(
    state: str, warnings: str, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without threads gets no warning about ours: an idle flush thread has ended when Python counts."""
    if COUNTS_LATE and state == "tracked":
        pytest.skip("this Python counts the thread that takes over what is due")
    settings = {"url": oracle.collector.url, "journal": oracle.journal(), "state": state}
    run("idle", settings, monkeypatch, warnings)
    if state != "shut down":
        assert set() == oracle.settle(exact=True).missing


def test_forks_do_not_put_off_what_is_due(collector: RunningCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that forks all the time gets its flush when `flush_interval` is over, from whichever thread is there."""
    settings = {"url": collector.url, "arguments": {"flush_interval": 0.5}}
    assert 1 == run("timer", settings, monkeypatch, "ignore")


def test_a_fork_does_not_wait_for_a_flush() -> None:
    """A thread in the middle of a request is left alone; it goes on, and no second one comes beside it."""
    started: list[bool] = []
    ended: list[bool] = []
    go_on: list[bool] = []

    def flush(explicit: bool) -> None:
        started.append(explicit)
        harness.wait_until(lambda: go_on)
        ended.append(explicit)

    worker = Worker(flush, interval=3600.0)
    worker.due()
    harness.wait_until(lambda: started)
    began = time.monotonic()
    for _ in range(100):
        worker.pause()
        worker.resume()
    assert time.monotonic() - began < 1.0
    worker.due()
    go_on.append(True)
    assert worker.flush(30.0, explicit=True)
    assert [False, False, True] == started == ended
    worker.stop()


def test_a_fork_amid_our_first_import(collector: RunningCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The flush thread imports `logging`, `httpx` and more; a child that is forked then can import them, too."""
    settings = {"url": collector.url, "arguments": {"flush_at": 1}}
    ends = run("amid_import", settings, monkeypatch, "ignore")
    assert len(ends) >= 5
    assert {0} == set(ends)


@pytest.mark.parametrize("when", ["imported before", "imported by the flush thread"])
def test_the_lock_of_logging_amid_a_fork(when: str, collector: RunningCollector) -> None:
    """`logging` takes its lock before a fork and releases it afterwards: so does a fork that waits for our import.

    Meanwhile the import can have it; and it is taken even if the hook that does so is younger than the fork.
    """
    settings = {"url": collector.url, "arguments": {"flush_at": 1}, "logging": when}
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    ended = harness.run("logging_amid_fork", json.dumps(settings), "tests.children_host_forks", env=environment)
    assert (0, "[0, false]\n") == (ended.returncode, ended.stdout)
    assert ["a child", "another thread"] == sorted(ended.stderr.splitlines())


def test_the_flush_thread_imports_nothing_that_a_fork_does_not_wait_for(
    collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is forked in the middle of an import hangs at the same import: there is no unguarded one."""
    settings = {"url": collector.url.replace("127.0.0.1", "localhost")}
    assert [[], 1] == run("imports_of_flush_thread", settings, monkeypatch)
