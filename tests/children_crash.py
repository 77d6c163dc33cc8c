"""A template process that is forked for every crash point, so that none of them pays for an interpreter's start.

For each point: copy a prepared home, act in a child that kills itself there, then have another child look, track one
more event and send everything. What comes out is one JSON line for each point; `test_crash_points` judges it.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import uuid
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from producttelemetry import Telemetry
from producttelemetry._spool import Directory
from producttelemetry._spool._check import check
from tests import harness, oracle, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Make = Callable[..., Telemetry]
    Step = Callable[[Make], None]


class Scenario(NamedTuple):
    """What is there, and what is going to be cut short.

    Attributes:
        prepare: runs in a process of its own, which is killed at the end unless it leaves properly.
        act: runs in the process that is killed at one of its operations.
        arguments: of the clients.
        fault: what the server does wrong meanwhile.
        torn: also kill in the middle of every write.
    """

    prepare: Step
    act: Step
    arguments: Mapping[str, Any] = MappingProxyType({})
    fault: dict[str, Any] | None = None
    torn: bool = False


def nothing(_: Make) -> None:
    """Do nothing."""


def tracking(events: int, size: int = 0) -> Step:
    """Track, and be killed."""

    def step(make: Make) -> None:
        client = make()
        for number in range(events):
            client.track("test.event", {"number": number, "filling": "x" * size})

    return step


def sealing(*sizes: int) -> Step:
    """Track and leave properly, once for each number: a segment each, for each is in use when the next is made."""

    def step(make: Make) -> None:
        clients = [make() for _ in sizes]
        for client, events in zip(clients, sizes, strict=True):
            for number in range(events):
                client.track("test.event", {"number": number})
        for client in clients:
            client._seal(last=True)

    return step


def sending(make: Make) -> None:
    """Send everything."""
    make().flush()


def both(first: Step, second: Step) -> Step:
    """Do one after the other."""

    def step(make: Make) -> None:
        first(make)
        second(make)

    return step


def leave(make: Make) -> None:
    """Track an event, hand the segment over."""
    client = make()
    client.track("test.event", {"number": 99})
    client._seal(last=True)


def purge(make: Make) -> None:
    """Delete the queue beside a living writer, who goes on."""
    client = make()
    client.track("test.event", {"number": 98})
    Directory(client._spool_dir).purge(1.0)
    client.track("test.event", {"number": 99})
    client._seal(last=True)


def taking_over(make: Make) -> None:
    """Have events of the SDK before this one, another session's in each run, and track one more."""
    home = Path(os.environ["HOME"])
    session = str(uuid.uuid4())
    (home.parent / "left").write_text(session)
    event = {
        "event_name": "test.event",
        "event_type": "usage",
        "client_id": str(uuid.UUID(int=1)),
        "session_id": session,
        "timestamp": "2025-06-01T12:00:00+00:00",
    }
    events = [{**event, "properties": {"number": number}} for number in range(3)]
    place = home / harness.CONFIG
    place.mkdir(parents=True)
    (place / "client_id").write_text(event["client_id"])
    (place / "pending_events.json").write_text(json.dumps({"events": events}))
    tracking(1)(make)


#: What a client would make for itself, but for the certificates, whose loading costs twenty times the rest of a flush.
_NETWORK: Final = httpx.HTTPTransport(verify=False)  # the server is on loopback, and speaks no TLS
#: Larger than what a segment holds before it is sealed, in 34 events.
_LARGE: Final = 31_000

SCENARIOS: Final = {
    "the first event": Scenario(nothing, tracking(1), torn=True),
    "append and extend": Scenario(nothing, tracking(3), {"max_queue_size": 100}, torn=True),
    "a step of several events": Scenario(nothing, tracking(4)),
    "synced": Scenario(nothing, tracking(3), {"fsync": True, "max_queue_size": 100}, torn=True),
    "seal": Scenario(nothing, leave),
    "adopt": Scenario(sealing(2), leave),
    "recover and adopt an orphan": Scenario(tracking(3), leave),
    "a segment that is large": Scenario(tracking(33, _LARGE), tracking(35, _LARGE)),
    "evict from the oldest": Scenario(sealing(2, 3), tracking(4), {"max_queue_size": 5}, torn=True),
    "evict from the own": Scenario(nothing, tracking(6), {"max_queue_size": 2}),
    "refuse": Scenario(sealing(2), both(tracking(2), leave), {"max_queue_size": 3, "overflow": "drop_newest"}),
    "claim and acknowledge": Scenario(both(sealing(2, 2), tracking(3)), sending),
    "acknowledge in parts": Scenario(sealing(4), sending, fault={"max_events": 2}),
    "write down what was refused": Scenario(
        sealing(2), sending, fault={"poison": "test.event", "remaining": 3}, torn=True
    ),
    "release and back off": Scenario(sealing(2), sending, fault={"status": 503}, torn=True),
    "purge": Scenario(sealing(2, 2), purge),
    "take over from ptelemetry": Scenario(nothing, taking_over, torn=True),
}


def enumerate_points(settings: dict[str, Any]) -> None:
    """Go through all crash points of one scenario; print a line of JSON for each."""
    for module in ("_erasure", "_stats", "_transport"):  # now, and not in each child
        importlib.import_module(f"producttelemetry.{module}")
    scenario = SCENARIOS[settings["scenario"]]
    place = Path(settings["place"])
    prepared = place / "prepared"
    prepared.mkdir()
    run = _Run(scenario, settings["url"], place)
    assert 0 == harness.fork(prepared / "home", partial(run.act, prepared, scenario.prepare, None))
    for torn in {False, scenario.torn}:
        at = 0
        while True:
            home = place / f"{at}{'-torn' if torn else ''}"
            shutil.copytree(prepared, home)
            status = harness.fork(home / "home", partial(run.act, home, scenario.act, (at, torn)))
            harness.fork(home / "home", partial(run.look, home, (at, torn), status))
            shutil.rmtree(home / "home")
            if os.WIFEXITED(status):
                break
            at += 1


class _Run(NamedTuple):
    scenario: Scenario
    url: str
    place: Path

    def make(self, **changes: Any) -> Telemetry:
        """Make a client."""
        arguments: dict[str, Any] = {
            "flush_at": 10**6,
            "flush_timeout": 30.0,
            "on_exit": "keep",
            **self.scenario.arguments,
            **changes,
        }
        return Telemetry("key", self.url, transport=_NETWORK, **arguments)

    def act(self, home: Path, step: Step, point: tuple[int, bool] | None) -> None:
        """Act, and be killed at a point."""
        oracle.listen(home / "journal")
        if point is not None:
            if self.scenario.fault is not None:
                httpx.put(f"{self.url}/faults", json=self.scenario.fault).raise_for_status()
            syscalls.install(syscalls.Killing(point[0], torn=point[1], tell=str(home / "before")))
        step(self.make)

    def look(self, home: Path, point: tuple[int, bool], status: int) -> None:
        """Say what there is now, and then what becomes of it."""
        if self.scenario.fault is not None:
            httpx.delete(f"{self.url}/faults").raise_for_status()
        oracle.listen(home / "journal")
        client = self.make(overflow="drop_oldest")  # a full queue may not refuse the fresh one
        path = client._spool_dir
        cap = self.scenario.arguments.get("max_queue_size")
        problems = check(path, cap) if os.path.exists(path) else []
        client.track("oracle.fresh")
        client.flush()
        problems += check(path, cap)
        stats = client.stats()
        told = {
            "point": point,
            "status": status,
            "before": (home / "before").read_text() if (home / "before").exists() else None,
            "problems": problems,
            "pending": stats.pending + stats.volatile,
            "dropped": sum(stats.dropped.values()),
            "journal": str(home / "journal"),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    harness.main(enumerate_points)
