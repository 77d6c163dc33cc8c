"""`request_deletion()` killed before each change of a file and around each request, and what comes after it.

Like `children_crash`, a template process that is forked for each crash point. The clients talk through a transport that
writes down what they ask and hear, in order, in a file that survives them; `test_erasure_crash` judges it.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from producttelemetry import Telemetry
from producttelemetry import _notes as notes
from producttelemetry._spool._check import check
from tests import harness, syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[..., Telemetry]
    Step = Callable[[Make], None]


class Killing(syscalls.System):
    """Kills this process before one of the steps that somebody else can see afterwards.

    A lock that is taken or given up is none: the kernel gives it up for the dead. Neither is a file that is closed.

    Args:
        at: before which step, counted from 0.
    """

    SEEN: Final = frozenset(("write", "ftruncate", "rename", "replace", "link", "unlink", "mkdir"))

    def __init__(self, at: int) -> None:
        self._left = at

    def call(self, name: str, *given: Any, **named: Any) -> Any:
        """Count, and kill when it is time."""
        if name in self.SEEN or (name == "open" and given[1] & os.O_CREAT):
            self.step()
        return super().call(name, *given, **named)

    def step(self) -> None:
        """Count one, also between a request and its answer."""
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


class _Target:
    """Whom the network tells of its steps, too."""

    killing: Killing | None = None


def arm() -> None:
    """Count from here on."""
    if _Target.killing is not None:
        syscalls.install(_Target.killing)


class Recording(httpx.HTTPTransport):
    """Talks to the real server, and notes each request when it starts and when it is answered, in one write each."""

    def __init__(self, file: Path, fault: int | None = None) -> None:
        super().__init__(verify=False)  # loading certificates costs twenty times the rest, and there is no TLS here
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._fault = fault

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Note, pass on, note."""
        body = json.loads(request.read())
        ids = sorted({each["client_id"] for each in body.get("events", [body])})
        told = {"method": request.method, "ids": ids}
        _step()
        self._note({**told, "status": None})
        if self._fault is not None and request.method == "DELETE":
            response = httpx.Response(self._fault, json={"error": "no"})
        else:
            response = super().handle_request(request)
        _step()
        self._note({**told, "status": response.status_code})
        _step()
        return response

    def _note(self, told: dict[str, Any]) -> None:
        os.write(self._descriptor, json.dumps(told).encode() + b"\n")


def _step() -> None:
    if _Target.killing is not None:
        _Target.killing.step()


class Scenario(NamedTuple):
    """What is there, and what is going to be cut short.

    Attributes:
        prepare: runs in a process of its own, which is killed at the end.
        act: runs in the process that is killed at one of its operations.
        fault: what the server answers to erasures in it.
    """

    prepare: Step
    act: Step
    fault: int | None = None


def queue(make: Make) -> None:
    """Leave a sealed segment, one that a dead process has open, and events for another destination."""
    for key in ("key", "other"):
        client = make(key=key)
        client.track("test.old", {"number": 0})
        client._seal(last=True)
    make().identify("user")
    make().track("test.old", {"number": 1})


def sent_before(make: Make) -> None:
    """Have everything sent, and nothing queued."""
    client = make()
    client.track("test.old")
    client.flush()


def erase(make: Make) -> None:
    """Erase, and say what came out."""
    arm()
    done = make().request_deletion()
    (Path.home() / "answer").write_text(str(done))


def erase_alive(make: Make) -> None:
    """Erase in the midst of tracking: with an open segment, and a second client that has one, too."""
    client, other = make(), make(key="other")
    client.track("test.old", {"number": 2})
    other.track("test.old", {"number": 3})
    arm()
    (Path.home() / "answer").write_text(str(client.request_deletion()))
    client.track("test.new")
    other.track("test.new")
    client._seal(last=True)
    other._seal(last=True)


def erase_and_die(make: Make) -> None:
    """Die between the server's answer and the note of it."""
    queue(make)
    client = make()

    def die(*_: object) -> None:
        os._exit(0)

    notes.note_erased = die  # type: ignore[assignment]  # it does not get as far as to return
    client.request_deletion()


def send(make: Make) -> None:
    """Be the next process: track an event and send everything."""
    arm()
    client = make()
    client.track("test.new")
    client.flush()


SCENARIOS: Final = {
    "a queue": Scenario(queue, erase),
    "living writers": Scenario(queue, erase_alive),
    "nothing is queued": Scenario(sent_before, erase),
    "the server refuses": Scenario(queue, erase, fault=404),
    "the next one is killed": Scenario(erase_and_die, send),
}


def enumerate_points(settings: dict[str, Any]) -> None:
    """Go through all crash points of one scenario; print a line of JSON for each."""
    for module in ("producttelemetry._stats", "producttelemetry._transport", "platformdirs"):
        importlib.import_module(module)  # now, and not in each child
    scenario = SCENARIOS[settings["scenario"]]
    place = Path(settings["place"])
    run = _Run(scenario, settings["url"])
    prepared = place / "prepared"
    (prepared / "home").mkdir(parents=True)
    assert 0 == harness.fork(prepared / "home", partial(run.act, prepared, scenario.prepare, None))
    at, status = 0, -1
    while not os.WIFEXITED(status):
        home = place / str(at)
        shutil.copytree(prepared, home)
        status = harness.fork(home / "home", partial(run.act, home, scenario.act, at))
        harness.fork(home / "home", partial(run.look, home, at, status))
        shutil.rmtree(home)
        at += 1


class _Run(NamedTuple):
    scenario: Scenario
    url: str

    def make(self, home: Path, fault: int | None, key: str = "key") -> Telemetry:
        """Make a client."""
        arguments: dict[str, Any] = {"flush_at": 10**6, "flush_timeout": 30.0}
        transport = Recording(home / "requests", fault)
        return Telemetry(key, self.url, transport=transport, on_exit="keep", **arguments)

    def act(self, home: Path, step: Step, at: int | None) -> None:
        """Act, and be killed at a point."""
        _Target.killing = None if at is None else Killing(at)
        step(partial(self.make, home, self.scenario.fault if step is self.scenario.act else None))

    def look(self, home: Path, at: int, status: int) -> None:
        """Be the next processes: one that tracks and sends to each destination; then say what there is."""
        before = _requests(home)
        problems: list[str] = []
        for key in ("key", "other"):
            client = self.make(home, None, key)
            client.track("oracle.fresh", {"key": key})
            client.flush()
            problems += check(client._spool_dir, None)
            problems += [f"{client.stats().pending} events are stuck"] if client.stats().pending else []
        place = home / "home" / ".config" / "producttelemetry" / "default"
        answer = home / "home" / "answer"
        told = {
            "at": at,
            "status": status,
            "answer": answer.read_text() if answer.exists() else None,
            "before": before,
            "after": _requests(home)[len(before) :],
            "problems": problems,
            "client_id": (place / "client_id").read_text().strip(),
            "erased": (place / "erased").read_text().split() if (place / "erased").exists() else [],
            "erasing": (place / "erasing").read_text() if (place / "erasing").exists() else "",
        }
        print(json.dumps(told), flush=True)


def _requests(home: Path) -> list[dict[str, Any]]:
    path = home / "requests"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    harness.main(enumerate_points)
