"""Pure: what the collector was told to do wrong, and for how long. `misbehave` does it."""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, Literal, Self, get_args

from .validate import is_object

Drop = Literal["before", "during", "after"]

#: Longer than any timeout worth testing. It bounds how long a forgotten fault can keep a request.
MAX_LATENCY: Final = 3600.0

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "status": (int,),
    "body": (str,),
    "content_type": (str,),
    "retry_after": (int, str),
    "latency_seconds": (int, float),
    "drop": (str,),
    "portal": (bool,),
    "redirect": (str,),
    "trickle": (bool,),
    "poison": (str,),
    "max_events": (int,),
    "remaining": (int,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way of failing; without arguments, none.

    A fault applies to requests below `/api/` only, so that whoever set it can still reach `/faults` to take it back. It
    answers in this order, the first that applies wins:

    | what is set | the client sees |
    |---|---|
    | `drop="before"` | the connection closed, the body not read, nothing stored |
    | `redirect` | a redirect there (302 unless `status` says otherwise) |
    | `portal` | an HTML page, as a captive portal's (200 unless `status` says otherwise) |
    | `status`, `body` | that status with that body; nothing stored |
    | `retry_after` alone | 503 with the header |
    | `max_events`, and the batch is larger | 413 |
    | `poison`, and the batch holds an event of that name | 422, nothing stored |
    | none of them | the true answer |

    Two change how an answer, true or not, travels: `latency_seconds` holds it back after the work is done, and
    `trickle` sends its body at one byte per second. `drop="after"` does the work, then closes the connection instead of
    answering, and `drop="during"` in the middle of the answer's body. A client that loses patience with any of the four
    has had its events stored: the case that makes senders send twice.

    Args:
        status: 200 to 599.
        body: the text that goes with `status`; a short JSON error for 4xx and 5xx, else nothing. Not sent with 204 and
            304, which have none.
        content_type: of `body`; `application/json` where the body is the built-in one, else `text/plain`.
        retry_after: seconds, or an HTTP date, or any text to see what a client makes of it.
        latency_seconds: 0 to `MAX_LATENCY`.
        drop: close the connection before the work, after it, or during the answer.
        portal: answer as a captive portal.
        redirect: the `Location`.
        trickle: send the body byte by byte.
        poison: an `event_name` that spoils its whole batch.
        max_events: the largest batch taken.
        remaining: how many more requests it applies to; `None` until it is reset.

    Raises:
        TypeError: an argument has the wrong type; the message names it.
        ValueError: an argument is out of range; the message names it.
    """

    status: int | None = None
    body: str | None = None
    content_type: str | None = None
    retry_after: int | str | None = None
    latency_seconds: float = 0.0
    drop: Drop | None = None
    portal: bool = False
    redirect: str | None = None
    trickle: bool = False
    poison: str | None = None
    max_events: int | None = None
    remaining: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            _require_type(field.name, getattr(self, field.name), optional=field.default is None)
        _require_range("status", self.status, 200, 599)
        _require_range("latency_seconds", self.latency_seconds, 0, MAX_LATENCY)
        _require_range("max_events", self.max_events, 0, None)
        _require_range("remaining", self.remaining, 1, None)
        if self.drop is not None and self.drop not in get_args(Drop):
            raise ValueError(f"drop must be one of {', '.join(get_args(Drop))}")
        for name in ("retry_after", "redirect", "content_type"):
            _require_header(name, getattr(self, name))

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Build a fault from a parsed JSON object.

        Args:
            value: the object; `null` for a field means the same as leaving it out.

        Raises:
            TypeError: it is no object, or a field has the wrong type; the message names the field.
            ValueError: a field is unknown or out of range; the message names the field.
        """
        if not is_object(value):
            raise TypeError("a fault must be an object")
        arguments: dict[str, Any] = {name: setting for name, setting in value.items() if setting is not None}
        unknown = sorted(set(arguments) - set(_TYPES))
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(_TYPES)}")
        return cls(**arguments)

    def to_json(self) -> dict[str, Any]:
        """Return every field, as `from_json` takes them."""
        return asdict(self)

    @property
    def injected_status(self) -> int | None:
        """The status that is answered whatever the request says, or `None` if it depends on the request."""
        default = 302 if self.redirect is not None else 200 if self.portal or self.body is not None else None
        if default is None and self.retry_after is not None:
            default = 503
        return default if self.status is None else self.status

    def refusal(self, events: Sequence[Any]) -> tuple[int, str] | None:
        """Decide whether a batch is refused as a whole.

        Args:
            events: the parsed elements of the batch, valid or not.

        Returns:
            The status and a message, or `None` to go on.
        """
        if self.max_events is not None and len(events) > self.max_events:
            return 413, f"injected: more than {self.max_events} events"
        if self.poison is None:
            return None
        if any(is_object(event) and event.get("event_name") == self.poison for event in events):
            return 422, "injected: an event of this batch is not acceptable"
        return None


class Faults:
    """The fault in force, shared by the requests and whoever sets it. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: Fault | None = None

    @property
    def current(self) -> Fault | None:
        """The fault that the next request will meet, `remaining` counted down to now; `None` if there is none."""
        with self._lock:
            return self._fault

    def set(self, fault: Fault) -> None:
        """Put a fault in force in place of any other."""
        with self._lock:
            self._fault = fault

    def clear(self) -> None:
        """Answer truly from the next request on; requests under way keep the fault that they met."""
        with self._lock:
            self._fault = None

    def take(self) -> Fault:
        """Return the fault for one request and count that request; `NO_FAULT` if none is in force."""
        with self._lock:
            fault = self._fault
            if fault is None:
                return NO_FAULT
            if fault.remaining is not None:
                left = fault.remaining - 1
                self._fault = replace(fault, remaining=left) if left else None
            return fault


def _require_type(name: str, value: object, *, optional: bool) -> None:
    if optional and value is None:
        return
    types = _TYPES[name]
    # To isinstance, True is an int; to whoever wrote the JSON it is not.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise TypeError(f"{name} must be {' or '.join(kind.__name__ for kind in types)}, not {type(value).__name__}")


def _require_range(name: str, value: float | None, least: int, most: float | None) -> None:
    if value is None:
        return
    # Said as what must hold, so that a NaN fails it.
    if not (value >= least and (most is None or value <= most)):
        raise ValueError(f"{name} must be {f'at least {least}' if most is None else f'from {least} to {most:g}'}")


def _require_header(name: str, value: int | str | None) -> None:
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError(f"{name} must be printable ASCII, it becomes a header")


#: Fails in no way. It stands last because building it runs the checks above.
NO_FAULT: Final = Fault()
