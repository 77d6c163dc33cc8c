"""Programs of hosts that fork for reasons of their own; see `tests/children.py`."""

from __future__ import annotations

import _thread
import json
import os
import sys
import threading
import time
import warnings
from collections import Counter
from typing import Any

from producttelemetry import _process
from tests import harness
from tests.children import make, report
from tests.children_forks import LIFE, fork, several, wait_for


def idle(settings: dict[str, Any]) -> None:
    """Fork beside a client that has nothing to do, in this state or that; each child tracks."""
    client = make(settings)
    for number in range(5):
        client.track("test.event", {"number": number})
        if settings["state"] != "tracked":
            client.flush()
        if settings["state"] == "shut down":
            client.shutdown()
        wait_for([fork(lambda: several(client, 1))])


def timer(settings: dict[str, Any]) -> None:
    """Fork all the time until `flush_interval` is over and the flush that is due has been made."""
    client = make(settings)
    client.track("test.event", {"number": 0})
    until = time.monotonic() + LIFE
    while client.stats().delivered == 0 and time.monotonic() < until:
        wait_for([fork(lambda: None)])
    report(client.stats().delivered)


def amid_import(settings: dict[str, Any]) -> None:
    """Fork again and again while the flush thread makes its first connection; each child needs the same modules."""
    assert "logging" not in sys.modules, "the test is about importing it"
    client = make(settings)
    client.track("test.event", {"number": 0})
    children: list[int] = []

    def needy() -> None:
        import httpcore  # noqa: PLC0415
        import httpx  # noqa: PLC0415

        del httpx, httpcore

    while client.stats().delivered == 0 or len(children) < 5:
        children.append(fork(needy))
        time.sleep(0.005)  # so that the import goes on, and is met in many places
    report(json.dumps(wait_for(children)))


def logging_amid_fork(settings: dict[str, Any]) -> None:
    """Fork so that our first import is under way when our hook runs; import the same and log in all that there is."""
    assert "logging" not in sys.modules, "the test is about importing it"
    client = make(settings)
    if settings["logging"] == "imported before":
        import logging  # noqa: PLC0415

    def start_import() -> None:
        """A hook of the host's, the youngest, so that it runs first."""
        client.track("test.event", {"number": 0})
        while not _process.imports._lock.locked() and "producttelemetry._transport" not in sys.modules:
            time.sleep(0)

    os.register_at_fork(before=start_import)

    def log() -> None:
        import logging  # noqa: PLC0415

        import httpcore  # noqa: PLC0415
        import httpx  # noqa: PLC0415

        del httpx, httpcore
        logging.getLogger("host").error("a child")

    children = [fork(log)]
    import logging  # noqa: PLC0415

    other = threading.Thread(target=logging.getLogger("host").error, args=("another thread",))
    other.start()
    other.join(LIFE)
    report(json.dumps([*wait_for(children), other.is_alive()]))


def imports_of_flush_thread(settings: dict[str, Any]) -> None:
    """Report every module that the flush thread looks for while a fork would not wait for it."""
    main = _thread.get_ident()
    found: list[str] = []

    class Listening:
        """Finds nothing."""

        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            """Note who asks."""
            if _thread.get_ident() != main and not _process.imports._lock.locked():
                found.append(name)

    sys.meta_path.insert(0, Listening)  # pyright: ignore[reportArgumentType]
    client = make(settings)
    client.track("test.event", {"number": 0})
    client.flush()
    report(json.dumps([found, client.stats().delivered]))


def sending_host(settings: dict[str, Any]) -> None:
    """Fork from four threads while events are tracked and sent all the time; report what came of it."""
    warnings.simplefilter("ignore")  # four threads of the host's own: Python may say so
    client = make(settings)
    ends: Counter[str] = Counter()
    until = threading.Event()

    def forking() -> None:
        for _ in range(settings["forks"]):
            try:
                (end,) = wait_for([fork(lambda: None)])
            except OSError as error:
                ends[f"{type(error).__name__}: {error}"] += 1
            else:
                ends[f"status {end}"] += 1

    def tracking() -> None:
        while not until.wait(0.0005):
            client.track("test.event")

    threads = [threading.Thread(target=forking) for _ in range(4)]
    tracker = threading.Thread(target=tracking)
    for thread in (tracker, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    until.set()
    tracker.join()
    client.flush()
    report(json.dumps({"ends": ends, "delivered": client.stats().delivered, "filelock": "filelock" in sys.modules}))


if __name__ == "__main__":
    harness.main(idle, timer, amid_import, logging_amid_fork, imports_of_flush_thread, sending_host)
