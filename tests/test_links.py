"""Symbolic links where the spool and its files should be: what they lead to is neither written nor made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from producttelemetry.cli import main
from producttelemetry.collector import Fault
from tests import harness
from tests.oracle import listen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector
    from tests.oracle import Oracle


def snapshot(place: Path) -> dict[str, bytes | None]:
    """Return everything below a directory, with what the files hold."""
    return {str(path.relative_to(place)): path.read_bytes() if path.is_file() else None for path in place.rglob("*")}


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_link_in_place_of_the_spool_is_followed_by_nobody(
    level: int, exists: bool, tmp_path: Path, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """Neither writer nor sender nor an erasure makes or changes anything behind it; events are sent from memory."""
    client = telemetry(collector.url, flush_at=10**6)
    spool = harness.spool(client)
    link, target = [spool, *spool.parents][level], tmp_path / "target"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    if exists:
        (target / spool.relative_to(link)).mkdir(parents=True)
        (target / spool.relative_to(link) / "00000001-aaaa.0.1.ready").write_text('{"event_id": "theirs"}\n')
    before = snapshot(tmp_path) if exists else None
    collector.faults.set(Fault(status=503, remaining=1))
    for number in range(3):
        client.track("test.event", {"number": number})
        client.flush()  # the first one fails, so that there is a back-off to note
    assert (0, 0, 3) == (client.stats().pending, client.stats().volatile, client.stats().delivered)
    assert [0, 1, 2] == harness.arrived(collector)
    assert client.request_deletion()
    client.shutdown()
    assert link.is_symlink()
    assert exists == target.exists()
    if before is not None:
        behind = {name: content for name, content in before.items() if name.startswith("target")}
        assert behind == {name: content for name, content in snapshot(tmp_path).items() if name.startswith("target")}


def test_a_link_to_the_projects_directory_is_the_users_own(
    home: Path, tmp_path: Path, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """Some keep their configuration elsewhere: client id and spool are both there, and one erasure takes both."""
    (tmp_path / "elsewhere").mkdir()
    (home / harness.CONFIG).parent.mkdir(parents=True)
    (home / harness.CONFIG).symlink_to(tmp_path / "elsewhere")
    client = telemetry(collector.url, flush_at=10**6)
    client.track("test.event", {"number": 0})
    assert (1, 0) == (client.stats().pending, client.stats().volatile)
    (event,) = harness.events(harness.spool(client))
    assert event["client_id"] == (tmp_path / "elsewhere" / "client_id").read_text().strip()
    assert client.request_deletion()
    assert (0, 1) == (client.stats().pending, client.stats().dropped["purged"])


#: What links in place of files do to three events, of which two were stored before: those that arrive while the link is
#: there, those that wait on the disk, and whether an erasure succeeds.
LINKS: dict[str, tuple[list[int], int, bool]] = {
    "lock": ([2], 2, True),  # nobody may touch the queue: the event waits in memory, and is sent from there
    "sender.lock": ([], 3, True),  # nobody may send from the queue
    "ledger.json": ([0, 1, 2], 0, True),  # put aside: what is counted in no ledger would be sent for ever
    "retry.json": ([0, 1, 2], 0, True),
    "retry.json.new": ([0, 1, 2], 0, True),
    "rejected.jsonl": ([0, 1, 2], 0, True),
    "destination.json": ([0, 1, 2], 0, True),
    "purged": ([0, 1, 2], 0, True),
    "purged.new": ([0, 1, 2], 0, True),
    "00000002-aaaa.0.1.ready": ([0, 1, 2], 0, True),
    "../../../client_id": ([0, 1, 2], 0, False),
    "../../../client_id.lock": ([0, 1, 2], 0, False),
    "../../../client_id.new": ([0, 1, 2], 0, True),
    "../../../erased": ([], 3, False),  # nobody can tell what must not be sent
    "../../../config.json": ([], 2, True),  # an opt-out perhaps; the third event is not collected
}


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_place_of_a_file_is_not_followed(
    name: str, exists: bool, tmp_path: Path, oracle: Oracle, telemetry: Callable[..., Telemetry]
) -> None:
    """Its target is not written, and not made where there is none; without the link all that was accepted arrives."""
    target = tmp_path / "target"
    if exists:
        target.write_text("precious")
    end = listen(oracle.journal())
    first = telemetry(oracle.collector.url)
    for number in (0, 1):
        first.track("test.event", {"number": number})
    harness.discard(first)
    link = harness.spool(first) / name
    link.unlink(missing_ok=True)
    link.symlink_to(target)

    second = telemetry(oracle.collector.url)
    second.track("test.event", {"number": 2})
    oracle.collector.faults.set(Fault(status=503, remaining=1))
    second.flush()  # fails, so that there is a back-off to note
    second.flush()
    expected, left, erasable = LINKS[name]
    assert expected == harness.arrived(oracle.collector)
    link.unlink(missing_ok=True)
    assert left == len(harness.events(harness.spool(first)))
    harness.discard(second)
    end()
    oracle.collector.faults.clear()
    assert set() == oracle.settle(lasting=["ledger.json."] if name == "ledger.json" else []).missing

    link.unlink(missing_ok=True)
    link.symlink_to(target)
    assert erasable is telemetry(oracle.collector.url).request_deletion()
    assert (exists, "precious" if exists else None) == (target.exists(), target.read_text() if exists else None)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A directory of root's to which an ordinary user leads root."""
    place = tmp_path / "trap"
    place.mkdir()
    (place / "precious").write_text("x" * 2000)
    return place


def plant(link: Path, target: Path) -> None:
    """Make a link as an ordinary user does."""
    link.symlink_to(target)
    os.lchown(link, harness.NOBODY, harness.NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led into another owner's place")
@pytest.mark.parametrize("levels", [0, 1])
def test_root_is_not_led_elsewhere(
    levels: int, trap: Path, home: Path, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """`sudo tool` with HOME kept: nothing is written behind a user's link; the event is sent from memory."""
    link = home / harness.CONFIG if levels == 0 else (home / harness.CONFIG).parent
    link.parent.mkdir(parents=True)
    plant(link, trap)
    client = telemetry(collector.url)
    client.track("test.event")
    assert 1 == client.stats().volatile
    client.flush()
    assert 1 == len(harness.stored(collector))
    assert 1 == main(["off"])
    assert ["precious"] == os.listdir(trap)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led into another owner's place")
@pytest.mark.parametrize("target", ["precious", "new"])
def test_root_writes_no_choice_elsewhere(target: str, trap: Path, home: Path) -> None:
    """A `config.json` that is a user's link to another owner's file, or to none."""
    (home / harness.CONFIG).mkdir(parents=True)
    plant(home / harness.CONFIG / "config.json", trap / target)
    assert 1 == main(["off"])
    assert (["precious"], 2000) == (os.listdir(trap), (trap / "precious").stat().st_size)


@pytest.mark.skipif(os.geteuid() != 0, reason="others cannot write to such a file in any case")
@pytest.mark.parametrize("name", ["lock", "ledger.json"])
def test_root_writes_to_no_file_of_several_names(
    name: str, trap: Path, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """A hard link to another owner's file, where the system lets users make one; no event is lost by that."""
    first = telemetry(collector.url, flush_at=10**6)
    first.track("test.event")
    harness.discard(first)
    (harness.spool(first) / name).unlink()
    os.link(trap / "precious", harness.spool(first) / name)
    second = telemetry(collector.url, flush_at=10**6)
    second.track("test.event")
    second.flush()
    assert "x" * 2000 == (trap / "precious").read_text()
    (harness.spool(first) / name).unlink(missing_ok=True)
    telemetry(collector.url).flush()
    assert 2 == len(harness.stored(collector))
