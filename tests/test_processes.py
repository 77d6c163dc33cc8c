"""Several processes, one spool: real processes, real signals, a real server."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._spool import Directory
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector


def settings(**values: Any) -> str:
    """Encode a child's settings."""
    return json.dumps({"url": harness.NO_SERVER, **values})


def drain(collector: RunningCollector) -> None:
    """Send what is left, from a process of its own."""
    left = harness.run("drain", settings(url=collector.url))
    assert (left.stdout, left.stderr) == ("0\n", "")


def test_every_accepted_event_arrives_although_one_of_eight_processes_is_killed(collector: RunningCollector) -> None:
    """4,000 events, a SIGKILL at a random instant: all ids that `track()` accepted arrive, and no others."""
    arguments = {"max_queue_size": 8000, "flush_at": 100_000}
    children = [
        harness.start("track", settings(url=collector.url, process=n, events=500, pace=0.0005, arguments=arguments))
        for n in range(8)
    ]
    seed = random.randrange(2**32)
    print("seed", seed)  # shown when the test fails
    killed_after = random.Random(seed).randrange(1, 480)
    accepted: list[list[str]] = []
    for number, child in enumerate(children):
        with child:
            assert child.stdout is not None
            ids: list[str] = []
            for line in child.stdout:
                ids.append(line.strip())
                if number == 0 and len(ids) == killed_after:
                    child.kill()
            accepted.append(ids)
    assert -signal.SIGKILL == children[0].returncode
    assert [500] * 7 == [len(ids) for ids in accepted[1:]]

    drain(collector)

    arrived = Counter(event["event_id"] for event in harness.stored(collector))
    told = {each for ids in accepted for each in ids}
    assert told - set(arrived) == set(), "lost"
    # The victim may have died after `track()` and before it told us: one event more, at most.
    assert len(set(arrived) - told) <= 1
    assert {1} == set(arrived.values())
    assert 0 == collector.store.counts().duplicates


def test_the_queue_never_holds_more_than_its_cap(telemetry: Callable[..., Telemetry]) -> None:
    """While eight processes write 4,800 events into a queue of 1,000, names and lines stay below, at every look."""
    cap = 1000
    looker = telemetry(max_queue_size=cap)
    looker.track("test.event", {"number": -1})
    directory = Directory(looker._spool_dir)
    children = [
        harness.start("track", settings(process=n, events=600, arguments={"max_queue_size": cap, "flush_at": 10**6}))
        for n in range(8)
    ]
    readers = ThreadPoolExecutor(8)
    outputs = [readers.submit(child.communicate) for child in children]
    largest = lines = 0
    with closing(directory), readers:
        while any(child.poll() is None for child in children):
            with directory.lock as lock:
                assert lock.acquire(5.0)
                segments = directory.segments()
                largest = max(largest, sum(segment.slots for segment in segments))
                lines = max(lines, sum(_lines(directory, segment) for segment in segments))
            assert largest <= cap
            assert lines <= cap
            time.sleep(
                0.002
            )  # not for synchronisation: a looker that holds the lock all the time leaves none to look at
    assert 4800 == sum(output.result()[0].count("\n") for output in outputs)
    assert cap * 0.9 < largest <= cap, "the test has not filled the queue"
    looker.track("test.event", {"number": -2})
    harness.discard(looker)
    stats = looker.stats()
    assert 4802 == stats.pending + stats.dropped["overflow"]
    harness.assert_sound(harness.spool(looker), cap)


def _lines(directory: Directory, segment: Any) -> int:
    with open(directory.where(segment), "rb") as file:
        file.seek(segment.offset)
        return file.read().count(b"\n")


def test_three_hundred_commands_leave_a_handful_of_files(telemetry: Callable[..., Telemetry]) -> None:
    """One event each, six at a time, every third ends without any handler: at most 20 segments, and nothing lost."""

    def command(number: int) -> int:
        leave = "_exit" if number % 3 == 0 else "normal"
        return harness.run("track", settings(process=number, events=1, leave=leave)).returncode

    with ThreadPoolExecutor(6) as pool:
        assert {0} == set(pool.map(command, range(300)))
    directory = harness.spool(telemetry())
    assert len(harness.segments(directory)) <= 20
    assert list(range(300)) == sorted(event["properties"]["process"] for event in harness.events(directory))
    harness.assert_sound(directory)


@pytest.mark.parametrize("server", ["refuses", "hangs"])
def test_a_sigterm_handler_that_shuts_down_ends_the_process_in_time(
    server: str, telemetry: Callable[..., Telemetry]
) -> None:
    """`t.shutdown(); sys.exit(0)` in a handler, in the middle of track(), against a server that does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = harness.NO_SERVER if server == "refuses" else f"http://127.0.0.1:{silent.getsockname()[1]}"
        arguments = {"flush_timeout": 1.0, "flush_at": 500, "max_queue_size": 100_000}
        child = harness.start(
            "sigterm", settings(url=url, ready_after=2000, arguments=arguments), stderr=subprocess.PIPE
        )
        with child:
            assert child.stdout is not None
            assert child.stderr is not None
            assert "ready\n" == child.stdout.readline()
            asked = time.monotonic()
            child.terminate()
            assert ("", "") == (child.stdout.read(), child.stderr.read())
        taken = time.monotonic() - asked
    assert 0 == child.returncode
    assert taken < 4.0, "the bound is 1 s for the flush; the rest is Python's own start and end on a busy machine"
    found = harness.events(harness.spool(telemetry(url)))
    assert 2000 <= len(found)
    assert list(range(len(found))) == harness.numbers(found)


def test_a_forked_child_writes_its_own_segment(telemetry: Callable[..., Telemetry]) -> None:
    """Parent and child go on with one client object: every event is there, each process has a session of its own."""
    assert 0 == harness.run("fork", settings()).returncode
    directory = harness.spool(telemetry())
    found = harness.events(directory)
    assert [0, 1, 2, 3] == sorted(harness.numbers(found))
    sessions = {event["properties"]["number"]: event["session_id"] for event in found}
    assert sessions[0] == sessions[2] == sessions[3] != sessions[1]
    assert 1 == len({event["client_id"] for event in found})
    assert 2 == len(harness.segments(directory))
