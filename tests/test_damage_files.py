"""Damage beside the lines of a segment: other names, other files, the directory itself."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._identity import is_client_id
from producttelemetry._record import Segment, parse_name
from producttelemetry._spool._check import check
from producttelemetry.collector import Fault
from tests import collector_support, harness, test_damage
from tests.test_damage import STATES, Scene, State, lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producttelemetry.collector import RunningCollector
running = collector_support.running
collector = collector_support.collector
scene = test_damage.scene


def link_out(path: Path) -> None:
    """Make a link that leads out of the spool."""
    target = Path(os.environ["HOME"], "precious")
    target.write_text("precious")
    path.symlink_to(target)


@pytest.fixture(autouse=True)
def precious(home: Path) -> Iterator[None]:
    """Whatever a link leads to is left as it is."""
    yield
    assert {"precious"} >= {path.read_text() for path in home.glob("precious*")}
    assert not (home / "nowhere").exists()


#: What may have a file's name without being a file.
OBSTACLES: dict[str, Callable[[Path], None]] = {
    "a directory": lambda path: (path / "x").mkdir(parents=True),
    "a pipe": os.mkfifo,
    "a link": link_out,
    "a dangling link": lambda path: path.symlink_to(Path(os.environ["HOME"], "nowhere")),
}
#: What another program has stored; it must not be sent.
STRANGE = b'{"event_id": "01890a5d-ac96-774b-bcce-b302099a8057", "event_name": "strange"}\n'


def put(obstacle: str, *paths: Path) -> None:
    """Have something else in a file's place."""
    for path in paths:
        path.unlink(missing_ok=True)
        OBSTACLES[obstacle](path)


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_only_has_a_segments_name_is_left_alone(obstacle: str, scene: Scene) -> None:
    """A directory in a segment's place is neither opened nor counted, nor removed, whatever state the name says."""
    scene.fill("ready", max_queue_size=10)
    names = [f"0000000{number}-0bad.0.5.{state}" for number in (0, 9) for state in ("open", "ready", "sending", "tmp")]
    put(obstacle, *[scene.oracle.spool / name for name in names])
    client = scene.client(max_queue_size=10)
    scene.track(client, range(10, 14))
    harness.discard(client)
    verdict = scene.oracle.settle(exact=True, lasting=names, max_queue_size=10)
    assert {"overflow": 5} == {reason: number for reason, number in verdict.stats.dropped.items() if number}
    assert set(names) <= set(os.listdir(scene.oracle.spool))


def test_names_that_do_not_parse_and_other_versions_are_left_alone(scene: Scene) -> None:
    """What another program or a later version has stored is not ours to send, to count or to delete."""
    scene.fill("ready")
    other = scene.oracle.spool.parent.parent / "v2" / scene.oracle.spool.name
    other.mkdir(parents=True)
    names = ["00000000-0bad.0.1.READY", "0-0bad.0.1.ready", "00000000-0bad.0.01.ready", "00000000-0bad.0.1.ready~"]
    names += ["1000000000000000-0bad.0.1.ready", os.fsdecode(b"\xff\xfe-0bad.0.1.ready")]
    strangers = [*[scene.oracle.spool / name for name in names], other / "00000000-0bad.0.1.ready"]
    for stranger in strangers:
        stranger.write_bytes(STRANGE)
    scene.oracle.settle(exact=True, lasting=[*names, "v2: another format version"])
    assert {STRANGE} == {stranger.read_bytes() for stranger in strangers}


@pytest.mark.parametrize("state", STATES)
def test_a_segment_that_lost_its_name_comes_back_with_it(state: State, scene: Scene) -> None:
    """Under a name that does not parse a segment is out of the queue, and untouched; renamed, it is delivered."""
    segment = scene.fill(state)
    strange = segment.rename(segment.with_name("lost+found"))
    content = strange.read_bytes()
    verdict = scene.oracle.settle(lasting=["lost+found"], slack=5)
    assert {0, 1, 2, 3, 4} == lost(verdict)
    assert content == strange.read_bytes()
    strange.rename(segment)
    assert set() == scene.oracle.settle(exact=True).missing


@pytest.mark.parametrize("second", ["ready", "sending", "open"])
@pytest.mark.parametrize("how", ["link", "copy"])
def test_two_names_for_one_segment_end_as_none(second: Any, how: str, scene: Scene) -> None:
    """A restored backup or a hard link: the events may be sent twice, the server knows their ids, and it ends."""
    segment = scene.fill("ready")
    parsed = parse_name(segment.name)
    assert parsed is not None
    other = segment.with_name(str(parsed._replace(state=second, slots=6 if second == "ready" else 5)))
    (os.link if how == "link" else shutil.copy)(segment, other)
    assert any("2 names for one segment" in said for said in check(str(segment.parent)))
    scene.client().flush()
    one_too_many = int(second == "ready")  # is promised, looked for, and counted as corrupt
    assert set() == scene.oracle.settle(recounted=5 + one_too_many).missing


def test_two_segments_with_one_number_are_both_delivered(scene: Scene) -> None:
    """The number orders, it does not identify."""
    segment = scene.fill("ready")
    second = parse_name(harness.segments(segment.parent)[1])
    assert isinstance(second, Segment)
    os.rename(segment.with_name(str(second)), segment.with_name(str(second._replace(number=1))))
    assert 10 == scene.client().stats().pending
    assert set() == scene.oracle.settle(exact=True).missing


# --- the other files ------------------------------------------------------------------------------------------------

GARBAGE = {
    "nothing": b"",
    "NULs": bytes(512),
    "invalid UTF-8": b'{"delivered": \xff, "not_before": \xfe}',
    "half of it": b'{"delivered": 3, "dropped": {"overf',
    "other types": b'{"delivered": -1, "dropped": [], "failures": [], "not_before": {}, "by_server": 7}',
    "nested too deep": b"[" * 50_000,
    "other numbers": b'{"failures": 9, "not_before": 1e300, "by_server": true, "last_error": null, "delivered": 1e9}',
    "5 MB": b"x" * 5_000_000,
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_the_small_files_costs_nothing_but_what_they_said(garbage: str, scene: Scene) -> None:
    """`retry.json`, `ledger.json` and `client_id`: everything is delivered at once, and counted from zero."""
    segment = scene.fill("ready")
    project = scene.oracle.spool.parent.parent.parent
    small = [segment.with_name("retry.json"), segment.with_name("ledger.json"), project / "client_id"]
    for path in small:
        path.write_bytes(GARBAGE[garbage])
    verdict = scene.oracle.settle(exact=True)
    assert 11 == verdict.stats.delivered == len({event["event_id"] for event in verdict.stored})
    assert 11 == json.loads(small[1].read_bytes())["delivered"]
    assert small[1].stat().st_size < 4096
    *_, new = (event["client_id"] for event in verdict.stored)
    assert is_client_id(new)
    assert f"{new}\n".encode() == small[2].read_bytes()


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_obstacles_in_place_of_files_stop_nobody(obstacle: str, scene: Scene, collector: RunningCollector) -> None:
    """A refusal, an eviction, a failure and an erasure in turn, with none of the small files where it should be."""
    segment = scene.fill("ready", max_queue_size=10)
    names = ["ledger.json", "retry.json", "rejected.jsonl", "destination.json", "purged"]
    names += [f"{name}.new" for name in names[1:]]
    put(obstacle, *[segment.with_name(name) for name in names])
    client = scene.client(max_queue_size=10)
    scene.track(client, range(10, 14))
    assert (0, 4) == (client.stats().volatile, client.stats().dropped["overflow"])
    collector.faults.set(Fault(status=503, remaining=1))
    client.flush()
    assert 10 == client.stats().pending
    collector.faults.set(Fault(status=422, remaining=1))
    client.flush()
    assert 0 == client.stats().pending
    client.track("test.event")
    assert client.request_deletion()
    assert [] == harness.segments(segment.parent)


@pytest.mark.parametrize("obstacle", [each for each in OBSTACLES if each != "a pipe"])
def test_an_obstacle_in_place_of_the_lock_leaves_memory(obstacle: str, scene: Scene) -> None:
    """Nobody can change the names: events wait in memory, are sent from there, and the others when it is gone."""
    lock = scene.fill("ready").with_name("lock")
    put(obstacle, lock)
    client = scene.client()
    scene.track(client, range(10, 13))
    assert 3 == client.stats().volatile
    client.flush()
    assert [10, 11, 12] == harness.arrived(scene.oracle.collector)
    shutil.rmtree(lock) if obstacle == "a directory" else lock.unlink()
    harness.discard(client)
    scene.oracle.settle(exact=True)


@pytest.mark.parametrize("obstacle", [each for each in OBSTACLES if each != "a pipe"])
def test_an_obstacle_in_place_of_the_senders_lock_keeps_everything(obstacle: str, scene: Scene) -> None:
    """Nobody can be the one sender: everything stays on disk, and is sent when the obstacle is gone."""
    lock = scene.fill("ready").with_name("sender.lock")
    put(obstacle, lock)
    client = scene.client()
    scene.track(client, range(10, 13))
    client.flush()
    assert (13, 0) == (client.stats().pending, client.stats().volatile)
    shutil.rmtree(lock) if obstacle == "a directory" else lock.unlink()
    harness.discard(client)
    assert set() == scene.oracle.settle(exact=True).missing


@pytest.mark.parametrize("level", ["destination", "project"])
@pytest.mark.parametrize("then", ["nothing", "a file"])
def test_the_directory_removed_under_a_running_client_comes_back(level: str, then: str, scene: Scene) -> None:
    """At most one reservation more is lost than was there, the writer counts its own, and sending goes on."""
    client = scene.client()
    scene.track(client, range(20))
    gone = scene.oracle.spool if level == "destination" else scene.oracle.spool.parent.parent.parent
    shutil.rmtree(gone)
    if then == "a file":
        gone.write_bytes(b"")
    scene.track(client, range(20, 60))
    client.flush()
    assert 60 - 35 <= len(harness.stored(scene.oracle.collector))
    if then == "a file":
        gone.unlink()
    harness.discard(client)
    verdict = scene.oracle.settle(slack=35)
    assert lost(verdict) <= set(range(35))
