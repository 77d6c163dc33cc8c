"""Forks: one client object in a process and in all its descendants. Every event is delivered once, nobody hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter, UserDict
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _files as files
from producttelemetry import _queues
from producttelemetry._record import Segment, parse_name
from producttelemetry._spool import Directory, Reader
from producttelemetry.collector import Fault, RunningCollector
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from tests.oracle import Oracle, Verdict

#: Python 3.12 and later warn of a fork beside a thread. These hosts have threads of their own.
QUIET = {"PYTHONWARNINGS": "ignore::DeprecationWarning"}


def settings(oracle: Oracle, **values: Any) -> str:
    """Encode a program's settings: a large queue, and no flush that nobody asks for."""
    arguments = {"flush_at": 10**6, "max_queue_size": 10**5, **values.pop("arguments", {})}
    return json.dumps({"url": oracle.collector.url, "journal": oracle.journal(), "arguments": arguments, **values})


def run(program: str, encoded: str) -> Any:
    """Run a program to its end, which must be a good one; return what it reports."""
    ended = harness.run(program, encoded, "tests.children_forks", env={**os.environ, **QUIET})
    assert (0, "") == (ended.returncode, ended.stderr)
    return json.loads(ended.stdout)


def start(program: str, encoded: str) -> subprocess.Popen[str]:
    """Start a program that listens to what the test says."""
    streams = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "env": {**os.environ, **QUIET}}
    return harness.start(program, encoded, "tests.children_forks", **streams)


def said(child: subprocess.Popen[str]) -> str:
    """Return the next line that a program reports."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def say(child: subprocess.Popen[str]) -> None:
    """Let a program go on."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def numbers(verdict: Verdict, name: str = "number") -> list[int]:
    """Return a property of all events that have arrived, in its own order."""
    return sorted(event["properties"][name] for event in verdict.stored if event["event_name"] == "test.event")


def test_forks_while_other_threads_are_inside_track(oracle: Oracle) -> None:
    """80 forks at any instant of three tracking threads: each child can track, and nothing is lost or doubled."""
    assert [0] * 80 == run("amid_tracking", settings(oracle, forks=80))
    verdict = oracle.settle(exact=True, max_queue_size=10**5)
    assert set() == verdict.missing
    assert 240 == sum(event["event_name"] == "test.child" for event in verdict.stored)


def test_prefork_workers_that_end_without_handlers(oracle: Oracle) -> None:
    """24 workers, six at a time, each ended by `os._exit`, as the master is: nothing is lost, files stay few."""
    assert [0] * 24 == run("prefork", settings(oracle))
    assert len(harness.segments(oracle.spool)) <= 12
    verdict = oracle.settle(exact=True)
    assert set() == verdict.missing
    assert 24 * 25 + 4 + 1 + 1 == len(verdict.stored)


def test_workers_whose_first_events_are_the_first_of_all(telemetry: Callable[..., Telemetry]) -> None:
    """They make directory, id and files at the same instant; nobody takes the others' files for a disk that fails."""
    volatile = Counter[int]()
    for number in range(40):
        client = telemetry(project_slug=f"pool-{number}")
        reading, writing = os.pipe()
        workers = [_worker(client, reading, writing) for _ in range(2)]
        os.close(reading)
        os.close(writing)  # now
        volatile.update(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers)
        assert 2 == client.stats().pending
    assert {0: 80} == volatile


def _worker(client: Telemetry, reading: int, writing: int) -> int:
    """Fork a worker that tracks when the last writing end of a pipe is closed; its status is what it has in memory."""
    worker = os.fork()
    if worker == 0:
        status = 99
        try:
            os.close(writing)
            os.read(reading, 1)
            client.track("test.event")
            status = client.stats().volatile
        finally:
            os._exit(status)
    return worker


def test_a_fork_from_within_before_send(oracle: Oracle) -> None:
    """Parent and child both return into the `track()` that was interrupted, and both go on.

    Both have the event in hand by then, so both store it, and the server keeps it once.
    """
    assert [0] == run("from_hook", settings(oracle))
    verdict = oracle.settle(recounted=1)
    assert set() == verdict.missing
    assert 1 + 1 + 2 + 1 == len(verdict.stored)
    assert 1 == oracle.collector.store.counts().duplicates


def test_a_fork_from_within_a_finaliser(oracle: Oracle) -> None:
    """The garbage collection comes in the middle of `track()`: the child does not wait for the frame below it."""
    assert [0] * 150 == run("from_finaliser", settings(oracle, forks=150))
    verdict = oracle.settle(exact=True)
    assert set() == verdict.missing
    assert list(range(150)) == numbers(verdict)
    assert 300 == sum(event["event_name"] == "test.child" for event in verdict.stored)


def test_a_fork_amid_a_flush(oracle: Oracle) -> None:
    """The request of the parent is on its way: the child's own `flush()` and exit are bounded, and nothing is lost."""
    oracle.collector.faults.set(Fault(latency_seconds=3600))
    encoded = settings(oracle, arguments={"flush_at": 1, "flush_timeout": 2.0})
    with start("amid_flush", encoded) as child:
        assert "sending" == said(child)
        harness.wait_until(lambda: oracle.collector.journal.total == 1)
        say(child)
        assert [7] == json.loads(said(child))
        assert child.stderr is not None
        assert "" == child.stderr.read()
    assert 0 == child.returncode
    oracle.collector.faults.clear()
    verdict = oracle.settle()
    assert set() == verdict.missing
    assert [0, 1, 2] == numbers(verdict)


@pytest.mark.parametrize("sends", [True, False], ids=["sending", "tracking"])
def test_a_killed_parent_leaves_no_lock_to_its_child(oracle: Oracle, sends: bool) -> None:
    """The child has tracked and lives on: `sender.lock` is free, the parent's segment an orphan, the child's is not."""
    oracle.collector.faults.set(Fault(latency_seconds=3600))
    with start("killed_parent", settings(oracle, sends=sends)) as parent:
        assert "tracked" == said(parent)
        harness.wait_until(lambda: oracle.collector.journal.total == sends)
        say(parent)
        assert -signal.SIGKILL == parent.wait(30)
        assert not _queues.is_sending(str(oracle.spool))
        reader = Reader(Directory(str(oracle.spool)))
        reader.recover()
        reader.directory.close()
        states = {names.state: _numbers_in(oracle.spool, names) for names in _segments(oracle.spool)}
        assert {"ready": [1], "open": [2]} == states
        say(parent)  # the child reads what its parent was to read
        assert "" == said(parent), "the pipe has not ended with the child"
    oracle.collector.faults.clear()
    verdict = oracle.settle()
    assert set() == verdict.missing
    assert [1, 2, 3] == numbers(verdict)


def _segments(place: Path) -> list[Segment]:
    return [segment for name in harness.segments(place) if (segment := parse_name(name)) is not None]


def _numbers_in(place: Path, segment: Segment) -> list[int]:
    return harness.numbers(map(json.loads, (place / str(segment)).read_bytes().splitlines()))


def test_a_child_leaves_alone_what_it_inherits(oracle: Oracle) -> None:
    """It tracks, flushes, shuts down and exits with all handlers: its parent's segment has not changed at all."""
    with start("leaving_child", settings(oracle)) as parent:
        assert [0] == json.loads(said(parent))
        (name,) = harness.segments(oracle.spool)
        path = oracle.spool / name
        (line,) = path.read_bytes().splitlines()
        assert 1 == json.loads(line)["properties"]["number"]
        descriptor = files.open_existing(str(path))
        assert not files.try_lock(descriptor), "the parent's lock is gone"
        say(parent)
        assert "tracked" == said(parent)
        assert [name] == harness.segments(oracle.spool)
        assert [1, 3] == harness.numbers(harness.events(oracle.spool))
        os.close(descriptor)
        say(parent)
    assert 0 == parent.returncode
    verdict = oracle.settle(exact=True)
    assert set() == verdict.missing
    assert [1, 2, 3] == numbers(verdict)


def test_children_of_children(oracle: Oracle) -> None:
    """Five generations, each of which goes on after its child has ended."""
    assert [0] == run("descendants", settings(oracle, generations=5))
    verdict = oracle.settle(exact=True)
    assert set() == verdict.missing
    assert sorted([*range(5), *range(6)]) == numbers(verdict, "generation")
    assert 6 == len({event["session_id"] for event in verdict.stored if event["event_name"] == "test.event"})


def test_a_daemon_that_closes_every_descriptor(oracle: Oracle, tmp_path: Path) -> None:
    """Ours among them: no event is lost, and none is written to the host's files that have the same numbers since."""
    started = harness.run("daemon", settings(oracle, place=str(tmp_path / "file")), "tests.children_forks")
    assert (0, "", "") == (started.returncode, started.stdout, started.stderr)
    report = tmp_path / "file-report"
    harness.wait_until(report.exists)
    assert [0] == json.loads(report.read_text())
    verdict = oracle.settle()
    assert set() == verdict.missing
    assert list(range(40)) == numbers(verdict)


def test_destinations_under_one_slug_never_mix(collector: RunningCollector) -> None:
    """Two servers, two keys on one of them: each event arrives where and as whose it was tracked."""
    with RunningCollector(write_key="three") as other:
        destinations = {
            "one": {"url": collector.url, "key": "one"},
            "two": {"url": collector.url, "key": "two"},
            "three": {"url": other.url, "key": "three"},
        }
        arguments = {"flush_at": 10**6, "flush_timeout": 30.0}
        assert [0] * 4 == run("two_destinations", json.dumps({"destinations": destinations, "arguments": arguments}))
        arrived = [
            Counter(event["properties"]["destination"] for event in harness.stored(server))
            for server in (collector, other)
        ]
    assert [{"one": 100, "two": 100}, {"three": 100}] == arrived


#: A program as users write them: the client stands in the module, and workers come and go.
POOL = """
import multiprocessing, os, sys
from producttelemetry import Telemetry
from tests import oracle

oracle.listen(os.environ["JOURNAL"])
client = Telemetry("key", on_exit="keep", flush_at=10**6)

def work(number):
    client.track("test.event", {"number": number})
    return os.getpid()

if __name__ == "__main__":
    client.track("test.event", {"number": -1})
    with multiprocessing.get_context(sys.argv[1]).Pool(2, maxtasksperchild=3) as pool:
        workers = pool.map(work, range(12), chunksize=1)
        pool.close()
        pool.join()
    assert 4 <= len(set(workers)), workers
    client.track("test.event", {"number": 12})
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_pool_of_processes(oracle: Oracle, method: str, tmp_path: Path) -> None:
    """Each way of starting a worker, with workers that are replaced: `Pool` ends them without our exit handler."""
    program = tmp_path / "host.py"
    program.write_text(POOL)
    environment = os.environ | QUIET | {"OPS_API_URL": oracle.collector.url, "JOURNAL": oracle.journal()}
    environment["PYTHONPATH"] = str(harness.ROOT)
    ended = subprocess.run(
        [sys.executable, str(program), method], env=environment, text=True, capture_output=True, check=False, timeout=60
    )
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    verdict = oracle.settle(exact=True)
    assert set() == verdict.missing
    assert list(range(-1, 13)) == numbers(verdict)
    assert 1 == len({event["client_id"] for event in verdict.stored})


@pytest.mark.parametrize("nested", [False, True])
def test_a_fork_in_the_middle_of_an_event(telemetry: Callable[..., Telemetry], nested: bool) -> None:
    """The properties' own code forks: both processes go on with the event, each with an id of its own."""
    children: list[int] = []

    class Forking(UserDict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            if not children:
                children.append(os.fork())
            return super().__getitem__(key)

    client = telemetry()
    client.track("before")
    try:
        client.track("test.event", {"nested": Forking(a=1)} if nested else Forking(a=1))  # type: ignore[arg-type]
    finally:
        if children == [0]:
            os._exit(0)
    assert 0 == os.waitpid(children[0], 0)[1]
    found = harness.events(harness.spool(client))
    assert {"before": 1, "test.event": 2} == Counter(event["event_name"] for event in found)
    assert 3 == len({event["event_id"] for event in found})
