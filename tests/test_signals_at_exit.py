"""Leaving while a flush is under way, and Ctrl-C in the middle of one: in time, without a sound, nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry.collector import Fault
from tests import harness
from tests.test_signals import MODULE

if TYPE_CHECKING:
    from tests.oracle import Oracle

_SERVERS = {
    "slow": Fault(latency_seconds=0.3),
    "hangs": Fault(latency_seconds=3600.0),
    "drops": Fault(drop="before"),
    "refuses": Fault(status=503),
}


def start(oracle: Oracle, program: str, **settings: Any) -> subprocess.Popen[str]:
    """Start a program of ours whose first flush is under way when this returns."""
    values = json.dumps({"url": oracle.collector.url, "journal": oracle.journal(), **settings})
    pipe = subprocess.PIPE
    child = harness.start(program, values, MODULE, stdin=pipe, stderr=pipe, env=harness.unmeasured())
    assert child.stdout is not None
    assert "ready\n" == child.stdout.readline()
    harness.wait_until(lambda: oracle.collector.journal.total)
    return child


@pytest.mark.parametrize(
    ("leave", "server", "on_exit"),
    [
        ("return", "slow", "wait"),
        ("return", "hangs", "wait"),
        ("return", "drops", "auto"),
        ("return", "refuses", "wait"),
        ("return", "hangs", "keep"),
        ("exit in handler", "slow", "wait"),
        ("exception", "hangs", "wait"),
        ("sys.exit", "slow", "keep"),
        ("_exit", "hangs", "wait"),
    ],
)
def test_leaving_while_a_flush_is_under_way(leave: str, server: str, on_exit: str, oracle: Oracle) -> None:
    """Threads track to the last instant: own exit status, no output of ours, in time, and nothing is lost."""
    oracle.collector.faults.set(_SERVERS[server])
    arguments = {"flush_at": 10, "max_queue_size": 100_000, "flush_timeout": 1.0, "on_exit": on_exit}
    child = start(oracle, "leaving", leave=leave, threads=2, arguments=arguments)
    asked = time.monotonic()
    out, errors = child.communicate("go\n", timeout=60)
    assert time.monotonic() - asked < 6.0, "the bound is 1 s; the rest is Python's own end on a busy machine"
    assert {"exception": 1, "sys.exit": 3}.get(leave, 0) == child.returncode
    assert "" == out
    if leave == "exception":
        assert errors.endswith("ValueError: of the host\n")
        assert 1 == errors.count("Traceback")
    elif leave != "exit in handler":  # Python itself tells what an exit handler raises
        assert "" == errors
    oracle.collector.faults.clear()
    verdict = oracle.settle(max_queue_size=100_000)
    assert set() == verdict.missing
    assert len(verdict.told.accepted) > 20


@pytest.mark.parametrize("method", ["flush", "shutdown"])
def test_ctrl_c_reaches_the_host_at_once(method: str, oracle: Oracle) -> None:
    """The server hangs, `flush_timeout` is a minute: KeyboardInterrupt ends the wait, and nothing is lost."""
    oracle.collector.faults.set(_SERVERS["hangs"])
    arguments = {"flush_at": 10**6, "flush_timeout": 60.0}
    child = start(oracle, "keyboard", method=method, arguments=arguments)
    asked = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert ("interrupted\n", "") == child.communicate(timeout=50)
    assert time.monotonic() - asked < 6.0
    assert 0 == child.returncode
    oracle.collector.faults.clear()
    assert set() == oracle.settle().missing
