"""`_event`: the arguments of one call become one line of JSON, or `EventRejected` and nothing else.

What becomes of each kind of property value is in `test_event_values`, what `before_send` may do in `test_before_send`.
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import Enum, StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY, MagicMock, Mock

import pytest

from producttelemetry import _event
from producttelemetry._errors import EventRejected
from producttelemetry._event import MAX_EVENT_BYTES, Encoder, uuid4, uuid7
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT = "11111111-1111-4111-8111-111111111111"
SESSION = "22222222-2222-4222-8222-222222222222"
EAST = timezone(timedelta(hours=14))
WEST = timezone(timedelta(hours=-12))


class _BrokenZone(tzinfo):
    """A time zone whose own code fails, as third-party ones do."""

    def _fail(self, _: datetime | None) -> Any:
        raise KeyError("no such zone")

    utcoffset = dst = tzname = _fail


class _LoudTime(datetime):
    """A datetime that writes itself in its own way."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:  # noqa: ARG002  # the given signature
        return '"loud"'


class _LoudText(str):
    """A str whose methods do not tell what it holds."""

    __slots__ = ()

    def __str__(self) -> str:
        return "loud"

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class _Kind(StrEnum):
    """A host's own spelling of the event types."""

    ERROR = "error"


class _Plain(Enum):
    """An enumeration that is no text."""

    USAGE = "usage"


def encoder(**defaults: Any) -> Encoder:
    """Return an encoder with fixed ids."""
    return Encoder(CLIENT, SESSION, defaults)


def event(
    properties: Any = None, *, name: Any = "test.event", kind: Any = "usage", timestamp: Any = None
) -> dict[str, Any]:
    """Return the object in the line of one event."""
    line = encoder().event(name, properties, kind, timestamp)
    return json.loads(line)  # type: ignore[no-any-return]  # an event is an object


def test_an_event_has_the_fields_of_the_protocol() -> None:
    """A line holds exactly the seven fields that the server is promised, and ends with the only newline in it."""
    line = encoder().event("test.event", {"a": "one\ntwo\r\u2028"}, "lifecycle", datetime(2024, 2, 29, tzinfo=UTC))

    found = json.loads(line)
    uuid.UUID(found.pop("event_id"))
    expected = {
        "event_name": "test.event",
        "event_type": "lifecycle",
        "client_id": CLIENT,
        "session_id": SESSION,
        "timestamp": "2024-02-29T00:00:00.000000+00:00",
        "properties": {"a": "one\ntwo\r\u2028"},
    }
    assert expected == found
    assert [line] == line.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ('quote " and \\', 'quote " and \\'),
        ("\0\n\x7f", "\0\n\x7f"),
        ("ä😀", "ä😀"),
        ("a\ud800", "a\ufffd"),
        (" ", " "),
    ],
)
@pytest.mark.parametrize("properties", [None, {"a": [1]}, {"a": float("nan")}])
def test_a_name_may_be_any_text(name: str, expected: str, properties: dict[str, Any] | None) -> None:
    """Whatever the name holds arrives as it is, but for lone surrogates, on each way through the encoder."""
    assert expected == event(properties, name=name)["event_name"]


def test_a_text_of_a_class_of_its_own_counts_as_what_it_holds() -> None:
    """Methods that a subclass of `str` overrides are not called; what it holds is what is sent."""
    found = event(name=_LoudText("real"), kind=_Kind.ERROR)
    assert ("real", "error") == (found["event_name"], found["event_type"])


@pytest.mark.parametrize(
    "arguments",
    [
        *({"name": wrong} for wrong in (None, "", 5, b"hunter2", ["hunter2"], MagicMock(spec=str))),
        *({"kind": wrong} for wrong in (None, "", "hunter2", 5, ["usage"], _Plain.USAGE, _LoudText("hunter2"))),
        {"kind": MagicMock(spec=str)},
        {"kind": ANY},
        *({"properties": wrong} for wrong in ("hunter2", ["hunter2"], 5, [("a", 1)], Mock(spec=dict))),
        *({"timestamp": wrong} for wrong in ("2024-01-01", 5, date(2024, 1, 1), MagicMock(spec=datetime))),
        {"timestamp": datetime(2024, 1, 1, tzinfo=_BrokenZone())},
        {"timestamp": datetime.max.replace(tzinfo=WEST)},
        {"timestamp": datetime.min.replace(tzinfo=EAST)},
    ],
    ids=harness.case_id,
)
def test_wrong_arguments_are_rejected(arguments: dict[str, Any]) -> None:
    """A wrong argument raises `EventRejected` (`invalid`) and nothing else; the message does not repeat its content."""
    with pytest.raises(EventRejected) as caught:
        event(**arguments)
    assert "invalid" == caught.value.reason
    assert "hunter2" not in str(caught.value)


def test_default_properties_lie_under_the_events_own() -> None:
    """Defaults are in every event, an event's own properties win, and changing the defaults later changes nothing."""
    defaults: dict[str, Any] = {"a": 1, "b": [1]}
    mine = Encoder(CLIENT, SESSION, defaults)
    defaults["c"] = 1
    assert {"a": 1, "b": [1]} == json.loads(mine.event("x", None, "usage", None))["properties"]
    assert {"a": 2, "b": [1], "d": 3} == json.loads(mine.event("x", {"a": 2, "d": 3}, "usage", None))["properties"]


# --- time and ids -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2024, 7, 1, 12, 30), "2024-07-01T16:30:00.000000+00:00"),  # noqa: DTZ001  # naive means local time
        (datetime(2024, 1, 1, 12, 30), "2024-01-01T17:30:00.000000+00:00"),  # noqa: DTZ001  # the same, in winter
        (datetime(2024, 1, 1, 1, tzinfo=EAST), "2023-12-31T11:00:00.000000+00:00"),
        (datetime(2024, 1, 1, microsecond=7, tzinfo=UTC), "2024-01-01T00:00:00.000007+00:00"),
        (datetime.min.replace(tzinfo=UTC), "0001-01-01T00:00:00.000000+00:00"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999+00:00"),
        (_LoudTime(2024, 1, 1, tzinfo=UTC), "2024-01-01T00:00:00.000000+00:00"),
    ],
)
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone cannot be set here")
def test_timestamps_are_written_in_utc(moment: datetime, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timestamp is always UTC with microseconds and offset; one without a zone is in the zone of the machine."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        found = event(timestamp=moment)["timestamp"]
    time.tzset()
    assert expected == found


def test_an_event_without_timestamp_has_the_present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is read for each event: across seconds, within one, and when it is set back."""
    second = 1_700_000_000_000_000_000
    ticks = [second, second + 999_999_999, second + 1_000_000_000, second - 1]
    monkeypatch.setattr(_event, "time", SimpleNamespace(time_ns=iter(ticks).__next__))
    mine = encoder()
    expected = ["20.000000", "20.999999", "21.000000", "19.999999"]
    found = [json.loads(mine.event("x", None, "usage", None))["timestamp"] for _ in ticks]
    assert [f"2023-11-14T22:13:{each}+00:00" for each in expected] == found


def test_event_ids_are_uuids_of_version_7() -> None:
    """Ids carry version, variant and milliseconds of RFC 9562, so that their order is the order of time."""
    moments = [0, 1_000_000, 1_700_000_000_000_000_000, 1_700_000_000_001_000_000, 2**48 * 1_000_000 - 1]
    made = [uuid.UUID(uuid7(moment)) for moment in moments]
    assert {(7, uuid.RFC_4122)} == {(each.version, each.variant) for each in made}
    assert [moment // 1_000_000 for moment in moments] == [each.int >> 80 for each in made]
    assert sorted(made) == made


@pytest.mark.parametrize(("make", "version"), [(lambda: uuid7(1), 7), (uuid4, 4)])
def test_ids_do_not_repeat(make: Callable[[], str], version: int) -> None:
    """Thousands of ids of one millisecond differ, are well formed, and use all four digits of the variant."""
    made = [make() for _ in range(5000)]
    assert 5000 == len(set(made))
    assert {(version, uuid.RFC_4122)} == {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made}
    assert set("89ab") == {each[19] for each in made}


# --- size ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "ä", "\n"])
@pytest.mark.parametrize("wrap", [str, lambda text: [str(text)]], ids=["flat", "nested"])  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  # the signature below says it
def test_the_cap_counts_encoded_bytes(letter: str, wrap: Callable[[str], Any]) -> None:
    """An event of exactly 32 KiB after encoding is kept, one byte more is `too_large`."""
    empty = len(encoder().event("x", {"a": wrap("")}, "usage", None)) - 1
    letters, rest = divmod(MAX_EVENT_BYTES - empty, len(json.dumps(letter, ensure_ascii=False).encode()) - 2)
    text = letter * letters + "a" * rest
    assert MAX_EVENT_BYTES + 1 == len(encoder().event("x", {"a": wrap(text)}, "usage", None))
    with pytest.raises(EventRejected) as caught:
        encoder().event("x", {"a": wrap(text + "a")}, "usage", None)
    assert "too_large" == caught.value.reason


# --- identify -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "expected"), [("me", "me"), ('"\n', '"\n'), ("a\udfff", "a\ufffd"), (_LoudText("real"), "real")]
)
def test_identify_is_a_line_too(user: str, expected: str) -> None:
    """The link between client and user is one line that holds just the two."""
    line = encoder().identify(user)
    assert {"client_id": CLIENT, "user_id": expected} == json.loads(line)
    assert [line] == line.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("user", "reason"),
    [("", "invalid"), (None, "invalid"), (5, "invalid"), (MagicMock(spec=str), "invalid"), ("a" * 32768, "too_large")],
    ids=lambda value: harness.case_id(value)[:30],
)
def test_a_wrong_user_id_is_rejected(user: Any, reason: str) -> None:
    """A user id that is no text, or far too long, raises `EventRejected` with its reason."""
    with pytest.raises(EventRejected) as caught:
        encoder().identify(user)
    assert reason == caught.value.reason
