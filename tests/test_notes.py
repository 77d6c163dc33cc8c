"""`_notes`: what was erased and what is being erased survives, and what nobody can read stops every sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from producttelemetry import _notes as notes
from producttelemetry._config import Paths
from producttelemetry._notes import ASKING, Request

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
PLACE = "0123456789abcdef"


@pytest.fixture
def directory(home: Path) -> Path:
    """The project's directory, which exists."""
    made = home / "config" / "tool"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def project(directory: Path) -> Paths:
    """A project of which nothing is on disk yet but the directory."""
    return Paths(str(directory), ())


def test_looking_creates_nothing(project: Paths, directory: Path) -> None:
    """Without files there are no notes."""
    assert not notes.erased_ids(project)
    assert [] == notes.requests(project)
    assert [] == list(directory.iterdir())


def test_erased_ids_stay(project: Paths, directory: Path) -> None:
    """Noting adds, doing it again changes nothing, and the file is its owner's."""
    notes.note_erased(project, [KNOWN])
    notes.note_erased(project, [OTHER, KNOWN])
    assert {KNOWN.encode(), OTHER.encode()} == notes.erased_ids(project)
    assert f"{KNOWN}\n{OTHER}\n" == (directory / "erased").read_text()
    assert 0o600 == (directory / "erased").stat().st_mode & 0o777


def test_requests_come_back(project: Paths, directory: Path) -> None:
    """What is written is what is read; without requests there is no file."""
    given = [Request(KNOWN, PLACE), Request(OTHER, PLACE, "1795425600")]
    notes.write_requests(project, given)
    assert given == notes.requests(project)
    assert 0o600 == (directory / "erasing").stat().st_mode & 0o777
    notes.write_requests(project, [])
    notes.write_requests(project, [])
    assert [] == list(directory.iterdir())


def test_a_write_that_fails_changes_nothing(project: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves what was noted before."""
    notes.note_erased(project, [KNOWN])
    notes.write_requests(project, [Request(KNOWN, PLACE)])

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("producttelemetry._notes.files.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        notes.note_erased(project, [OTHER])
    with pytest.raises(OSError, match="no space left"):
        notes.write_requests(project, [Request(OTHER, PLACE)])
    assert {KNOWN.encode()} == notes.erased_ids(project)
    assert [Request(KNOWN, PLACE)] == notes.requests(project)


def test_damage_hides_no_id(project: Paths, directory: Path) -> None:
    """Ids around a damaged line still count; of a request that lost its end, the safest is assumed."""
    (directory / "erased").write_bytes(f"{KNOWN}\n\xff\0garbage\n\n{OTHER.upper()}\r\n".encode("latin-1"))
    assert {KNOWN.encode(), OTHER.encode()} == notes.erased_ids(project)
    (directory / "erasing").write_bytes(f"\0{KNOWN} {PLACE} x\n{OTHER}".encode())
    assert [Request(KNOWN, PLACE, ASKING), Request(OTHER, "", ASKING)] == notes.requests(project)


@pytest.mark.parametrize("name", ["erased", "erasing"])
def test_notes_that_cannot_be_read_are_an_error(name: str, project: Paths, directory: Path) -> None:
    """Nobody can tell what was erased, so nothing may be sent: that is an `OSError`, and not an empty list."""
    look = notes.erased_ids if name == "erased" else notes.requests
    place = directory / name
    place.mkdir()
    with pytest.raises(IsADirectoryError):
        look(project)
    place.rmdir()
    place.symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        look(project)
    place.unlink()
    place.write_text("garbage")
    with pytest.raises(OSError, match="not a list of client ids"):
        look(project)
