"""Kill writers and senders at random instants, and ask where each event is: `python -m tests.soak [KILLS] [--seed N]`.

Each round starts writers that track without pause and senders that flush without pause, all on one spool, kills them
with SIGKILL one after the other at random instants, and then asks the oracle. The server fails now and then. The suite
runs a short one; the README has the result of a long one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from producttelemetry import Telemetry
from producttelemetry._batch import MAX_EVENTS
from producttelemetry.collector import Fault, RunningCollector
from tests import children, harness
from tests.oracle import Oracle

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

#: Kills of one round; after that the queue is drained and the books are compared.
KILLS: Final = 25
WRITERS: Final = 4
SENDERS: Final = 2
#: Longest life of a process, in seconds, from when it says that it is at work.
_LIFE: Final = 0.15
#: What the server does now and then; the SDK keeps the events and backs off, or halves its batches.
_FAULTS: Final = (
    Fault(),
    Fault(),
    Fault(status=503, remaining=3),
    Fault(drop="after", remaining=2),
    Fault(max_events=3, remaining=20),
    Fault(latency_seconds=0.05, remaining=20),
)


class Result(NamedTuple):
    """What a soak has seen.

    Attributes:
        kills: how many processes were killed with SIGKILL.
        accepted: events whose `track()` had returned.
        delivered: how many of them have arrived.
        counted: how many of them left otherwise, counted by reason.
        resent: events that the server got again and knew by their `event_id`.
    """

    kills: int
    accepted: int
    delivered: int
    counted: int
    resent: int


def soak(kills: int, seed: int) -> Iterator[Result]:
    """Kill processes, round by round; give the sum after each.

    Raises:
        AssertionError: an event was lost, invented, altered or stuck, or the spool is not sound.
    """
    chance = random.Random(seed)
    total = Result(0, 0, 0, 0, 0)
    while total.kills < kills:
        with tempfile.TemporaryDirectory() as place, RunningCollector() as collector:
            result = _round(Path(place), collector, chance, min(KILLS, kills - total.kills))
        total = Result(*(before + now for before, now in zip(total, result, strict=True)))
        yield total


def _round(place: Path, collector: RunningCollector, chance: random.Random, kills: int) -> Result:
    home = {name: str(place) for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA")}
    before = {name: os.environ.get(name) for name in home}
    os.environ.update(home)
    try:
        # A small queue, so that eviction is a part of it, or one that holds everything.
        arguments: dict[str, Any] = {"max_queue_size": chance.choice((40, 1_000_000)), "flush_timeout": 2.0}
        oracle = Oracle(place / "journals", collector, _make)
        _kill_all(oracle, chance, kills, arguments)
        collector.faults.clear()
        cap = arguments["max_queue_size"]
        # A machine this busy may keep a holder of the lock from going on, and each writer takes one step without it.
        verdict = oracle.settle(
            max_queue_size=cap, cap=cap + WRITERS * max(1, cap // 64), recounted=kills * min(cap, MAX_EVENTS)
        )
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    missing, resent = len(verdict.missing), collector.store.counts().duplicates
    return Result(kills, len(verdict.told.accepted), len(verdict.told.accepted) - missing, missing, resent)


def _kill_all(oracle: Oracle, chance: random.Random, kills: int, arguments: dict[str, Any]) -> None:
    """Keep writers and senders at work, and kill them one after the other."""
    with ExitStack() as stack:
        programs = ["storm"] * WRITERS + ["sweep"] * SENDERS
        children = [_start(stack, program, oracle, arguments) for program in programs]
        for kill in range(kills):
            oracle.collector.faults.set(chance.choice(_FAULTS))
            victim = chance.randrange(len(children))
            time.sleep(chance.random() * _LIFE)  # the instant is what is random here
            children[victim].kill()
            assert -signal.SIGKILL == children[victim].wait()
            if kill < kills - 1:
                children[victim] = _start(stack, programs[victim], oracle, arguments)
        for child in children:
            child.kill()


def _start(stack: ExitStack, program: str, oracle: Oracle, arguments: dict[str, Any]) -> subprocess.Popen[str]:
    settings = {"url": oracle.collector.url, "journal": oracle.journal(), "arguments": arguments}
    child = stack.enter_context(harness.start(program, json.dumps(settings), "tests.soak"))
    stack.callback(child.kill)  # whatever happens: else leaving the stack waits for ever
    assert child.stdout is not None
    assert "at work\n" == child.stdout.readline()
    return child


def _make(url: str, **arguments: Any) -> Telemetry:
    return Telemetry("key", url, on_exit="keep", **arguments)


def storm(settings: dict[str, Any]) -> None:
    """Track events of all sizes for ever, and leave a segment behind now and then."""
    client = children.make(settings | {"arguments": {**settings["arguments"], "flush_at": 10**6}})
    children.report("at work")
    number = 0
    while True:
        number += 1
        client.track("test.event", {"number": number, "filling": "x" * (number * 37 % 9000)})
        if number % 50 == 0:
            client._seal()
        time.sleep(0.002)


def sweep(settings: dict[str, Any]) -> None:
    """Send for ever."""
    client = children.make(settings)
    client.flush()
    children.report("at work")
    while True:
        client.flush()


def main() -> int:
    """Run a long one, and say what came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("kills", nargs="?", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}, Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores")
    started = time.monotonic()
    for result in soak(options.kills, options.seed):
        print(f"{time.monotonic() - started:6.0f} s  {result}", flush=True)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] in (["storm"], ["sweep"]):
        harness.main(storm, sweep)
    else:
        sys.exit(main())
