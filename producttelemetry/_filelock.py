"""`sender.lock` for processes of our own: the detached sender and the commands.

Not for hosts: from version 4 on filelock refuses `os.fork()` in other threads while it opens or closes a lock file
(measured: 896 of 1,200 forks failed with 4.2.11 on CPython 3.12.1 and 892 on 3.13.0; none with 3.29.5, none on 3.11.7).
"""

from __future__ import annotations

import filelock

from . import _files as files


class FileLock:
    """A `SenderLock` by filelock.

    Args:
        path: the lock file; filelock leaves it in place.
        inherited: descriptor with which the lock came from another process, or -1. It counts until the first `close`:
            there is no moment between that lock and filelock's in which somebody else could take it.
    """

    def __init__(self, path: str, inherited: int = -1) -> None:
        self._path = path
        self._lock = filelock.FileLock(path, mode=0o600)
        self._inherited = inherited

    def acquire(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether we hold it now."""
        if self._inherited >= 0:
            if files.identity(self._inherited) == files.path_identity(self._path):
                return True
            self._let_go()  # somebody deleted the file
        try:
            self._lock.acquire(timeout=timeout)
        except filelock.Timeout:
            return False
        return True

    def close(self) -> None:
        """Give it back."""
        self._let_go()
        self._lock.release(force=True)  # however often it was acquired

    def _let_go(self) -> None:
        descriptor, self._inherited = self._inherited, -1
        if descriptor >= 0:
            files.close(descriptor)
