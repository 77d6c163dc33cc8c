"""What happens once per process: the handler at interpreter exit and the hooks around a fork.

Guarantees: one handler and one set of hooks, however many clients there are; a client that was shut down is not kept
alive; a child is never forked while our flush thread imports something, because it would inherit the import locks of a
thread that it does not have, and hang at its own next import of the same modules; flush threads that have nothing to do
end before a fork.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Inhabitant(Protocol):
    """Somebody who lives in this process and wants to know when it ends or is doubled."""

    def leave(self) -> None:
        """The interpreter exits."""
        ...

    def before_fork(self) -> None:
        """The process is about to be doubled."""
        ...

    def after_fork_in_parent(self) -> None:
        """It was, or the fork failed, and this is the one that was there before."""
        ...

    def after_fork(self) -> None:
        """This is a forked child."""
        ...


#: Longest that a fork of the host waits for an import of ours, in seconds: once in the life of a process, and only as
#: long as the import takes. A child that is forked in the middle of one would hang for ever.
_IMPORT_WAIT: Final = 5.0


class Imports:
    """Keeps imports of ours and forks apart: a block `with imports:` is not forked in the middle."""

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._forking = 0  # the thread that holds the lock for a fork
        self._done = 0

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._done += 1
        self._lock.release()

    def before_fork(self) -> None:
        """Wait for the end of a block that is under way, for a bounded time."""
        me = _thread.get_ident()
        if self._forking == me:  # a signal handler or a hook of the host's forks in the middle of a fork
            return
        if self._lock.acquire(blocking=False) or self._wait():
            self._forking = me

    def _wait(self) -> bool:
        """Wait for the lock, and mind the one that `logging` takes before a fork and releases after it.

        If its hook came before ours we have it, and the block may need it to come to an end. If `logging` has been
        imported in that block, its hook before the fork was not called at all, and the one after it will be.
        """
        done = self._done
        lent = _lock_of_logging(owned=True)
        if lent is not None:
            lent.release()
        taken = self._lock.acquire(timeout=_IMPORT_WAIT)
        missed = _lock_of_logging(owned=False) if done != self._done else None
        if (lock := lent or missed) is not None:
            lock.acquire()
        return taken

    def after_fork(self) -> None:
        """Let the next block or fork go on."""
        if self._forking == _thread.get_ident():
            self._forking = 0
            self._lock.release()

    def after_fork_in_child(self) -> None:
        """There is no other thread here, so nobody is in a block or a fork."""
        self._forking = 0
        self._lock = _thread.allocate_lock()


def _lock_of_logging(*, owned: bool) -> Any:
    """Return the lock if it exists and this thread owns it, or does not. No public name leads there."""
    lock = getattr(sys.modules.get("logging"), "_lock", None)
    return lock if lock is not None and lock._is_owned() is owned else None  # noqa: SLF001


imports: Final = Imports()
_inhabitants: Final[dict[int, Inhabitant]] = {}
_hooks: Final[list[Callable[[], None]]] = []


def move_in(inhabitant: Inhabitant) -> None:
    """Register a client for both occasions."""
    if not _hooks:
        _hooks.extend((_leave, _after_fork))
        atexit.register(_leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
    _inhabitants[id(inhabitant)] = inhabitant


def move_out(inhabitant: Inhabitant) -> None:
    """Forget a client that has nothing left to do."""
    _inhabitants.pop(id(inhabitant), None)


def _leave() -> None:
    for inhabitant in list(_inhabitants.values()):
        inhabitant.leave()


def _before_fork() -> None:
    imports.before_fork()
    for inhabitant in list(_inhabitants.values()):
        inhabitant.before_fork()


def _after_fork_in_parent() -> None:
    imports.after_fork()
    for inhabitant in list(_inhabitants.values()):
        inhabitant.after_fork_in_parent()


def _after_fork() -> None:
    imports.after_fork_in_child()
    for inhabitant in list(_inhabitants.values()):
        inhabitant.after_fork()
