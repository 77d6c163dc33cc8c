"""The tests of a tool, on a machine whose user has opted out; each states what a developer can rely on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING
from unittest import mock

import mytool  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  # beside this file when it runs
import pytest

from producttelemetry import Telemetry
from producttelemetry.cli import main
from producttelemetry.collector import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producttelemetry.testing import Collector, Events

IDS = ("client_id", "session_id", "event_id", "timestamp")
MACHINE = {"DO_NOT_TRACK": "1", "OPS_TELEMETRY": "0", "OPS_API_URL": mytool.SERVER, "OPS_WRITE_KEY": None}


def run(target: str) -> None:
    """Run the tool as its users do."""
    subprocess.run([sys.executable, mytool.__file__, target], check=True)


@pytest.fixture(autouse=True)
def machine() -> Iterator[None]:
    """See that each test leaves the environment as it was."""
    yield
    assert MACHINE == {name: os.environ.get(name) for name in MACHINE}


def test_a_client_made_at_import(telemetry_events: Events) -> None:
    """It was made opted out and without a key; its events are seen, in order, as plain dicts."""
    assert [] == telemetry_events
    mytool.build("docs")
    mytool.telemetry.error(message="no disk")
    mytool.telemetry.identify("somebody")
    assert ["command.executed", "error.unknown"] == telemetry_events.names
    assert ["somebody"] == telemetry_events.identified
    event = {key: value for key, value in telemetry_events[0].items() if key not in IDS}
    properties = {"version": "1.2.0", "command": "build", "target": "docs"}
    assert {"event_name": "command.executed", "event_type": "usage", "properties": properties} == event
    assert mytool.telemetry.enabled


def test_the_next_test_sees_its_own_alone(telemetry_events: Events) -> None:
    """Nothing of the test before is there; what is cleared does not come back."""
    assert (0, 0) == (len(telemetry_events), mytool.telemetry.stats().pending)
    mytool.build("docs")
    telemetry_events.clear()
    mytool.build("code")
    assert ["code"] == [event["properties"]["target"] for event in telemetry_events.named("command.executed")]


def test_no_fixture() -> None:
    """Outside of such a test, the client is what it was."""
    assert not mytool.telemetry.enabled
    mytool.build("docs")
    assert mytool.telemetry.stats().spool_dir is None


def test_nothing_is_sent(telemetry_events: Events, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is called, and whatever key and URL a client is given: events are kept, requests are not made."""
    with Telemetry("secret", mytool.SERVER, flush_at=1, flush_interval=0.01) as client:
        client.track("app.started")
        client.flush()
        assert 1 == client.stats().pending
        assert not client.request_deletion()
    client.track("too late")
    assert ["app.started"] == telemetry_events.names
    assert 1 == main(["flush"], write_key="secret", api_url=mytool.SERVER)
    assert "captured by a test" in capsys.readouterr().err
    assert 1 == main(["forget"], write_key="secret", api_url=mytool.SERVER)


def test_children(telemetry_events: Events) -> None:
    """Started, forked and spawned ones: their events come in the order in which they were tracked, of one client id."""
    mytool.build("here")
    began = time.monotonic()
    run("started")
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        pool.submit(mytool.build, "forked").result()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(mytool.build, "spawned").result()
    mytool.build("here again")
    targets = ["here", "started", "forked", "spawned", "here again"]
    assert targets == [event["properties"]["target"] for event in telemetry_events]
    assert 1 == len({event["client_id"] for event in telemetry_events})
    assert time.monotonic() - began < 30.0


@pytest.mark.parametrize("first", ["monkeypatch", "telemetry_events"])
def test_opting_out(first: str, request: pytest.FixtureRequest) -> None:
    """A test that opts out sees that nothing is tracked, in whichever order it asks for its fixtures."""
    request.getfixturevalue(first)
    monkeypatch, events = request.getfixturevalue("monkeypatch"), request.getfixturevalue("telemetry_events")
    mytool.build("in")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    assert not mytool.telemetry.enabled
    mytool.build("out")
    run("out")
    assert not Telemetry("key").enabled
    monkeypatch.delenv("DO_NOT_TRACK")
    mytool.build("in again")
    assert ["in", "in again"] == [event["properties"]["target"] for event in events]


def test_opting_out_for_good(telemetry_events: Events) -> None:
    """The tool's own `telemetry off` stops its client, and is forgotten with the test."""
    mytool.build("in")
    assert 0 == main(["off"], project_slug="mytool")
    mytool.build("out")
    run("out")
    assert 1 == len(telemetry_events)


@pytest.mark.usefixtures("telemetry_events")
def test_nobody_has_opted_out_yet(capsys: pytest.CaptureFixture[str]) -> None:
    """See above; and the commands look into the test's directory."""
    assert 0 == main(["status", "--json"], project_slug="mytool")
    status = json.loads(capsys.readouterr().out)
    assert {"enabled": True, "source": None} == status["consent"]
    assert os.environ["OPS_TEST_DIR"] == os.path.dirname(os.path.dirname(status["config_dir"]))


def test_a_cleared_environment(telemetry_events: Events) -> None:
    """A test that clears the environment for a while is a test all the same."""
    with mock.patch.dict(os.environ, {"OPS_WRITE_KEY": "key"}, clear=True):
        client = Telemetry(api_url=mytool.SERVER, flush_at=1)
        client.track("app.started")
        client.flush()
        mytool.build("docs")
    assert ["app.started", "command.executed"] == telemetry_events.names


kept: list[Telemetry] = []


def test_a_client_that_stays(telemetry_events: Events) -> None:
    """The tool makes its client in the middle of a test, and keeps it beyond."""
    kept.append(Telemetry("key", mytool.SERVER))
    kept[0].track("app.started")
    assert 1 == len(telemetry_events)


def test_a_client_that_stayed(telemetry_events: Events) -> None:
    """In another test it tells that test."""
    kept[0].track("app.started")
    assert 1 == len(telemetry_events)


def test_a_client_that_is_left() -> None:
    """Outside of a test it does nothing any more: it has no directory, and its events were no real ones."""
    assert not kept[0].enabled
    kept[0].track("app.started")
    kept[0].flush()


def test_a_real_server(collector: Collector) -> None:
    """Whatever URL a client has, its events go to the collector; a child that has ended has sent what it had."""
    assert [] == collector.events
    run("child")
    assert ["child"] == [event["properties"]["target"] for event in collector.wait_for(1, timeout=0)]
    mytool.build("here")
    assert ["child", "here"] == [event["properties"]["target"] for event in collector.events]


def test_a_server_that_fails(collector: Collector, telemetry_events: Events) -> None:
    """A developer sees the events wait, and arrive once the server is back; both fixtures can be had together."""
    collector.faults.set(Fault(status=503))
    mytool.build("docs")
    assert ([], 1) == (collector.events, len(telemetry_events))
    assert 1 == mytool.telemetry.stats().pending
    with pytest.raises(TimeoutError, match="0 of 1 events"):
        collector.wait_for(1, timeout=0)
    collector.faults.clear()
    assert collector.events == telemetry_events


def test_no_request_but_to_the_collector(telemetry_events: Events, request: pytest.FixtureRequest) -> None:
    """A client that was made before the collector was there does not send to the URL that it was told."""
    client = Telemetry("key", mytool.SERVER)
    client.track("before")
    collector = request.getfixturevalue("collector")
    client.track("after")
    client.flush()
    assert (["before", "after"], ["after"]) == (
        telemetry_events.names,
        [each["event_name"] for each in collector.events],
    )
