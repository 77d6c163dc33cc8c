"""A disk that does not answer for a while: it blocks the thread that writes to it, and nobody else for long.

One operation of `files` waits in the host until the test lets it go on: no disk can be had that blocks for real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests import harness
from tests.children_disks import Host

if TYPE_CHECKING:
    from tests.oracle import Oracle

QUIET: dict[str, Any] = {"flush_at": 10**6}
#: Seconds that a bounded call may take here; the bounds themselves are 0.1 s and `flush_timeout`.
BOUND = 10.0


@pytest.mark.parametrize("end", ["mended", "left"])
@pytest.mark.parametrize(("operation", "fsync"), [("append", False), ("sync", True), ("rename", False)])
def test_a_disk_that_blocks(operation: str, fsync: bool, end: str, oracle: Oracle) -> None:
    """It blocks who writes to it: no other call, no other process, and not the end of this one.

    When it goes on, so does the thread that waited, and its event is where it belongs.
    """
    arguments = {**QUIET, "fsync": fsync, "flush_timeout": 2.0}
    with Host(oracle.collector.url, journal=oracle.journal(), arguments=arguments) as host:
        host.track(*range(15))  # all slots of the first step
        host.ask("block", operation)
        host.ask("track_in_thread", 15)
        with Host(oracle.collector.url, journal=oracle.journal(), arguments=arguments) as neighbour:
            neighbour.track(20)
            assert neighbour.seconds < BOUND
            assert [] == neighbour.end()
        for call in ("stats", "call flush", "stats"):
            host.ask(*call.split())
            assert host.seconds < BOUND, call
        assert [False] == host.ask("join", 0)
        if end == "mended":
            host.ask("mend")
            assert [True] == host.ask("join", 30)
            host.track(16)
        assert [] == host.end()
    verdict = oracle.settle()
    assert set() == verdict.missing
    assert 16 <= len(verdict.told.accepted)


def test_an_erasure_does_not_wait_for_a_disk_that_blocks(oracle: Oracle) -> None:
    """It succeeds meanwhile, and the event that was being written is not sent, whenever that ends."""
    with Host(oracle.collector.url, arguments={**QUIET, "flush_timeout": 5.0}) as host:
        host.track(0)
        host.ask("block", "append")
        host.ask("track_in_thread", 1)
        assert host.ask("call", "request_deletion")
        assert host.seconds < BOUND
        host.ask("mend")
        assert [True] == host.ask("join", 30)
        host.track(2)
        host.ask("call", "flush")
        assert [2] == harness.arrived(oracle.collector)
        assert [] == host.end()
