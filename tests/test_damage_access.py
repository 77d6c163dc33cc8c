"""Lock files that were deleted, and segments that cannot be read, for they are another user's or the disk fails."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _files as files
from producttelemetry import _transport  # noqa: F401  # pyright: ignore[reportUnusedImport]  # for a child that may not read it
from producttelemetry._errors import ClaimLost
from producttelemetry._lock import Lock
from producttelemetry._record import parse_name
from producttelemetry._spool import Claim, Directory, Reader, Settled
from producttelemetry._spool._check import check
from tests import collector_support, harness, test_damage
from tests.oracle import listen
from tests.test_damage import STATES, Scene, State, lost

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from producttelemetry import Telemetry

running = collector_support.running
collector = collector_support.collector
scene = test_damage.scene


class Child:
    """A forked child that does one thing, says so, and does another when it is told to.

    Args:
        first: before it waits.
        then: with the result of `first`, after it was told.
    """

    def __init__(self, first: Callable[[], Any], then: Callable[[Any], None]) -> None:
        ready, told = os.pipe()
        go, self._tell = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                result = first()
                os.write(told, b"x")
                os.read(go, 1)
                then(result)
                status = 0
            finally:
                os._exit(status)
        os.close(told)
        assert b"x" == os.read(ready, 1)
        os.close(ready)
        os.close(go)

    def tell(self) -> None:
        """Let it go on."""
        os.write(self._tell, b"x")
        os.close(self._tell)

    def wait(self) -> None:
        """Wait for its end."""
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def test_a_lock_file_deleted_while_held_is_one_lock_again(scene: Scene) -> None:
    """Four processes, each of which has another lock file open, fill a queue: they find the one that has the name."""

    def first() -> Telemetry:
        client = scene.client(max_queue_size=100)
        scene.track(client, range(1))
        return client

    def then(client: Telemetry) -> None:
        scene.track(client, range(1, 300))
        harness.discard(client)

    children: list[Child] = []
    for _ in range(4):
        children.append(Child(first, then))
        with closing(Directory(str(scene.oracle.spool))) as directory:
            assert directory.acquire(5.0)
            os.unlink(directory.lock.path)
    for child in children:
        child.tell()
    for child in children:
        child.wait()
    # Where the machine is so busy that a process waits for the lock in vain, it goes beyond the cap in the end.
    harness.assert_sound(scene.oracle.spool)
    assert 700 <= sum(scene.oracle.settle(exact=True).stats.dropped.values())


def test_a_senders_lock_deleted_while_held_counts_nothing_twice(scene: Scene) -> None:
    """Two senders at once: what the first has claimed the second takes back and sends, and the first finds out."""
    scene.fill("ready")
    path = scene.oracle.spool / "sender.lock"

    def first() -> Claim:
        assert Lock(str(path)).acquire(5.0)
        claim = Reader(Directory(str(scene.oracle.spool))).claim()
        assert claim is not None
        return claim

    def then(claim: Claim) -> None:
        with pytest.raises(ClaimLost):
            claim.acknowledge(5, Settled(delivered=5))

    child = Child(first, then)
    path.unlink()
    scene.client().flush()
    child.tell()
    child.wait()
    scene.oracle.settle(exact=True)


# --- segments that cannot be read -----------------------------------------------------------------------------------


@contextmanager
def bad_sector(segment: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Let every read of one file fail, whatever its name is; no test can have a real one."""
    inode = segment.stat().st_ino
    read = files.read_open

    def failing(descriptor: int, *arguments: Any) -> bytes:
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_open", failing)
        yield


def readable(state: State) -> list[int]:
    """Return the numbers of the events that can be sent, in order."""
    return [*range(10 if state == "last" else 5, 13)]


@pytest.mark.parametrize("state", STATES)
def test_a_bad_sector_stops_nobody(state: State, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be read is sent, now and again; what cannot stays for later, and is seen by `stats()` and `check()`."""
    segment = scene.fill(state)
    with bad_sector(segment, monkeypatch):
        client = scene.client()
        scene.track(client, range(10, 13))
        assert 0 == client.stats().volatile
        client.flush()
        client.flush()
        assert readable(state) == harness.arrived(scene.oracle.collector)
        assert (0 if state == "open" else 5) == client.stats().pending
        assert any("cannot be read" in said for said in check(str(segment.parent)))
        harness.discard(client)
    assert set() == scene.oracle.settle(exact=True).missing


def test_a_full_queue_gives_up_what_cannot_be_read(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest events give way, readable or not; they go together, and are counted."""
    with bad_sector(scene.fill("ready", max_queue_size=10), monkeypatch):
        client = scene.client(max_queue_size=10)
        scene.track(client, range(10, 15))
        assert (10, 0) == (client.stats().pending, client.stats().volatile)
        harness.discard(client)
    verdict = scene.oracle.settle(exact=True)
    assert ({0, 1, 2, 3, 4}, 5) == (lost(verdict), verdict.stats.dropped["corrupt"])


@pytest.mark.parametrize("state", STATES)
def test_an_erasure_deletes_what_cannot_be_read(state: State, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes to the segments behind it, too, and counts what the name of the bad one promises."""
    segment = scene.fill(state)
    named = parse_name(segment.name)
    assert named is not None
    with bad_sector(segment, monkeypatch):
        client = scene.client()
        assert client.request_deletion()
        assert [] == harness.segments(segment.parent)
        others = 0 if state == "last" else 5
        assert named.slots + others == client.stats().dropped["purged"]


@pytest.fixture
def shared_home(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A home that another user can enter, which the directories of pytest are not for."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        os.chmod(place, 0o755)
        monkeypatch.setenv("HOME", place)
        yield Path(place)


def as_another_user(home: Path, action: Callable[[], object]) -> None:
    """Run something in a child that is not root and owns everything in a home but what has mode 0000."""
    for path in [home, *home.rglob("*")]:
        if os.getuid() == 0 and path.stat().st_mode & 0o777:
            os.chown(path, harness.NOBODY, harness.NOBODY)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:
                os.setresgid(*[harness.NOBODY] * 3)
                os.setresuid(*[harness.NOBODY] * 3)
            action()
            status = 0
        finally:
            os._exit(status)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("state", STATES)
def test_another_users_segment_stops_nobody(state: State, scene: Scene, shared_home: Path) -> None:
    """After `sudo`: what root has left is root's, everything else is stored, sent and acknowledged."""
    segment = scene.fill(state)
    segment.chmod(0)
    end = listen(scene.oracle.journal())

    def act() -> None:
        client = scene.client()
        for number in range(10, 13):
            client.track("test.event", {"number": number})
        harness.discard(client)
        client.flush()

    as_another_user(shared_home, act)
    end()
    assert readable(state) == harness.arrived(scene.oracle.collector)
    (left,) = harness.segments(segment.parent)
    segment.with_name(left).chmod(0o600)
    assert set() == scene.oracle.settle(exact=True).missing


def test_another_users_segment_can_be_erased(scene: Scene, shared_home: Path) -> None:
    """Who owns the directory may delete what is in it, and an erasure does."""
    segment = scene.fill("ready")
    segment.chmod(0)
    as_another_user(shared_home, lambda: scene.client().request_deletion())
    assert [] == harness.segments(segment.parent)
