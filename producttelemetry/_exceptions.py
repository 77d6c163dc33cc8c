"""An exception → the properties of an error event, without the user's name and home in any path, or the write key."""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import quote

from ._errors import EventRejected
from ._event import well_formed

#: Longest stack trace and message, in bytes of UTF-8.
STACK_BYTES: Final = 16 * 1024
MESSAGE_BYTES: Final = 4 * 1024

#: Characters at either end of a longer text that are looked at, and those where it was cut, which may hold half a path.
_LOOKED_AT: Final = 64 * 1024
_EDGE: Final = 1024

_CUT: Final = "\n… cut …\n"
#: What stands between the names of a path, also in a URL, and doubled in the text of a string.
_SEPARATOR: Final = r"(?:[/\\]+|%2F|%5C)"
#: The same where one of several slashes belongs to something else: `file:///home/alice`.
_FIRST: Final = r"(?:[/\\]|%2F|%5C)"
_AFTER_SEPARATOR: Final = r"(?:(?<=[/\\])|(?<=%2F)|(?<=%5C))"
#: Not in `alice2`, `alice.bak` or `alice-old`; but in `alice.` at the end of a sentence.
_NAME_ENDS: Final = r"(?![.-]*\w)"


def error_event(  # noqa: PLR0913, PLR0917  # the call, and what must not be in it
    exception: object, message: object, properties: object, home: str, users: Collection[str], write_key: str
) -> tuple[str, dict[str, Any]]:
    """Return name and properties of the event for one call of `error()`.

    Args:
        exception: gives the name `error.<ClassName>`; anything but an exception is not looked at.
        message: `error_message`, if there is no exception; anything but a text is not looked at.
        properties: further properties, under those that describe the error.
        home: the home directory, replaced by `~`.
        users: names of the user, replaced by `~` where they are a part of a path.
        write_key: replaced, for a source line of the trace may hold it.

    Raises:
        EventRejected: there is nothing to describe, or `properties` is no mapping.
    """
    if properties is not None and not isinstance(properties, Mapping):
        raise EventRejected("invalid", f"properties must be a dict or None, not a {type(properties).__name__}")
    name, described = "error.unknown", dict[str, Any]()
    if isinstance(exception, BaseException):
        described = describe(exception, home, users, write_key)
        name = f"error.{described['error_type']}"
    elif isinstance(message, str):
        described["error_message"] = describe_message(message, home, users, write_key)
    else:
        raise EventRejected("invalid", "error() needs an exception or a message")
    return name, {**(properties or {}), **described}


def describe(exception: BaseException, home: str, users: Collection[str], write_key: str = "") -> dict[str, Any]:
    """Return `error_type`, `error_message` and `stack_trace` (with causes, contexts and exception groups).

    Args:
        exception: what was raised.
        home: the home directory, replaced by `~`.
        users: names of the user, replaced by `~` where they are a part of a path.
        write_key: replaced, for a source line of the trace may hold it.
    """
    try:
        message = str(exception)
    except Exception:  # noqa: BLE001  # the exception's own code
        message = f"<unprintable {type(exception).__name__}>"
    try:
        stack = "".join(traceback.format_exception(exception))
    except Exception:  # noqa: BLE001  # the same, for any of the chain
        stack = "".join(traceback.format_tb(exception.__traceback__))
    return {
        "error_type": type(exception).__name__,
        "error_message": _head(_scrub_ends(message, home, users, write_key)),
        "stack_trace": _head_and_tail(_scrub_ends(stack, home, users, write_key)),
    }


def describe_message(message: str, home: str, users: Collection[str], write_key: str = "") -> str:
    """Return a message as it may be sent."""
    return _head(_scrub_ends(message, home, users, write_key))


def describe_again(properties: Mapping[str, Any], home: str, users: Collection[str], write_key: str) -> dict[str, Any]:
    """Return the properties of an error event that another SDK described as this one would have described them."""
    forms = {"error_message": _head, "stack_trace": _head_and_tail}
    return {
        name: forms[name](_scrub_ends(value, home, users, write_key))
        if name in forms and isinstance(value, str)
        else value
        for name, value in properties.items()
    }


def scrub(text: str, home: str, users: Collection[str], write_key: str = "") -> str:
    """Replace the home directory and, in paths, the user's name by `~`; and the write key, if a source line has it.

    Paths are found with either kind of slash, percent-encoded as in a URL, in whichever case, and as Python prints
    them. A user's name that is also a common word stays where it is not a part of a path.
    """
    if write_key:
        text = text.replace(write_key, "<write_key>")
    names = [_spellings(name) for name in re.split(r"[/\\]+", home) if name]
    if names:
        start = _FIRST if home.startswith(("/", "\\")) else ""
        text = re.sub(start + _SEPARATOR.join(names) + _NAME_ENDS, "~", text, flags=re.IGNORECASE)
    for user in users:
        text = re.sub(_AFTER_SEPARATOR + _spellings(user) + _NAME_ENDS, "~", text, flags=re.IGNORECASE)
    return text


def _scrub_ends(text: str, home: str, users: Collection[str], write_key: str) -> str:
    """Do the same for what may be kept of a text: an exception can hold megabytes, and its host waits."""
    if len(text) <= 2 * _LOOKED_AT:
        return scrub(text, home, users, write_key)
    edge = _EDGE + len(write_key)  # what is cut in two there cannot be found
    head, tail = (scrub(part, home, users, write_key) for part in (text[:_LOOKED_AT], text[-_LOOKED_AT:]))
    return head[:-edge] + _CUT + tail[edge:]


def _spellings(name: str) -> str:
    """Return a pattern for a name in a path: as it is, percent-encoded, and as Python prints it in a str or bytes."""
    forms = {name}
    if not name.isascii():
        from unicodedata import normalize  # noqa: PLC0415  # start-up time

        forms |= {normalize("NFC", name), normalize("NFD", name)}  # macOS takes letters and their marks apart
    for form in tuple(forms):
        data = form.encode("utf-8", "surrogatepass")
        forms |= {quote(data), quote(data, safe=""), repr(data)[2:-1], form.encode("unicode_escape").decode()}
    return f"(?:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))})"


def _head(text: str) -> str:
    data = well_formed(text).encode()
    if len(data) <= MESSAGE_BYTES:
        return data.decode()
    return data[: MESSAGE_BYTES - len("…".encode())].decode("utf-8", "ignore") + "…"


def _head_and_tail(text: str) -> str:
    data = well_formed(text).encode()
    if len(data) <= STACK_BYTES:
        return data.decode()
    half = (STACK_BYTES - len(_CUT.encode())) // 2
    return data[:half].decode("utf-8", "ignore") + _CUT + data[-half:].decode("utf-8", "ignore")
