"""The detached sender: at most one, for a bounded time, and somebody sends whatever the host was doing when it left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _detach
from producttelemetry._lock import Lock
from producttelemetry.collector import Fault
from tests import harness
from tests.leaving_support import (
    HANGING,
    MODULE,
    children,
    hanging,
    leave,
    measure,
    no_sender_stays,
    senders,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector

pytestmark = pytest.mark.usefixtures(no_sender_stays.__name__)
#: A sender that lives so long ends a second earlier.
LIFETIME = 1.5
#: What makes a process one in which a detached sender cannot work, by the environment.
CI_VARIABLES = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TEAMCITY_VERSION", "TF_BUILD", "JENKINS_URL")
#: The same, by the process; see `children_leaving`.
CHANGES = (
    "frozen",
    "compiled",
    "embedded",
    "no interpreter path",
    "interpreter gone",
    "long path",
    "transport",
)


# --- at most one ------------------------------------------------------------------------------------------------------


def test_commands_that_end_together_start_one_sender(telemetry: Callable[..., Telemetry]) -> None:
    """The process table shows one sender while it sends, and nothing that it has started."""
    seen: set[int] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            seen.update(senders())

    with hanging("silent") as url:
        looking = threading.Thread(target=look)
        looking.start()
        try:
            together(leave, [{"url": url, "way": "detach"}] * 12)
            harness.wait_until(lambda: seen)
            (sender,) = senders()
            assert [] == children(sender)
        finally:
            over.set()
            looking.join()
        assert {sender} == seen
        assert 12 == telemetry(url).stats().pending


@pytest.mark.parametrize("host", ["leave", "bare"])
def test_the_lock_is_never_free_between_a_host_and_its_sender(host: str, telemetry: Callable[..., Telemetry]) -> None:
    """From the end of the command to the sender's request nobody else can become a sender.

    In a host without streams the descriptors for the child stand in the places of the streams, and of each other.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        lock = Lock(os.path.join(telemetry(url)._spool_dir, "sender.lock"))
        settings = {"url": url, "way": "detach", "arguments": {"on_exit": "detach"}}
        assert 0 == harness.run(host, json.dumps(settings), MODULE).returncode
        deadline = time.monotonic() + 30
        connected = False
        while not connected:
            assert not lock.acquire(0.0), "there was a moment without a sender"
            assert time.monotonic() < deadline
            try:
                silent.accept()[0].close()
                connected = True
            except BlockingIOError:
                continue
        lock.close()


# --- somebody sends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["auto", "detach"])
def test_what_the_flush_thread_has_taken_up_is_sent_by_another(
    way: str, collector: RunningCollector, telemetry: Callable[..., Telemetry]
) -> None:
    """`flush_at` events start the flush thread. It ends with the process, in the middle of importing httpx perhaps."""
    arguments = {"flush_at": 1, "flush_timeout": 60}
    left = leave({"url": collector.url, "way": way, "until": "taking turns", "arguments": arguments})
    assert left.seconds < 20
    harness.wait_until(lambda: len(harness.stored(collector)) == 1)
    client = telemetry(collector.url)
    harness.wait_until(lambda: client.stats().pending == 0)


def test_what_the_flush_thread_is_sending_is_sent_by_another(
    collector: RunningCollector, telemetry: Callable[..., Telemetry]
) -> None:
    """`detach` does not wait for a request that is under way either; the request ends with the process."""
    collector.faults.set(Fault(status=503, latency_seconds=60, remaining=1))
    settings = {"url": collector.url, "way": "detach", "until": "told", "arguments": {"flush_at": 1}}
    process = harness.start("leave", json.dumps(settings), MODULE, stdin=subprocess.PIPE)
    harness.wait_until(lambda: collector.faults.current is None)
    assert process.stdin is not None
    process.stdin.write("leave\n")
    process.stdin.flush()
    assert measure(process).seconds < 20
    harness.wait_until(lambda: len(harness.stored(collector)) == 1)
    client = telemetry(collector.url)
    harness.wait_until(lambda: client.stats().pending == 0)


def test_auto_waits_once_a_connection_was_opened(collector: RunningCollector) -> None:
    """What is left is delivered when the process ends, and there is no other that does it."""
    leave({"url": collector.url, "way": "auto", "before": "flush", "arguments": {"flush_timeout": 60}})
    assert [0, 1] == harness.numbers(harness.stored(collector))
    assert [] == senders()


def test_an_inheritable_pipe_ends_with_the_host() -> None:
    """A host may make its descriptors inheritable; the sender closes them."""
    with hanging("silent") as url:
        left = leave({"url": url, "way": "detach", "change": "inheritable pipe"})
        assert left.seconds < 10
        assert 1 == len(senders())


# --- where it cannot work ---------------------------------------------------------------------------------------------


def test_a_process_waits_where_a_sender_could_not_work(collector: RunningCollector) -> None:
    """Where a detached sender would be killed, or cannot be started, the process has sent when it ends."""

    def run(change: str) -> bool:
        way = "detach" if change in CHANGES else "auto"
        arguments = {"project_slug": change.replace(" ", "_"), "flush_timeout": 60}
        environment = {**os.environ, change: "1"} if change in CI_VARIABLES else None
        settings = {"url": collector.url, "way": way, "change": change, "arguments": arguments}
        return leave(settings, env=environment).sent

    changes = (*CI_VARIABLES, *CHANGES)
    assert dict.fromkeys(changes, True) == dict(zip(changes, together(run, changes, at_once=4), strict=True))
    assert len(changes) == len(harness.stored(collector))
    assert [] == senders()


def test_the_first_process_of_a_container_waits(collector: RunningCollector) -> None:
    """With process 1 the kernel ends all others of its namespace, so nothing can be left behind."""
    isolate = ["unshare", "--pid", "--fork"]
    if subprocess.run([*isolate, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us have a process namespace")
    settings = json.dumps({"url": collector.url, "way": "detach", "arguments": {"flush_timeout": 60}})
    command = [*isolate, sys.executable, "-m", MODULE, "leave", settings]
    process = subprocess.Popen(command, cwd=harness.ROOT, text=True, stdout=subprocess.PIPE)
    assert measure(process).sent
    assert 1 == len(harness.stored(collector))


# --- a bounded life ---------------------------------------------------------------------------------------------------


def test_a_sender_ends_in_time_wherever_the_server_hangs(telemetry: Callable[..., Telemetry]) -> None:
    """Half a second here instead of a minute; every timeout of a request is several times as long."""

    def live(phase: str) -> float:
        with hanging(phase) as url:
            client = telemetry(url, project_slug=phase)
            client.track("test.event")
            client._seal()
            task: dict[str, Any] = _detach.Task("key", f"{url}/api", *client._project, client._spool_dir)._asdict()
            with harness.start("detached", json.dumps({"lifetime": LIFETIME, "task": task}), MODULE) as process:
                started = json.loads(process.stdout.read()) if process.stdout else 0.0
                ended = time.monotonic()
            assert 0 == process.returncode
            assert 1 == client.stats().pending
            return ended - started

    lives = dict(zip(HANGING, together(live, HANGING), strict=True))
    assert {} == {phase: seconds for phase, seconds in lives.items() if not 0.4 < seconds < 2.7}


def test_a_sender_waits_for_its_host_for_a_bounded_time(telemetry: Callable[..., Telemetry]) -> None:
    """The host may take a while to end with the lock in its hands, or stay: it may be stopped."""
    client = telemetry()
    client.track("test.event")
    client._seal()
    lock = Lock(os.path.join(client._spool_dir, "sender.lock"))
    task = _detach.Task("key", f"{harness.NO_SERVER}/api", *client._project, client._spool_dir)._asdict()
    with lock:
        assert lock.acquire(0.0)
        settings = {"lifetime": LIFETIME, "task": task, "host": os.getpid()}
        with harness.start("detached", json.dumps(settings), MODULE) as process:
            started = json.loads(process.stdout.read()) if process.stdout else 0.0
            assert 0.4 < time.monotonic() - started < 5
    lock.close()
    assert 1 == client.stats().pending
