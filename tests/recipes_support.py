"""What the tests of recipes share: each runs a file of `tests/recipes` as it stands, and an oracle listens.

`journal/sitecustomize.py` makes every Python process of a recipe tell the oracle; detached senders read no such file.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests import harness

if TYPE_CHECKING:
    from pathlib import Path

    from tests.oracle import Oracle, Verdict

TESTS = harness.ROOT / "tests"
RECIPES = TESTS / "recipes"
#: The key that the recipes have.
KEY = "your-write-key"


def environment(oracle: Oracle, **variables: str) -> dict[str, str]:
    """Return the environment of a recipe whose events go to the oracle's collector."""
    path = os.pathsep.join(map(str, (TESTS / "journal", harness.ROOT, RECIPES)))
    own = {"OPS_API_URL": oracle.collector.url, "ORACLE_JOURNALS": str(oracle._place), "PYTHONPATH": path}
    return {**os.environ, **own, **variables}


def start(oracle: Oracle, *command: str, **options: Any) -> subprocess.Popen[str]:
    """Start a program that uses a recipe: the arguments of a Python interpreter."""
    options = {"cwd": RECIPES, "env": environment(oracle), "text": True, **options}
    return subprocess.Popen([sys.executable, *command], **options)


def accepted(oracle: Oracle) -> list[str]:
    """Return the names of the events that have been accepted so far."""
    told = oracle.told()
    return [told.attempted[each]["event_name"] for each in told.accepted]


def listener() -> socket.socket:
    """Return a listening socket that a server inherits: nobody else can take its port meanwhile."""
    made = socket.create_server(("127.0.0.1", 0), backlog=128)
    made.set_inheritable(True)
    return made


def processes() -> list[int]:
    """Return the processes that this test has started and that are still there, known by their home directory."""
    home = f"HOME={os.environ['HOME']}".encode()
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if home in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue
    return found


def spool(oracle: Oracle, slug: str) -> Path:
    """Return the directory of a recipe's queue."""
    return harness.spool(oracle._make(oracle.collector.url, KEY, project_slug=slug))


def settle(oracle: Oracle, slug: str, cap: int = 1000, *, killed: bool = False) -> Verdict:
    """Wait until no process of the recipe is left; assert that they have sent everything, and ask the oracle.

    Args:
        oracle: has listened to the recipe.
        slug: the project of the recipe.
        cap: of its queue.
        killed: some of its processes were. What one of them had tracked may wait for the next process to send: a sender
            looks for the segments of the dead when it begins, and this one may have begun before.
    """
    harness.wait_until(lambda: processes() == [])
    arrived = {event["event_id"] for event in harness.stored(oracle.collector)}
    assert killed or set() == oracle.told().accepted - arrived, "the program has left events behind"
    arguments: dict[str, Any] = {"write_key": KEY, "project_slug": slug, "max_queue_size": cap}
    harness.assert_sound(spool(oracle, slug), cap)
    return oracle.settle(exact=not killed, **arguments)
