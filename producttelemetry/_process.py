"""What happens once per process: the handler at interpreter exit and the hook in a forked child.

Guarantees: one handler and one hook, however many clients there are; a client that was shut down is not kept alive.
"""

from __future__ import annotations

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


_inhabitants: Final[dict[int, Inhabitant]] = {}
_hooks: Final[list[Callable[[], None]]] = []


def move_in(inhabitant: Inhabitant) -> None:
    """Register a client for both occasions."""
    if not _hooks:
        _hooks.extend((_leave, _after_fork))
        atexit.register(_leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
    _inhabitants[id(inhabitant)] = inhabitant


def move_out(inhabitant: Inhabitant) -> None:
    """Forget a client that has nothing left to do."""
    _inhabitants.pop(id(inhabitant), None)


def _leave() -> None:
    for inhabitant in list(_inhabitants.values()):
        inhabitant.leave()


def _after_fork() -> None:
    for inhabitant in list(_inhabitants.values()):
        inhabitant.after_fork()
