"""What the host's `before_send` takes out and what the scrubbing takes out never reaches the disk, not for a moment."""

from __future__ import annotations

import contextlib
import json
import logging
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._exceptions import scrub
from tests import harness, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector

SECRET = "hunter2"


class Tracing(syscalls.System):
    """Remembers every byte that is written and every name that is given, also of what is deleted a moment later."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.written: list[bytes] = []

    def call(self, name: str, *given: Any, **named: Any) -> Any:
        """Note what is given, and pass it on."""
        self.seen += repr(given).encode()
        if name == "write":
            self.written.append(given[1])
        return super().call(name, *given, **named)


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    """See what this process gives to the operating system."""
    system = Tracing()
    remove = syscalls.install(system)
    yield system
    remove()


def everything(home: Path) -> bytes:
    """Return the names and contents of all that is in the home directory."""
    found = bytearray()
    for path in home.rglob("*"):
        found += str(path.relative_to(home)).encode() + (path.read_bytes() if path.is_file() else b"")
    return bytes(found)


def drop(event: dict[str, Any]) -> None:
    """Reject every event."""
    del event


def fail(event: dict[str, Any]) -> None:
    """Fail, with the secret in the message."""
    raise ValueError(event)


def garble(event: dict[str, Any]) -> Any:
    """Return what is no event, with the secret in it."""
    return {**event, "event_type": SECRET, "timestamp": SECRET}


def redact(event: dict[str, Any]) -> dict[str, Any]:
    """Take the secret out."""
    return {**event, "event_name": "redacted", "properties": {"kept": 1}}


def track_secrets(client: Telemetry) -> None:
    """Track events that hold the secret everywhere."""
    client.track(SECRET, {SECRET: SECRET, "nested": [{"a": SECRET}]})
    client.error(ValueError(SECRET), properties={"more": SECRET})
    client.error(message=SECRET)


@pytest.mark.parametrize("hook", [drop, fail, garble])
@pytest.mark.parametrize("disk", ["works", "fails"])
def test_an_event_that_the_hook_rejects_leaves_no_trace(  # noqa: PLR0913, PLR0917  # pytest's fixtures
    hook: Any,
    disk: str,
    home: Path,
    telemetry: Callable[..., Telemetry],
    tracing: Tracing,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither in a file, nor in a write, nor in a name, nor in a log record, nor in memory; it is counted."""
    if disk == "fails":
        (home / ".config").write_text("a file in place of the directory")
    caplog.set_level(logging.DEBUG, "producttelemetry")
    client = telemetry(before_send=hook)
    track_secrets(client)
    assert (0, 0, 3) == (client.stats().pending, client.stats().volatile, client.stats().dropped["before_send"])
    client.identify("me")
    client._seal(last=True)
    assert (SECRET.encode() in everything(home), SECRET.encode() in tracing.seen) == (False, False)
    assert (b"before_send" in tracing.seen) is (disk == "works"), "what was seen is what was written"
    assert SECRET not in caplog.text


@contextlib.contextmanager
def telling(client: Telemetry) -> Generator[None]:
    """Track the exception that is raised inside, with its traceback."""
    try:
        yield
    except Exception as error:
        client.error(error)
        raise


def test_what_the_hook_takes_out_is_nowhere(
    home: Path, telemetry: Callable[..., Telemetry], tracing: Tracing, collector: RunningCollector
) -> None:
    """The disk, also one that fails at first, and the server see what the hook has returned."""
    (home / ".config").write_text("a file in place of the directory")
    client = telemetry(collector.url, before_send=redact, flush_at=10**6)
    track_secrets(client)
    assert 3 == client.stats().volatile
    (home / ".config").unlink()
    client._writer._disk_failed_at = 0.0  # the pause after a failure is over
    track_secrets(client)
    client._seal(last=True)
    assert 6 == everything(home).count(b'"kept":1')
    client.flush()
    assert [{"kept": 1}] * 6 == [event["properties"] for event in harness.stored(collector)]
    assert (SECRET.encode() in everything(home), SECRET.encode() in tracing.seen) == (False, False)


def test_the_hook_can_put_nobody_elses_id_into_an_event(telemetry: Callable[..., Telemetry]) -> None:
    """The three ids stay ours, so that an erasure finds each event."""

    def forge(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "client_id": SECRET, "session_id": SECRET, "event_id": SECRET}

    client = telemetry(before_send=forge)
    client.track("test.event")
    assert SECRET not in json.dumps(harness.events(harness.spool(client)))


NAMES = ["alice", "jörg", "jo\u0308rg", "a b", "d'arc", "x+y(z", "日本", "root", "user"]


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_the_user_reaches_the_disk(
    name: str, home: Path, telemetry: Callable[..., Telemetry], tracing: Tracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages and traces, with paths as systems, URLs and Python write them: none of the files names the user."""
    mine = home / name
    (mine / ".config").mkdir(parents=True)
    monkeypatch.setenv("HOME", "/nowhere/" + name)
    monkeypatch.setenv("USER", name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    client = telemetry(flush_at=10**6)
    place = f"/nowhere/{name}/project/tool.py"
    quoted = urllib.parse.quote(place)
    spellings = [
        place,
        f"file://{quoted}",
        f"file://{quoted.lower()}",
        urllib.parse.quote(place, safe=""),
        ascii(place),
    ]
    spellings += [repr(place.encode()), place.replace("/", "\\"), f"C:\\Users\\{name}\\x", repr(f"C:\\Users\\{name}")]
    for spelling in spellings:
        client.error(message=f"cannot open {spelling}")
        with contextlib.suppress(OSError), telling(client):
            raise OSError(f"cannot open {spelling}")
    (compiled,) = [compile("raise KeyError(1)", place, "exec")]
    try:
        exec(compiled)
    except KeyError as error:
        client.error(error)
    found = harness.events(harness.spool(client))
    assert 2 * len(spellings) + 1 == len(found)
    for event in found:
        texts = [event["properties"]["error_message"], event["properties"].get("stack_trace", "")]
        assert "nowhere" not in json.dumps(texts, ensure_ascii=False).casefold(), texts
        assert not [text for text in texts if f"Users\\{name}" in text or f"Users\\\\{name}" in text], texts
    written = b"".join(tracing.written)
    assert (True, False) == (b"~/project/tool.py" in written, b"nowhere" in written)


@pytest.mark.parametrize(
    ("home", "user", "text", "expected"),
    [
        ("/home/jörg", "jörg", "file:///home/j%C3%B6rg/a and file:///home/j%c3%b6rg", "file://~/a and file://~"),
        ("/home/jörg", "jörg", "b'/home/j\\xc3\\xb6rg/a' '/home/j\\xf6rg/a'", "b'~/a' '~/a'"),
        ("/home/jörg", "jörg", "/home/jo\u0308rg/a", "~/a"),
        ("/home/a b", "a b", "file:///home/a%20b/c /x/a b/c", "file://~/c /x/~/c"),
        (
            "/home/alice",
            "alice",
            "https://h/?path=%2Fhome%2Falice%2Fa&b=%2fsrv%2falice",
            "https://h/?path=~%2Fa&b=%2fsrv%2f~",
        ),
        ("C:\\Users\\Alice", "Alice", "c:\\users\\alice\\a C:/Users/Alice/b", "~\\a ~/b"),
        ("C:\\Users\\Alice", "Alice", "'C:\\\\Users\\\\Alice\\\\a' \\\\server\\alice\\c", "'~\\\\a' \\\\server\\~\\c"),
        (
            "C:\\Users\\Alice",
            "Alice",
            "file:///C:/Users/Alice/a file:///c%3A/Users/Alice/a",
            "file:///~/a file:///~/a",
        ),
        (
            "/data",
            "data",
            "/data/a, data of /var/data, dataset, /dataset, the data",
            "~/a, data of /var~, dataset, /dataset, the data",
        ),
        ("/", "root", "/a/b / root", "/a/b / root"),
        (
            "/home/test",
            "test",
            "test failed: testing /srv/test/x and test/y",
            "test failed: testing /srv/~/x and test/y",
        ),
        ("/home/user", "user", "user error: no user 'user' in user.txt", "user error: no user 'user' in user.txt"),
        ("", "", "/home/alice root /", "/home/alice root /"),
    ],
)
def test_paths_of_every_kind(home: str, user: str, text: str, expected: str) -> None:
    """Home and user are found in paths and URLs, however they are written; a word that is no part of a path stays."""
    assert expected == scrub(text, home, (user,) if user else ())
