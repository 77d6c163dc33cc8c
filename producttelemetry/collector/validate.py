"""Pure: is this one JSON value an event, and if not, what is wrong with it.

| field | is |
|---|---|
| `event_name` | a string of at least one character |
| `event_type` | `lifecycle`, `usage` or `error` |
| `client_id`, `session_id`, `event_id` | a UUID with its hyphens, any version, either case |
| `timestamp` | ISO 8601 date and time with an offset; the `Z` form counts |
| `properties` | an object |

Fields beyond these are tolerated: a newer SDK may send more than this server knows.

This runs once per event on the server's busiest path, so the checks are a flat table of C-implemented predicates; a
schema library in its place would cost more than parsing the JSON does.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeGuard

EVENT_TYPES: Final = frozenset({"lifecycle", "usage", "error"})

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_text(value: object) -> TypeGuard[str]:
    """Tell whether a value is a non-empty string that UTF-8, and so SQLite, can hold.

    JSON can spell half of a surrogate pair; no encoding of real text can.
    """
    if not isinstance(value, str) or not value:
        return False
    if value.isascii():
        return True
    return not any("\ud800" <= character <= "\udfff" for character in value)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a parsed JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a parsed JSON value is an array."""
    return isinstance(value, list)


def is_uuid(value: object) -> TypeGuard[str]:
    """Tell whether a value is a UUID in the hyphenated form."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _is_event_type(value: object) -> bool:
    return isinstance(value, str) and value in EVENT_TYPES


def _is_moment(value: object) -> bool:
    # fromisoformat takes any character between date and time, half a surrogate pair included.
    if not isinstance(value, str) or not value.isascii():
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_RULES: Final[tuple[tuple[str, Callable[[object], bool], str], ...]] = (
    ("event_name", is_text, "a non-empty string"),
    ("event_type", _is_event_type, "one of lifecycle, usage, error"),
    ("client_id", is_uuid, "a UUID"),
    ("session_id", is_uuid, "a UUID"),
    ("event_id", is_uuid, "a UUID"),
    ("timestamp", _is_moment, "an ISO 8601 date and time with an offset"),
    ("properties", is_object, "an object"),
)


def problem(event: object) -> str | None:
    """Name the first thing that keeps a JSON value from being an event.

    Args:
        event: one element of a batch, as the JSON parser gave it; any type.

    Returns:
        `None` for a valid event, else a sentence for the sender that names the field but does not repeat its value.
    """
    if not is_object(event):
        return "an event must be an object"
    for field, is_right, description in _RULES:
        # A missing field is None, and no rule accepts None.
        if not is_right(event.get(field)):
            return f"{field} must be {description}" if field in event else f"{field} is missing"
    return None
