"""Values that no JSON encoder expects, and a reader of JSON that forgives nothing. Shared by the tests of `_event`."""

from __future__ import annotations

import dataclasses
import enum
import json
import weakref
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple, NoReturn
from unittest.mock import MagicMock, Mock

from producttelemetry._event import Encoder

ENCODER = Encoder("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222", {})


def strict(line: bytes) -> Any:
    """Return what a line holds; fail unless it is one line of valid JSON in UTF-8 with unique names."""
    assert [line] == line.splitlines(keepends=True)
    assert line.endswith(b"}\n")
    return json.loads(line.decode(), object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(pairs) == len({name for name, _ in pairs}), "a name stands there twice"
    return dict(pairs)


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def properties(given: Any) -> dict[str, Any]:
    """Return the properties of an event that was given these."""
    return strict(ENCODER.event("x", given, "usage", None))["properties"]  # type: ignore[no-any-return]  # an object


class Color(enum.Enum):
    """An enumeration of several kinds of values."""

    RED = "red"
    WHEN = date(2024, 1, 1)
    BOTH = (1, {2})


class Level(enum.IntEnum):
    """Numbers with names."""

    HIGH = 3


class Word(enum.StrEnum):
    """Texts with names."""

    YES = "yes"


class Mixed(str, enum.Enum):  # noqa: UP042  # the way before StrEnum: its `str()` is not its value
    """Texts whose `str()` is another text."""

    NO = "no"


class Bits(enum.Flag):
    """Flags."""

    A = 1
    B = 2


class Text(str):
    """A text that says it is another."""

    __slots__ = ()

    def __str__(self) -> str:
        return "overridden"


class Int(int):
    """A number that says it is another."""

    def __repr__(self) -> str:
        return "overridden"

    __str__ = __repr__


class Float(float):
    """The same for a float."""

    def __repr__(self) -> str:
        return "overridden"


class Pair(NamedTuple):
    """A tuple with names."""

    left: Any
    right: Any


@dataclasses.dataclass
class Data:
    """A dataclass with the two kinds of fields that are none of the object's own."""

    x: Any
    shared: ClassVar[int] = 5
    start: dataclasses.InitVar[int] = 0
    y: Any = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Slots:
    """A dataclass without a `__dict__`."""

    x: Any
    start: dataclasses.InitVar[int]


class Printed:
    """An object with a `str()` of its own."""

    def __str__(self) -> str:
        return "as text\ud800"


class NoText:
    """Fails to print; may be a key."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __hash__ = object.__hash__


class OddText:
    """Prints as a number."""

    def __str__(self) -> Any:
        return 5  # noqa: PLE0307  # that is what is odd


class NoKeys(Mapping[str, Any]):
    """A mapping that cannot be walked."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        return 1


class NoItems(NoKeys):
    """A mapping that has keys and no values for them."""

    def __iter__(self) -> Iterator[str]:
        return iter("ab")


class NoAttributes:
    """Fails for every attribute."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        return self.name  # type: ignore[no-any-return]  # it raises


def _no_class(_: object) -> NoReturn:
    raise RuntimeError("no class")


class Unset:
    """Looks like a dataclass and lacks the fields."""

    __slots__ = ("x",)
    __dataclass_fields__: ClassVar[dict[str, Any]] = Data.__dataclass_fields__


def hostile() -> dict[str, Any]:
    """Return objects whose own code fails when they are looked at, and mocks, which claim to be of another class."""
    view = memoryview(b"a")
    view.release()
    classless = type("NoClass", (), {"__class__": property(_no_class)})()
    kinds = (str, int, dict, list, datetime, timedelta, Decimal, bytes, Data, Color)
    return {
        **{f"{make.__name__} {kind.__name__}": make(spec=kind) for kind in kinds for make in (Mock, MagicMock)},
        **{kind.__name__: kind() for kind in (NoText, OddText, NoKeys, NoItems, NoAttributes, Unset, object)},
        "no class": classless,
        "dead proxy": weakref.proxy(Printed()),
        "released view": view,
        "key without text": {NoText(): 1},
        "key without class": {classless: 1},
        "mock as key": {MagicMock(spec=str): 1},
        "in a list": [NoText()],
        "in a dataclass": Data(NoText()),
    }
