"""No place to store anything, or one that is not ours: the host sees nothing, and events are sent from memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests import harness
from tests.children_disks import Host
from tests.small_disk import SmallDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector
    from tests.oracle import Oracle

#: A user that no machine knows.
UNKNOWN = 54321
ROOT = os.geteuid() == 0


class Place(NamedTuple):
    """Where a host would store its events, and cannot.

    Attributes:
        environment: variables of the host; None unsets one.
        mend: makes it a place like any other.
        uid: whom the host runs as, where the tests run as root.
        opened: what has to be closed at the end.
    """

    environment: dict[str, str | None]
    mend: Callable[[], object] | None = None
    uid: int | None = None
    opened: AbstractContextManager[object] | None = None

    def host(self, url: str, **settings: Any) -> Host:
        """Start a host there; its queue is small, and it sends only when it is told to."""
        arguments = {"max_queue_size": 20, "flush_at": 10**6}
        return Host(url, self.environment, uid=self.uid if ROOT else None, arguments=arguments, **settings)


def without_home(_: Path) -> Place:
    """Neither HOME nor an entry for the user, as in many a container."""
    if not ROOT:
        pytest.skip("only root can become a user without an entry")
    return Place({"HOME": None}, uid=UNKNOWN)


def with_an_empty_home(_: Path) -> Place:
    """HOME is there and empty: that makes it `/`, where only root may write."""
    return Place({"HOME": ""}, uid=harness.NOBODY)


def with_a_home_that_does_not_exist(_: Path) -> Place:
    """And cannot be made, by root either: Debian's system users have `/nonexistent`, but that root can make."""
    return Place({"HOME": "/proc/nonexistent"}, uid=harness.NOBODY)


def with_a_home_in_proc(_: Path) -> Place:
    """A real file system in which nobody can make a directory, not even root."""
    return Place({"HOME": f"/proc/{os.getpid()}"})


def where_nothing_may_be_written(home: Path) -> Place:
    """Everything can be read, for there may be an opt-out, and nothing written."""
    shared = tempfile.TemporaryDirectory(dir="/tmp")  # pytest's directories are closed to others
    place = Path(shared.name)
    place.chmod(0o555)
    del home
    return Place({"HOME": shared.name}, lambda: place.chmod(0o777), harness.NOBODY, opened=shared)


def on_a_read_only_disk(home: Path) -> Place:
    """A real one."""
    disk = SmallDisk(home / "disk", 1 << 20)
    disk.remount("ro")
    return Place({"HOME": str(disk.path)}, lambda: disk.remount("rw"), opened=disk)


def with_a_file_at(relative: str) -> Callable[[Path], Place]:
    """A file where there should be a directory."""

    def make(home: Path) -> Place:
        obstacle = home / relative
        obstacle.parent.mkdir(parents=True, exist_ok=True)
        obstacle.write_text("in the way")
        return Place({}, obstacle.unlink)

    return make


PLACES: dict[str, Callable[[Path], Place]] = {
    "no home": without_home,
    "empty home": with_an_empty_home,
    "home does not exist": with_a_home_that_does_not_exist,
    "home in proc": with_a_home_in_proc,
    "no permission": where_nothing_may_be_written,
    "read-only": on_a_read_only_disk,
    **{
        f"file at ~/{relative}": with_a_file_at(relative)
        for relative in (".config", harness.CONFIG, f"{harness.CONFIG}/spool", f"{harness.CONFIG}/spool/v1")
    },
}
MENDABLE = [name for name in PLACES if "home" not in name]


@pytest.fixture
def place(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """One of the places; one that can be mended is the home of this process, too."""
    made = PLACES[request.param](home)
    if made.mend is not None and made.environment:
        monkeypatch.setenv("HOME", str(made.environment["HOME"]))
    yield made
    if made.opened is not None:
        with made.opened:
            pass


@pytest.mark.parametrize("place", PLACES, indirect=True)
def test_events_wait_in_memory_within_the_cap_and_are_sent_from_there(
    place: Place, collector: RunningCollector
) -> None:
    """25 events, room for 20: the oldest give way and are counted, the rest is sent, and one warning tells why.

    An erasure succeeds: nothing with this client's id can be on the disk.
    """
    with place.host(collector.url) as host:
        host.track(*range(25))
        stats = host.ask("stats")
        assert (20, 20, {"memory": 5}) == (stats["pending"], stats["volatile"], stats["dropped"])
        host.ask("call", "flush")
        assert list(range(5, 25)) == harness.arrived(collector)
        stats = host.ask("stats")
        assert (0, 0, 20) == (stats["pending"], stats["volatile"], stats["delivered"])
        assert host.ask("call", "request_deletion")
        host.track(25)
        host.ask("call", "flush")
        assert 25 == harness.arrived(collector)[-1]
        host.track(26)
        (warning,) = host.end()
    assert warning.startswith("telemetry works from memory, because the disk fails: [Errno ")


@pytest.mark.parametrize("place", MENDABLE, indirect=True)
def test_the_spool_takes_over_when_there_is_a_place(place: Place, oracle: Oracle) -> None:
    """What waited in memory is stored first, in order; nothing is lost, nothing is sent twice."""
    assert place.mend is not None
    with place.host(oracle.collector.url, journal=oracle.journal()) as host:
        host.track(0, 1, 2)
        assert (3, 3) == host.volatile()
        place.mend()
        host.track(3)
        assert (4, 4) == host.volatile(), "a disk that failed is not tried for every event"
        host.ask("retry")
        host.track(4, 5, 6, 7)  # no single call pays for all that waits
        assert (8, 0) == host.volatile()
        events = harness.events(oracle.spool)
        assert list(range(8)) == harness.numbers(events)
        host.ask("call", "flush")
        host.track(8)
        assert 1 == len(host.end())
    events += harness.events(oracle.spool)
    stored = (oracle.spool.parents[2] / "client_id").read_text().strip()
    assert {stored} == {event["client_id"] for event in events}, "what was made up before there was a place is kept"
    assert set() == oracle.settle(exact=True).missing


def test_an_erasure_that_cannot_be_noted_fails_and_may_be_repeated(
    home: Path, oracle: Oracle, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk has become read-only, with the client id on it: False, and True once it can be written again."""
    with SmallDisk(home / "disk", 1 << 20) as disk:
        monkeypatch.setenv("HOME", str(disk.path))
        for number in range(2):
            client = telemetry(oracle.collector.url)
            client.track("test.event", {"number": number})
            harness.discard(client)
            disk.remount("ro")
            assert not telemetry(oracle.collector.url).request_deletion()
            disk.remount("rw")
        events = harness.events(oracle.spool)
        assert [0, 1] == harness.numbers(events)
        assert 1 == len({event["client_id"] for event in events}), "trying again must name the same client"
        assert telemetry(oracle.collector.url).request_deletion()
        assert 2 == telemetry(oracle.collector.url).stats().dropped["purged"]


def test_a_home_that_may_not_be_searched_turns_everything_off(home: Path, collector: RunningCollector) -> None:
    """It may hide an opt-out: nothing is collected or erased, every call returns, and one warning each says why."""
    (home / harness.CONFIG).mkdir(parents=True)
    home.chmod(0)
    with Host(collector.url, uid=harness.NOBODY if ROOT else None) as host:
        host.track(0)
        for call in (["identify", "user"], ["error"], ["flush"]):
            host.ask("call", *call)
        assert (0, 0) == host.volatile()
        assert False is host.ask("call", "request_deletion")
        disabled, erasure = host.end()
    home.chmod(0o700)
    assert ("telemetry is disabled: " in disabled, "not everything was erased" in erasure) == (True, True)
    assert [] == harness.stored(collector)
