"""The recipe of a desktop program, with somebody who presses its button: `python -m tests.children_desktop`.

Reads a command per line: `save` presses the button, `status` prints the status line, `close` closes the window.
"""

from __future__ import annotations

import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

import tk_desktop  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]  # in `tests/recipes`

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the window; its thread does what is read in another one, as it would do what a user does."""
    window = tk_desktop.Notes()
    commands: dict[str, Callable[[], object]] = {
        "save": window.save.invoke,
        "status": lambda: print(window.status.cget("text"), flush=True),
        "close": window.destroy,
    }
    asked: SimpleQueue[str] = SimpleQueue()

    def look() -> None:
        while not asked.empty():
            commands[asked.get()]()
        window.after(10, look)

    def read() -> None:
        for line in sys.stdin:
            asked.put(line.strip())

    threading.Thread(target=read, daemon=True).start()
    look()
    tk_desktop.telemetry.track("app.started", event_type="lifecycle")
    window.mainloop()


main()
