"""`_event`: the host's `before_send` sees the event before the disk does, and its answer is held to the same rules."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry._errors import EventRejected
from producttelemetry._event import MAX_EVENT_BYTES, Encoder
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable

ENCODER = Encoder("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", {})
IDS = ("client_id", "session_id", "event_id")


class _Kind(StrEnum):
    ERROR = "error"


class _BrokenDict(dict[str, Any]):
    def get(self, *_: Any) -> Any:
        raise RuntimeError("hunter2")


def filtered(hook: Callable[[dict[str, Any]], Any], properties: Any = None) -> dict[str, Any]:
    """Return the object in the line of one event that `before_send` has seen."""
    return json.loads(ENCODER.filtered_event(hook, "test.event", properties, "usage", None))  # type: ignore[no-any-return]  # an event is an object


def same(given: dict[str, Any]) -> dict[str, Any]:
    """Be a hook that changes nothing."""
    return given


def change(changes: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Be a hook that sets some fields."""
    return {**given, **changes}


def leave_out(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Be a hook that loses a field."""
    return {key: value for key, value in given.items() if key != name}


def answer(value: Any, _: dict[str, Any]) -> Any:
    """Be a hook that returns something of its own."""
    return value


def fail(given: dict[str, Any]) -> dict[str, Any]:
    """Be a hook that raises."""
    raise ZeroDivisionError(f"hunter2 {given}")


def test_the_hook_sees_plain_values_and_may_change_them() -> None:
    """The hook gets the event as it would be sent; name, type, properties and new fields become what it returns."""
    seen: list[dict[str, Any]] = []
    theirs = {"when": date(2024, 1, 1), "list": (1, 2)}

    def hook(given: dict[str, Any]) -> dict[str, Any]:
        seen.append(json.loads(json.dumps(given)))
        given["properties"]["list"].append(float("inf"))
        return {**given, "event_name": "other", "event_type": _Kind.ERROR, "extra": {1}}

    found = filtered(hook, theirs)
    properties = {"when": "2024-01-01", "list": [1, 2]}
    assert properties == seen[0]["properties"]
    changed = {
        "event_name": "other",
        "event_type": "error",
        "extra": [1],
        "properties": {**properties, "list": [1, 2, None]},
    }
    assert {**seen[0], **changed} == found
    assert {"when": date(2024, 1, 1), "list": (1, 2)} == theirs


@pytest.mark.parametrize(
    "moment",
    [
        "2024-01-01T02:00:00Z",
        "2024-01-01T02:00:00.000000+00:00",
        "2024-01-01 03:00+01:00",
        datetime(2024, 1, 1, 2, tzinfo=UTC),
        datetime(2023, 12, 31, 21, tzinfo=timezone(timedelta(hours=-5))),
    ],
    ids=harness.case_id,
)
def test_the_hook_may_change_the_time(moment: object) -> None:
    """A time that the hook sets is written as every other: in UTC, with microseconds and offset."""
    assert "2024-01-01T02:00:00.000000+00:00" == filtered(partial(change, {"timestamp": moment}))["timestamp"]


@pytest.mark.parametrize(
    "hook", [partial(leave_out, name) for name in IDS] + [partial(change, dict.fromkeys(IDS, "x"))]
)
def test_the_ids_stay_ours(hook: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """A hook that drops or forges the ids changes nothing about them."""
    seen: list[dict[str, Any]] = []

    def noting(given: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(given))
        return hook(given)

    found = filtered(noting)
    assert {name: seen[0][name] for name in IDS} == {name: found[name] for name in IDS}


def test_a_hook_that_changes_nothing_changes_nothing() -> None:
    """With the identity as hook, properties are nested as deeply, and numbers as exact, as without one."""
    deep: Any = 1
    for _ in range(31):
        deep = [deep]
    properties = {"deep": deep, "float": 0.1 + 0.2, "int": 10**600, "minus": -0.0, "text": "\ud83d\ude00\ud800"}
    expected = json.loads(ENCODER.event("test.event", properties, "usage", None))["properties"]
    assert expected == filtered(same, properties)["properties"]


NO_EVENTS: list[Any] = [None, [], {}, "hunter2", 0, False]
WRONG: dict[str, list[Any]] = {
    "event_name": ["", None, 5],
    "event_type": ["other", None, ["usage"]],
    "properties": [None, [], "hunter2"],
    "timestamp": [None, "hunter2", 5, date(2024, 1, 1)],
}


@pytest.mark.parametrize(
    "hook",
    [
        fail,
        _BrokenDict,
        *(partial(answer, value) for value in NO_EVENTS),
        *(partial(leave_out, name) for name in WRONG),
        *(partial(change, {name: value}) for name, values in WRONG.items() for value in values),
    ],
    ids=harness.case_id,
)
def test_a_hook_that_fails_drops_the_event(hook: Callable[[dict[str, Any]], Any]) -> None:
    """None, an exception, and what is no event any more drop the event and count as `before_send`."""
    with pytest.raises(EventRejected) as caught:
        filtered(hook)
    assert "before_send" == caught.value.reason
    assert "hunter2" not in str(caught.value)


def test_a_hook_cannot_make_an_event_too_large() -> None:
    """The cap of 32 KiB holds for what the hook returns."""
    with pytest.raises(EventRejected) as caught:
        filtered(partial(change, {"properties": {"a": "a" * MAX_EVENT_BYTES}}))
    assert "too_large" == caught.value.reason


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"x", date(2024, 1, 1), object, "\ud800"], ids=harness.case_id)
def test_what_a_hook_puts_in_becomes_json(value: object) -> None:
    """The hook's own values are converted like the caller's."""
    expected = json.loads(ENCODER.event("x", {"a": value}, "usage", None))["properties"]
    assert expected == filtered(partial(change, {"properties": {"a": value}}))["properties"]
