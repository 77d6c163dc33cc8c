"""What `ptelemetry` has left behind is taken over: its id, and its waiting events, by whichever process comes first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._config import paths
from producttelemetry._event import MAX_EVENT_BYTES
from tests import harness
from tests.commands_support import json_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector
    from tests.oracle import Oracle

    Make = Callable[..., Telemetry]

FORMER_ID = "11111111-2222-4333-8444-555555555555"

#: The real one, offline: its exit handler writes down what could not be sent.
PTELEMETRY = """
import datetime, sys
from ptelemetry import Telemetry

client = Telemetry(write_key="key", api_url=sys.argv[1])
client.track("cli.started", event_type="lifecycle")
properties = {"number": 1, "what": "gr\\u00f6\\u00dfe", "ratio": float("nan"), "when": datetime.date(2025, 1, 2)}
client.track("test.event", properties)
client.track("test.event", timestamp=datetime.datetime(2025, 1, 2, 3, 4, 5))
try:
    open(sys.argv[2])
except OSError as error:
    client.error(error)
"""


def former(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return an event as the former SDK keeps it."""
    return {
        "event_name": "test.event",
        "event_type": "usage",
        "client_id": FORMER_ID,
        "session_id": "66666666-7777-4888-8999-aaaaaaaaaaaa",
        "timestamp": "2025-06-01T12:00:00.000001+00:00",
        "properties": {"number": number},
        **changes,
    }


def leave(home: Path, content: bytes | list[Any], slug: str = "default") -> Path:
    """Leave a client id and waiting events as the former SDK does; return the file."""
    place = home / ".config/producttelemetry" / slug
    place.mkdir(parents=True, exist_ok=True)
    (place / "client_id").write_text(FORMER_ID)
    path = place / "pending_events.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps({"events": content}).encode())
    return path


def test_what_the_real_one_left_arrives(home: Path, oracle: Oracle) -> None:
    """One installation stays one: the same id; its events come first, with their time, and each with an `event_id`."""
    secret = str(home / "secret.txt")
    command = [sys.executable, "-c", PTELEMETRY, harness.NO_SERVER, secret]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "TZ": "UTC"})
    place = home / harness.CONFIG
    assert ["client_id", "pending_events.json"] == sorted(os.listdir(place))
    former_id = (place / "client_id").read_text()
    assert secret in (place / "pending_events.json").read_text()
    verdict = oracle.settle(exact=True)
    *taken, fresh = verdict.stored
    assert ["cli.started", "test.event", "test.event", "error.FileNotFoundError"] == [
        each["event_name"] for each in taken
    ]
    assert {"number": 1, "what": "größe", "ratio": None, "when": "2025-01-02"} == taken[1]["properties"]
    assert taken[2]["timestamp"].startswith("2025-01-02T")
    assert "~/secret.txt" in taken[3]["properties"]["stack_trace"], "what leaves the machine names nobody"
    assert {former_id} == {each["client_id"] for each in verdict.stored}
    assert 1 == len({each["session_id"] for each in taken} - {fresh["session_id"]})
    assert {7} == {uuid.UUID(each["event_id"]).version for each in verdict.stored}
    assert not (place / "pending_events.json").exists()


def test_both_are_found_where_the_former_sdk_kept_them(
    home: Path, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knew one place only; this one uses that of the platform, and goes on with the id from there."""
    path = leave(home, [former()])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert {FORMER_ID} == {each["client_id"] for each in oracle.settle(exact=True).stored}
    assert not path.exists()
    own = home / "elsewhere/producttelemetry/default/client_id"
    assert f"{FORMER_ID}\n" == own.read_text()


def test_of_many_processes_one_takes_over(home: Path, oracle: Oracle) -> None:
    """Each event arrives, once, and nobody's own event is lost beside it."""
    leave(home, [former(number) for number in range(400)])
    settings = {"url": oracle.collector.url, "events": 5}
    each = [json.dumps({**settings, "journal": oracle.journal()}) for _ in range(6)]
    children = [harness.start("track", one) for one in each]
    for child in children:
        assert 15 == child.communicate(timeout=60)[0].count("-") // 4 * 3, "five ids"
        assert 0 == child.returncode
    verdict = oracle.settle(exact=True)
    assert 400 + 6 * 5 + 1 == len(verdict.stored)
    assert 0 == sum(verdict.stats.dropped.values())


def test_the_cap_holds(home: Path, telemetry: Make) -> None:
    """The oldest give way, and are counted."""
    leave(home, [former(number) for number in range(50)])
    client = telemetry(max_queue_size=10)
    client.track("test.event", {"number": 50})
    assert list(range(41, 51)) == harness.numbers(harness.events(harness.spool(client)))
    assert (10, 41) == (client.stats().pending, client.stats().dropped["overflow"])
    harness.assert_sound(harness.spool(client), 10)


@pytest.mark.parametrize(
    ("content", "taken", "dropped"),
    [
        *((b"", 0, {"corrupt": 1}), (b"\xff\0", 0, {"corrupt": 1}), (b"[" * 100_000, 0, {"corrupt": 1})),
        *((b"[]", 0, {"corrupt": 1}), (b'{"events": 1}', 0, {"corrupt": 1}), (b'{"events": []}', 0, {})),
        ([former(0), None, 3, "text", [], {}, former(1)], 2, {"invalid": 5}),
        (
            [former(timestamp="yesterday"), former(timestamp=None), former(timestamp="0001-01-01T00:00:00+14:00")],
            0,
            {"invalid": 3},
        ),
        (
            [former(properties=[]), former(event_name=""), former(event_type="x"), former(session_id="")],
            0,
            {"invalid": 4},
        ),
        ([former(client_id=""), former(client_id=None), former(client_id=FORMER_ID.upper())], 3, {}),
        ([former(properties={"filling": "x" * MAX_EVENT_BYTES}), former()], 1, {"too_large": 1}),
    ],
)
def test_what_is_no_event_is_counted(
    content: bytes | list[Any], taken: int, dropped: dict[str, int], home: Path, oracle: Oracle
) -> None:
    """Whatever the file holds: what can be an event arrives, the rest is counted, and it happens once."""
    path = leave(home, content)
    verdict = oracle.settle(recounted=dropped.get("corrupt", 0))  # of what nobody could read, and so nobody tracked
    assert taken + 1 == len(verdict.stored)
    assert dropped == {reason: number for reason, number in verdict.stats.dropped.items() if number}
    assert {FORMER_ID} == {each["client_id"] for each in verdict.stored}
    assert not path.exists()


def test_a_file_that_is_cut_gives_what_is_before_the_cut(home: Path, telemetry: Make) -> None:
    """The former SDK rewrites it in place: a kill or a full disk leaves the beginning."""
    whole = json.dumps({"events": [former(number) for number in range(3)]}).encode()
    ends = [at + 2 for at in range(len(whole)) if whole[at : at + 2] == b"}}"]
    for length in range(len(whole) - 1, 0, -5):
        leave(home, whole[:length], f"cut{length}")
        client = telemetry(project_slug=f"cut{length}")
        client.track("test.event", {"number": 9})
        expected = [number for number, end in enumerate(ends) if end <= length]
        assert [*expected, 9] == harness.numbers(harness.events(harness.spool(client))), length
        assert 1 == client.stats().dropped["corrupt"]


def test_the_hook_sees_them_as_they_will_be_sent(home: Path, oracle: Oracle) -> None:
    """`before_send` is where a host keeps things back: it can change and drop these, too."""
    leave(home, [former(number) for number in range(3)])
    seen: list[dict[str, Any]] = []

    def hook(event: dict[str, Any]) -> dict[str, Any] | None:
        seen.append(event)
        number = event["properties"].get("number")
        return None if number == 1 else {**event, "properties": {"number": f"was {number}"}}

    verdict = oracle.settle(before_send=hook)
    assert ["was 0", "was 2", "was None"] == [event["properties"]["number"] for event in verdict.stored]
    assert 1 == verdict.stats.dropped["before_send"]
    assert {each["event_id"] for each in seen} > {each["event_id"] for each in verdict.stored[:2]}


def test_an_event_has_one_id_whenever_it_is_read(home: Path, oracle: Oracle, telemetry: Make) -> None:
    """The former SDK may run beside us: what it adds meanwhile stays and is taken next; the server drops the others."""
    path = leave(home, [former(0), former(0)])

    def hook(event: dict[str, Any]) -> dict[str, Any]:
        if event["properties"] == {"number": 0}:  # it is being taken over
            leave(home, [former(0), former(0), former(1)])
        return event

    client = telemetry(oracle.collector.url, before_send=hook)
    client.track("test.event", {"number": 8})
    client.flush()
    assert path.exists()
    client = telemetry(oracle.collector.url)
    client.track("test.event", {"number": 9})
    client.flush()
    assert [0, 0, 8, 1, 9] == harness.arrived(oracle.collector)
    assert 2 == oracle.collector.store.counts().duplicates
    assert not path.exists()


def test_events_stay_in_the_file_while_the_disk_fails(home: Path, telemetry: Make) -> None:
    """What waits in memory would die with the process; the next one finds the file as it was."""
    path = leave(home, [former()])
    obstacle = path.with_name("spool")
    obstacle.write_text("a file in the place of the directory")
    before = path.read_bytes()
    telemetry().track("test.event", {"number": 1})
    assert before == path.read_bytes()
    obstacle.unlink()
    client = telemetry()
    client.track("test.event", {"number": 2})
    assert [0, 2] == harness.numbers(harness.events(harness.spool(client)))


@pytest.mark.parametrize("place", ["link", "directory", "no lock"])
def test_what_cannot_be_opened_stays_and_stops_nobody(place: str, home: Path, telemetry: Make) -> None:
    """A link is not followed, and a directory is no file of the former SDK's."""
    path = leave(home, [former()])
    if place == "link":
        path.rename(home / "target")
        path.symlink_to(home / "target")
    elif place == "directory":
        path.unlink()
        path.mkdir()
    else:
        path.with_name("client_id.lock").mkdir()
    client = telemetry()
    client.track("test.event", {"number": 1})
    assert [1] == harness.numbers(harness.events(harness.spool(client)))
    assert os.path.lexists(path)


@pytest.mark.parametrize("how", ["DO_NOT_TRACK", "OPS_TELEMETRY", "config.json", "disabled", "log"])
def test_nothing_is_touched_without_consent(
    how: str, home: Path, telemetry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out means nothing: the files stay as they are."""
    path = leave(home, [former()])
    if how == "config.json":
        path.with_name("config.json").write_text('{"telemetry": false}')
    elif how != "disabled":
        variable = "OPS_TELEMETRY" if how == "log" else how
        monkeypatch.setenv(variable, {"DO_NOT_TRACK": "1", "OPS_TELEMETRY": "0"}.get(how, how))
    before = harness.tree(home)
    client = telemetry(disabled=how == "disabled")
    client.track("test.event")
    client.shutdown()
    assert before == harness.tree(home)


def test_off_deletes_them(home: Path, collector: RunningCollector, telemetry: Make) -> None:
    """What was waiting when somebody opted out is never sent, also if it waited for another SDK."""
    path = leave(home, [former(), former()])
    assert 2 == json_of("off")["deleted"]
    assert not path.exists()
    json_of("on")
    client = telemetry(collector.url)
    client.track("test.event", {"number": 1})
    client.flush()
    assert [1] == harness.arrived(collector)


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_an_erasure_covers_the_former_id(
    where: str, home: Path, collector: RunningCollector, telemetry: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has tracked since: the server is asked for the id that it knows, and nothing with it is left here."""
    path = leave(home, [former()])
    if where == "elsewhere":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert telemetry(collector.url, disabled=True).request_deletion()
    assert 1 == collector.store.counts().deletions
    assert not path.exists()
    assert not path.with_name("client_id").exists()
    client = telemetry(collector.url)
    client.track("test.event", {"number": 1})
    client.flush()
    (event,) = harness.stored(collector)
    assert event["client_id"] != FORMER_ID


def test_others_pay_one_look(home: Path) -> None:
    """Who has nothing to take over imports nothing for it, and has no more files than before."""
    program = """
import sys
from producttelemetry import Telemetry

Telemetry("key", on_exit="keep").track("test.event")
print("producttelemetry._migration" in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert "False\n" == ended.stdout
    assert ["client_id", "spool"] == sorted(os.listdir(home / harness.CONFIG))
    assert str(home / harness.CONFIG / "pending_events.json") == paths("default").former_events
