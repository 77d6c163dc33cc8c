"""`Lock`: an exclusive lock between processes that tells a holder who is busy from one who was stopped.

Guarantees: who dies gives it back, for the kernel does so; nobody waits for a stopped holder twice; the holder knows
that it holds, whatever exception a signal handler throws into it.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from . import _files as files

if TYPE_CHECKING:
    from typing import Self

#: First pause of somebody who waits for a lock that is held for microseconds, in seconds; it doubles up to the second.
_POLL_FIRST: Final = 0.00005
_POLL_LONGEST: Final = 0.0004
#: Longest wait, in seconds, for a lock that goes on changing hands.
LONGEST_QUEUE: Final = 1.0
#: Where a lock file holds the token, in bytes from its start: not in the byte that Windows locks.
_TOKEN_AT: Final = 8


class Lock:
    """An exclusive lock between processes, on a file whose content nobody depends on.

    The file is never deleted or renamed (invariant 10). If somebody else deletes it while it is held, the next
    `acquire` notices and locks the file that has the name now.

    Who takes the lock leaves a token in the file. It tells those who wait a busy lock, which changes hands, from one
    whose holder was stopped: for the first it is right to wait, for the second it is not, and above all not twice.

    The object belongs to one thread at a time. `held` stays True between a successful `acquire` and `release`, so
    that a caller that was thrown out by a signal handler's exception can see what it has to give back.
    """

    __slots__ = ("_descriptor", "_opened", "_stopped", "held", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.held = False
        self._descriptor = -1
        self._opened: files.Identity | None = None
        self._stopped: bytes | None = None  # token of a holder that did not go on while we waited

    def acquire(self, timeout: float, longest: float = LONGEST_QUEUE) -> bool:
        """Take the lock.

        Args:
            timeout: seconds to wait for one holder; 0 does not wait.
            longest: seconds to wait while others are faster.

        Returns:
            False if the holder has not gone on for `timeout` seconds, or already did not in an earlier call; or if
            others were faster for `longest` seconds.
        """
        if self._try():
            return True
        if timeout <= 0 or (token := self._token()) == self._stopped:
            return False
        started = changed = time.monotonic()
        pause = _POLL_FIRST
        while not self._try():
            now = time.monotonic()
            if (seen := self._token()) != token:
                token, changed = seen, now
            if now - changed >= timeout:
                self._stopped = token
                return False
            if now - started >= longest:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _POLL_LONGEST)
        return True

    def _token(self) -> bytes:
        return files.read_open(self._descriptor, _TOKEN_AT) if self._descriptor >= 0 else b""

    def _try(self) -> bool:
        if self._descriptor >= 0 and files.identity(self._descriptor) != self._opened:
            self._descriptor = -1  # the host closed all descriptors, and the number may be somebody else's by now
        while True:
            if self._descriptor < 0:
                self._descriptor = files.open_lock(self.path)
                self._opened = files.identity(self._descriptor)
            if not self._try_open_file():
                return False
            if files.path_identity(self.path) == self._opened:
                break
            self.close()  # somebody deleted the file that we have locked: take the one that has the name now
        self._stopped = None
        with contextlib.suppress(OSError):  # a full disk; a lock without a token is a lock
            files.write_at(self._descriptor, b"%020d" % time.monotonic_ns(), _TOKEN_AT)
        return True

    def _try_open_file(self) -> bool:
        self.held = True  # before it is: an exception out of a signal handler must not make us forget that we have it
        try:
            self.held = files.try_lock(self._descriptor, files.LOCK_FILE_BYTE)
        except OSError:
            self.close()
            raise
        return self.held

    @property
    def descriptor(self) -> int:
        """The open file, for a child process that is to inherit the lock; -1 if there is none."""
        return self._descriptor

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self.held:
            # In this order: an exception out of a signal handler in between must not make us forget that we have it.
            with contextlib.suppress(OSError):
                files.unlock(self._descriptor, files.LOCK_FILE_BYTE)
            self.held = False

    def forget(self) -> None:
        """Close our copy of the descriptor without unlocking: in a forked child the lock is the parent's."""
        descriptor, self._descriptor, self.held = self._descriptor, -1, False
        if descriptor >= 0 and files.identity(descriptor) == self._opened:
            files.close(descriptor)

    def close(self) -> None:
        """Release the lock and close the file; `acquire` opens it again."""
        self.release()
        self.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
