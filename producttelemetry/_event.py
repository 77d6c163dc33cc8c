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
    from collections.abc import Callable

EventType: TypeAlias = Literal["lifecycle", "usage", "error"]
EVENT_TYPES: Final = ("lifecycle", "usage", "error")

#: Longest event after encoding, in bytes without the newline.
MAX_EVENT_BYTES: Final = 32 * 1024
#: Deepest nesting of property values.
MAX_DEPTH: Final = 32
#: An event with more values than this is longer than `MAX_EVENT_BYTES`, so there is no need to look at the others. It
#: also ends structures that are small but share their parts, and would unfold into billions of values.
_MAX_VALUES: Final = MAX_EVENT_BYTES // 2
#: Characters of text that weigh as much as one value; ends structures that share long texts.
_CHARACTERS_PER_VALUE: Final = 16
#: Flat properties beyond this number are looked at one by one, since they may share long texts, too.
_MAX_UNSEEN: Final = 64

_NAMES: Final = frozenset((str,))
_FLAT: Final = frozenset((str, int, float, bool, type(None)))
#: Longest int that every Python prints and parses without raising ("Exceeds the limit"), in bits: the sender parses
#: what it sends, in another process perhaps, and so does the server.
_MAX_INT_BITS: Final = 2000
#: Properties whose JSON is no longer than this, in characters, hold no longer int.
_MAX_INT_DIGITS: Final = 602

#: Event ids whose random parts are read from the system at once. A forked child begins with none of its parent's
#: (`forget_random`). A machine that is copied while it runs uses those left twice: two such ids are equal
#: only if they are made in the same millisecond.
_IDS_AT_ONCE: Final = 16
#: Hexadecimal digits of the random part of an id.
_ID_DIGITS: Final = 20

#: Makes a random hex digit one of the four that mark a UUID of RFC 9562 (section 4.1).
_VARIANTS: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}

_quote: Final = json.encoder.encode_basestring


def _encoder() -> Callable[[dict[str, Any]], str]:
    """Return the fastest function that turns plain values into JSON text.

    `JSONEncoder.encode` makes a C encoder in each call, which costs more than encoding a small event. This makes one,
    if this Python has it; it is no public interface, so it is tried first.
    """
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
    try:
        in_c = json.encoder.c_make_encoder(None, encoder.default, _quote, None, ":", ",", False, False, False)  # type: ignore[attr-defined]
        if "".join(in_c({"a": 1.5}, 0)) == '{"a":1.5}':
            return lambda value: "".join(in_c(value, 0))
    except Exception:  # noqa: BLE001, S110  # it is no public interface: without it, or with another, the slow way works
        pass
    return encoder.encode


_encode: Final = _encoder()


class Encoder:
    """Encodes the events of one client object in one process.

    Args:
        client_id: UUID of this installation.
        session_id: UUID of this client object and process.
        defaults: properties under every event's own, plain values as `plain` returns them.
    """

    __slots__ = ("_constant", "_defaults", "_random", "_second", "client_id", "session_id")

    def __init__(self, client_id: str, session_id: str, defaults: Mapping[str, Any]) -> None:
        self.client_id = client_id
        self.session_id = session_id
        self._defaults = dict(defaults)
        self._random: list[str] = []
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
        try:
            _check_arguments(name, properties, event_type, timestamp)
            now = time.time_ns()
            moment = self._now(now) if timestamp is None else _utc(timestamp)
            own: dict[Any, Any] = {**self._defaults, **properties} if properties is not None else self._defaults
            try:
                encoded = _encode_properties(own).encode()
            except ValueError:  # NaN or infinity, a lone surrogate (UnicodeEncodeError), an int of thousands of digits
                encoded = _encode(_plain_object(own)).encode()
            # The id last: code of the caller's has run until here, and may have forked.
            text = (
                f'{{"event_name":{_quote(name)},"event_type":"{str.__str__(event_type)}",{self._constant},'
                f'"event_id":"{uuid7(now, self._new_random())}","timestamp":"{moment}","properties":'
            )
            try:
                return _line(b"%b%b}" % (text.encode(), encoded))
            except UnicodeEncodeError:
                return _line(b"%b%b}" % (well_formed(text).encode(), encoded))
        except EventRejected:
            raise
        except Exception as error:  # the arguments' own code: keys(), a tzinfo, a mock that claims to be a datetime
            raise EventRejected("invalid", f"the event cannot be read: {type(error).__name__}") from error

    def _new_random(self) -> str:
        try:
            return self._random.pop()  # one call: no other thread or signal handler gets the same
        except IndexError:
            digits = os.urandom(_IDS_AT_ONCE * _ID_DIGITS // 2).hex()
            first, *self._random = [digits[at : at + _ID_DIGITS] for at in range(0, len(digits), _ID_DIGITS)]
            return first

    def forget_random(self) -> None:
        """Give no id that the parent process may give, too. Called in a forked child."""
        self._random.clear()

    def _now(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, 1_000_000_000)
        known, text = self._second
        if known != second:
            # Not strftime: it imports something, which a finaliser at the end of the interpreter cannot do any more.
            text = datetime.fromtimestamp(second, UTC).isoformat()[:19]
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
            answer = before_send(event)
        except Exception as error:
            raise EventRejected("before_send", f"before_send raised {type(error).__name__}") from error
        try:
            return _line(_encode({**_answered(answer), **ids}).encode())
        except EventRejected:
            raise
        except Exception as error:
            raise EventRejected("before_send", f"before_send returned no event: {type(error).__name__}") from error

    def identify(self, user_id: str) -> bytes:
        """Return the line that links this client to a user.

        Raises:
            EventRejected: `user_id` is not a text, or is empty.
        """
        if not _is_text(user_id):
            raise EventRejected("invalid", f"user_id must be a text of at least one character, not {_kind(user_id)}")
        return _line(_encode({"client_id": self.client_id, "user_id": well_formed(str.__str__(user_id))}).encode())


def _check_arguments(name: object, properties: object, event_type: object, timestamp: object) -> None:
    # Exact types first: comparing them costs least, and nearly every call has them.
    if not (type(name) is str and name) and not _is_text(name):
        raise EventRejected("invalid", f"event_name must be a text of at least one character, not {_kind(name)}")
    if type(event_type) is not str and isinstance(event_type, str):
        event_type = str.__str__(event_type)  # what a subclass says about equality does not count
    if event_type not in EVENT_TYPES:
        raise EventRejected("invalid", f"event_type must be one of {', '.join(EVENT_TYPES)}, not {_kind(event_type)}")
    if properties is not None and type(properties) is not dict and not isinstance(properties, Mapping):
        raise EventRejected("invalid", f"properties must be a dict or None, not {_kind(properties)}")
    if timestamp is not None and not isinstance(timestamp, datetime):
        raise EventRejected("invalid", f"timestamp must be a datetime or None, not {_kind(timestamp)}")


def _is_text(value: object) -> bool:
    """Whether a value is a str of at least one character. Not `isinstance`: a mock may claim to be of any class."""
    return issubclass(type(value), str) and str.__len__(value) > 0  # type: ignore[arg-type]  # it is a str here


def _kind(value: object) -> str:
    """Say what was given without its content, which may be private or fail to print."""
    return "an empty text" if value == "" and type(value) is str else f"a {type(value).__name__}"


def _line(data: bytes) -> bytes:
    if len(data) > MAX_EVENT_BYTES:
        raise EventRejected("too_large", f"an event has {len(data)} bytes, at most {MAX_EVENT_BYTES} are allowed")
    return data + b"\n"


def _utc(timestamp: datetime) -> str:
    """Return ISO 8601 in UTC with microseconds and offset; a naive datetime means local time."""
    try:
        return datetime.isoformat(datetime.astimezone(timestamp, UTC), timespec="microseconds")
    except (OverflowError, ValueError, OSError) as error:
        raise EventRejected("invalid", "timestamp lies outside of the years that can be written in UTC") from error


def _encode_properties(own: dict[Any, Any]) -> str:
    if not (_FLAT.issuperset(map(type, own.values())) and _NAMES.issuperset(map(type, own))) or len(own) > _MAX_UNSEEN:
        return _encode(_plain_object(own))
    text = _encode(own)
    if len(text) > _MAX_INT_DIGITS and any(
        type(value) is int and value.bit_length() > _MAX_INT_BITS for value in own.values()
    ):
        return _encode(_plain_object(own))
    return text


def _plain_object(value: Any) -> dict[str, Any]:
    copy = plain(value)
    if not isinstance(copy, dict):
        raise EventRejected("invalid", "properties cannot be read")
    return copy  # pyright: ignore[reportUnknownVariableType]  # what `plain` gives


def _answered(event: Any) -> dict[str, Any]:
    """Return what `before_send` has returned as plain values.

    Raises:
        EventRejected: it is None, or not an event that may be sent.
    """
    if event is None:
        raise EventRejected("before_send", "before_send returned None")
    given: dict[str, Any] = event if isinstance(event, dict) else {}
    if not isinstance(given.get("properties"), dict):
        raise EventRejected("before_send", "before_send must return an event with its properties, or None")
    # The properties on their own, so that they may be nested as deeply as without before_send.
    answer = _plain_object({**given, "properties": None, "timestamp": None})
    if not _is_text(answer.get("event_name")) or answer.get("event_type") not in EVENT_TYPES:
        raise EventRejected("before_send", "before_send must keep event_name and event_type as they may be sent")
    moment: Any = given.get("timestamp")
    if not isinstance(moment, datetime):
        moment = datetime.fromisoformat(moment)
    return {**answer, "timestamp": _utc(moment), "properties": _plain_object(given["properties"])}


def uuid7(nanoseconds: int, random: str = "") -> str:
    """Return a UUID of version 7 (RFC 9562, section 5.7): milliseconds since 1970, then random bits.

    Args:
        nanoseconds: since 1970.
        random: at least 19 hexadecimal digits that nobody could have guessed; those of the operating system if empty.

    Written out because importing `uuid` costs more than a whole event, and has `uuid7` only since Python 3.14.
    """
    clock, random = f"{nanoseconds // 1_000_000:012x}", random or os.urandom(10).hex()
    return f"{clock[:8]}-{clock[8:]}-7{random[:3]}-{_VARIANTS[random[3]]}{random[4:7]}-{random[7:19]}"


def uuid4() -> str:
    """Return a random UUID of version 4 (RFC 9562, section 5.4)."""
    random = os.urandom(16).hex()
    return f"{random[:8]}-{random[8:12]}-4{random[12:15]}-{_VARIANTS[random[15]]}{random[16:19]}-{random[19:31]}"


def well_formed(text: str) -> str:
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
        EventRejected: more values or longer texts than an event can hold.
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
            raise EventRejected("too_large", f"an event has by far more than the {MAX_EVENT_BYTES} bytes allowed")
        kind = type(value)
        if value is None or kind is bool:
            return value
        try:
            if issubclass(kind, str) and not issubclass(kind, Enum):
                return self._text(value)
            if issubclass(kind, (int, float)) and not issubclass(kind, Enum):
                return _number_of(value)
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
        if issubclass(type(key), str):
            return self._text(key)
        try:
            return self._text(str(key))
        except Exception:  # noqa: BLE001  # the key's own code
            return f"<unprintable {type(key).__name__}>"

    def _text(self, text: Any) -> str:
        """Return a str of exactly that type, without calling what a subclass may have overridden."""
        exact = str.__str__(text)
        self._left -= len(exact) // _CHARACTERS_PER_VALUE
        return well_formed(exact)

    def _converted(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if isinstance(value, (datetime, date, clock_time)):
            return self._text(value.isoformat())
        if isinstance(value, timedelta):
            return timedelta.total_seconds(value)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._text(binascii.b2a_base64(value, newline=False).decode())
        decimal = sys.modules.get("decimal")  # who has not imported it cannot hold one
        if decimal is not None and issubclass(type(value), decimal.Decimal):
            return _decimal(value)
        return self._text(str(value))


def _number_of(value: float) -> float | str | None:
    """Return an int or float of exactly that type, without calling what a subclass may have overridden."""
    if isinstance(value, int):
        number = int.__pos__(value)
        return number if number.bit_length() <= _MAX_INT_BITS else f"<int of {number.bit_length()} bits>"
    return _finite(float.__pos__(value))


def _finite(value: float) -> float | None:
    return value if value - value == 0.0 else None


def _decimal(value: Any) -> float | str | None:
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
    dataclasses = sys.modules.get("dataclasses")  # who has not imported it cannot hold one
    if dataclasses is not None and hasattr(type(value), "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None
