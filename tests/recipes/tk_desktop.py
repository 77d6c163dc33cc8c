"""A desktop program that may be offline for days, and says so in its status line.

    python tk_desktop.py

One client for the life of the program. While the server cannot be reached, events wait on disk; the next try is made
after a pause that grows from a second to a quarter of an hour, and all programs of the user share it.
"""

import tkinter as tk

from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="notes", flush_interval=2.0)


class Notes(tk.Tk):
    """A window to write notes in."""

    def __init__(self) -> None:
        super().__init__()
        self.save = tk.Button(self, text="Save", command=lambda: telemetry.track("note.saved"))
        self.status = tk.Label(self)
        self.save.pack()
        self.status.pack()
        self.look()

    def look(self) -> None:
        """Show what waits, a few times a second; the queue is asked, not the network."""
        stats = telemetry.stats()
        text = f"{stats.pending} events waiting" if stats.pending else "all sent"
        if stats.pending and stats.retry_at:
            text += f", next try {stats.retry_at.astimezone():%H:%M:%S}"
        self.status.configure(text=text)
        self.after(250, self.look)


if __name__ == "__main__":
    telemetry.track("app.started", event_type="lifecycle")
    Notes().mainloop()
