"""The programs that tests run in processes of their own: `python -m tests.children NAME [ARGUMENT ...]`.

Each reads its settings from a JSON argument, so that a test says everything in one place.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from producttelemetry import Telemetry
from tests import harness, oracle


def report(text: object) -> None:
    """Tell the test something at once, in one write."""
    os.write(1, f"{text}\n".encode())


def make(settings: dict[str, Any]) -> Telemetry:
    """Make a client from a test's settings; `key` and `url` have short names because every test gives them."""
    arguments: dict[str, Any] = {"on_exit": "keep", **settings.get("arguments", {})}
    if "journal" in settings:
        oracle.listen(settings["journal"])
    return Telemetry(settings.get("key", "key"), settings["url"], **arguments)


def ids_of(client: Telemetry) -> list[str]:
    """Return a list that grows by the `event_id` of every line that has been stored."""
    ids: list[str] = []
    append = client._writer.append

    def listening(line: bytes) -> None:
        append(line)
        ids.append(json.loads(line)["event_id"])

    client._writer.append = listening  # type: ignore[method-assign]  # the public call returns nothing to know an event by
    return ids


def track(settings: dict[str, Any]) -> None:
    """Track events, and after each `track()` report the id of what was stored, or an empty line."""
    client = make(settings)
    ids = ids_of(client)
    for number in range(settings["events"]):
        client.track("test.event", {"process": settings.get("process", 0), "number": number})
        report(ids.pop() if ids else "")
        time.sleep(settings.get("pace", 0))
    if settings.get("leave") == "_exit":
        os._exit(0)


def sigterm(settings: dict[str, Any]) -> None:
    """Track until SIGTERM, whose handler does what the documentation of every SDK tells people to do."""
    client = make(settings)

    def leave(*_: object) -> None:
        client.shutdown()
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    number = 0
    while True:
        client.track("test.event", {"number": number})
        number += 1
        if number == settings["ready_after"]:
            report("ready")


def one(settings: dict[str, Any]) -> None:
    """Track one event and end."""
    make(settings).track("test.event", {"number": 0})


def fork(settings: dict[str, Any]) -> None:
    """Track, fork, track in both; the child outlives nothing and ends without any handler."""
    client = make(settings)
    client.track("test.event", {"number": 0})
    child = os.fork()
    if child == 0:
        client.track("test.event", {"number": 1})
        os._exit(0)
    client.track("test.event", {"number": 2})
    os.waitpid(child, 0)
    client.track("test.event", {"number": 3})


class Interrupted(BaseException):
    """What a host's signal handler raises, like KeyboardInterrupt or Celery's SoftTimeLimitExceeded."""


def interrupted(settings: dict[str, Any]) -> None:
    """Be interrupted 150 times by a handler that raises, anywhere in `track()`; report what was accepted."""
    client = make(settings)

    def raising(*_: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGVTALRM, raising)
    returned: list[int] = []
    number = times = 0
    while times < 150:  # see above
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005)
            while True:
                number += 1
                client.track("test.event", {"number": number})
                returned.append(number)
        except Interrupted:
            times += 1
    client.track("test.event", {"number": 0})
    sealed = client._seal(last=True)
    report(json.dumps({"returned": returned, "volatile": client.stats().volatile, "sealed": sealed}))


def drain(settings: dict[str, Any]) -> None:
    """Send what others left behind; report what is still pending."""
    client = make(settings)
    client.flush()
    report(client.stats().pending)


if __name__ == "__main__":
    harness.main(track, sigterm, one, fork, interrupted, drain)
