"""`producttelemetry.testing` without pytest's help: what `capture()` and `collect()` promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import Telemetry
from producttelemetry.testing import capture, collect
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry.collector import RunningCollector


def test_what_was_captured_outlives_the_block(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory goes away, the environment is as before, and the events can still be read."""
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    before = dict(os.environ)
    with capture() as events:
        place = Path(os.environ["OPS_TEST_DIR"])
        client = Telemetry(project_slug="tool")
        client.track("app.started")
        assert place / "config" / "tool" == Path(str(client.stats().spool_dir)).parents[2]
    client.track("after")
    assert ["app.started"] == [event["event_name"] for event in events]
    assert "app.started" in repr(events)
    assert events == events[:]
    assert events != []
    assert (before, False, []) == (dict(os.environ), place.exists(), list(home.iterdir()))


def test_what_is_not_accepted_is_not_captured() -> None:
    """The real client runs: what it would not store is not there, and what it would change is changed."""

    def without_secret(event: dict[str, Any]) -> dict[str, Any] | None:
        event["properties"].pop("secret", None)
        return None if event["event_name"] == "dropped" else event

    with capture() as events:
        client = Telemetry(before_send=without_secret, max_queue_size=1)
        client.track("dropped")
        client.track("large", {"text": "x" * 40_000})
        for number in range(3):
            client.track("kept", {"number": number, "secret": "s"})
        client.shutdown()
        client.track("late")
    assert [{"number": number} for number in range(3)] == [event["properties"] for event in events]


def test_captures_in_a_capture() -> None:
    """The inner one sees what is tracked in it, and the outer one goes on afterwards."""
    client = Telemetry("key", harness.NO_SERVER, disabled=False)
    with capture() as outer:
        client.track("first")
        with capture() as inner:
            client.track("second")
        client.track("third")
    assert (["first", "third"], ["second"]) == (outer.names, inner.names)


def test_disabled_stays_disabled() -> None:
    """A program that turns its client off does so in a test, too."""
    client = Telemetry("key", disabled=True)
    with capture() as events:
        client.track("app.started")
        Telemetry("key", disabled=True).track("app.started")
    assert [] == events


def test_a_real_client_sends_nothing_while_a_test_runs(
    collector: RunningCollector, telemetry: Callable[..., Telemetry]
) -> None:
    """What it had tracked before is kept: its flush thread waits for the end of the test."""
    client = telemetry(collector.url)
    client.track("before")
    with capture():
        assert client._flusher.worker.flush(10.0, explicit=True)
        assert 0 == collector.journal.total
    with collect():
        assert client._flusher.worker.flush(10.0, explicit=True)
        assert 0 == collector.journal.total
    client.flush()
    assert ["before"] == [event["event_name"] for event in harness.stored(collector)]


def test_a_collector_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children send to it before they end, past the proxy of the machine; what arrived can be read afterwards."""
    monkeypatch.setenv("http_proxy", harness.NO_SERVER)
    program = "from producttelemetry import Telemetry; Telemetry(api_url='http://127.0.0.1:9').track('app.started')"
    with collect() as collector:
        subprocess.run([sys.executable, "-c", program], cwd=harness.ROOT, check=True)
        assert ["app.started"] == [event["event_name"] for event in collector.wait_for(1, timeout=0)]
        Telemetry("key").track("app.used")
        assert 2 == len(collector.events)
    assert ["app.started", "app.used"] == [event["event_name"] for event in collector.events]


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1.example.com", "http://127.0.0.1.example.com:80/", "http://127.0.0.1:80@10.0.0.1", "http://["],
)
def test_no_way_around_a_users_choice(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables lead away from the `config.json` of a user, but to no other machine."""
    monkeypatch.setenv("OPS_TEST_DIR", str(tmp_path))
    monkeypatch.setenv("OPS_TEST_URL", url)
    client = Telemetry("key", url.replace("[", "a"), on_exit="keep")
    client.track("app.started")
    assert not client._consent().sends
    assert "withdrawn" == client._connect().identify(b"{}", float("inf")).kind
    harness.discard(client)


def test_a_directory_that_is_none(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path leads nowhere, and least of all to the files of the machine's user."""
    (tmp_path / "somewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPS_TEST_DIR", "somewhere")
    client = Telemetry("key", on_exit="keep")
    client.track("app.started")
    assert (0, 0) == (client.stats().pending, client.stats().volatile)
    harness.discard(client)
    assert [] == [*home.iterdir(), *(tmp_path / "somewhere").iterdir()]
