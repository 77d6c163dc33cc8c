"""`_event`: objects that fail, change or explode when they are looked at. The line is valid, or there is none."""

from __future__ import annotations

import json
import sys
import threading
import tracemalloc
from collections import OrderedDict, UserDict
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry import _event
from producttelemetry._errors import EventRejected
from tests.odd import (
    ENCODER,
    Color,
    Data,
    Level,
    Mixed,
    NoText,
    Pair,
    Printed,
    hostile,
    properties,
    strict,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _doubled() -> Any:
    value: Any = 0
    for _ in range(31):
        value = [value, value]
    return value


LONG = "a" * 1_000_000
SHARED: dict[str, dict[str, Any]] = {
    "values": {"a": _doubled()},
    "texts": {"a": [LONG] * 1000},
    "keys": {"a": [{LONG: 1}] * 1000},
    "flat": {str(number): LONG for number in range(1000)},
    "bytes": {"a": [bytes(1_000_000)] * 1000},
}


@pytest.mark.parametrize("kind", SHARED)
def test_shared_parts_are_not_unfolded(kind: str) -> None:
    """A structure of a megabyte that would unfold into gigabytes is `too_large`, and finding out costs megabytes."""
    tracemalloc.start()
    try:
        with pytest.raises(EventRejected) as caught:
            properties(SHARED[kind])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "too_large" == caught.value.reason
    assert peak < 32 * 1024 * 1024


@pytest.mark.parametrize("name", hostile())
def test_objects_whose_own_code_fails_spoil_nothing_else(name: str) -> None:
    """An object that raises when it is looked at becomes some JSON; everything around it is intact."""
    value = hostile()[name]
    found = properties({"a": value, "list": [1, value, 2], "good": {"b": (1,)}})
    assert ([1], 1, 2) == (found["good"]["b"], found["list"][0], found["list"][-1])


@pytest.mark.parametrize(
    "name", ["Mock str", "MagicMock str", "NoText", "OddText", "NoAttributes", "no class", "object"]
)
def test_keys_whose_own_code_fails_spoil_nothing_else(name: str) -> None:
    """A key that raises when it is looked at becomes some text; the other keys of its object are intact."""
    key = hostile()[name]
    found = properties({"inner": {key: 1, "b": (2,)}, key: 3, "c": 4})
    assert ([2], 4) == (found["inner"]["b"], found["c"])
    assert (2, 3) == (len(found["inner"]), len(found))


@pytest.mark.parametrize("name", ["NoKeys", "NoItems", "Mock dict", "dead proxy", "no class"])
def test_properties_that_cannot_be_read_are_rejected(name: str) -> None:
    """A mapping that raises is `invalid` when it is the properties, since nothing of the event would be left."""
    with pytest.raises(EventRejected) as caught:
        properties(hostile()[name])
    assert "invalid" == caught.value.reason


def test_a_class_that_hides_its_name_costs_the_event_and_no_more() -> None:
    """Where not even a marker can be made, the event is `invalid`, and never one without an object as properties."""

    def fail(_: object) -> str:
        raise RuntimeError

    nameless = type("Meta", (type,), {"__name__": property(fail)})("Nameless", (NoText,), {})
    with pytest.raises(EventRejected) as caught:
        properties({"a": nameless()})
    assert "invalid" == caught.value.reason


def test_another_thread_may_change_the_properties_meanwhile() -> None:
    """While a thread goes on changing dicts, lists and sets, every event is valid and nothing is raised."""
    inner: dict[str, Any] = {"list": [1], "set": {1}}
    outer: dict[str, Any] = {"inner": inner, "ordered": OrderedDict(a=1)}
    done = threading.Event()

    def change() -> None:
        for number in count():
            for place in (outer, inner, outer["ordered"]):
                place[f"new{number}"] = number
                del place[f"new{number}"]
            inner["list"].append(inner["list"].pop())
            inner["set"] ^= {number % 7 + 2}
            if done.is_set():
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        found = [properties(outer) for _ in range(1000)]
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert all({"inner", "ordered"} <= set(each) and {"list", "set"} <= set(each["inner"]) for each in found)


# --- any value at all ---------------------------------------------------------------------------------------------


def _view(data: bytes) -> memoryview:
    return memoryview(data)


#: Without those at which Hypothesis itself fails.
NAMES = [name for name in hostile() if "class" not in name and "proxy" not in name]
#: With lone surrogates, which `st.text()` leaves out.
texts = st.text(st.characters(exclude_categories=()), max_size=20)
#: Few, so that keys which are equal after `str()` are common.
few = st.sampled_from(["1", "None", "\ufffd", "\ud800", "\udfff", 1, None, True, 1.0, b"1", Color.RED, Level.HIGH])
keys = few | st.builds(NoText) | texts
ours = st.sampled_from(NAMES).map(lambda name: hostile()[name])
numbers = st.integers() | st.floats() | st.sampled_from([1999, 2000, 2001, 40_000]).map(lambda bits: 2**bits)
times = st.datetimes() | st.datetimes(timezones=st.timezones()) | st.dates() | st.times() | st.timedeltas()
others = st.none() | st.booleans() | st.uuids() | st.fractions() | st.complex_numbers() | st.binary(max_size=20)
hashables = texts | numbers | times | others | st.sampled_from([Color.BOTH, Level.HIGH, Mixed.NO, int])
leaves = hashables | st.decimals() | ours | st.builds(Printed) | st.builds(iter, st.lists(texts, max_size=2))


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists, dicts = st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)
    sets = st.sets(hashables, max_size=4)
    data = st.builds(Data, inner, y=inner) | st.builds(Pair, inner, inner)
    buffers = st.binary().map(bytearray) | st.binary().map(_view)
    mappings = dicts | dicts.map(OrderedDict) | dicts.map(UserDict) | dicts.map(MappingProxyType)
    return lists | lists.map(tuple) | mappings | sets | sets.map(frozenset) | data | buffers


values = st.recursive(leaves, _containers, max_leaves=25)
plain_texts = st.text(max_size=20)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain_texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(plain_texts, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, values, max_size=5))
def test_any_value_gives_valid_json(value: dict[Any, Any]) -> None:
    """Whatever is nested in whatever: one line of valid JSON with unique names, the same with `before_send`."""
    line = ENCODER.event("x", value, "usage", None)
    filtered = ENCODER.filtered_event(lambda event: event, "x", value, "usage", None)
    assert json.dumps(strict(line)["properties"]) == json.dumps(strict(filtered)["properties"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(plain_texts, plain_values, max_size=5))
def test_plain_json_is_kept_as_it_is(value: dict[str, Any]) -> None:
    """What JSON can express arrives exactly as a plain round trip through `json` gives it."""
    # As text, because True == 1 == 1.0 and -0.0 == 0.0 in Python.
    assert json.dumps(json.loads(json.dumps(value))) == json.dumps(properties(value))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(plain_texts, plain_values | st.floats() | texts, max_size=5))
def test_both_ways_to_encode_give_the_same(value: dict[str, Any]) -> None:
    """The short way is no public interface: what it gives is what `JSONEncoder.encode` gives, or the same refusal."""

    def told(encode: Callable[[dict[str, Any]], str]) -> str:
        try:
            return encode(value)
        except ValueError as error:
            return type(error).__name__

    with patch.object(json.encoder, "c_make_encoder", None):
        documented = _event._encoder()
    assert told(documented) == told(_event._encode)
