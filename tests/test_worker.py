"""The flush thread: nobody's request is lost, whenever it comes and whatever interrupts it."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._worker import Worker
from tests import harness
from tests.children import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector


class Ending:
    """The lock of the thread that works: it is given back only when another thread was turned away."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._lock.acquire()  # that thread works
        self.about_to_end, self.turned_away = threading.Event(), threading.Event()

    def acquire(self, *, blocking: bool) -> bool:
        """Take it."""
        taken = self._lock.acquire(blocking)
        if not taken:
            self.turned_away.set()
        return taken

    def release(self) -> None:
        """Give it back."""
        self.about_to_end.set()
        assert self.turned_away.wait(30.0)
        self._lock.release()


def test_a_thread_that_comes_while_another_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the old one still there and ends, too; the next request is not left to either of them.

    So it is with a thread of the host's that asks, is stopped before it sees to the flush thread, and goes on when that
    has done what was asked for and has been told to end.
    """
    flushes: list[bool] = []
    worker = Worker(flushes.append, interval=3600.0)
    assert worker.flush(30.0, explicit=True)
    ending = Ending()
    start = worker._start

    def late() -> bool:
        assert ending.about_to_end.wait(30.0)
        return start()

    worker._working = ending  # type: ignore[assignment]  # of a lock this is what is used
    with monkeypatch.context() as patched:
        patched.setattr(worker, "_start", late)
        asking = threading.Thread(target=lambda: worker.flush(0.0, explicit=False))
        asking.start()
        harness.wait_until(lambda: len(flushes) == 2)
        worker.stop()
        asking.join()
    assert worker.flush(30.0, explicit=True)
    worker.stop()


class Raising:
    """A queue into which a signal handler throws."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def put(self, request: object) -> None:
        """Have the exception come before the request is there."""
        del request
        raise Interrupted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


@pytest.mark.parametrize(("arguments", "thrown_at"), [({"flush_at": 2}, 1), ({"flush_interval": 1.0}, 0)])
def test_a_handler_that_raises_puts_off_no_flush(
    arguments: dict[str, Any], thrown_at: int, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """It comes where the flush thread is asked, by number or by time: the next event asks again."""
    client = telemetry(collector.url, **{"flush_at": 10**6, "flush_interval": 3600.0, **arguments})
    requests = client._flusher.worker._requests
    for number in range(3):
        if number == thrown_at:
            client._flusher.worker._requests = Raising(requests)  # type: ignore[assignment]  # of a queue this is what is used
            with pytest.raises(Interrupted):
                client.track("test.event", {"number": number})
            client._flusher.worker._requests = requests
        else:
            client.track("test.event", {"number": number})
    harness.wait_until(lambda: [0, 1, 2] == harness.arrived(collector))


@pytest.mark.parametrize("what", ["event", "due"])
def test_a_process_that_may_have_no_thread_now_has_one_later(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on threads: each event sees whether there can be one by now, and they do not pile up meanwhile."""
    flushes: list[bool] = []
    worker = Worker(flushes.append, interval=0.01)

    def limited(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", limited)
        for _ in range(5):
            getattr(worker, what)()
        assert 1 == worker._requests.qsize()
    getattr(worker, what)()
    harness.wait_until(lambda: flushes)
    worker.stop()
