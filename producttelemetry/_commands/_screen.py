"""What a terminal may be given, and how values read: sizes, times, rows of 80 columns.

Guarantees: a value that came from a server, a file or a variable cannot steer the terminal; no colour where it is not
wanted; what an encoding lacks is escaped and never an error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from datetime import datetime

Style: TypeAlias = Literal["good", "bad", "warning", "heading", "faint"]

#: Widest line, in columns; a path that is longer stays whole, so that it can be copied.
WIDTH: Final = 80
#: Columns of a row's name.
_NAMES: Final = 12
_CODES: Final[dict[Style, str]] = {"good": "32", "bad": "31", "warning": "33", "heading": "1", "faint": "2"}
#: (seconds, one of it, shortened)
_UNITS: Final = ((86400, "day", "d"), (3600, "hour", "h"), (60, "minute", "min"), (1, "second", "s"))
#: Seconds that count as now.
_NOW: Final = 5
_KIB: Final = 1024


def say(text: str = "") -> None:
    """Print to stdout."""
    _write(sys.stdout, f"{text}\n")


def tell(text: str, style: Style | None = None) -> None:
    """Print sentences to stdout, within `WIDTH` columns."""
    for line in wrap(harmless(text)):
        say(paint(line, style) if style else line)


def say_json(value: Any) -> None:
    """Print one JSON value, in ASCII, on one line."""
    say(json.dumps(value))


def complain(prog: str, message: str) -> None:
    """Print one line to stderr."""
    _write(sys.stderr, f"{harmless(f'{prog}: {message}')}\n")


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # pythonw, or closed by the shell
        return
    encoding = stream.encoding or "utf-8"
    with naming_output():
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


@contextlib.contextmanager
def naming_output() -> Generator[None]:
    """Let an error say that it is the output that fails: what the command does is done all the same."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"the output cannot be written: {error.strerror}") from error


def say_line(line: bytes) -> None:
    """Print one line of JSON: the very bytes to a file or pipe; on a terminal what steers it is escaped."""
    if sys.stdout is None:
        return
    if sys.stdout.isatty():
        say("".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in line.decode().rstrip("\n")))
    elif hasattr(sys.stdout, "buffer"):
        with naming_output():
            sys.stdout.flush()
            sys.stdout.buffer.write(line)
    else:
        sys.stdout.write(line.decode())


def harmless(text: str) -> str:
    """Return a stranger's text on one line, without anything that steers a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def describe(error: OSError) -> str:
    """Return what the system says, and of which file."""
    said = error.strerror or str(error)
    return f"{short_path(os.fsdecode(error.filename))}: {said}" if error.filename else said


def coloured(stream: TextIO | None) -> bool:
    """Whether colours are wanted (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    able = sys.platform != "win32" or "WT_SESSION" in os.environ
    return stream is not None and stream.isatty() and not plain and able


def paint(text: str, style: Style) -> str:
    """Return a text for stdout, in colour if that is wanted."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if coloured(sys.stdout) else text


def rows(pairs: Iterable[tuple[str, str, Style | None]]) -> Iterator[str]:
    """Lay out names and values in two columns; a long value goes on below itself.

    Args:
        pairs: (name, value, style of the value).
    """
    for name, value, style in pairs:
        lines = wrap(harmless(value), WIDTH - 2 - _NAMES)
        for number, line in enumerate(lines):
            start = paint(f"{'' if number else name:{_NAMES}}", "faint")
            yield f"  {start}{paint(line, style) if style else line}"


def wrap(text: str, width: int = WIDTH) -> list[str]:
    """Break a text at spaces; at least one line. A word that is too long for a line stays whole."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def short_path(path: str) -> str:
    """Return a path with `~` for the home directory."""
    home = os.path.expanduser("~")
    return f"~{path[len(home) :]}" if home not in {"~", "/", ""} and path.startswith(f"{home}{os.sep}") else path


def counted(number: int, one: str = "event") -> str:
    """Return `1 event` or `1,204 events`."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Return a size in the unit that fits."""
    if number < _KIB:
        return f"{number} B"
    return f"{number / _KIB:,.1f} KiB" if number < _KIB**2 else f"{number / _KIB**2:,.1f} MiB"


def relative(moment: datetime, now: datetime) -> str:
    """Return `3 minutes ago`, `just now`, `now` or `in 12 s`. Both moments are aware."""
    seconds = round((now - moment).total_seconds())
    if 0 <= seconds < _NOW:
        return "just now" if moment <= now else "now"
    unit, name, short = next(each for each in _UNITS if abs(seconds) >= each[0])
    number = abs(seconds) // unit
    return f"{counted(number, name)} ago" if seconds > 0 else f"in {number:,} {short}"
