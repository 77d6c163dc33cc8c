"""The flush thread: one per client object and process, started with the first event, idle without work.

Guarantees: whoever waits for a flush waits as long as it said and no longer, because all that can hang (name look-up,
TLS, a server that trickles) happens in this thread and not in the caller's; starting and asking take no lock that an
interrupted frame below a signal handler could hold, which is why this uses `SimpleQueue` and `_thread` rather than
`threading.Event` and `threading.Thread`. The thread is a daemon: the interpreter does not wait for it.
"""

from __future__ import annotations

import _thread
import queue
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

#: What the flush function reports: how many seconds until it should be called again, or None if not before an event.
Next: TypeAlias = float | None
Kind: TypeAlias = Literal["event", "due", "flush", "stop"]

#: Shortest pause between two flushes that nobody asked for, in seconds.
_SHORTEST: Final = 0.05


class _Request(NamedTuple):
    kind: Kind
    explicit: bool = False
    done: _thread.LockType | None = None


class Worker:
    """Runs a flush function when it is due or asked for.

    Args:
        flush: does the work; the argument says whether the host asked for it.
        interval: seconds from the first event after a flush to the next flush.
    """

    def __init__(self, flush: Callable[[bool], Next], interval: float) -> None:
        self._flush = flush
        self._interval = interval
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._started = False

    def event(self) -> None:
        """An event was tracked: flush when the interval is over."""
        self._ask(_Request("event"))

    def due(self) -> bool:
        """Enough events were tracked: flush now, in the background; False if no thread can be had."""
        return self._ask(_Request("due"))

    def flush(self, timeout: float, *, explicit: bool) -> bool:
        """Flush and wait for it.

        Args:
            timeout: seconds to wait.
            explicit: the host asked for it, so our own back-off does not count.

        Returns:
            True if the flush has ended, in whichever way; False if it goes on, or no thread can be had.
        """
        done = _thread.allocate_lock()
        done.acquire()
        return self._ask(_Request("flush", explicit, done)) and done.acquire(timeout=timeout)

    def stop(self) -> None:
        """Let the thread end when it has nothing else to do."""
        if self._started:
            self._requests.put(_Request("stop"))

    def _ask(self, request: _Request) -> bool:
        self._requests.put(request)
        if not self._started:
            self._started = True
            try:
                _thread.start_new_thread(self._run, ())
            except RuntimeError:  # "can't start new thread": the interpreter is shutting down, or a limit is reached
                self._started = False
        return self._started

    def _run(self) -> None:
        due: float | None = None
        while True:
            request = self._next(due)
            if request is None or request.kind in {"due", "flush"}:
                again = self._run_flush(request)
                due = None if again is None else time.monotonic() + max(again, _SHORTEST)
            elif request.kind == "event":
                due = min(float("inf") if due is None else due, time.monotonic() + self._interval)
            else:
                self._started = False
                if self._requests.empty():  # else somebody asked before we said that we are gone
                    return
                self._started = True

    def _run_flush(self, request: _Request | None) -> Next:
        try:
            return self._flush(request is not None and request.explicit)
        except BaseException:  # noqa: BLE001  # of a transport of the host's, such as CancelledError; the thread has to go on
            return self._interval
        finally:
            if request is not None and request.done is not None:
                request.done.release()

    def _next(self, due: float | None) -> _Request | None:
        """Wait for a request; None if the time is over."""
        try:
            if due is None:
                return self._requests.get()
            return self._requests.get(timeout=max(0.0, due - time.monotonic()))
        except queue.Empty:
            return None


def bounded(action: Callable[[], bool], timeout: float) -> bool:
    """Run something that may hang in a thread of its own.

    Args:
        action: what to do; its result counts, and an exception counts as False.
        timeout: seconds to wait for it.

    Returns:
        The result; False if it is not there in time. The thread goes on, and ends with the interpreter.
    """
    done = _thread.allocate_lock()
    done.acquire()
    results: list[bool] = []

    def run() -> None:
        try:
            results.append(action())
        except Exception:  # noqa: BLE001  # there is nobody to tell but the waiting caller, who learns of it as False
            results.append(False)
        finally:
            done.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # the interpreter is shutting down
        return False
    return done.acquire(timeout=timeout) and results[0]
