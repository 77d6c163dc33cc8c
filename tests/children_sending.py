"""The programs of the tests of sending: `python -m tests.children_sending NAME SETTINGS`."""

from __future__ import annotations

import itertools
import os
import signal
from typing import Any

from producttelemetry._spool import Claim, Settled
from tests import children, harness


def track_and_flush(settings: dict[str, Any]) -> None:
    """Track some events and flush, again and again, while others do the same."""
    arguments = {"flush_at": 10**6, "flush_timeout": 60.0, "max_queue_size": 10_000}
    client = children.make({**settings, "arguments": arguments})
    for _ in range(settings["rounds"]):
        for number in range(settings["events"]):
            client.track("test.event", {"number": number})
        client.flush()


def flush_until_killed(settings: dict[str, Any]) -> None:
    """Flush, and be killed between the server's answer and the acknowledgement of that number."""
    client = children.make({**settings, "arguments": {"flush_timeout": 60.0}})
    acknowledge, count = Claim.acknowledge, itertools.count()

    def acknowledging(self: Claim, number: int, settled: Settled) -> None:
        if next(count) == settings["killed_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        acknowledge(self, number, settled)

    Claim.acknowledge = acknowledging  # type: ignore[method-assign]  # the instant of the crash
    client.flush()


if __name__ == "__main__":
    harness.main(track_and_flush, flush_until_killed)
