"""The flush thread: one per client object and process, started with the first event, idle without work.

Guarantees: whoever waits for a flush waits as long as it said and no longer, because all that can hang (name look-up,
TLS, a server that trickles) happens in this thread and not in the caller's; starting and asking take no lock that an
interrupted frame below a signal handler could hold, which is why this uses `SimpleQueue` and `_thread` rather than
`threading.Event` and `threading.Thread`. The thread is a daemon: the interpreter does not wait for it. A fork finds no
thread that has nothing to do: it ends before, so that Python (from 3.12 on) has none to warn of, and a new one takes
over what is due. A thread in the middle of a flush is not waited for.
"""

from __future__ import annotations

import _thread
import os
import queue
import sys
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

#: What the flush function reports: how many seconds until it should be called again, or None if not before an event.
Next: TypeAlias = float | None
Kind: TypeAlias = Literal["event", "due", "flush", "pause", "stop"]

#: Shortest pause between two flushes that nobody asked for, in seconds.
_SHORTEST: Final = 0.05
#: Longest wait for an idle thread to end, in seconds; it takes a fraction of a millisecond.
_END_WAIT: Final = 0.05
#: Seconds between two looks whether it has.
_LOOK: Final = 0.00005
#: Seconds that may be added to a time limit by a change of files that had begun before it; it takes milliseconds.
_CHANGE_TIME: Final = 1.0
#: Where Linux lists the threads of this process, and where Python counts them when it forks.
_THREADS: Final = "/proc/self/task"


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
        self._due: float | None = None
        #: What has been asked for since the last flush began.
        self._asked: Literal["event", "due"] | None = None
        #: A thread is there or on its way.
        self._started = False
        #: Held by the thread that works: of two that were started at once, one ends.
        self._working = _thread.allocate_lock()
        self._flushing = False
        self._paused = False
        self._thread = 0

    def event(self) -> None:
        """An event was tracked: flush when the interval is over."""
        if self._asked is None or not (self._started or self._paused):
            self._ask_once("event")

    def due(self) -> None:
        """Enough events were tracked: flush now, in the background."""
        if self._asked != "due" or not (self._started or self._paused):
            self._ask_once("due")

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
        self._end(_Request("stop"))

    def pause(self) -> None:
        """End the thread if it is idle: the process is about to fork."""
        self._paused = True
        if not self._flushing:
            self._end(_Request("pause"))

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        if self._due is not None or not self._requests.empty():
            self._start()

    def _end(self, request: _Request) -> None:
        """Ask the thread to end, and wait until it is gone, unless it flushes: that can take long."""
        if self._started:
            self._requests.put(request)
        if sys.is_finalizing() or self._thread == _thread.get_native_id():  # a finaliser that happens to run in it
            return
        deadline = time.monotonic() + _END_WAIT
        while (self._started or self._exists()) and not self._flushing and time.monotonic() < deadline:
            time.sleep(_LOOK)

    def _exists(self) -> bool:
        """Whether the thread is in the process; it is for a moment after it has done everything."""
        if self._thread and not os.path.exists(f"{_THREADS}/{self._thread}"):
            self._thread = 0  # the number may be another thread's from now on
        return self._thread != 0

    def _ask_once(self, kind: Literal["event", "due"]) -> None:
        """Ask, unless somebody has since the last flush began; and see that there is a thread."""
        if self._asked is None or self._asked != kind == "due":
            self._asked = kind  # first: the flush may be over when `put` returns
            try:
                self._requests.put(_Request(kind))
            except BaseException:  # out of a signal handler
                self._asked = None
                raise
        self._start()

    def _ask(self, request: _Request) -> bool:
        self._requests.put(request)
        return self._start()

    def _start(self) -> bool:
        if not self._started:
            self._started = True
            try:
                _thread.start_new_thread(self._run, ())
            except RuntimeError:  # "can't start new thread": the interpreter is shutting down, or a limit is reached
                self._started = False
        return self._started

    def _run(self) -> None:
        while self._working.acquire(blocking=False):
            self._thread = _thread.get_native_id()
            self._started = True
            self._work()
            self._started = False
            self._working.release()
            # Somebody may have asked before we said that we are gone, or a fork may be over for which we go, or a
            # thread that was started since may have found us still working, and have ended.
            if self._requests.empty() and (self._paused or self._due is None) and not self._started:
                return

    def _work(self) -> None:
        while True:
            request = self._next()
            if request is None or request.kind in {"due", "flush"}:
                again = self._run_flush(request)
                self._due = None if again is None else time.monotonic() + max(again, _SHORTEST)
            elif request.kind == "event":
                self._due = min(float("inf") if self._due is None else self._due, time.monotonic() + self._interval)
            elif request.kind == "stop":
                self._due = self._asked = None
                return
            elif self._paused:  # else the fork is over that did not wait for us
                return

    def _run_flush(self, request: _Request | None) -> Next:
        self._flushing, self._asked = True, None
        try:
            return self._flush(request is not None and request.explicit)
        except BaseException:  # noqa: BLE001  # of a transport of the host's, such as CancelledError; the thread has to go on
            return self._interval
        finally:
            self._flushing = False
            if request is not None and request.done is not None:
                request.done.release()

    def _next(self) -> _Request | None:
        """Wait for a request; None if the time is over."""
        try:
            if self._due is None:
                return self._requests.get()
            return self._requests.get(timeout=max(0.0, self._due - time.monotonic()))
        except queue.Empty:
            return None


def bounded(action: Callable[[Callable[[], bool]], bool], timeout: float) -> bool:
    """Run something that may hang in a thread of its own.

    Args:
        action: what to do; its result counts, and an exception counts as False. It calls what it is given before it
            changes anything that lasts, and goes on only if that is True: nobody has been told False by then.
        timeout: seconds to wait for it.

    Returns:
        The result; False if it has not begun to change anything in time. The thread goes on, and ends with the
        interpreter.
    """
    decided, done = _thread.allocate_lock(), _thread.allocate_lock()
    done.acquire()
    results: list[bool] = []

    def decide() -> bool:
        return decided.acquire(blocking=False)

    def run() -> None:
        try:
            results.append(action(decide))
        except BaseException:  # noqa: BLE001  # there is nobody to tell but the waiting caller, who learns of it as False
            results.append(False)
        finally:
            done.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # the interpreter is shutting down
        return False
    if not done.acquire(timeout=timeout):
        return not decide() and done.acquire(timeout=_CHANGE_TIME) and results[0]
    return results[0]
