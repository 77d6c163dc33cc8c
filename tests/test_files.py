"""`_files`: modes, links, whole writes, and a lock that excludes whoever there is."""

from __future__ import annotations

import errno
import itertools
import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from producttelemetry import _files as files
from producttelemetry._lock import Lock
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and links are POSIX's")


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """A host that takes no care of who may read its files."""
    before = os.umask(0)
    yield
    os.umask(before)


def open_and_close(function: Callable[[str], int]) -> Callable[[str], None]:
    """Return a function that opens a path and lets go of it."""
    return lambda path: os.close(function(path))


def take_and_close(lock: Lock) -> None:
    """Take a lock and let go of it."""
    lock.acquire(0.0)
    lock.close()


#: Everything that makes a file.
MAKERS: dict[str, Callable[[str], object]] = {
    "create": open_and_close(files.create),
    "open_lock": open_and_close(files.open_lock),
    "write_new": lambda path: files.write_new(path, b"x"),
    "replace": lambda path: files.replace(path, b"x"),
    "publish": lambda path: files.publish(path, b"x"),
    "overwrite": lambda path: files.overwrite(path, b"x"),
    "Lock": lambda path: take_and_close(Lock(path)),
}
#: Everything that opens a file which exists.
OPENERS: dict[str, Callable[[str], object]] = {
    **{name: MAKERS[name] for name in ("open_lock", "overwrite", "Lock")},
    "open_existing": open_and_close(files.open_existing),
    "read": files.read,
}


@pytest.mark.parametrize("name", MAKERS)
def test_files_are_private(name: str, tmp_path: Path) -> None:
    """Every file is 0600 from its first moment, whatever the host's umask lets through."""
    MAKERS[name](str(tmp_path / "file"))
    assert {"file": 0o600} == {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("file*")}


def test_directories_are_private(tmp_path: Path) -> None:
    """A directory and the parents it needs are 0700; those that exist stay as they are."""
    (tmp_path / "a").mkdir(0o755)
    files.make_directory(str(tmp_path / "a" / "b" / "c"))
    files.make_directory(str(tmp_path / "a" / "b" / "c"))
    assert [0o755, 0o700, 0o700] == [(tmp_path / place).stat().st_mode & 0o777 for place in ("a", "a/b", "a/b/c")]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_a_new_files_place_is_replaced(link: Callable[[str, str], None], tmp_path: Path) -> None:
    """What somebody put there for us to write to keeps its content; the new file is another one."""
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    link(str(target), str(tmp_path / "file"))
    files.write_new(str(tmp_path / "file"), b"ours")
    assert (b"theirs", b"ours") == (target.read_bytes(), (tmp_path / "file").read_bytes())
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for somebody else")
def test_what_root_makes_in_a_users_directory_is_the_users(tmp_path: Path) -> None:
    """After `sudo tool` with HOME kept, the user's own tool has to work on."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, harness.NOBODY, -1)
    files.make_directory(str(theirs / "a" / "b"))
    for name, make in MAKERS.items():
        make(str(theirs / "a" / "b" / name))
    owners = {path.stat().st_uid for path in theirs.rglob("*")}
    assert {harness.NOBODY} == owners


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("kind", ["file", "nothing"])
def test_links_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    """A symbolic link in the last place is an error, and its target is neither read, written nor created."""
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("theirs")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links") as caught:
        OPENERS[name](str(tmp_path / "link"))
    assert errno.ELOOP == caught.value.errno
    assert ("theirs" if kind == "file" else None) == (target.read_text() if target.exists() else None)


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_a_directory_that_is_none_is_refused(kind: str, tmp_path: Path) -> None:
    """A file or a link in the place of a directory is an error; nothing is made behind it."""
    place, target = tmp_path / "place", tmp_path / "target"
    if kind == "file":
        place.write_text("")
    else:
        place.symlink_to(target)
    if kind == "link":
        target.mkdir()
    with pytest.raises(NotADirectoryError):
        files.make_directory(str(place))
    if kind != "link":
        with pytest.raises(NotADirectoryError):
            files.make_directory(str(place / "below"))
    assert [] == list(target.glob("*"))


def test_a_link_above_is_the_users_own(tmp_path: Path) -> None:
    """`~/.config` may be a link to another disk."""
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    files.make_directory(str(tmp_path / "link" / "a" / "b"))
    assert (tmp_path / "target" / "a" / "b").is_dir()


def test_creating_takes_only_new_names(tmp_path: Path) -> None:
    """A segment is never opened by two as new; opening one that is missing does not make it."""
    path = str(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        files.open_existing(path)
    os.close(files.create(path))
    with pytest.raises(FileExistsError):
        files.create(path)


def test_appending_goes_to_the_end(tmp_path: Path) -> None:
    """Whatever was read or written by whom in between, a write lands at the end."""
    descriptor = files.create(str(tmp_path / "file"))
    other = files.open_existing(str(tmp_path / "file"))
    files.append(descriptor, b"one")
    assert b"on" == files.read_open(descriptor, 0, 2)
    files.append(other, b"two")
    files.append(descriptor, b"three")
    os.close(other)
    assert b"onetwothree" == files.read(str(tmp_path / "file"))
    assert 11 == files.size(descriptor)
    files.shorten(descriptor, 4)
    files.append(descriptor, b"!")
    assert b"onet!" == files.read_open(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [(0, 100, b"0123456789"), (3, 100, b"3456789"), (3, 2, b"34"), (10, 5, b""), (11, 5, b""), (0, 0, b"")],
)
def test_reading_a_part(offset: int, limit: int, expected: bytes, tmp_path: Path) -> None:
    """A part of a file is read, also where it ends earlier."""
    (tmp_path / "file").write_bytes(b"0123456789")
    assert expected == files.read(str(tmp_path / "file"), offset, limit)


def test_names_of_files_alone(tmp_path: Path) -> None:
    """Directories and links are nobody's segments."""
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("file")
    assert ["file"] == files.names(str(tmp_path))


# --- replacing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["write", "replace", "fsync"])
def test_a_replacement_that_fails_leaves_the_old_content(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever step the disk fails, the path holds the whole old content; the next try succeeds."""
    path = str(tmp_path / "file")
    files.replace(path, b"old")
    write = os.write

    def fail(*arguments: object) -> int:
        if function == "write":
            write(arguments[0], b"ne")  # type: ignore[arg-type]  # the descriptor
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, fail)
        with pytest.raises(OSError, match="no space left"):
            files.replace(path, b"new", durable=True)
    assert b"old" == files.read(path)
    files.replace(path, b"new", durable=True)
    assert b"new" == files.read(path)
    assert ["file"] == files.names(str(tmp_path))


def test_a_reader_sees_the_old_or_the_new_content(tmp_path: Path) -> None:
    """While one goes on replacing and writing in short pieces, another never sees a part."""
    path = str(tmp_path / "file")
    contents = [bytes([letter]) * size for letter, size in ((97, 10), (98, 5000), (99, 100_000))]
    files.replace(path, contents[0])
    done = threading.Event()

    def write() -> None:
        for content in itertools.cycle(contents):
            files.replace(path, content)
            if done.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = {files.read(path) for _ in range(2000)}
    finally:
        done.set()
        thread.join()
    assert seen <= set(contents)


def test_writes_that_take_a_part_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes a few bytes at a time gets them all."""
    write = os.write

    def write_some(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[:3])

    monkeypatch.setattr(os, "write", write_some)
    files.replace(str(tmp_path / "file"), b"0123456789")
    assert b"0123456789" == files.read(str(tmp_path / "file"))


def test_a_durable_replacement_syncs_file_and_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is durable is on stable storage before it has its name, and its name before the call returns."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        steps.append(f"sync {os.fstat(descriptor).st_ino}")
        fsync(descriptor)

    def note_replace(old: str, new: str) -> None:
        steps.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    files.replace(str(tmp_path / "file"), b"x")
    files.replace(str(tmp_path / "file"), b"y", durable=True)
    there = [f"sync {(tmp_path / 'file').stat().st_ino}", "replace", f"sync {tmp_path.stat().st_ino}"]
    assert ["replace", *there] == steps


def test_publishing_succeeds_once(tmp_path: Path) -> None:
    """Of several who publish a file, one succeeds, and its content is the one that stays; nothing else is left."""
    path = str(tmp_path / "file")
    assert [True, False] == [files.publish(path, b"first"), files.publish(path, b"second")]
    assert b"first" == files.read(path)
    assert ["file"] == files.names(str(tmp_path))


@pytest.mark.parametrize("sizes", [(10, 5), (5, 10), (700, 10), (10, 700)])
def test_overwriting_leaves_nothing_of_the_old(sizes: tuple[int, int], tmp_path: Path) -> None:
    """A shorter content is padded with blanks, so that a reader of JSON sees the new one alone."""
    path = str(tmp_path / "file")
    files.overwrite(path, b"o" * sizes[0])
    files.overwrite(path, b"n" * sizes[1], durable=True)
    assert b"n" * sizes[1] == files.read(path).rstrip(b" ")
