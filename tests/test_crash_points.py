"""Killed before and after every single file operation: nothing accepted is lost, and a fresh event gets through."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import harness, oracle
from tests.children_crash import SCENARIOS

if TYPE_CHECKING:
    from producttelemetry.collector import RunningCollector


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_kill_at_any_operation_loses_nothing(scenario: str, collector: RunningCollector, tmp_path: Path) -> None:
    """Every accepted event has arrived or is counted; none is invented or altered; the spool is sound."""
    settings = json.dumps({"scenario": scenario, "url": collector.url, "place": str(tmp_path)})
    # Not measured: most of these processes die, and the others would spend their time on writing data files.
    environment = harness.unmeasured()
    ended = harness.run("enumerate_points", settings, "tests.children_crash", env=environment, timeout=110)
    assert (0, "") == (ended.returncode, ended.stderr)
    points = [json.loads(line) for line in ended.stdout.splitlines()]
    stored = {event["event_id"]: event for event in harness.stored(collector)}
    for point in points:
        assert [] == _violations(point, stored), point
    attempted = oracle.read([point["journal"] for point in points]).attempted
    assert set() == set(stored) - set(attempted), "invented"
    assert len(points) > 3
    killed = [point for point in points if point["status"] == signal.SIGKILL]
    assert len(points) - len({point["point"][1] for point in points}) == len(killed)
    assert [] == [point for point in killed if not point["before"]], "a failure could not be understood"


def _violations(point: dict[str, Any], stored: dict[str, Any]) -> list[str]:
    told = oracle.read([point["journal"]])
    missing = told.accepted - set(stored)
    mine = {name: event for name, event in stored.items() if name in told.attempted}
    fresh = next(reversed(told.attempted))
    found = list(point["problems"])
    if point["pending"]:
        found.append(f"{point['pending']} events are stuck")
    if len(missing) > point["dropped"]:
        found.append(f"{len(missing)} are lost, {point['dropped']} of them counted")
    if any(told.attempted[name] != event for name, event in mine.items()):
        found.append("altered")
    left = Path(point["journal"]).with_name("left")  # what the SDK before this one has left behind, in this run
    if left.exists():
        taken = [event["properties"]["number"] for event in stored.values() if event["session_id"] == left.read_text()]
        if sorted(taken) != [0, 1, 2]:
            found.append(f"of what was left behind, {taken} has arrived")
    if fresh not in stored:
        found.append("a fresh event does not get through")
    return found
