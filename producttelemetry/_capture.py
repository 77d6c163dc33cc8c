"""What a test sees: in processes that `producttelemetry.testing` has set up, each stored line is noted in one file.

All processes of a test append to it, one `write` per line, so its order is that in which `track()` was called. It is
not the queue: what is evicted, purged or delivered there stays here. Each line begins with a newline of its own: what a
process was killed in the middle of writing spoils no other.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from . import _config
from . import _files as files
from ._spool import Directory, Overflow, Writer

if TYPE_CHECKING:
    from collections.abc import Mapping


class CapturingWriter(Writer):
    """A writer that tells a test of each line it has accepted.

    Args:
        directory, description, cap, overflow: as for `Writer`.
        test_dir: the test's directory.
    """

    def __init__(
        self, directory: Directory, description: Mapping[str, Any], cap: int, overflow: Overflow, *, test_dir: str
    ) -> None:
        super().__init__(directory, description, cap, overflow)
        self._captured = os.path.join(test_dir, _config.TRACKED)
        self._directory = directory
        self._mark = directory.purge_mark()

    def append(self, line: bytes) -> None:
        """Store a line, then add it to the test's file."""
        try:
            descriptor = files.open_existing(self._captured)
        except OSError:
            return
        try:
            super().append(line)
            if files.is_ours(descriptor):  # a forgotten variable must not tell others
                with contextlib.suppress(OSError):
                    files.append(descriptor, b"\n" + line)
        finally:
            files.close(descriptor)

    def _store(self, line: bytes) -> None:
        # Here, where no other thread appends. A purge shows at once, and not when the reserved slots are used up.
        if (mark := self._directory.purge_mark()) != self._mark:
            self._mark = mark
            self._segment.doubt()
        super()._store(line)
