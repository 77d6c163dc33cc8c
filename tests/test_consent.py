"""`_consent`: every source says what it says, any opt-out wins, and what nobody understands is an opt-out."""

from __future__ import annotations

import itertools
import json
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry import _config
from producttelemetry._config import ConfigFile, Environment
from producttelemetry._consent import Consent, resolve
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry

NO = ("0", "false", "no", "off", "OFF", "False", "nO")

#: What each source says in which words: out, in (or nothing), print only, or that nobody understands it.
DISABLED: dict[bool, str] = {False: "in", True: "out"}
DO_NOT_TRACK = {
    **dict.fromkeys(("", *NO), "in"),
    **dict.fromkeys(("1", "true", "yes", "on", "2", "00", "log", "-"), "out"),
}
OPS_TELEMETRY = {
    **dict.fromkeys(NO, "out"),
    **dict.fromkeys(("", "1", "true", "YES", "on"), "in"),
    **dict.fromkeys(("log", "LOG"), "print"),
    **dict.fromkeys(("2", "none", "disabled", "nope"), "unclear"),
}
CONFIG: dict[bytes | None, str] = {
    **dict.fromkeys((b'{"telemetry": true}', b"{}", b'{"other": [1]}', b'\xef\xbb\xbf{"telemetry": true}'), "in"),
    **dict.fromkeys(
        (b'{"telemetry": false}', b' {"a": 1, "telemetry":false}\n', b'\xef\xbb\xbf{"telemetry": false}'), "out"
    ),
    '{"telemetry": false}'.encode("utf-16"): "out",  # what a PowerShell redirection writes
    **dict.fromkeys(
        (
            *(None, b"", b" ", b"true", b"false", b"null", b"[]", b'"telemetry"', b'["telemetry"]', b"telemetry: true"),
            *(
                b'{"telemetry": true',
                b'{"telemetry": true,}',
                b"{'telemetry': true}",
                b'{"telemetry": True}',
                b"\xff\0",
            ),
            *(b'{"telemetry": null}', b'{"telemetry": 1}', b'{"telemetry": 0}', b'{"telemetry": "false"}'),
            *(b'{"telemetry": []}', b'{"telemetry": true} {}', b'{"telemetry": NaN}', b'{"telemetry": true, "a": NaN}'),
            *(b'{"Telemetry": false}', b'{"telemetry": true, "TELEMETRY": false}', b'{"telemetry ": false}'),
            *(b'{"telemetry": false, "telemetry": true}', b'{"telemetry": true, "telemetry": true}'),
            *(b"[" * 100_000, b'{"telemetry": true, "a": ' + b"1" * 10_000 + b"}"),
        ),
        "unclear",
    ),
}


def consent(disabled: bool = False, dnt: str = "", ops: str = "", files: tuple[bytes | None, ...] = ()) -> Consent:
    """Return the effective consent for what the sources say."""
    found = [ConfigFile(f"/place{number}/config.json", content) for number, content in enumerate(files)]
    return resolve(disabled, Environment("secret", None, dnt, ops), found)


@pytest.mark.parametrize("value", DO_NOT_TRACK)
def test_do_not_track(value: str) -> None:
    """Anything but empty and a plain no opts out, in any case; a plain no opts nobody in."""
    expected = Consent(enabled=False, source="DO_NOT_TRACK") if DO_NOT_TRACK[value] == "out" else Consent(enabled=True)
    assert expected == consent(dnt=value)
    assert Consent(enabled=False, source="OPS_TELEMETRY") == consent(dnt="0", ops="off")


@pytest.mark.parametrize("value", OPS_TELEMETRY)
def test_ops_telemetry(value: str) -> None:
    """A plain no opts out, `log` prints, and a word that nobody understands opts out and says so."""
    found = consent(ops=value)
    says = OPS_TELEMETRY[value]
    assert (says in {"in", "print"}, says == "print") == (found.enabled, found.log_only)
    assert (None if found.enabled else "OPS_TELEMETRY") == found.source
    assert (says == "unclear") == (found.problem is not None and "OPS_TELEMETRY" in found.problem)


@pytest.mark.parametrize("content", CONFIG, ids=lambda content: repr(content)[:40])
@pytest.mark.parametrize("first", [True, False])
def test_config_files(content: bytes | None, first: bool) -> None:
    """`false` opts out; so does what is malformed or unreadable, with a sentence; each of two files is honoured."""
    agreeing = b'{"telemetry": true}'
    found = consent(files=(content, agreeing) if first else (agreeing, content))
    says = CONFIG[content]
    assert ((says == "in"), None if says == "in" else "config.json") == (found.enabled, found.source)
    place = "/place0/config.json" if first else "/place1/config.json"
    assert (says == "unclear") == (found.problem is not None and place in found.problem)


def test_any_opt_out_wins() -> None:
    """The truth table over all sources: enabled only if none opts out; the first one that does is named."""
    sayings: dict[str, dict[Any, str]] = {
        "disabled": DISABLED,
        "DO_NOT_TRACK": DO_NOT_TRACK,
        "OPS_TELEMETRY": OPS_TELEMETRY,
        "config.json": CONFIG,
    }
    for row in itertools.product(*(table.items() for table in sayings.values())):
        (disabled, dnt, ops, content), says = zip(*row, strict=True)
        found = consent(disabled, dnt, ops, (content,))
        opted_out = [name for name, said in zip(sayings, says, strict=True) if said in {"out", "unclear"}]
        assert (not opted_out, opted_out[0] if opted_out else None) == (found.enabled, found.source)
        assert (not opted_out and says[2] == "print") == found.log_only


@pytest.mark.parametrize("files", [(), (b"{}",), (b"{}", b'{"telemetry": true}')])
def test_silence_is_consent(files: tuple[bytes | None, ...]) -> None:
    """Without any file or variable, and with files that do not mention it, telemetry is on."""
    assert Consent(enabled=True) == consent(files=files)


@settings(deadline=None)
@given(
    st.binary() | st.text().map(str.encode), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
)
def test_anything_gives_an_answer(content: bytes, word: str) -> None:
    """Whatever stands in a file or a variable: a state, a source for each no, and no exception."""
    for found in (consent(files=(content,)), consent(dnt=word), consent(ops=word), consent(ops="off", dnt=word)):
        assert found.enabled is (found.source is None)


# --- what is on the disk ------------------------------------------------------------------------------------------


@pytest.fixture
def places(home: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Both directories in which a `config.json` counts; they differ because XDG_CONFIG_HOME is set."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    found = (home / "xdg" / "producttelemetry" / "tool", home / ".config" / "producttelemetry" / "tool")
    for place in found:
        place.mkdir(parents=True)
    return found


def on_disk() -> Consent:
    """Return the consent that the files of the project give."""
    return resolve(False, _config.environment(), _config.read_config_files(_config.paths("tool")))


CONTENTS = {"on": '{"telemetry": true}', "off": '{"telemetry": false}', "empty": "", "long": "{}" + " " * 10**6}
LINKS = {"loop": "config.json", "dangling": "nowhere/config.json", "null": os.devnull}


@pytest.mark.parametrize("which", [0, 1], ids=["platform", "literal"])
@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "lost directory", *CONTENTS, *LINKS])
def test_both_places_are_honoured(places: tuple[Path, Path], which: int, kind: str) -> None:
    """A file in either place opts out, also when it cannot be read, and at once; one that is missing says nothing."""
    path = places[which] / "config.json"
    (places[1 - which] / "config.json").write_text("{}")
    if kind in CONTENTS:
        path.write_text(CONTENTS[kind])
    elif kind in LINKS:
        path.symlink_to(LINKS[kind])
    elif kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "lost directory":
        path.parent.rmdir()
        path.parent.symlink_to("nowhere")
    enabled = kind in {"missing", "on"}
    assert (enabled, None if enabled else "config.json") == on_disk()[:3:2]


def test_a_file_behind_a_closed_directory_opts_out(places: tuple[Path, Path]) -> None:
    """A directory that may not be searched may hide an opt-out; opened again, it says nothing."""
    privileged = os.geteuid() == 0
    for place in places:
        place.chmod(0o000)
    if privileged:  # root may search every directory, so somebody else has to look
        os.seteuid(65534)
    try:
        found = on_disk()
    finally:
        if privileged:
            os.seteuid(0)
        for place in places:
            place.chmod(0o700)
    assert "config.json" == found.source
    assert on_disk().enabled


def test_a_process_without_descriptors_counts_as_opted_out(places: tuple[Path, Path]) -> None:
    """Nobody can tell what the file says while no file can be opened; afterwards it is read as ever."""
    for place in places:
        (place / "config.json").write_text("{}")
    assert on_disk().enabled
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        found = on_disk()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "config.json" == found.source
    assert on_disk().enabled


@pytest.mark.parametrize(
    ("dnt", "ops", "content"),
    [
        ("1", "", None),
        ("", "off", None),
        ("", "", '{"telemetry": false}'),
        ("true", "log", None),
        ("", "log", '{"telemetry": false}'),
        ("", "log", "malformed"),
    ],
)
def test_an_opt_out_silences_a_client(  # noqa: PLR0913, PLR0917  # three sources and what is watched
    dnt: str,
    ops: str,
    content: str | None,
    home: Path,
    telemetry: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With any opt-out a client writes nothing, prints nothing and is not enabled; it beats `log`, too."""
    if content is not None:
        place = home / ".config" / "producttelemetry" / "default"
        place.mkdir(parents=True)
        (place / "config.json").write_text(content)
    monkeypatch.setenv("DO_NOT_TRACK", dnt)
    monkeypatch.setenv("OPS_TELEMETRY", ops)
    before = sorted(home.rglob("*"))
    client = telemetry()
    client.track("test.event")
    client.identify("me")
    assert not client.enabled
    assert before == sorted(home.rglob("*"))
    assert ("", "") == capfd.readouterr()


def test_log_prints_and_does_nothing_else(
    home: Path, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`OPS_TELEMETRY=log` prints one line per event to stderr, after `before_send`, and creates no file."""
    monkeypatch.setenv("OPS_TELEMETRY", "log")

    def hook(event: dict[str, Any]) -> dict[str, Any] | None:
        return {**event, "event_name": "seen"} if event["properties"] else None

    client = telemetry(before_send=hook)
    client.track("one", {"a": "ä"})
    client.track("dropped")
    client.identify("me")
    out, err = capfd.readouterr()
    prefix = "[telemetry] "
    lines = err.splitlines()
    assert ("", [prefix] * 2) == (out, [line[: len(prefix)] for line in lines])
    event, link = (json.loads(line.removeprefix(prefix)) for line in lines)
    assert ("seen", {"a": "ä"}, "me") == (event["event_name"], event["properties"], link["user_id"])
    assert client.enabled
    assert [] == list(home.iterdir())


def test_a_choice_that_becomes_unclear_stops_a_running_client_with_a_word(
    telemetry: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody edits `config.json` and mistypes: nothing more is collected, and one warning names the file."""
    client = telemetry()
    client.track("test.event")
    config = harness.spool(client).parents[2] / "config.json"
    config.write_text('{"telemetry": ture}')
    client.flush()
    client.flush()
    assert not client.enabled
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"telemetry is disabled: {config} cannot be understood")
