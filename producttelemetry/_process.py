"""What happens once per process: the handler at interpreter exit and the hooks around a fork.

Guarantees: one handler and one set of hooks, however many clients there are; a client that was shut down is not kept
alive; a child is never forked while our flush thread imports something, because it would inherit the import locks of a
thread that it does not have, and hang at its own next import of the same modules; flush threads that have nothing to do
end before a fork.
"""

from __future__ import annotations

import _thread
import atexit
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from types import ModuleType


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
        self._logging_is_older = False

    def hook_in(self) -> None:
        """Our hooks are being registered: that of `logging` runs after ours before each fork if it is older."""
        self._logging_is_older = hasattr(sys.modules.get("logging"), "LogRecord")

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
        try:
            return self._lock.acquire(timeout=_IMPORT_WAIT)
        finally:
            missed = done != self._done and not self._logging_is_older
            if (lock := lent or (_lock_of_logging(owned=False) if missed else None)) is not None:
                lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Let the next block or fork go on."""
        if self._forking == _thread.get_ident():
            self._forking = 0
            self._lock.release()

    def after_fork(self) -> None:
        """There is no other thread here, so nobody is in a block or a fork."""
        self._forking = 0
        self._lock = _thread.allocate_lock()


def _lock_of_logging(*, owned: bool) -> Any:
    """Return the lock if it exists and this thread owns it, or does not. No public name leads there."""
    lock = getattr(sys.modules.get("logging"), "_lock", None)
    return lock if lock is not None and lock._is_owned() is owned else None  # noqa: SLF001


imports: Final = Imports()
#: Modules that a call in a thread of the host's has begun to import. A fork waits until they are there, by importing
#: them as well, for Python's own locks know who interrupts whom.
_wanted: Final[set[str]] = set()
_inhabitants: Final[dict[int, Inhabitant]] = {}
#: Not empty once the handler and the hooks are registered.
_registered: Final[list[bool]] = []


def late_import(name: str) -> ModuleType | None:
    """Import a module of this package that few hosts need, in a thread of the host's.

    Returns:
        None where that cannot be done: a signal handler interrupts this very import, no descriptor is left for it, or
        the interpreter is being torn down, when an import fails or waits for a thread that was stopped in one.
    """
    full = f"{__package__}.{name}"
    if sys.is_finalizing():
        module = sys.modules.get(full)
        return None if getattr(getattr(module, "__spec__", None), "_initializing", True) else module
    _wanted.add(name)
    try:
        return importlib.import_module(full)
    except (ImportError, OSError):
        return None


def move_in(inhabitant: Inhabitant) -> None:
    """Register a client for both occasions."""
    if not _registered:
        _registered.append(True)
        atexit.register(_leave)
        if hasattr(os, "register_at_fork"):
            imports.hook_in()
            os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
    _inhabitants[id(inhabitant)] = inhabitant


def move_out(inhabitant: Inhabitant) -> None:
    """Forget a client that has nothing left to do."""
    _inhabitants.pop(id(inhabitant), None)


def inhabitants() -> list[Inhabitant]:
    """Return the clients that have, or may get, something to do."""
    return list(_inhabitants.values())


def _leave() -> None:
    for inhabitant in inhabitants():
        inhabitant.leave()


def _before_fork() -> None:
    for name in tuple(_wanted):
        late_import(name)
    imports.before_fork()
    for inhabitant in inhabitants():
        inhabitant.before_fork()


def _after_fork_in_parent() -> None:
    imports.after_fork_in_parent()
    for inhabitant in inhabitants():
        inhabitant.after_fork_in_parent()


def _after_fork() -> None:
    imports.after_fork()
    for inhabitant in inhabitants():
        inhabitant.after_fork()
