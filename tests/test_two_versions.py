"""The oldest supported `filelock` and the newest against one spool, beside hosts, which lock the file without it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from producttelemetry import _queues
from producttelemetry.collector import Fault
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from tests.oracle import Oracle

#: Who takes `sender.lock`: the flush thread of a host, and processes with one version of `filelock` or the other.
KINDS = ("host", "oldest", "newest")


@pytest.fixture(scope="session")
def versions() -> dict[str, tuple[str, dict[str, str]]]:
    """What each kind reports as its version, and the environment that it needs.

    The README's test command installs the oldest one beside the other packages.
    """
    (lowest,) = re.findall(r'"filelock>=([0-9.]+)"', (harness.ROOT / "pyproject.toml").read_text())
    place = os.path.join(sys.prefix, "oldest")
    assert os.path.isdir(place), f"python -m pip install --target {place} --group oldest"
    assert lowest != filelock.__version__, "there is only one version to test with"
    newest: tuple[str, dict[str, str]] = (filelock.__version__, {})
    return {"host": newest, "oldest": (lowest, {"PYTHONPATH": str(place)}), "newest": newest}


class Child:
    """A program of `tests/children_two_versions.py` that listens to what the test says."""

    def __init__(self, program: str, version: tuple[str, dict[str, str]], settings: dict[str, Any]) -> None:
        self.process = harness.start(
            program,
            json.dumps(settings),
            "tests.children_two_versions",
            stdin=subprocess.PIPE,
            env={**os.environ, **version[1]},
        )
        assert version[0] == self.said()

    def said(self) -> str:
        """Return the next line that it reports."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, command: str) -> str:
        """Give it a command; return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.said()

    def end(self) -> int:
        """Close its input and wait for its end."""
        self.process.communicate(timeout=30)
        return self.process.returncode

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize(("first", "second"), list(product(KINDS, repeat=2))[1:])  # two hosts: test_files_lock
def test_each_excludes_the_other(
    first: str, second: str, versions: dict[str, tuple[str, dict[str, str]]], tmp_path: Path
) -> None:
    """What one holds no other gets, whichever way it takes it; a killed holder's lock is free; the file stays."""
    path = tmp_path / "sender.lock"
    one, other = (Child("holder", versions[kind], {"path": str(path), "by": kind}) for kind in (first, second))
    try:
        assert ["true", "false"] == [one.ask("acquire"), other.ask("acquire")]
        inode = path.stat().st_ino
        assert ["closed", "true"] == [one.ask("close"), other.ask("acquire")]
        assert ["false", "closed"] == [one.ask("acquire"), other.ask("close")]
        assert ["true", "false"] == [one.ask("acquire"), other.ask("acquire")]
        one.kill()
        assert ["true", "closed"] == [other.ask("acquire"), other.ask("close")]
        assert inode == path.stat().st_ino
        assert 0o600 == path.stat().st_mode & 0o777
    finally:
        one.kill()
        other.kill()


def test_senders_of_all_kinds_take_turns(oracle: Oracle, versions: dict[str, tuple[str, dict[str, str]]]) -> None:
    """Six that send all the time, two of each kind: never two requests at once, each event once, no lock file goes."""
    oracle.collector.faults.set(Fault(latency_seconds=0.02))
    under_way: list[int] = []

    def clock() -> float:
        """Look, at each request's arrival, how many others have no answer yet."""
        under_way.append(sum(entry["status"] is None for entry in oracle.collector.journal.to_json()))
        return time.time()

    oracle.collector.journal._clock = clock
    arguments = {"flush_at": 10**6, "max_queue_size": 10**5}
    children: list[Child] = []
    for kind in KINDS * 2:
        settings = {"url": oracle.collector.url, "journal": oracle.journal(), "arguments": arguments, "turns": 4}
        children.append(Child("service" if kind == "host" else "sender", versions[kind], settings))
    inodes = _inodes(oracle.spool)
    assert ["enough"] * 6 == [child.said() for child in children]
    harness.wait_until(lambda: len(under_way) >= 20)
    assert [0] * 6 == [child.end() for child in children]
    assert {0} == set(under_way)
    assert inodes == _inodes(oracle.spool)
    oracle.collector.faults.clear()
    assert set() == oracle.settle(exact=True).missing


def _inodes(place: Path) -> list[int]:
    locks = [place / name for name in ("lock", "sender.lock")]
    harness.wait_until(lambda: all(path.exists() for path in locks))
    return [path.stat().st_ino for path in locks]


@pytest.mark.parametrize(("first", "second"), [("oldest", "newest"), ("newest", "oldest")])
def test_a_detached_sender_of_one_version_serves_commands_with_the_other(
    first: str,
    second: str,
    oracle: Oracle,
    versions: dict[str, tuple[str, dict[str, str]]],
    telemetry: Callable[..., Telemetry],
) -> None:
    """Two environments, one spool: while the sender of one lingers, commands of the other start none of their own."""
    client = telemetry(oracle.collector.url)
    for number, kind in enumerate((first, second, second)):
        settings = {
            "url": oracle.collector.url,
            "journal": oracle.journal(),
            "number": number,
            "arguments": {"on_exit": "detach"},
        }
        command = Child("command", versions[kind], settings)
        assert 0 == command.end()
        harness.wait_until(lambda: len(harness.stored(oracle.collector)) == number + 1)  # noqa: B023  # it is called here
    harness.wait_until(lambda: not _queues.is_sending(client._spool_dir))
    verdict = oracle.settle(exact=True)
    assert set() == verdict.missing
    assert [0, 1, 2] == harness.numbers(event for event in verdict.stored if event["properties"])
