"""The public API in one process: what a host sees, and above all what it never sees."""

from __future__ import annotations

import inspect
import json
import logging
import os
import random
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

import producttelemetry
from producttelemetry import EventType, Stats, Telemetry
from producttelemetry._spool import REASONS
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Telemetry]


def test_the_public_names() -> None:
    """The package exports what its documentation names, and nothing else."""
    assert ["EventType", "Stats", "Telemetry", "__version__"] == sorted(producttelemetry.__all__)
    assert ("lifecycle", "usage", "error") == get_args(EventType)
    assert "0.1.0" == producttelemetry.__version__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        producttelemetry.Nothing  # noqa: B018  # the look-up is the test


def test_the_signature_is_the_documented_one() -> None:
    """Names, order and defaults of the constructor are part of the contract."""
    parameters = inspect.signature(Telemetry).parameters
    assert {
        "write_key": None,
        "api_url": None,
        "disabled": False,
        "flush_interval": 30.0,
        "flush_at": 10,
        "max_queue_size": 1000,
        "project_slug": "default",
        "on_exit": "auto",
        "flush_timeout": 5.0,
        "overflow": "drop_oldest",
        "before_send": None,
        "default_properties": None,
        "fsync": False,
        "transport": None,
    } == {name: parameter.default for name, parameter in parameters.items()}
    keyword_only = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    assert [
        "on_exit",
        "flush_timeout",
        "overflow",
        "before_send",
        "default_properties",
        "fsync",
        "transport",
    ] == keyword_only


FIRST_EVENT = """
import sys, json
before = set(sys.modules)  # what measures coverage has imported a few of them already
import producttelemetry
client = producttelemetry.Telemetry("key", "http://127.0.0.1:9", on_exit="keep")
client.track("test.event", {"number": 1})
client.identify("somebody")
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_a_first_event_imports_neither_httpx_nor_filelock() -> None:
    """Import, constructor, `track()` and `identify()` leave the expensive modules to the sender."""
    ended = subprocess.run([sys.executable, "-c", FIRST_EVENT], capture_output=True, text=True, check=False, timeout=60)
    assert "" == ended.stderr
    imported = set(json.loads(ended.stdout))
    assert "producttelemetry._client" in imported
    expensive = {"httpx", "filelock", "logging", "dataclasses", "asyncio", "uuid", "subprocess", "traceback"}
    assert set() == imported & {*expensive, "producttelemetry._transport"}


def test_nothing_is_created_before_the_first_event(telemetry: Make, home: Path) -> None:
    """A constructor that nobody uses leaves no trace: no file, no thread."""
    threads = threading.active_count()
    client = telemetry()
    assert client.enabled
    assert [] == list(home.iterdir())
    assert threads == threading.active_count()
    client.track("test.event")
    assert (home / ".config/producttelemetry/default/client_id").exists()


def test_an_event_on_disk_is_what_the_server_gets(telemetry: Make) -> None:
    """Every field of the protocol, in the line that is stored."""
    client = telemetry(default_properties={"version": "1.2", "plan": "free"})
    moment = datetime(2026, 11, 23, 12, 0, tzinfo=UTC) + timedelta(microseconds=5)
    client.track("cli.started", {"plan": "paid", "n": 1}, "lifecycle", moment)
    (event,) = harness.events(harness.spool(client))
    assert {"event_name", "event_type", "client_id", "session_id", "event_id", "timestamp", "properties"} == set(event)
    assert ("cli.started", "lifecycle") == (event["event_name"], event["event_type"])
    assert "2026-11-23T12:00:00.000005+00:00" == event["timestamp"]
    assert {"version": "1.2", "plan": "paid", "n": 1} == event["properties"]


def test_identify_is_stored_in_order(telemetry: Make) -> None:
    """A link to a user is as durable as an event, and stands where it was made."""
    client = telemetry()
    client.track("before")
    client.identify("user-1")
    client.track("after")
    before, link, after = harness.events(harness.spool(client))
    assert ("before", "after") == (before["event_name"], after["event_name"])
    assert {"client_id": before["client_id"], "user_id": "user-1"} == link


def test_error_describes_an_exception(telemetry: Make) -> None:
    """The name carries the class; type, message and trace are properties, and one's own are kept."""
    client = telemetry()
    try:
        int("no such thing")
    except ValueError as error:
        client.error(error, properties={"command": "build"})
    client.error(message="it broke")
    first, second = harness.events(harness.spool(client))
    assert ("error.ValueError", "error") == (first["event_name"], first["event_type"])
    assert ("ValueError", "invalid literal for int() with base 10: 'no such thing'", "build") == tuple(
        first["properties"][name] for name in ("error_type", "error_message", "command")
    )
    assert "ValueError: invalid literal" in first["properties"]["stack_trace"]
    assert ("error.unknown", {"error_message": "it broke"}) == (second["event_name"], second["properties"])


class Hostile:
    """An object whose every method raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError


WRONG_CALLS: dict[str, Callable[[Telemetry], object]] = {
    "no name": lambda t: t.track(""),
    "name of a wrong type": lambda t: t.track(7),  # type: ignore[arg-type]
    "hostile name": lambda t: t.track(Hostile()),  # type: ignore[arg-type]
    "properties that are a list": lambda t: t.track("e", ["a"]),  # type: ignore[arg-type]
    "hostile properties": lambda t: t.track("e", Hostile()),  # type: ignore[arg-type]
    "unknown type": lambda t: t.track("e", {}, "other"),  # type: ignore[arg-type]
    "hostile type": lambda t: t.track("e", {}, Hostile()),  # type: ignore[arg-type]
    "timestamp that is a text": lambda t: t.track("e", {}, "usage", "now"),  # type: ignore[arg-type]
    "timestamp out of range": lambda t: t.track(
        "e", {}, "usage", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
    ),
    "error without anything": lambda t: t.error(),
    "error with a text": lambda t: t.error("text"),  # type: ignore[arg-type]
    "no user": lambda t: t.identify(""),
    "user of a wrong type": lambda t: t.identify(None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_wrong_call_is_logged_counted_and_harmless(
    name: str, telemetry: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """No exception, one warning, one more in `dropped`; the next event is stored."""
    client = telemetry()
    WRONG_CALLS[name](client)
    assert 1 == client.stats().dropped["invalid"]
    assert [("producttelemetry", logging.WARNING)] == [(record.name, record.levelno) for record in caplog.records]
    client.track("fresh")
    assert ["fresh"] == [event["event_name"] for event in harness.events(harness.spool(client))]


def test_an_event_that_is_too_large_is_dropped(telemetry: Make) -> None:
    """Over 32 KiB after encoding: counted as `too_large`."""
    client = telemetry()
    client.track("large", {"text": "x" * 33_000})
    client.track("fits", {"text": "x" * 32_000})
    assert 1 == client.stats().dropped["too_large"]
    assert ["fits"] == [event["event_name"] for event in harness.events(harness.spool(client))]


def test_before_send_sees_an_event_before_the_disk_does(telemetry: Make) -> None:
    """It may change, drop or fail; what it drops leaves nothing but a count."""

    def before_send(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["event_name"] == "fails":
            raise KeyError("host")
        event["properties"]["seen"] = True
        event["client_id"] = "changed"
        return None if event["event_name"] == "dropped" else event

    client = telemetry(before_send=before_send)
    for name in ("kept", "dropped", "fails"):
        client.track(name)
    (event,) = harness.events(harness.spool(client))
    assert ("kept", {"seen": True}) == (event["event_name"], event["properties"])
    assert event["client_id"] != "changed"
    assert 2 == client.stats().dropped["before_send"]


def test_stats_of_a_fresh_and_of_a_used_queue(telemetry: Make) -> None:
    """Counts events and not slots; the times are aware."""
    client = telemetry()
    empty = client.stats()
    assert (0, 0, None, 0, None, None) == (
        empty.pending, empty.pending_bytes, empty.oldest_pending, empty.delivered, empty.retry_at, empty.last_error
    )  # fmt: skip
    assert dict.fromkeys(REASONS, 0) == empty.dropped
    before = datetime.now(UTC)
    client.track("test.event")
    client.track("test.event")
    used = client.stats()
    assert isinstance(used, Stats)
    assert 2 == used.pending
    assert used.pending_bytes == sum(
        len(json.dumps(e, separators=(",", ":"))) + 1 for e in harness.events(harness.spool(client))
    )
    assert used.oldest_pending is not None
    assert before - timedelta(seconds=1) <= used.oldest_pending <= datetime.now(UTC)
    assert harness.spool(client) == used.spool_dir
    with pytest.raises(AttributeError):
        used.pending = 3  # type: ignore[misc]  # frozen


def test_shutdown_is_final_and_may_be_repeated(telemetry: Make) -> None:
    """The queue is sealed, later events are refused and counted, a second call does nothing."""
    client = telemetry(flush_timeout=0.5)
    with client:
        client.track("kept")
    client.shutdown()
    client.track("refused")
    assert not client.enabled
    assert [".ready"] == [os.path.splitext(name)[1] for name in harness.segments(harness.spool(client))]
    assert (1, 1) == (client.stats().pending, client.stats().dropped["invalid"])


def test_log_mode_prints_and_creates_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`OPS_TELEMETRY=log` shows each event as it would be sent, after `before_send`; it needs no key."""
    monkeypatch.setenv("OPS_TELEMETRY", "log")
    client = Telemetry(before_send=lambda event: {**event, "event_name": "seen"})
    client.track("test.event", {"n": 1})
    client.flush()
    client.shutdown()
    printed = capsys.readouterr()
    assert "" == printed.out
    assert printed.err.startswith("[telemetry] {")
    assert ("seen", {"n": 1}) == tuple(json.loads(printed.err[12:])[key] for key in ("event_name", "properties"))
    assert [] == list(home.iterdir())
    harness.discard(client)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DO_NOT_TRACK", "1"), ("OPS_TELEMETRY", "0"), ("OPS_WRITE_KEY", None), ("OPS_API_URL", "nonsense")],
)
def test_a_disabled_client_does_nothing_at_all(
    variable: str, value: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opted out, without a key, or wrongly configured: every method returns, nothing is created, no thread starts."""
    if value is not None:
        monkeypatch.setenv(variable, value)
    client = Telemetry("key") if value is not None else Telemetry()
    threads = threading.active_count()
    client.track("test.event")
    client.error(ValueError())
    client.identify("user")
    client.flush()
    assert 0 == client.stats().pending
    assert client.stats().spool_dir is None
    assert (False, []) == (client.enabled, list(home.iterdir()))
    client.shutdown()
    assert threads == threading.active_count()


def test_without_a_place_to_store_events_wait_in_memory(
    telemetry: Make, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The config directory's place is taken by a file: nothing is raised, one warning, `stats()` says so."""
    (home / ".config").write_text("in the way")
    client = telemetry()
    for number in range(3):
        client.track("test.event", {"number": number})
    assert (3, 3) == (client.stats().pending, client.stats().volatile)
    assert [logging.WARNING] == [record.levelno for record in caplog.records]


def test_events_in_memory_are_sent_while_the_process_lives(telemetry: Make, home: Path, collector: Any) -> None:
    """Without a disk the client still delivers."""
    (home / ".config").write_text("in the way")
    client = telemetry(collector.url)
    for number in range(3):
        client.track("test.event", {"number": number})
    client.flush()
    assert [0, 1, 2] == harness.arrived(collector)
    assert 0 == client.stats().pending


def test_two_clients_of_one_process_share_a_queue(telemetry: Make) -> None:
    """Two objects with one key: each has its own segment, and neither takes the other's for an orphan."""
    first, second = telemetry(max_queue_size=20), telemetry(max_queue_size=20)
    for number in range(40):
        (first if number % 2 else second).track("test.event", {"number": number})
    assert 20 == first.stats().pending == second.stats().pending
    harness.assert_sound(harness.spool(first), 20)


def test_two_destinations_do_not_mix(telemetry: Make) -> None:
    """Two tools that share the default slug have a queue each."""
    first, second = telemetry(write_key="one"), telemetry(write_key="two")
    first.track("first")
    second.track("second")
    assert harness.spool(first) != harness.spool(second)
    assert ["first"] == [event["event_name"] for event in harness.events(harness.spool(first))]
    for directory, _, files in os.walk(harness.spool(first).parent):
        for name in files:
            content = Path(directory, name).read_bytes()
            assert b'"one"' not in content
            assert b'"two"' not in content


def test_a_program_with_many_events_ends_without_a_sound() -> None:
    """Nothing on stdout or stderr, exit status 0, although the server is not there and a flush is under way."""
    program = (
        "import producttelemetry as p\n"
        f"t = p.Telemetry('key', {harness.NO_SERVER!r}, flush_at=1)\n"
        "for n in range(50): t.track('test.event', {'n': n})\n"
    )
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, check=False, timeout=60)
    assert (0, b"", b"") == (ended.returncode, ended.stdout, ended.stderr)


def test_the_hosts_random_numbers_stay_its_own(telemetry: Callable[..., Telemetry]) -> None:
    """A program that seeds `random` to be repeatable is so with us, also while we draw a pause at random."""
    client = telemetry()
    before = random.getstate()
    client.track("test.event")
    client.flush()
    assert client.stats().retry_at is not None
    assert before == random.getstate()
