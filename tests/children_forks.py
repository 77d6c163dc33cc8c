"""Programs that fork, in all the ways that hosts do; see `tests/children.py`."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from tests import harness
from tests.children import make, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry

#: Seconds that a forked child may live; one that hangs ends by SIGALRM, and its status tells.
LIFE = 30


def fork(child: Callable[[], None]) -> int:
    """Run a function in a forked child, which ends without any handler."""
    process = os.fork()
    if process == 0:
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(LIFE)
        child()
        os._exit(0)
    return process


def wait_for(processes: list[int]) -> list[int]:
    """Return how children ended."""
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def several(client: Telemetry, number: int) -> None:
    """Track as a worker does, beyond the slots of its first reservation."""
    for _ in range(number):
        client.track("test.child")


def amid_tracking(settings: dict[str, Any]) -> None:
    """Fork again and again while other threads track without a pause; report how the children ended."""
    client = make(settings)
    until = threading.Event()

    def track() -> None:
        while not until.is_set():
            client.track("test.thread")

    threads = [threading.Thread(target=track) for _ in range(3)]
    for thread in threads:
        thread.start()
    children = [fork(lambda: several(client, 3)) for _ in range(settings["forks"])]
    until.set()
    for thread in threads:
        thread.join()
    report(json.dumps(wait_for(children)))


def prefork(settings: dict[str, Any]) -> None:
    """Keep six workers, each of which ends in the middle of its work and is replaced; report how they ended."""
    client = make(settings)
    client.track("test.master")
    ends: list[int] = []
    for _ in range(4):
        workers = [fork(lambda: several(client, 25)) for _ in range(6)]
        client.track("test.master")
        ends += wait_for(workers)
    report(json.dumps(ends))
    os._exit(0)


def from_hook(settings: dict[str, Any]) -> None:
    """Fork in the middle of `track()`, from `before_send`: parent and child both return into it and go on."""
    children: list[int] = []

    def hook(event: dict[str, Any]) -> dict[str, Any]:
        if event["event_name"] == "test.fork":
            children.append(os.fork())
        return event

    arguments = settings["arguments"] | {"before_send": hook}
    client = make(settings | {"arguments": arguments})
    client.track("test.event")
    client.track("test.fork")
    client.track("test.event")
    if children[0]:
        report(json.dumps(wait_for(children)))


class Garbage:
    """A reference cycle whose end forks: the collector runs wherever `track()` happens to be."""

    def __init__(self, client: Telemetry, children: list[int]) -> None:
        self.cycle = self
        self.client = client
        self.children = children

    def __del__(self) -> None:
        """Fork, and track in the child."""
        self.children.append(fork(lambda: several(self.client, 2)))


def from_finaliser(settings: dict[str, Any]) -> None:
    """Have a garbage collection, and a fork in it, within many of a thousand calls of `track()`."""
    client = make(settings)
    children: list[int] = []
    gc.disable()
    for number in range(settings["forks"]):
        Garbage(client, children)
        gc.set_threshold(1 + number)  # the collector runs after so many allocations: elsewhere each time
        gc.enable()
        client.track("test.event", {"number": number})
        gc.disable()
        gc.collect()
    while len(children) < settings["forks"]:  # the collection may also come in the flush thread
        gc.collect()
    report(json.dumps(wait_for(children)))


def amid_flush(settings: dict[str, Any]) -> None:
    """Fork while a request is on its way; the child tracks, flushes by itself and exits as usual."""
    import producttelemetry._transport  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]  # it can take longer than a flush may

    client = make(settings)
    client.track("test.event", {"number": 0})
    report("sending")
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        signal.alarm(LIFE)
        client.track("test.event", {"number": 1})
        client.flush()
        sys.exit(7)
    client.track("test.event", {"number": 2})
    report(json.dumps(wait_for([child])))


def descendants(settings: dict[str, Any]) -> None:
    """Have a line of descendants, each of which forks in the middle of its work and outlives its child."""
    client = make(settings)
    ends: list[int] = []

    def live(generation: int) -> None:
        client.track("test.event", {"generation": generation})
        if generation < settings["generations"]:
            ends.extend(wait_for([fork(lambda: live(generation + 1))]))
            client.track("test.event", {"generation": generation})
        if ends not in ([], [0]):
            os._exit(1)

    live(0)
    report(json.dumps(ends))


def daemon(settings: dict[str, Any]) -> None:
    """Become a daemon as textbooks say: two forks, a new session, every descriptor closed; then work on."""
    client = make(settings)
    client.track("test.event", {"number": 0})
    if os.fork():
        os._exit(0)
    os.setsid()
    client.track("test.event", {"number": 1})
    if os.fork():
        os._exit(0)
    client.track("test.event", {"number": 2})
    journals = {int(name) for name in os.listdir("/proc/self/fd") if _leads_to(name, settings["journal"])}
    for descriptor in set(range(256)) - journals:
        _close(descriptor)
    # The host's files now have the numbers that ours had.
    files = [os.open(f"{settings['place']}-{number}", os.O_RDWR | os.O_CREAT, 0o600) for number in range(64)]
    for number in range(3, 40):
        client.track("test.event", {"number": number})
    client.shutdown()
    sizes = {os.fstat(descriptor).st_size for descriptor in files}
    with open(f"{settings['place']}-report.new", "w", encoding="utf-8") as file:
        json.dump(sorted(sizes), file)
    os.rename(f"{settings['place']}-report.new", f"{settings['place']}-report")


def _leads_to(descriptor: str, path: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == path
    except OSError:
        return False


def _close(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


def killed_parent(settings: dict[str, Any]) -> None:
    """Track in the parent and in a child of it, then let the parent be killed while the child lives on."""
    client = make(settings)
    client.track("test.event", {"number": 1})
    if settings["sends"]:
        client._flusher.worker.due()
    report("tracked")
    sys.stdin.readline()
    ready, done = os.pipe()
    if os.fork() == 0:
        signal.alarm(LIFE)
        client.track("test.event", {"number": 2})
        os.write(done, b"x")
        sys.stdin.readline()
        client.track("test.event", {"number": 3})
        os._exit(0)
    os.read(ready, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def leaving_child(settings: dict[str, Any]) -> None:
    """Have a child that does all it can: tracks, flushes, shuts down, exits with all handlers. Then track again."""
    client = make(settings)
    client.track("test.event", {"number": 1})
    child = os.fork()
    if child == 0:
        client.track("test.event", {"number": 2})
        client.flush()
        client.shutdown()
        sys.exit(0)
    report(json.dumps(wait_for([child])))
    sys.stdin.readline()
    client.track("test.event", {"number": 3})
    report("tracked")
    sys.stdin.readline()


def two_destinations(settings: dict[str, Any]) -> None:
    """Track for two servers and two keys, here and in children; send everything from here."""
    clients = {name: make(settings | values) for name, values in settings["destinations"].items()}

    def track() -> None:
        for _ in range(20):
            for name, client in clients.items():
                client.track("test.event", {"destination": name})

    track()
    ends = wait_for([fork(track) for _ in range(4)])
    for client in clients.values():
        client.flush()
    report(json.dumps(ends))


if __name__ == "__main__":
    harness.main(
        *(amid_tracking, prefork, from_hook, from_finaliser, amid_flush),
        *(descendants, daemon, killed_parent, leaving_child, two_destinations),
    )
