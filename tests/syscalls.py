"""The operating system as `_files` sees it, with somebody in between.

CPython raises no audit event for `os.write`, `os.fsync` and most of the others. But all that the package does to files
goes through `_files`, and `_files` knows the operating system under two names, `os` and `fcntl`: `install` puts a
`System` in the place of both. The crash tests count and kill there, the simulated disk answers there, and the code
above is the real one.
"""

from __future__ import annotations

import fcntl
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from producttelemetry import _files

if TYPE_CHECKING:
    from collections.abc import Callable

#: What changes something that another process, or this one after a crash, can see. Closing a file gives up its lock.
CHANGES: Final = frozenset(
    ("open", "close", "write", "fsync", "ftruncate", "rename", "replace", "link", "unlink", "mkdir", "flock", "fchown")
)
#: What only looks.
LOOKS: Final = frozenset(("read", "lseek", "fstat", "stat", "lstat", "scandir", "listdir"))
#: What `_files` knows under a name of its own, as in `append = os.write`.
_REAL: Final = tuple(getattr(os, name) for name in (CHANGES | LOOKS) - {"flock"})


#: What touches no file.
_HARMLESS: Final = frozenset(("urandom", "geteuid"))


class Missed(BaseException):
    """`_files` calls something unknown here. No `Exception`, for the package guards its host against those."""


class System:
    """Passes every call on; everything else (constants, `path`, `urandom`) is the real module's."""

    def __getattr__(self, name: str) -> Any:
        if name in CHANGES or name in LOOKS:
            return partial(self.call, name)
        value = getattr(fcntl if name.startswith("LOCK_") else os, name)
        if callable(value) and name not in _HARMLESS:
            raise Missed(f"{name} would go past whoever is in between")
        return value

    def call(self, name: str, *given: Any, **named: Any) -> Any:
        """Carry out one operation."""
        return real(name)(*given, **named)


def real(name: str) -> Callable[..., Any]:
    """Return an operation of the real system."""
    return getattr(fcntl if name == "flock" else os, name)  # type: ignore[no-any-return]


def install(system: System) -> Callable[[], None]:
    """Put a system under `_files`; return a function that takes it away."""
    aliases = {name: value.__name__ for name, value in vars(_files).items() if value in _REAL}
    places = {"os": system, "fcntl": system, **{name: getattr(system, of) for name, of in aliases.items()}}
    before = {name: getattr(_files, name) for name in places}
    for name, value in places.items():
        setattr(_files, name, value)

    def remove() -> None:
        for name, value in before.items():
            setattr(_files, name, value)

    return remove


class Killing(System):
    """Kills this process before one of its operations.

    Args:
        at: before which change, counted from 0. Before the next one is after this one, so nothing is left out.
        torn: if that is a write, half of it is done: the kernel gives up a long write when the process is killed.
        tell: a file that is told which operation it was.
    """

    def __init__(self, at: int, *, torn: bool = False, tell: str = os.devnull) -> None:
        self._at = at
        self._tell = tell
        self._torn = torn
        self._made = 0

    def call(self, name: str, *given: Any, **named: Any) -> Any:
        """Count, and kill when it is time."""
        if name in CHANGES:
            if self._made == self._at:
                self._describe(name, *given)
                if self._torn and name == "write":
                    descriptor, data = given
                    os.write(descriptor, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            self._made += 1
        return super().call(name, *given, **named)

    def _describe(self, name: str, *given: Any) -> None:
        """Tell for people: the operation, and what it is done to."""
        paths = [given[0] if isinstance(given[0], str) else os.readlink(f"/proc/self/fd/{given[0]}"), *given[1:2]]
        with open(self._tell, "w", encoding="utf-8") as file:
            file.write(" ".join([name, *(os.path.basename(path) for path in paths if isinstance(path, str))]))
