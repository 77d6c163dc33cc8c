"""The recipes of servers and workers: forked, replaced, killed, asynchronous."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from producttelemetry.collector import Fault
from tests import harness, recipes_support

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator
    from pathlib import Path

    from tests.oracle import Oracle

#: Longest that a server may take from SIGTERM to its end, in seconds: it has no request left to answer.
PATIENCE = 15.0
#: Longest that an event loop may be held up by `track()`, in seconds.
LONGEST = 0.005


@contextlib.contextmanager
def server(
    oracle: Oracle, listening: socket.socket, *command: str, status: int = 0
) -> Generator[subprocess.Popen[str]]:
    """Run a server on a socket of ours; end it, and see that it ends in time."""
    process = recipes_support.start(oracle, *command, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL)
    with process:
        try:
            yield process
            process.terminate()
            assert status == process.wait(PATIENCE)
        finally:
            process.kill()


def ask(listening: socket.socket, path: str = "/") -> str | None:
    """Make one request; None if the server was killed before it answered."""
    host, port = listening.getsockname()
    connection = http.client.HTTPConnection(host, port, timeout=30)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return None


def test_gunicorn(oracle: Oracle) -> None:
    """One client before the fork, workers that are replaced after 20 requests, and three of them killed."""
    pytest.importorskip("gunicorn")
    with recipes_support.listener() as listening:
        options = ["--preload", "--workers", "2", "--max-requests", "20", "--bind", f"fd://{listening.fileno()}"]
        with server(oracle, listening, "-m", "gunicorn", *options, "gunicorn_web:application"):
            pids: list[int] = []
            for _ in range(3):
                with ThreadPoolExecutor(4) as pool:
                    served = list(pool.map(ask, [listening] * 40))
                harness.assert_sound(recipes_support.spool(oracle, "shop"), 1000)
                pids += [int(each.split()[-1]) for each in served if each is not None]
                with contextlib.suppress(ProcessLookupError):  # it may be one that was replaced
                    os.kill(pids[-1], signal.SIGKILL)
            answer = ask(listening)
            assert answer is not None, "a killed worker is replaced"
            pids.append(int(answer.split()[-1]))
    verdict = recipes_support.settle(oracle, "shop", killed=True)
    names = Counter(event["event_name"] for event in verdict.stored)
    assert len(set(pids)) > 4, "workers were replaced"
    assert names["request.served"] >= len(pids) > 100
    assert names["server.loaded"] == 1
    sessions = {event["session_id"] for event in verdict.stored if event["event_name"] == "request.served"}
    assert len(sessions) >= len(set(pids))


def test_celery(oracle: Oracle, tmp_path: Path) -> None:
    """Tasks in forked children that are replaced after five, two that fail: each is told once, whoever sends it."""
    pytest.importorskip("celery")
    (tmp_path / "queue").mkdir()
    send = "from celery_mail import send; [send.delay(number) for number in range(20)]"
    with recipes_support.start(oracle, "-c", send, cwd=tmp_path) as asking:
        assert 0 == asking.wait(30)
    options = ["--pool", "prefork", "--concurrency", "2", "--max-tasks-per-child", "5", "--loglevel", "CRITICAL"]
    command = ["-W", "ignore", "-m", "celery", "--app", "celery_mail", "worker", *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with recipes_support.start(oracle, *command, cwd=tmp_path, **quiet) as worker:
        try:
            harness.wait_until(lambda: len(recipes_support.accepted(oracle)) == 20)
            worker.terminate()
            assert 0 == worker.wait(PATIENCE)
        finally:
            worker.kill()
    verdict = recipes_support.settle(oracle, "mail")
    names = Counter(event["event_name"] for event in verdict.stored)
    assert {"mail.sent": 18, "error.ValueError": 2, "worker.left": 1, "oracle.fresh": 1} == names
    assert 4 <= len({event["session_id"] for event in verdict.stored if event["event_name"] == "mail.sent"})


def test_asyncio(oracle: Oracle) -> None:
    """While handlers track and a thread sends to a slow server, nothing holds the loop up for 5 ms.

    What else the machine does holds up any loop now and then. What we did would be in every window, for in each of them
    some ten requests are answered, and a thread sends or waits for the server: so the best window counts.
    """
    oracle.collector.faults.set(Fault(latency_seconds=0.05))
    with recipes_support.listener() as listening:
        options = ["--fd", str(listening.fileno()), "--log-level", "critical"]
        command = ["-m", "uvicorn", *options, "tests.children_asyncio:app"]
        with server(oracle, listening, *command, status=-signal.SIGTERM):
            for characters in range(300):
                assert "nothing found\n" == ask(listening, f"/search?q={'x' * characters}")
                time.sleep(0.005)
            longest = json.loads(ask(listening, "/longest") or "[]")
    print("the longest delays, in ms:", sorted(round(1000 * each, 1) for each in longest))
    assert 10 < len(longest)
    assert min(longest) < LONGEST
    verdict = recipes_support.settle(oracle, "search", cap=10_000)
    made = [event["properties"]["characters"] for event in verdict.stored if event["event_name"] == "search.made"]
    assert list(range(300)) == made
