"""`track()` against the floor: `json.dumps` of the same event and one `os.write`, in turn, in one process.

    python -m benchmarks

Prints median and 99th percentile of both, in microseconds, and their ratio. Absolute figures move with the machine; the
ratio of two sides that took turns moves less.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from producttelemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 20_000
PROPERTIES: Final[dict[str, Any]] = {"command": "build", "duration_ms": 12.5, "ok": True, "n": 3, "version": "1.2.3"}


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as home:
        for name in ("HOME", "XDG_CONFIG_HOME"):
            os.environ[name] = home
        client = Telemetry(
            "key", "http://127.0.0.1:9", max_queue_size=10 * ROUNDS, flush_at=10 * ROUNDS, on_exit="keep"
        )
        client.track("command.executed", PROPERTIES)
        event = _stored(client)
        descriptor = os.open(os.path.join(home, "floor"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

        def track() -> None:
            client.track("command.executed", PROPERTIES)

        def floor() -> None:
            os.write(descriptor, json.dumps(event).encode() + b"\n")

        ours, theirs = _in_turn(track, floor)
        os.close(descriptor)
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}, {os.cpu_count()} cores")
    print(f"{'':>22}   {'p50 µs':>8}   {'p99 µs':>8}")
    for name, times in (("track()", ours), ("json.dumps + os.write", theirs)):
        print(f"{name:>22}   {_at(times, 0.5):>8.1f}   {_at(times, 0.99):>8.1f}")
    print(f"{'ratio':>22}   {_at(ours, 0.5) / _at(theirs, 0.5):>8.2f}   {_at(ours, 0.99) / _at(theirs, 0.99):>8.2f}")


def _stored(client: Telemetry) -> Any:
    directory = client.stats().spool_dir
    assert directory is not None
    (segment,) = directory.glob("*.open")
    return json.loads(segment.read_bytes())


def _in_turn(one: Callable[[], None], other: Callable[[], None]) -> tuple[list[int], list[int]]:
    """Call both alternately; return the sorted times in nanoseconds."""
    times: tuple[list[int], list[int]] = ([], [])
    for side, action in ((0, one), (1, other)) * ROUNDS:
        started = perf_counter_ns()
        action()
        times[side].append(perf_counter_ns() - started)
    return sorted(times[0]), sorted(times[1])


def _at(times: list[int], quantile: float) -> float:
    return times[int(len(times) * quantile)] / 1000


if __name__ == "__main__":
    main()
