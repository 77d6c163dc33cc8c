"""What the commands do.

`cli` is the door; from there a command goes through one file after the other::

    _parser    what may be typed; names the command's function
    _run       guards it: no traceback, a status for whatever happens
    _reading   status, show, check     _facts gathers plain values, _report lays them out for people
    _choosing  on, off                 writes the choice, deletes what is queued
    _sending   flush, forget           the sender's own loop, `_progress` beside it; erasure
    _own       collector, demo         of the package's own program only
    _notice    the first-run notice
    _screen    what a terminal may be given: no control characters, colours only where they are wanted

Nothing is imported before a command needs it: `status` starts without `httpx`, `filelock` and `rich`.
"""
