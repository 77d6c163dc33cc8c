"""`request_deletion()` cut short at any file operation: the next process finishes it, or nothing has happened.

What is promised, and judged here for each point:

1. After the first request to erase no request carries the old id, whoever is killed when, unless the server refuses
   and somebody has heard that.
2. If the server was asked by a process that died, the next one to come asks again until it agrees, the old id is noted
   as erased and replaced, and nothing with it is left on the disk.
3. If it was not asked, or has refused, nothing has changed: the next process sends what is queued, under the same id.
4. In each case a fresh event of the next process gets through, for each destination, and the spool is sound.
"""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests import harness
from tests.children_erasure import SCENARIOS

if TYPE_CHECKING:
    from pathlib import Path

    from producttelemetry.collector import RunningCollector

Point = dict[str, Any]


def points(scenario: str, url: str, place: Path) -> list[Point]:
    """Run a scenario once for each operation of it."""
    settings = json.dumps({"scenario": scenario, "url": url, "place": str(place)})
    # Not measured: most of these processes die, and the others would spend their time on writing data files.
    environment = harness.unmeasured()
    ended = harness.run("enumerate_points", settings, "tests.children_erasure", env=environment, timeout=110)
    assert (0, "") == (ended.returncode, ended.stderr)
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_erasure_that_is_cut_short(scenario: str, collector: RunningCollector, tmp_path: Path) -> None:
    """Kill it before each operation, let the next process come, and ask who has sent what since."""
    found = points(scenario, collector.url, tmp_path)
    for point in found:
        assert [] == violations(point), point
    assert [signal.SIGKILL] * (len(found) - 1) + [0] == [point["status"] for point in found]
    assert len(found) > 10
    if "next one" not in scenario:
        assert str("refuses" not in scenario) == found[-1]["answer"]


def violations(point: Point) -> list[str]:
    """Return which of the promises are broken."""
    requests = [*point["before"], *point["after"]]
    asked = next((number for number, each in enumerate(requests) if each["method"] == "DELETE"), None)
    found: list[str] = list(point["problems"])
    answers = [each["status"] for each in point["before"] if each["method"] == "DELETE"]
    if answers and answers[-1] == 404 and not point["erased"]:  # heard and taken back
        asked = None
    found += unchanged(point) if asked is None else finished(point, requests, asked)
    # The last two requests that carry events are those of the two destinations, with the fresh ones.
    fresh = [each for each in point["after"] if each["status"] == 202 and each["method"] == "POST"][-2:]
    if [[point["client_id"]]] * 2 != [each["ids"] for each in fresh] and asked is not None:
        found.append("a fresh event does not get through")
    return found


def finished(point: Point, requests: list[dict[str, Any]], asked: int) -> list[str]:
    """Judge a point at which the server was asked."""
    (old,) = requests[asked]["ids"]
    found: list[str] = []
    if any(old in each["ids"] and each["method"] == "POST" for each in requests[asked:]):
        found.append("the old id was sent")
    if not any(each["method"] == "DELETE" and each["status"] == 202 for each in requests):
        found.append("nobody has heard the server agree")
    if old == point["client_id"] or [old] != point["erased"]:
        found.append("the old id is in use")
    if point["erasing"]:
        found.append("the request is open")
    return found


def unchanged(point: Point) -> list[str]:
    """Judge a point at which nothing may have changed."""
    sent = [each for each in point["after"] if each["method"] == "POST" and each["status"] == 202]
    found = [] if all([point["client_id"]] == each["ids"] for each in sent) and len(sent) >= 2 else ["not all was sent"]
    if point["erased"] or point["erasing"]:
        found.append("the id is noted")
    return found
