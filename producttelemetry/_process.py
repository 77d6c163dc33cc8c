"""What happens once per process: the handler at interpreter exit and the hooks around a fork.

Guarantees: one handler and one set of hooks, however many clients there are; a client that was shut down is not kept
alive; a child is never forked while our flush thread imports something, because it would inherit the import locks of a
thread that it does not have, and hang at its own next import of the same modules.
"""

from __future__ import annotations

import _thread
import atexit
import os
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Inhabitant(Protocol):
    """Somebody who lives in this process and wants to know when it ends or is doubled."""

    def leave(self) -> None:
        """The interpreter exits."""
        ...

    def after_fork(self) -> None:
        """This is a forked child."""
        ...


#: Longest that a fork of the host waits for an import of ours, in seconds.
_IMPORT_WAIT: Final = 1.0

#: Held by whoever must not be forked into a child in the middle of what it does.
no_fork: Final = _thread.allocate_lock()
_held_for_fork: Final[list[bool]] = []

_inhabitants: Final[dict[int, Inhabitant]] = {}
_hooks: Final[list[Callable[[], None]]] = []


def move_in(inhabitant: Inhabitant) -> None:
    """Register a client for both occasions."""
    if not _hooks:
        _hooks.extend((_leave, _after_fork))
        atexit.register(_leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before_fork, after_in_parent=_end_fork, after_in_child=_after_fork)
    _inhabitants[id(inhabitant)] = inhabitant


def move_out(inhabitant: Inhabitant) -> None:
    """Forget a client that has nothing left to do."""
    _inhabitants.pop(id(inhabitant), None)


def _leave() -> None:
    for inhabitant in list(_inhabitants.values()):
        inhabitant.leave()


def _before_fork() -> None:
    _held_for_fork.append(no_fork.acquire(timeout=_IMPORT_WAIT))


def _end_fork() -> None:
    if _held_for_fork.pop():
        no_fork.release()


def _after_fork() -> None:
    _end_fork()
    for inhabitant in list(_inhabitants.values()):
        inhabitant.after_fork()
