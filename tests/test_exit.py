"""Leaving: whole processes, from their start to the end of the pipe they wrote to."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _detach, _queues
from producttelemetry._detached import LINGER
from tests import harness
from tests.leaving_support import senders

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector


def one(url: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run a command that tracks one event, and wait for the end of its output."""
    return harness.run("one", json.dumps({"url": url, "arguments": arguments}))


def test_a_detached_sender_delivers_what_a_command_leaves(
    collector: RunningCollector, telemetry: Callable[..., Telemetry]
) -> None:
    """The command is over, its pipe has ended, and the event arrives all the same."""
    ended = one(collector.url, on_exit="auto")
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    harness.wait_until(lambda: len(harness.stored(collector)) == 1)
    client = telemetry(collector.url)
    harness.wait_until(lambda: client.stats().pending == 0)
    harness.wait_until(lambda: not _queues.is_sending(client._spool_dir))


def test_a_detached_sender_lets_go_of_everything(telemetry: Callable[..., Telemetry]) -> None:
    """Own session, `/` as directory, null device on its streams, nothing else of ours open, no key in its arguments."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        ended = harness.run("one", json.dumps({"url": url, "key": "secret-key", "arguments": {"on_exit": "detach"}}))
        assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
        assert time.monotonic() - started < 10, "the pipe did not end with the command"
        connection, _ = silent.accept()
        client = telemetry(url, write_key="secret-key")
        assert _queues.is_sending(client._spool_dir)
        (process,) = senders()
        try:
            assert process == os.getsid(process)
            assert "/" == os.readlink(f"/proc/{process}/cwd")
            streams = {os.readlink(f"/proc/{process}/fd/{number}") for number in range(3)}
            assert {"/dev/null"} == streams
            with open(f"/proc/{process}/cmdline", "rb") as file:
                assert b"secret-key" not in file.read()
            again = one(url, on_exit="detach")
            assert 0 == again.returncode
        finally:
            os.kill(process, 9)
            connection.close()
    harness.wait_until(lambda: senders() == [])
    assert 1 == client.stats().pending


def test_commands_in_a_loop_share_a_sender(collector: RunningCollector) -> None:
    """While a sender lingers nobody starts another, and the last command's event is not left behind.

    A second one is started where the machine is so slow that the first has stopped lingering.
    """
    seen: set[int] = set()
    for _ in range(8):
        assert 0 == one(collector.url, on_exit="detach").returncode
        seen.update(senders())
    harness.wait_until(lambda: len(harness.stored(collector)) == 8)
    assert 1 <= len(seen) <= 2
    harness.wait_until(lambda: senders() == [], seconds=LINGER + 10)


def test_no_sender_is_started_during_back_off(telemetry: Callable[..., Telemetry]) -> None:
    """Twenty commands offline make one attempt, and leave their events in place."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert 0 == one(url, on_exit="detach").returncode
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        connection.close()
        harness.wait_until(lambda: senders() == [])
        for _ in range(20):
            assert 0 == one(url, on_exit="detach").returncode
            assert [] == senders()
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()
    assert 21 == telemetry(url).stats().pending


def test_wait_delivers_before_the_process_ends(collector: RunningCollector) -> None:
    """`on_exit="wait"`: when the command is over the event is at the server."""
    assert 0 == one(collector.url, on_exit="wait").returncode
    assert 1 == len(harness.stored(collector))


def test_wait_is_bounded(telemetry: Callable[..., Telemetry]) -> None:
    """A server that accepts and never answers delays a waiting exit by `flush_timeout`, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        ended = one(url, on_exit="wait", flush_timeout=0.5)
        assert 0.5 <= time.monotonic() - started < 8
        assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    assert 1 == telemetry(url).stats().pending


def test_keep_leaves_it_to_the_next_process(collector: RunningCollector, telemetry: Callable[..., Telemetry]) -> None:
    """`on_exit="keep"`: no request, and the next process sends it."""
    assert 0 == one(collector.url, on_exit="keep").returncode
    assert 0 == collector.journal.total
    client = telemetry(collector.url)
    client.flush()
    assert 1 == len(harness.stored(collector))


def test_auto_waits_where_a_child_would_be_killed(collector: RunningCollector, monkeypatch: pytest.MonkeyPatch) -> None:
    """In continuous integration nothing is left running: the event is delivered before the command ends."""
    monkeypatch.setenv("CI", "true")
    assert 0 == one(collector.url, on_exit="auto").returncode
    assert 1 == len(harness.stored(collector))
    assert [] == senders()


@pytest.mark.parametrize("executable", [None, "/usr/bin/uwsgi", "", "python3"])
def test_a_detached_sender_is_declined_where_it_cannot_work(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen application, a host that embeds Python, no interpreter, or one that depends on the working directory."""
    assert _detach.possible()
    if executable is None:
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", executable)
    assert not _detach.possible()


def test_an_opt_out_stops_a_detached_sender(collector: RunningCollector, telemetry: Callable[..., Telemetry]) -> None:
    """Consent is asked in the child too: what was queued before the choice is not sent after it."""
    client = telemetry(collector.url)
    client.track("test.event")
    client._seal()
    (harness.spool(client).parents[2] / "config.json").write_text('{"telemetry": false}')
    options = client._options
    task = _detach.Task(options.write_key or "", options.api_base, *client._project, client._spool_dir)
    assert _detach.start(task, client._sender)
    harness.wait_until(lambda: senders() != [])
    harness.wait_until(lambda: senders() == [])
    assert 0 == collector.journal.total
