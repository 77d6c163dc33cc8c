"""`_event`: what becomes of each kind of property value, of keys, of nesting, and of the caller's objects."""

from __future__ import annotations

import copy
import json
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from itertools import count
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from tests.odd import (
    ENCODER,
    Bits,
    Color,
    Data,
    Float,
    Int,
    Level,
    Mixed,
    Pair,
    Printed,
    Slots,
    Text,
    Word,
    properties,
    strict,
)

JSON: list[Any] = [
    *(None, True, False, 0, -1, 10**600, 1.5, -0.0, 5e-324, 1.7e308),
    *("", "ä😀\0\u2028\x7f", '"\\\n'),
    *([], {}, [[], {}], {"a": {"b": [1, None]}}),
]

VALUES: list[tuple[Any, Any]] = [
    *((value, value) for value in JSON),
    (float("nan"), None),
    (float("inf"), None),
    (-float("inf"), None),
    (Decimal("NaN"), None),
    (Decimal("sNaN"), None),
    (Decimal("-Infinity"), None),
    (10**1000, f"<int of {(10**1000).bit_length()} bits>"),
    (-(10**9000), f"<int of {(10**9000).bit_length()} bits>"),
    ("\ud800", "\ufffd"),
    ("a\udfffb\ud83d\ude00", "a\ufffdb😀"),
    (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "2024-01-02T03:04:05.000006+00:00"),
    (datetime(2024, 1, 2), "2024-01-02T00:00:00"),  # noqa: DTZ001  # a value is written as it is
    (date(2024, 1, 2), "2024-01-02"),
    (time(3, 4, tzinfo=timezone(timedelta(hours=2))), "03:04:00+02:00"),
    (timedelta(days=1, milliseconds=-500), 86399.5),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("/a/b"), "/a/b"),
    (PureWindowsPath(r"C:\a"), "C:\\a"),
    (Path("b"), "b"),
    (Decimal("1.50"), 1.5),
    (Decimal("2.00"), 2),
    (Decimal("-0"), 0),
    (Decimal("123456789012345678901234567890123456789.0"), 123456789012345678901234567890123456789),
    (Decimal("1E+999"), "1E+999"),
    (Decimal("1E-999"), 0.0),
    (Color.RED, "red"),
    (Color.WHEN, "2024-01-01"),
    (Color.BOTH, [1, [2]]),
    (Level.HIGH, 3),
    (Word.YES, "yes"),
    (Mixed.NO, "no"),
    (Bits.A | Bits.B, 3),
    (b"\xff\0", "/wA="),
    (bytearray(b"ab"), "YWI="),
    (memoryview(b"abc"), "YWJj"),
    ({1}, [1]),
    (frozenset(("a",)), ["a"]),
    ((1, (2,)), [1, [2]]),
    (Pair(1, {2}), [1, [2]]),
    (Data({1}), {"x": [1], "y": 0}),
    (Slots(Data(1), 7), {"x": {"x": 1, "y": 0}}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (MappingProxyType({"a": (1,)}), {"a": [1]}),
    (UserDict({"a": 1}), {"a": 1}),
    (ChainMap({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
    (Text("real"), "real"),
    (Int(7), 7),
    (Float(1.5), 1.5),
    (Printed(), "as text\ufffd"),
    (Fraction(1, 3), "1/3"),
    (1 + 2j, "(1+2j)"),
    (range(3), "range(0, 3)"),
    (int, "<class 'int'>"),
    (Data, str(Data)),
    (ValueError("no"), "no"),
    (..., "Ellipsis"),
]


@pytest.mark.parametrize(("value", "expected"), VALUES, ids=[type(value).__name__ for value, _ in VALUES])
@pytest.mark.parametrize("neighbour", ["flat", ["nested"], float("nan")], ids=["flat", "nested", "nan"])
def test_values(value: Any, expected: Any, neighbour: Any) -> None:
    """Each type becomes what `plain` says: directly, in containers, and whatever else stands in the event."""
    found = properties({"a": value, "list": [value], "object": {"b": value}, "neighbour": neighbour})
    flat = properties({"a": value, "neighbour": neighbour})["a"]
    # As text, because True == 1 == 1.0 in Python and not in JSON.
    assert json.dumps([expected] * 4) == json.dumps([found["a"], *found["list"], found["object"]["b"], flat])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({1: "a", "1": "b"}, {"1": "b"}),
        ({"1": "a", 1: "b"}, {"1": "b"}),
        ({None: 1, True: 2, 1.5: 3, (1, "a"): 4, b"x": 5}, {"None": 1, "True": 2, "1.5": 3, "(1, 'a')": 4, "b'x'": 5}),
        ({Color.RED: 1, Level.HIGH: 2, Word.YES: 3, Mixed.NO: 4}, {"Color.RED": 1, "3": 2, "yes": 3, "no": 4}),
        ({"\ud800": 1, "\ufffd": 2}, {"\ufffd": 2}),  # noqa: F601  # ruff reads the first as the second
        ({Text("real"): 1, "real": 2}, {"real": 2}),
        ({10**9000: 1}, {"<unprintable int>": 1}),
        ({"": 1, "\n": 2}, {"": 1, "\n": 2}),
    ],
)
def test_keys(given: dict[Any, Any], expected: dict[str, Any]) -> None:
    """Keys become their `str()`; of two that are equal then, the later one wins. So it is on every level."""
    assert [expected, expected] == [properties(given), properties({"a": given})["a"]]


@pytest.mark.parametrize(("level", "intact"), [(31, True), (32, False), (100_000, False)])
def test_nesting_ends_at_a_marker(level: int, intact: bool) -> None:
    """32 levels, the properties' own included, are kept; what lies below becomes a text."""
    value: Any = "bottom"
    for _ in range(level):
        value = [value]
    found: Any = properties({"a": value})["a"]
    depth = 0
    while isinstance(found, list):
        found, depth = found[0], depth + 1  # pyright: ignore[reportUnknownVariableType]  # what json gives
    assert (31, intact) == (depth, found == "bottom")
    assert isinstance(found, str)


def test_cycles_end_at_a_marker() -> None:
    """An object inside itself becomes a text; the same object twice side by side is no cycle."""
    twice = [1]
    ring: dict[str, Any] = {"twice": [twice, twice]}
    ring |= {"self": ring, "list": [ring], "data": Data(ring)}
    found = properties(ring)
    assert [[1], [1]] == found["twice"]
    assert "<cycle>" == found["self"]["self"]
    assert ["<cycle>"] == found["self"]["list"]
    assert ("<cycle>", "<cycle>") == (found["data"]["x"]["self"], found["data"]["x"]["data"])


def test_iterators_are_not_consumed() -> None:
    """A generator, an iterator and an open file become a text and are where they were."""
    generator, iterator, numbers = (each for each in "ab"), iter([1, 2]), count()
    with open(__file__, encoding="utf-8") as file:
        found = properties({"a": generator, "b": [iterator, map(str, iterator)], "c": {"d": file, "e": numbers}})
        assert 0 == file.tell()
    assert ("a", 1, 0) == (next(generator), next(iterator), next(numbers))
    assert isinstance(found["a"], str)


def test_the_callers_objects_stay_as_they_are() -> None:
    """What the caller passes is not changed, and later changes to it do not change the event."""
    given: dict[Any, Any] = {
        "list": [1, (2, {3})],
        "nan": float("inf"),
        5: {"\ud800": Data([1])},
        "default": defaultdict(list, a=[]),
    }
    before = copy.deepcopy(given)
    line = ENCODER.event("x", given, "usage", None)
    assert before == given
    given["list"].append("later")
    assert [1, [2, [3]]] == strict(line)["properties"]["list"]
