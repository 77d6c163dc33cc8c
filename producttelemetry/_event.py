"""Arguments of one call → one line of JSON. Pure, but for the clock and the operating system's random bytes.

Guarantees: the result is valid JSON (RFC 8259) in UTF-8 with unique names, on one line, whatever the properties hold;
the caller's objects are neither changed nor kept; no exception but `EventRejected` gets out.

The way of a common event is short: properties that are flat and made of JSON's own types go to the C encoder as they
are, and the parts that never change (client id, session id) were encoded once. Everything else passes through `plain`.
"""

from __future__ import annotations

import binascii
import json
import os
import sys
import time
from _collections_abc import Mapping
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ._errors import EventRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EventType: TypeAlias = Literal["lifecycle", "usage", "error"]
EVENT_TYPES: Final = ("lifecycle", "usage", "error")

#: Longest event after encoding, in bytes without the newline.
MAX_EVENT_BYTES: Final = 32 * 1024
#: Deepest nesting of property values.
MAX_DEPTH: Final = 32
#: An event with more values than this is longer than `MAX_EVENT_BYTES`, so there is no need to look at the others. It
#: also ends structures that are small but share their parts, and would unfold into billions of values.
_MAX_VALUES: Final = MAX_EVENT_BYTES // 2

_NAMES: Final = frozenset((str,))
_FLAT: Final = frozenset((str, int, float, bool, type(None)))
#: Longest int that every Python prints without raising ("Exceeds the limit"), in bits; its digits would not fit anyway.
_MAX_INT_BITS: Final = 2000

_encode: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode
_quote: Final = json.encoder.encode_basestring


class Encoder:
    """Encodes the events of one client object in one process.

    Args:
        client_id: UUID of this installation.
        session_id: UUID of this client object and process.
        defaults: properties under every event's own, plain values as `plain` returns them.
    """

    __slots__ = ("_constant", "_defaults", "_second", "client_id", "session_id")

    def __init__(self, client_id: str, session_id: str, defaults: Mapping[str, Any]) -> None:
        self.client_id = client_id
        self.session_id = session_id
        self._defaults = dict(defaults)
        self._second = (0, "")  # the last second, and how it is written: datetime costs more than the rest of the text
        self._constant = f'"client_id":"{client_id}","session_id":"{session_id}"'

    def event(
        self,
        name: str,
        properties: Mapping[str, Any] | None,
        event_type: EventType,
        timestamp: datetime | None,
    ) -> bytes:
        """Return the line of one event.

        Raises:
            EventRejected: an argument is of the wrong type (`invalid`), or the line is too long (`too_large`).
        """
        _check_arguments(name, properties, event_type, timestamp)
        now = time.time_ns()
        moment = self._now(now) if timestamp is None else _utc(timestamp)
        own: dict[Any, Any] = {**self._defaults, **properties} if properties is not None else self._defaults
        text = (
            f'{{"event_name":{_quote(name)},"event_type":"{str.__str__(event_type)}",{self._constant},'
            f'"event_id":"{uuid7(now)}","timestamp":"{moment}","properties":'
        )
        try:
            if not (_FLAT.issuperset(map(type, own.values())) and _NAMES.issuperset(map(type, own))):
                own = plain(own)
            return _line(f"{text}{_encode(own)}}}".encode())
        except ValueError:  # NaN or infinity, a lone surrogate (UnicodeEncodeError), an int of thousands of digits
            return _line(f"{_well_formed(text)}{_encode(plain(own))}}}".encode())

    def _now(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, 1_000_000_000)
        known, text = self._second
        if known != second:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = (second, text)
        return f"{text}.{rest // 1000:06d}+00:00"

    def filtered_event(
        self,
        before_send: Callable[[dict[str, Any]], dict[str, Any] | None],
        name: str,
        properties: Mapping[str, Any] | None,
        event_type: EventType,
        timestamp: datetime | None,
    ) -> bytes:
        """Return the line of one event after the host's `before_send` has seen it, as a dict of plain values.

        The host may change the name, the type, the time and the properties; the three ids stay ours.

        Raises:
            EventRejected: as for `event`, or the host dropped it, or its function failed (`before_send`).
        """
        event = json.loads(self.event(name, properties, event_type, timestamp))
        ids = {key: event[key] for key in ("client_id", "session_id", "event_id")}
        try:
            event = before_send(event)
        except Exception as error:
            raise EventRejected("before_send", f"before_send raised {type(error).__name__}") from error
        if event is None:
            raise EventRejected("before_send", "before_send returned None")
        if not isinstance(event, dict) or not isinstance(event.get("event_name"), str):
            raise EventRejected("before_send", "before_send must return an event with its event_name, or None")
        if event.get("event_type") not in EVENT_TYPES or not isinstance(event.get("properties"), dict):
            raise EventRejected("before_send", "before_send must keep event_type and properties as they may be sent")
        return _line(_encode(plain({**event, **ids})).encode())

    def identify(self, user_id: str) -> bytes:
        """Return the line that links this client to a user.

        Raises:
            EventRejected: `user_id` is not a text, or is empty.
        """
        if not isinstance(user_id, str) or not user_id:
            raise EventRejected("invalid", f"user_id must be a text of at least one character, not {_kind(user_id)}")
        return _line(_encode({"client_id": self.client_id, "user_id": _well_formed(user_id)}).encode())


def _check_arguments(name: object, properties: object, event_type: object, timestamp: object) -> None:
    if not isinstance(name, str) or not name:
        raise EventRejected("invalid", f"event_name must be a text of at least one character, not {_kind(name)}")
    if not isinstance(event_type, str) or event_type not in EVENT_TYPES:
        raise EventRejected("invalid", f"event_type must be one of {', '.join(EVENT_TYPES)}, not {_kind(event_type)}")
    if properties is not None and not isinstance(properties, Mapping):
        raise EventRejected("invalid", f"properties must be a dict or None, not {_kind(properties)}")
    if timestamp is not None and not isinstance(timestamp, datetime):
        raise EventRejected("invalid", f"timestamp must be a datetime or None, not {_kind(timestamp)}")


def _kind(value: object) -> str:
    """Say what was given without its content, which may be private or fail to print."""
    return "an empty text" if isinstance(value, str) and not value else f"a {type(value).__name__}"


def _line(data: bytes) -> bytes:
    if len(data) > MAX_EVENT_BYTES:
        raise EventRejected("too_large", f"an event has {len(data)} bytes, at most {MAX_EVENT_BYTES} are allowed")
    return data + b"\n"


def _utc(timestamp: datetime) -> str:
    """Return ISO 8601 in UTC with microseconds and offset; a naive datetime means local time."""
    try:
        return timestamp.astimezone(UTC).isoformat(timespec="microseconds")
    except (OverflowError, ValueError, OSError) as error:
        raise EventRejected("invalid", "timestamp lies outside of the years that can be written in UTC") from error


def uuid7(nanoseconds: int) -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7): milliseconds since 1970, then random bits.

    Written out because importing `uuid` costs more than a whole event, and has `uuid7` only since Python 3.14.
    """
    clock, random = f"{nanoseconds // 1_000_000:012x}", os.urandom(10).hex()
    return f"{clock[:8]}-{clock[8:12]}-7{random[:3]}-{_variant(random[3])}{random[4:7]}-{random[7:19]}"


def uuid4() -> str:
    """Return a random UUID of version 4 (RFC 9562, section 5.4)."""
    random = os.urandom(16).hex()
    return f"{random[:8]}-{random[8:12]}-4{random[12:15]}-{_variant(random[15])}{random[16:19]}-{random[19:31]}"


def _variant(digit: str) -> str:
    """Make a random hex digit one of the four that mark a UUID of RFC 9562 (section 4.1)."""
    return "89ab"[int(digit, 16) & 3]


def _well_formed(text: str) -> str:
    """Replace lone surrogates by U+FFFD; a pair of them is the character it stands for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# --- values that are not JSON's own -----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return a copy of `value` that holds nothing but dict, list, str, int, float, bool and None.

    What JSON lacks becomes what it has: date and time ISO 8601, timedelta seconds, Decimal a number, Enum its value,
    bytes base64, set and tuple a list, dataclass and mapping a dict, NaN and infinity None, everything else its
    `str()`. Keys become texts, the later of two equal ones wins. Cycles, nesting beyond `MAX_DEPTH` and objects whose
    `str()` fails become a marker. Iterators are not consumed.

    Raises:
        EventRejected: more values than an event can hold.
    """
    return _Copy().value(value, 0)


class _Copy:
    """One walk through a value; knows where it came from (cycles) and how much it has seen (size)."""

    __slots__ = ("_left", "_path")

    def __init__(self) -> None:
        self._left = _MAX_VALUES
        self._path: set[int] = set()

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise EventRejected("too_large", f"an event has over {_MAX_VALUES} values")
        kind = type(value)
        if value is None or kind is bool:
            return value
        try:
            if issubclass(kind, (str, int, float)) and not issubclass(kind, Enum):
                return _scalar(value)
            items = _items(value)
            return self._container(value, items, depth) if items is not None else self._converted(value, depth)
        except EventRejected:
            raise
        except Exception:  # noqa: BLE001  # the value's own code: __str__, keys(), __getattr__ may raise anything
            return f"<unprintable {kind.__name__}>"

    def _container(self, value: object, items: list[Any] | dict[Any, Any], depth: int) -> Any:
        if id(value) in self._path:
            return "<cycle>"
        if depth >= MAX_DEPTH:
            return "<too deep>"
        self._path.add(id(value))
        try:
            if isinstance(items, list):
                return [self.value(item, depth + 1) for item in items]
            return {self._key(key): self.value(item, depth + 1) for key, item in items.items()}
        finally:
            self._path.discard(id(value))

    def _key(self, key: object) -> str:
        text = self._converted(key, MAX_DEPTH) if isinstance(key, Enum) else key
        if not isinstance(text, str):
            try:
                text = str(text)
            except Exception:  # noqa: BLE001  # the key's own code
                text = f"<unprintable {type(key).__name__}>"
        return _well_formed(str.__str__(text))

    def _converted(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if isinstance(value, (datetime, date, clock_time)):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, (bytes, bytearray, memoryview)):
            return binascii.b2a_base64(value, newline=False).decode()
        decimal = sys.modules.get("decimal")  # who has not imported it cannot hold one
        if decimal is not None and isinstance(value, decimal.Decimal):
            return _number(value)
        return _well_formed(str.__str__(str(value)))


def _scalar(value: str | float) -> str | float | None:
    """Return a str, int or float of exactly that type, without calling what a subclass may have overridden."""
    if isinstance(value, str):
        return _well_formed(str.__str__(value))
    if isinstance(value, int):
        number = int.__pos__(value)
        return number if number.bit_length() <= _MAX_INT_BITS else f"<int of {number.bit_length()} bits>"
    return _finite(float.__pos__(value))


def _finite(value: float) -> float | None:
    return value if value - value == 0.0 else None


def _number(value: Any) -> int | float | str | None:
    """Return a Decimal as a number; as a text where neither int nor float can hold it."""
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and value.adjusted() < _MAX_INT_BITS // 4:
        return int(value)
    number = float(value)
    return str(value) if _finite(number) is None else number


def _items(value: Any) -> list[Any] | dict[Any, Any] | None:
    """Return a copy of what a container holds, or None if `value` is none."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    fields: Iterable[str] | None = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None and not isinstance(value, type):
        return {field: getattr(value, field) for field in fields}
    return None
