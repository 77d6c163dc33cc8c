"""`_identity`: one client id per project, whoever comes first; an erased one is never used or sent again."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _identity
from producttelemetry._config import Paths
from tests import harness

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"

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
    assert [] == _identity.erased_ids(project)
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


# --- erasure ------------------------------------------------------------------------------------------------------


def test_an_erased_id_is_noted_and_replaced(project: Paths, directory: Path) -> None:
    """Erasure notes the id for good and makes room for another one; doing it again changes nothing."""
    first = _identity.client_id(project)
    _identity.erase_client_id(project, first)
    assert _identity.read_client_id(project) is None
    second = _identity.client_id(project)
    assert first != second
    _identity.erase_client_id(project, first)
    assert second == _identity.client_id(project), "the id of others stays, who have made theirs since"
    _identity.erase_client_id(project, second)
    assert [first.encode(), second.encode()] == _identity.erased_ids(project)
    assert 0o600 == (directory / "erased").stat().st_mode & 0o777


def test_an_id_that_was_never_stored_can_be_erased(project: Paths) -> None:
    """A client that works from memory has an id, too."""
    _identity.erase_client_id(project, KNOWN)
    assert [KNOWN.encode()] == _identity.erased_ids(project)


def test_a_crash_after_the_note_leaves_the_note(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note comes first: if the id cannot be forgotten, it is at least never sent, and the next try ends it."""
    first = _identity.client_id(project)

    def crash(_: str) -> None:
        raise OSError("the disk fails")

    with monkeypatch.context() as patch:
        patch.setattr("producttelemetry._identity.files.unlink", crash)
        with pytest.raises(OSError, match="the disk fails"):
            _identity.erase_client_id(project, first)
    assert first == _identity.read_client_id(project)
    assert [first.encode()] == _identity.erased_ids(project)
    _identity.erase_client_id(project, first)
    assert _identity.read_client_id(project) is None


def test_a_note_that_fails_changes_nothing(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the note nothing is forgotten: trying again names the same client."""
    first = _identity.client_id(project)

    def crash(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("producttelemetry._identity.files.replace", crash)
    with pytest.raises(OSError, match="no space left"):
        _identity.erase_client_id(project, first)
    assert first == _identity.client_id(project)
    assert [] == _identity.erased_ids(project)


def test_damage_in_the_notes_hides_no_id(project: Paths, directory: Path) -> None:
    """Ids around a damaged line still count."""
    (directory / "erased").write_bytes(f"{KNOWN}\n\xff\0garbage\n\n{OTHER}\n".encode("latin-1"))
    assert [KNOWN.encode(), OTHER.encode()] == _identity.erased_ids(project)


def test_notes_that_cannot_be_read_are_an_error(project: Paths, directory: Path) -> None:
    """Nobody can tell what was erased, so nothing may be sent: that is an `OSError`, and not an empty list."""
    (directory / "erased").mkdir()
    with pytest.raises(IsADirectoryError):
        _identity.erased_ids(project)
    (directory / "erased").rmdir()
    (directory / "erased").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        _identity.erased_ids(project)
