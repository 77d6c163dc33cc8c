"""Disks that are full or fail, and processes without descriptors: memory takes over, and hands back in order.

A full disk is a real one where the machine lets us mount one, and a limit on the size of files everywhere. For an error
that only hardware gives, one operation of `files` is replaced in the host.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from producttelemetry.collector import Fault
from tests import harness
from tests.children_disks import Host
from tests.small_disk import SmallDisk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from tests.oracle import Oracle

QUIET: dict[str, Any] = {"flush_at": 10**6}


def settle(oracle: Oracle) -> None:
    """Assert that what was accepted has arrived, each event once, and that the ledger knows."""
    assert set() == oracle.settle(exact=True).missing


@pytest.mark.parametrize("fsync", [False, True])
def test_a_full_disk_that_gets_room_again(
    fsync: bool, home: Path, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending needs no room: even with none, all events leave the disk and the memory, each once."""
    with SmallDisk(home / "disk", 64 << 10) as disk:
        monkeypatch.setenv("HOME", str(disk.path))
        with Host(oracle.collector.url, journal=oracle.journal(), arguments={**QUIET, "fsync": fsync}) as host:
            host.track(0, 1, 2)
            disk.fill()
            host.track(*range(3, 40))
            pending, volatile = host.volatile()
            assert 40 == pending
            assert 0 < volatile < 37, "the kernel takes what fits into the last page"
            host.ask("call", "flush")
            assert list(range(40)) == harness.arrived(oracle.collector)
            assert (0, 0) == host.volatile()
            host.track(40, 41)
            disk.clear()
            host.ask("retry")
            host.track(42, 43)
            assert (4, 0) == host.volatile()
            assert host.ask("disk_works")
            assert [40, 41, 42, 43] == harness.numbers(harness.events(oracle.spool))
            assert 1 == len(host.end())
        settle(oracle)


def test_a_disk_that_is_full_from_the_start_is_not_littered(
    home: Path, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command tries to make the client id, and leaves nothing more behind than the one before."""
    with SmallDisk(home / "disk", 64 << 10) as disk:
        monkeypatch.setenv("HOME", str(disk.path))
        disk.fill()
        left: list[list[str]] = []
        for number in range(2):
            with Host(oracle.collector.url, journal=oracle.journal(), arguments=QUIET) as host:
                host.track(number)
                host.ask("call", "flush")
                assert 1 == len(host.end())
            left.append(sorted(os.listdir(disk.path / harness.CONFIG)))
        assert [0, 1] == harness.arrived(oracle.collector)
        assert left[0] == left[1]
        disk.clear()
        assert set() == oracle.settle().missing


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("size", [100, 700])
def test_a_limit_on_the_size_of_files_that_is_lifted_again(
    size: int, fsync: bool, oracle: Oracle, telemetry: Callable[..., Telemetry]
) -> None:
    """The kernel takes a part of the line that crosses the limit, then nothing: a line is stored whole or not."""
    with Host(oracle.collector.url, arguments={**QUIET, "fsync": fsync}) as host:  # a journal would be limited, too
        host.track(0)
        host.ask("limit_files", size)
        host.track(*range(1, 6))
        pending, volatile = host.volatile()
        on_disk = harness.numbers(harness.events(oracle.spool))
        assert (6, list(range(6 - volatile))) == (pending, on_disk)
        host.ask("limit_files", None)
        host.track(6)
        assert (7, volatile + 1) == host.volatile(), "a disk that failed is not tried for every event"
        host.ask("retry")
        host.track(*range(7, 14))
        assert (14, 0) == host.volatile()
        assert host.ask("disk_works")
        assert list(range(14)) == harness.numbers(harness.events(oracle.spool))
        assert 1 == len(host.end())
    harness.assert_sound(oracle.spool)
    telemetry(oracle.collector.url).flush()
    assert list(range(14)) == harness.arrived(oracle.collector)
    assert 0 == oracle.collector.store.counts().duplicates


def test_a_disk_that_works_again_after_its_events_were_sent_from_memory(oracle: Oracle) -> None:
    """Nothing waits that would have to be written back: the next event finds out, and an exit need not wait."""
    with Host(oracle.collector.url, journal=oracle.journal(), arguments=QUIET) as host:
        host.ask("break", "append", errno.EIO)
        host.track(0)
        host.ask("call", "flush")
        assert [0] == harness.arrived(oracle.collector)
        assert not host.ask("disk_works")
        host.ask("mend")
        host.track(1)
        assert (1, 0) == host.volatile()
        assert host.ask("disk_works")
        assert 1 == len(host.end())
    settle(oracle)


def test_a_disk_that_failed_is_tried_again_by_itself(oracle: Oracle) -> None:
    """The others say that the time for it has come; here it comes, and events of every day are all that is needed."""
    with Host(oracle.collector.url, journal=oracle.journal(), arguments=QUIET) as host:
        host.ask("break", "append", errno.EIO)
        host.track(0)
        host.ask("mend")
        numbers = iter(range(1, 10**6))

        def handed_back() -> bool:
            host.track(next(numbers))
            return 0 == host.volatile()[1]

        harness.wait_until(handed_back)
        assert list(range(next(numbers))) == harness.numbers(harness.events(oracle.spool))
        assert 1 == len(host.end())
    settle(oracle)


#: What fails, how, and what the client was asked for: `EIO` on write and fsync, a quota, a disk gone read-only.
FAILURES = [
    ("append", errno.EIO, False),
    ("append", errno.EDQUOT, False),
    ("append", errno.EIO, True),
    ("sync", errno.EIO, True),
    ("sync_directory", errno.EIO, True),
    ("rename", errno.EIO, False),
    ("create", errno.EROFS, False),
    ("names", errno.ESTALE, False),
]


@pytest.mark.parametrize(("operation", "error", "fsync"), FAILURES)
def test_an_operation_that_fails_and_works_again(operation: str, error: int, fsync: bool, oracle: Oracle) -> None:
    """Within the cap memory takes over, the oldest is counted, the order stays, and nothing comes twice."""
    arguments = {**QUIET, "fsync": fsync, "max_queue_size": 64}
    with Host(oracle.collector.url, journal=oracle.journal(), arguments=arguments) as host:
        host.track(0)
        host.ask("call", "flush")  # the segment is gone: the next event needs a new one
        host.ask("break", operation, error)
        host.track(1, 2, 3)
        pending, volatile = host.volatile()
        assert (3, True) == (pending, volatile > 1)
        host.ask("mend")
        host.ask("retry")
        host.track(4, 5, 6)
        assert (6, 0) == host.volatile()
        assert list(range(1, 7)) == harness.numbers(harness.events(oracle.spool))
        host.ask("call", "flush")
        host.ask("break", operation, error)
        host.track(*range(7, 77))
        stats = host.ask("stats")
        assert (64, 64 + 6) == (stats["volatile"], stats["pending"] + stats["dropped"]["memory"])
        host.ask("mend")
        assert 1 == len(host.end())
    assert list(range(13, 77)) == harness.numbers(harness.events(oracle.spool))
    harness.assert_sound(oracle.spool, 64)
    assert 6 == sum(oracle.settle(exact=True).stats.dropped.values())


@pytest.mark.parametrize("moment", ["first", "later"])
@pytest.mark.parametrize("known", [False, True])
def test_a_process_without_descriptors(moment: str, known: bool, home: Path, oracle: Oracle) -> None:
    """Before the first event, or at a later reservation: no call raises, memory takes over, and hands back in order.

    While no file can be opened nobody can tell what consent says, so nothing is sent; afterwards it is read as ever.
    """
    if known:
        (home / harness.CONFIG).mkdir(parents=True)
        (home / harness.CONFIG / "config.json").write_text('{"telemetry": true}')
    with Host(oracle.collector.url, journal=oracle.journal(), arguments=QUIET) as host:
        if moment == "later":
            host.track(-1)
        host.ask("take_descriptors")
        host.track(*range(30))
        stats = host.ask("stats")
        assert 15 <= stats["volatile"] == stats["pending"]
        for call in (["flush"], ["error"], ["identify", "user"]):
            host.ask("call", *call)
        assert False is host.ask("call", "request_deletion")
        assert host.ask("enabled")
        host.ask("give_descriptors")
        host.ask("retry")
        host.track(*range(30, 70))
        pending, volatile = host.volatile()
        assert 0 == volatile
        first = 0 if moment == "first" else -1
        lines = [event for event in harness.events(oracle.spool) if "event_name" in event]
        assert list(range(first, 70)) == harness.numbers(lines)
        assert len(lines) + 1 == pending, "the link to the user is queued, too"
        host.ask("call", "flush")
        assert list(range(first, 70)) == harness.arrived(oracle.collector)
        assert host.ask("disk_works")
        warnings = host.end()
    assert 1 == sum("works from memory" in warning for warning in warnings)


def test_a_process_that_ends_without_descriptors(oracle: Oracle) -> None:
    """It cannot start a sender, nor ask for consent; its events are left to the next process."""
    arguments = {**QUIET, "on_exit": "auto"}
    with Host(oracle.collector.url, journal=oracle.journal(), arguments=arguments) as host:
        host.track(0, 1, 2)
        host.ask("take_descriptors")
        assert [] == host.end()
    settle(oracle)


def test_memory_keeps_within_the_cap_when_a_request_fails(oracle: Oracle, telemetry: Callable[..., Telemetry]) -> None:
    """What is on its way counts as waiting in memory, and cannot give way: what comes meanwhile does, counted."""
    during: list[tuple[int, int]] = []

    class Failing(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            for number in range(10, 15):
                client.track("test.event", {"number": number})
            during.append((client.stats().volatile, len(json.loads(request.read())["events"])))
            raise httpx.ConnectError("no server")

    (home_config := harness.spool(telemetry(oracle.collector.url)).parents[2]).mkdir(parents=True)
    (home_config / "spool").write_text("in the way")
    client = telemetry(oracle.collector.url, max_queue_size=10, transport=Failing(), flush_at=10**6)
    for number in range(10):
        client.track("test.event", {"number": number})
    client.flush()
    assert [(10, 10)] == during
    stats = client.stats()
    assert (10, 5) == (stats.volatile, stats.dropped["memory"])
    (home_config / "spool").unlink()
    client._writer._disk_failed_at = float("-inf")
    client.shutdown()
    assert list(range(10)) == harness.numbers(harness.events(harness.spool(client)))


def test_a_process_that_ends_while_it_sends_from_memory_stores_what_it_sends(oracle: Oracle) -> None:
    """The disk works again, the server does not answer: nobody would hear of these events when the process is gone."""
    oracle.collector.faults.set(Fault(latency_seconds=3600.0))
    arguments = {"flush_at": 3, "flush_timeout": 0.1}
    with Host(oracle.collector.url, journal=oracle.journal(), arguments=arguments) as host:
        host.ask("break", "append", errno.EIO)
        host.track(0, 1, 2)
        harness.wait_until(lambda: oracle.collector.journal.total == 1)
        host.track(3)
        host.ask("mend")
        assert (4, 4) == host.volatile()
        host.end()
    assert [0, 1, 2, 3] == harness.numbers(harness.events(oracle.spool))
    oracle.collector.faults.clear()
    verdict = oracle.settle()
    assert (set(), 5) == (verdict.missing, verdict.stats.delivered), "the ledger counts each once, and the fresh one"
