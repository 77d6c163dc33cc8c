"""The oracle itself: it must be able to fail."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from producttelemetry._spool import Directory
from tests import harness
from tests.oracle import listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from tests.oracle import Oracle


@pytest.fixture
def segment(oracle: Oracle, telemetry: Callable[..., Telemetry]) -> Path:
    """Three accepted events, sealed."""
    client = telemetry(oracle.collector.url, flush_at=10**6)
    end = listen(oracle.journal())
    for number in range(3):
        client.track("test.event", {"number": number})
    end()
    harness.discard(client)
    (name,) = harness.segments(oracle.spool)
    return oracle.spool / name


def test_nothing_happened(oracle: Oracle, segment: Path) -> None:
    """Without a fault every event arrives and the books are exact."""
    assert segment.exists()
    verdict = oracle.settle(exact=True)
    assert 4 == len(verdict.stored)
    assert set() == verdict.missing


def test_a_lost_event_is_seen(oracle: Oracle, segment: Path) -> None:
    """A segment that is gone without being counted."""
    segment.unlink()
    with pytest.raises(AssertionError, match="lost: 3 are missing and 0 counted"):
        oracle.settle()


def test_an_altered_event_is_seen(oracle: Oracle, segment: Path) -> None:
    """One digit."""
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b'"number":1', b'"number":7'))
    assert data != segment.read_bytes()
    with pytest.raises(AssertionError, match="altered"):
        oracle.settle()


def test_an_invented_event_is_seen(oracle: Oracle, segment: Path) -> None:
    """An id that nobody tracked."""
    lines = segment.read_bytes().splitlines(keepends=True)
    event = json.loads(lines[0]) | {"event_id": "01890a5d-ac96-774b-bcce-b302099a8057"}
    segment.write_bytes(b"".join([json.dumps(event).encode() + b"\n", *lines[1:]]))
    with pytest.raises(AssertionError, match="invented"):
        oracle.settle()


def test_a_broken_promise_is_seen(oracle: Oracle, segment: Path) -> None:
    """What `check()` says counts, too."""
    os.rename(segment, str(segment).replace(".3.ready", ".4.ready"))
    with pytest.raises(AssertionError):
        oracle.settle()
    oracle.settle(problems=["holds 3 events"], recounted=1)  # the fourth is looked for, and counted as corrupt


def test_an_event_that_is_counted_and_delivered_is_seen(oracle: Oracle, segment: Path) -> None:
    """Once is what a kill may cause, and nothing else."""
    Directory(str(segment.parent)).count({"overflow": 1})
    with pytest.raises(AssertionError, match="counted twice: 4 were there, and 5 have left"):
        oracle.settle()
    oracle.settle(recounted=1)


def test_a_queue_above_its_cap_is_seen(oracle: Oracle, segment: Path) -> None:
    """Three events where there is room for two."""
    assert segment.exists()
    with pytest.raises(AssertionError, match="the cap is 2"):
        oracle.settle(max_queue_size=2)
    oracle.settle(cap=3)


def test_a_link_to_a_user_is_followed(oracle: Oracle, telemetry: Callable[..., Telemetry]) -> None:
    """`identify` is a line like any other: it arrives, or it is missing."""
    client = telemetry(oracle.collector.url, flush_at=10**6)
    end = listen(oracle.journal())
    client.identify("one\nuser")
    client._seal()
    client.identify("another")
    end()
    harness.discard(client)
    assert 3 == len(oracle.settle(exact=True).told.accepted)
    end = listen(oracle.journal())
    client.identify("lost")
    end()
    harness.discard(client)
    (name,) = harness.segments(oracle.spool)
    (oracle.spool / name).unlink()
    with pytest.raises(AssertionError, match="lost: 1 are missing and 0 counted"):
        oracle.settle()
