"""Leaving takes the time that was given for it, to the end of the pipe, whatever the server does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests import harness
from tests.leaving_support import HANGING, WAYS, Crowd, Left, hanging, leave, no_sender_stays, senders, together

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector

pytestmark = pytest.mark.usefixtures(no_sender_stays.__name__)
#: Seconds that processes here give to leaving, and much less than what any timeout of a request is.
GIVEN = 0.5
#: Seconds that they may take on a busy machine; less than `CONNECT_TIMEOUT`, the shortest of those timeouts.
BOUND = 2.5


def leave_in_every_way(url: str, flush_timeout: float, *, loaded: bool = False) -> dict[str, Left]:
    """Run a process for each way, each with a queue of its own."""

    def settings(way: str) -> dict[str, Any]:
        arguments = {"project_slug": way, "flush_timeout": flush_timeout}
        return {"url": url, "way": way, "loaded": loaded, "arguments": arguments}

    return dict(zip(WAYS, together(leave, [settings(way) for way in WAYS]), strict=True))


def pending(telemetry: Callable[..., Telemetry], url: str) -> dict[str, int]:
    """Return how many events each way has left in its queue."""
    return {way: telemetry(url, project_slug=way).stats().pending for way in WAYS}


@pytest.mark.parametrize("phase", HANGING)
def test_leaving_ends_in_time_with_a_server_that_hangs(phase: str, telemetry: Callable[..., Telemetry]) -> None:
    """However a process leaves and wherever the server hangs, its pipe ends in time and the event is kept."""
    with hanging(phase) as url:
        left = leave_in_every_way(url, GIVEN, loaded=True)
        assert {} == {way: found for way, found in left.items() if found.seconds > BOUND}
        assert dict.fromkeys(WAYS, 1) == pending(telemetry, url)
        waited = {"wait", "flush", "shutdown", "with"}
        assert set() == waited - {way for way, found in left.items() if found.seconds >= GIVEN}


def test_leaving_does_not_wait_for_a_server_that_refuses(telemetry: Callable[..., Telemetry]) -> None:
    """A refused connection is known at once: nobody waits for the whole `flush_timeout`."""
    left = leave_in_every_way(harness.NO_SERVER, 60.0)
    assert {} == {way: found for way, found in left.items() if found.seconds > 20}
    assert dict.fromkeys(WAYS, 1) == pending(telemetry, harness.NO_SERVER)


def test_leaving_delivers_with_a_server_that_answers(
    collector: RunningCollector, telemetry: Callable[..., Telemetry]
) -> None:
    """Each way but `keep` delivers; `auto` and `detach` by another process than the one that leaves."""
    left = leave_in_every_way(collector.url, 60.0)
    assert {} == {way: found for way, found in left.items() if found.seconds > 20}
    assert {"wait", "flush", "shutdown", "with"} == {way for way, found in left.items() if found.sent}
    harness.wait_until(lambda: len(harness.stored(collector)) == len(WAYS) - 1)
    expected = {**dict.fromkeys(WAYS, 0), "keep": 1}
    harness.wait_until(lambda: pending(telemetry, collector.url) == expected)


@pytest.mark.parametrize("way", ["wait", "shutdown", "with"])
def test_who_has_waited_in_vain_spares_the_next_command(way: str, telemetry: Callable[..., Telemetry]) -> None:
    """A process that gives up in the middle of a request leaves a back-off: the next one does not wait again."""
    with hanging("silent") as url:
        arguments = {"flush_timeout": GIVEN, "flush_at": 1, "flush_interval": 1.0}  # a busy machine may need two
        leave({"url": url, "way": way, "until": "sending", "loaded": True, "arguments": arguments})
        stats = telemetry(url).stats()
        assert stats.retry_at is not None
        assert stats.last_error is not None
        assert 1 == stats.pending


def test_fifty_offline_runs_make_a_handful_of_requests(telemetry: Callable[..., Telemetry]) -> None:
    """One back-off for all of them, whether the server refuses or drops the connection, and however they leave."""

    def refuse(connection: socket.socket, crowd: Crowd) -> None:
        if crowd.connections % 2:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    with Crowd(refuse) as crowd:

        def run(number: int) -> int:
            settings = {"url": crowd.url, "arguments": {"on_exit": "auto" if number % 25 == 0 else "wait"}}
            return harness.run("one", json.dumps(settings)).returncode

        assert [0] * 50 == together(run, range(50), at_once=2)
        harness.wait_until(lambda: senders() == [])
        # The first waits are a second or two each: how many there are depends on how long the runs take.
        assert 1 <= crowd.connections <= 12
        assert 50 == telemetry(crowd.url).stats().pending
