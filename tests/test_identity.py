"""`_identity`: one client id per project, whoever comes first; an erased one is not used again."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _identity
from producttelemetry import _notes as notes
from producttelemetry._config import Paths
from tests import harness

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = "11111111-2222-4333-8444-555555555555"

#: Waits for the end of its input, so that all start at once; then asks for the ids of many projects.
PROGRAM = """
import json, os, sys
from producttelemetry import _config, _identity

def no_links(*_):
    raise PermissionError(1, "this file system has no hard links")

if sys.argv[1:] == ["no links"]:
    os.link = no_links
print("ready", flush=True)
sys.stdin.read()
print(json.dumps([_identity.client_id(_config.paths(f"tool{number}")) for number in range(20)]))
"""


@pytest.fixture
def project(home: Path) -> Paths:
    """A project of which nothing is on disk yet."""
    return Paths(str(home / "config" / "tool"), ())


@pytest.fixture
def directory(home: Path) -> Path:
    """The project's directory, which exists."""
    made = home / "config" / "tool"
    made.mkdir(parents=True)
    return made


def test_the_first_one_makes_the_id(project: Paths, home: Path) -> None:
    """The id is a random UUID that stays; directories are 0700 and files 0600; looking alone creates nothing."""
    assert _identity.read_client_id(project) is None
    assert [] == list(home.iterdir())
    made = _identity.client_id(project)
    assert 4 == uuid.UUID(made).version
    assert [made, made] == [_identity.client_id(project), _identity.read_client_id(project)]
    assert f"{made}\n" == (home / "config" / "tool" / "client_id").read_text()
    for path in home.rglob("*"):
        assert (0o700 if path.is_dir() else 0o600) == path.stat().st_mode & 0o777


@pytest.mark.parametrize("disk", ["links", "no links"])
def test_32_processes_that_start_at_once_agree(disk: str) -> None:
    """However many processes come first at the same moment, each project has one id; also on a simple file system."""
    command = [sys.executable, "-c", PROGRAM, disk]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    children = [subprocess.Popen(command, cwd=harness.ROOT, text=True, **pipes) for _ in range(32)]
    for child in children:
        assert child.stdout is not None
        assert "ready\n" == child.stdout.readline()
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    answers: set[str] = set()
    for child in children:
        with child:
            assert child.stdout is not None
            answers.add(child.stdout.read())
    assert [0] * 32 == [child.returncode for child in children]
    assert 1 == len(answers)
    ids = json.loads(answers.pop())
    assert 20 == len({uuid.UUID(each) for each in ids})


@pytest.mark.parametrize("content", [KNOWN, f"{KNOWN}\n", f" {KNOWN.upper()} \r\n"])
def test_the_id_of_the_file_is_taken(project: Paths, directory: Path, content: str) -> None:
    """An id that is there is used, in the one spelling, and its file left alone."""
    (directory / "client_id").write_text(content)
    assert KNOWN == _identity.client_id(project)
    assert content.encode() == (directory / "client_id").read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\n", b"garbage", b"\0" * 36, b"\xff" * 36, KNOWN[:-1].encode(), f"{KNOWN}0".encode()),
        *(f"{KNOWN}\n{KNOWN}".encode(), KNOWN.replace("-", "").encode(), f"{{{KNOWN}}}".encode()),
        KNOWN.replace("1", "g").encode(),
    ],
)
def test_garbage_is_replaced(project: Paths, directory: Path, content: bytes) -> None:
    """A file that holds no id is replaced by one that does, and stays 0600."""
    (directory / "client_id").write_bytes(content)
    assert _identity.read_client_id(project) is None
    made = _identity.client_id(project)
    assert f"{made}\n" == (directory / "client_id").read_text()
    assert 0o600 == (directory / "client_id").stat().st_mode & 0o777


@pytest.mark.parametrize("content", [KNOWN, "garbage", None])
def test_a_symbolic_link_is_not_followed(project: Paths, directory: Path, home: Path, content: str | None) -> None:
    """A link in the file's place is an error, and what it points to is neither read nor written."""
    target = home / "target"
    if content is not None:
        target.write_text(content)
    (directory / "client_id").symlink_to(target)
    for function in (_identity.read_client_id, _identity.client_id):
        with pytest.raises(OSError, match="symbolic links"):
            function(project)
    assert content == (target.read_text() if target.exists() else None)
    assert (directory / "client_id").is_symlink()


def test_a_place_that_is_none_is_an_error(project: Paths, directory: Path, home: Path) -> None:
    """A directory for a file, and a file for a directory, are an `OSError`: the client works from memory then."""
    (directory / "client_id").mkdir()
    with pytest.raises(IsADirectoryError):
        _identity.client_id(project)
    (home / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        _identity.client_id(Paths(str(home / "file" / "tool"), ()))


def test_an_erased_id_is_replaced(project: Paths) -> None:
    """Whoever erased it may have died before, or failed at, deleting its file: it is not used all the same."""
    first = _identity.client_id(project)
    notes.note_erased(project, [first])
    second = _identity.client_id(project)
    assert first != second == _identity.client_id(project)
    _identity.forget_client_id(project, first)
    assert second == _identity.read_client_id(project), "the id of others stays, who have made theirs since"
    _identity.forget_client_id(project, second)
    assert _identity.read_client_id(project) is None


def test_an_erased_id_that_cannot_be_deleted_is_not_used(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is an `OSError`: the client makes one up then."""
    notes.note_erased(project, [_identity.client_id(project)])

    def fail(_: str) -> None:
        raise OSError("the disk fails")

    monkeypatch.setattr("producttelemetry._identity.files.unlink", fail)
    with pytest.raises(OSError, match="the disk fails"):
        _identity.client_id(project)


def test_an_id_that_was_made_up_is_stored_when_the_disk_works(project: Paths, home: Path) -> None:
    """Events went out under it: whoever erases later has to know it. If there is another by now, that one is taken."""
    (home / "config").write_text("a file in the place of the directory")
    one, other = _identity.Identity(project), _identity.Identity(project)
    with pytest.raises(OSError, match="Not a directory"):
        one.get()
    made_up = one.make_up()
    assert made_up == one.make_up() != other.make_up()
    assert one.keep(), "the disk fails still: nothing has changed"
    (home / "config").unlink()
    assert one.keep()
    assert made_up == _identity.read_client_id(project)
    assert not other.keep()
    assert made_up == other.get()
    assert {made_up} < other.used, "what it has used before counts for an erasure, too"


def test_an_id_that_was_made_up_before_a_purge_is_not_stored(project: Paths) -> None:
    """It may have been erased by a process that has seen it in the queue."""
    identity = _identity.Identity(project)
    made_up = identity.make_up()
    notes.note_erased(project, [])
    identity.forget()
    assert made_up != identity.get()
