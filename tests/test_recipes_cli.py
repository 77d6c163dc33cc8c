"""The recipes of command-line tools: in a loop, in a pipe, without a server, and in several processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests import harness, leaving_support, recipes_support
from tests.leaving_support import no_sender_stays

if TYPE_CHECKING:
    from tests.oracle import Oracle

__all__ = ["no_sender_stays"]

#: A loop whose output goes through a pipe, and a last command whose reader has gone.
LOOP = """
for thing in milk bread tea; do "$0" "$1" add $thing; done | cat
"$0" "$1" add '' 2>/dev/null
"$0" "$1" add soap | true
"""
TOOLS = pytest.mark.parametrize("tool", ["click", "typer"])


def recipe(tool: str) -> str:
    """Return the recipe's path; skip where its framework is missing."""
    pytest.importorskip(tool)
    return str(recipes_support.RECIPES / f"{tool}_cli.py")


def test_commands_in_a_loop(oracle: Oracle) -> None:
    """Two loops at once: an event for each command, also for one that fails; one sender, and no process is left."""
    loops = [["sh", "-c", LOOP, sys.executable, recipe(tool)] for tool in ("click", "typer")]
    options: dict[str, Any] = {"env": recipes_support.environment(oracle), "stdout": subprocess.PIPE, "text": True}
    for process in [subprocess.Popen(loop, **options) for loop in loops]:
        said = [line.split(",")[0] for line in process.communicate(timeout=60)[0].splitlines()]
        assert [f"added {thing}" for thing in ("milk", "bread", "tea")] == said
    verdict = recipes_support.settle(oracle, "todo")
    names = Counter(event["event_name"] for event in verdict.stored)
    assert {"command.executed": 10, "error.ZeroDivisionError": 1, "oracle.fresh": 1} == names


@TOOLS
def test_a_users_own_commands_add_nothing(tool: str, oracle: Oracle) -> None:
    """A good end is tracked as one; who looks at telemetry, or has it erased, leaves no event behind."""

    def run(*arguments: str) -> str:
        started = recipes_support.start(oracle, recipe(tool), *arguments, stdout=subprocess.PIPE)
        said, _ = started.communicate(timeout=60)
        assert 0 == started.returncode
        return said

    run("add", "--help")
    run("add", "milk")
    harness.wait_until(lambda: len(recipes_support.accepted(oracle)) >= 1)
    assert "Telemetry is on." in run("telemetry", "status")
    shown = [json.loads(line) for line in run("telemetry", "show").splitlines()]
    assert {"add"} >= {event["properties"]["command"] for event in shown}
    assert {"done"} >= {event["properties"].get("outcome", "done") for event in shown}
    assert "This installation is forgotten." in run("telemetry", "forget")
    assert "none yet" in run("telemetry", "status")


@TOOLS
@pytest.mark.usefixtures("no_sender_stays")
def test_a_command_does_not_wait_for_a_server_that_hangs(tool: str, oracle: Oracle) -> None:
    """The reader of its output sees the end at once, although a sender lives on: in less than `flush_timeout`."""
    with leaving_support.hanging("silent") as url:
        for _ in range(2):
            process = recipes_support.start(
                oracle,
                recipe(tool),
                "add",
                "milk",
                stdout=subprocess.PIPE,
                env=recipes_support.environment(oracle, OPS_API_URL=url),
            )
            began = time.monotonic()
            with process:
                assert process.stdout is not None
                assert process.stdout.read().startswith("added milk")
                taken = time.monotonic() - began
            assert 0 == process.returncode
            assert taken < 4.0, "the limit is 5 s; the rest is Python's own start"
        harness.wait_until(leaving_support.senders)


def test_a_pool_of_processes(oracle: Oracle) -> None:
    """Four workers and their parent: each event arrives once, the output is the program's own."""
    program = str(recipes_support.RECIPES / "process_pool.py")
    with recipes_support.start(oracle, program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        assert "200 pictures converted\n" == process.stdout.read()
    verdict = recipes_support.settle(oracle, "convert")
    names = Counter(event["event_name"] for event in verdict.stored)
    assert {"picture.converted": 200, "run.completed": 1, "oracle.fresh": 1} == names


def test_recipes_stand_alone() -> None:
    """A recipe is copied as it is: short, documented, and none of it depends on this repository's tests."""
    for path in recipes_support.RECIPES.glob("*.py"):
        text = path.read_text()
        assert text.startswith('"""')
        assert text.count("\n") < 70
        assert "from tests" not in text
