"""The programs of the tests of signals and stopped neighbours: `python -m tests.children_signals NAME JSON`."""

from __future__ import annotations

import atexit
import builtins
import gc
import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from producttelemetry import _files as files
from producttelemetry._spool import Directory
from tests import harness
from tests.children import Interrupted, make, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry

#: Seconds between two alarms.
PERIOD = 0.001


# --- signals and finalisers -------------------------------------------------------------------------------------------


def alarmed(settings: dict[str, Any]) -> None:
    """Track in the main thread while a handler does so, and more, at 1 kHz; report how often and how long it took."""
    client = make(settings)
    last = settings.get("last", sys.maxsize)
    alarms = 0
    longest = 0.0

    def handler(*_: object) -> None:
        nonlocal alarms, longest
        number = alarms  # before anything else: what takes longer than a millisecond is interrupted by the next alarm
        alarms += 1
        started = time.monotonic()
        client.track("from.handler", {"number": number})
        if number == last:
            client.shutdown()
        elif settings.get("all") and number == 50:
            client.flush()
        elif settings.get("all") and number in {0, 20, 40, 60, 80}:
            client.stats()
        longest = max(longest, time.monotonic() - started)

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, PERIOD, PERIOD)
    number = 0
    while number < settings["events"] or alarms <= min(last, 100):
        client.track("test.event", {"number": number})
        number += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    woken = _wakes_the_sender(client) if settings.get("wake") else None
    client.flush()
    told = {"events": number, "alarms": alarms, "longest": longest, "woken": woken}
    report(json.dumps(told))


def _wakes_the_sender(client: Telemetry) -> bool:
    """Track `flush_at` events, and see that a flush begins without being asked for."""
    most = client._options.flush_at
    for _ in range(most):
        client.track("last")
    deadline = time.monotonic() + 30.0
    while client._flusher.tracked - client._flusher._tracked_at_flush >= most:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def thrown_out(settings: dict[str, Any]) -> None:
    """Leave a call of the writer's by an exception out of a handler, often; report whether another thread can track."""
    client = make(settings)
    client.track("test.event", {"number": 0})
    writer = client._writer
    writer._disk_failed_at = float("inf")  # else nothing is lent
    writer._busy = True  # so that a call is short, and most of it is taking the mutex and giving it back
    calls: dict[str, Callable[[], object]] = {
        "append": lambda: writer.append(b""),
        "seal": writer.seal,
        "purge": writer.purge,
        "lend": writer.claim_volatile,
        "close": writer.close,
    }

    def raising(*_: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGVTALRM, raising)
    call = calls[settings["call"]]
    for _ in range(60):
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.0003)
            while True:
                call()
        except Interrupted:
            pass
    writer._busy = False
    writer._waiting.clear()
    other = threading.Thread(target=client.track, args=("test.event",), daemon=True)
    other.start()
    other.join(10.0)
    report(json.dumps(not other.is_alive()))
    os._exit(0)  # what hangs would hang the end of the process, too


def collected(settings: dict[str, Any]) -> None:
    """Have the garbage collector finalise objects that track, in whichever thread and call it comes by."""
    client = make(settings)
    where: set[int] = set()

    class Tracking:
        def __init__(self) -> None:
            self.self = self

        def __del__(self) -> None:
            where.add(threading.get_ident())
            client.track("from.finaliser")

    gc.set_threshold(20)
    for number in range(settings["events"]):
        Tracking()
        client.track("test.event", {"number": number, "nested": [[number]]})
        if number % 500 == 0:
            client.flush()
    while len(where) < 2:  # the flush thread is the one that has to be met
        for _ in range(10):
            Tracking()
        client.track("test.event")
        client.flush()
    gc.collect()
    client.flush()


class Last:
    """An object that uses a client when the interpreter is torn down."""

    def __init__(self, client: Telemetry) -> None:
        self.client = client
        self.itself: object = None

    def __del__(self) -> None:
        self.client.track("test.event", {"number": 1})
        for method in (self.client.stats, self.client.flush, self.client.shutdown, self.client.error):
            method()


def torn_down(settings: dict[str, Any]) -> None:
    """End with an object alive that tracks in its finaliser; where it is kept decides when that runs."""
    gc.set_threshold(0)  # else a thread that is about to stand still may be the one that finalises
    client = make(settings)
    if settings["used"]:
        client.track("test.event", {"number": 0})
    for _ in range(settings["threads"]):
        threading.Thread(target=_track_for_ever, args=(client,), daemon=True).start()
    last = Last(client)
    if settings["kept"] == "cycle":
        last.itself = last
    else:
        keepers: dict[str, Any] = {"main": sys.modules["__main__"], "builtins": builtins, "sys": sys}
        keepers[settings["kept"]].kept_until_the_end = last


def _track_for_ever(client: Telemetry, pace: float = 0.0) -> None:
    number = 1000
    while True:
        client.track("test.event", {"number": number})
        number += 1
        if pace:
            time.sleep(pace)


# --- leaving ----------------------------------------------------------------------------------------------------------


def leaving(settings: dict[str, Any]) -> None:
    """Leave in the given way while a flush is under way and other threads track."""
    client = make(settings)
    for _ in range(settings.get("threads", 0)):
        threading.Thread(target=_track_for_ever, args=(client, 0.001), daemon=True).start()
    for number in range(20):
        client.track("test.event", {"number": number})
    report("ready")
    sys.stdin.readline()  # until the request is there
    leave = settings["leave"]
    if leave == "exit in handler":
        # Registered after ours, so it runs before it.
        atexit.register(sys.exit, 0)
    elif leave == "exception":
        raise ValueError("of the host")
    elif leave == "_exit":
        os._exit(0)
    elif leave == "sys.exit":
        sys.exit(3)


def keyboard(settings: dict[str, Any]) -> None:
    """Be interrupted by Ctrl-C in `flush()` or `shutdown()`, go on, and end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs with `&` in a script ignores it
    client = make(settings)
    for number in range(20):
        client.track("test.event", {"number": number})
    report("ready")
    try:
        getattr(client, settings["method"])()
    except KeyboardInterrupt:
        report("interrupted")
    client.track("after")


# --- stopped neighbours -----------------------------------------------------------------------------------------------


def endless(settings: dict[str, Any]) -> None:
    """Track without a pause until killed."""
    client = make(settings)
    report("ready")
    _track_for_ever(client)


def stopping(settings: dict[str, Any]) -> None:
    """Stop oneself at the n-th call of one file operation that fits, before or after it, then go on."""
    client = make(settings)
    before = settings.get("before", 0)
    for number in range(before):
        client.track("test.event", {"number": number})
    if settings.get("seal"):
        client._seal()
    _stop_at(settings["operation"], settings["fits"], settings["when"])
    action = settings["action"]
    if action == "track":
        for more in range(settings["events"]):
            client.track("test.event", {"number": before + more})
    elif action == "purge":
        Directory(client._spool_dir).purge(0.5)
    else:
        getattr(client, action)()
    report("over")


def _stop_at(operation: str, fits: str, when: str) -> None:
    """Replace one of the file operations by one that stops this process once."""
    real: Callable[..., Any] = getattr(files, operation)
    stops = 1

    def stop() -> None:
        nonlocal stops
        stops -= 1
        # To this thread, which then goes no further; sent to the process, another thread might be the one to take it.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    def stopping_operation(*arguments: Any, **options: Any) -> Any:
        this = stops > 0 and any(fits in str(argument) for argument in arguments)
        if this and when == "before":
            stop()
        result = real(*arguments, **options)
        if this and when == "after":
            stop()
        return result

    setattr(files, operation, stopping_operation)


if __name__ == "__main__":
    harness.main(alarmed, thrown_out, collected, torn_down, leaving, keyboard, endless, stopping)
