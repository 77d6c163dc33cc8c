"""`_options`: a wrong constructor argument is named before anything exists; a wrong variable disables the client."""

from __future__ import annotations

import inspect
import logging
import re
from collections import UserDict
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from producttelemetry import Telemetry, _config, _options
from tests import harness, odd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "hunter2-the-key"
URL = "https://me:hunter2@host"

NUMBERS: list[Any] = [0, -1, -0.5, float("nan"), float("inf"), -float("inf"), 1e300, 10**400, 10**5000]
NO_NUMBERS: list[Any] = ["1", None, True, [1], 1j]

#: What is wrong for each argument, and the words of the message that say what would be right.
WRONG: dict[str, tuple[str, list[Any]]] = {
    "write_key": ("a str|visible ASCII|a key, and", [5, b"hunter2", ["hunter2"], "", "hunter2 key", "hunter2\n", URL]),
    "api_url": ("a str|a URL like https://host", [5, b"hunter2", "", "host", "ftp://host", "https://", URL + ":port"]),
    "disabled": ("a bool", ["no", 1, 0, None]),
    "flush_interval": ("a number", [*NUMBERS, *NO_NUMBERS]),
    "flush_timeout": ("a number", [*NUMBERS, *NO_NUMBERS]),
    "flush_at": ("an int", [*NUMBERS, *NO_NUMBERS, 1.5, 2.0]),
    "max_queue_size": ("an int", [*NUMBERS, *NO_NUMBERS, 1.5, 10**20]),
    "project_slug": ("a str|letters, digits, '_' and '-'", [5, None, "", "a/b", "..", "a b", "\u00e4"]),
    "on_exit": ("one of 'auto', 'detach', 'wait', 'keep'", ["", "never", "AUTO", None, 5, ["auto"], odd.NoText()]),
    "overflow": ("one of 'drop_oldest', 'drop_newest'", ["", "drop", None, 5, ["drop_oldest"]]),
    "before_send": ("a function", [5, "hook", {}, [print]]),
    "default_properties": ("a mapping|leave room", [5, "a", [("a", 1)], {1}, odd.NoKeys(), {"a": [0] * 20_000}]),
    "fsync": ("a bool", ["yes", 1, None]),
    "transport": ("an httpx.BaseTransport", [5, "proxy", httpx.Client, httpx.AsyncHTTPTransport]),
}

#: Names of the variables whose values are secret or may hold a secret.
SECRET = ("write_key", "api_url")


class _Exit(StrEnum):
    KEEP = "keep"


CASES = [(name, number) for name, (_, values) in WRONG.items() for number in range(len(values))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_a_wrong_argument_is_named(name: str, number: int, home: Path) -> None:
    """`TypeError` or `ValueError` says which argument, what would be right, and no secret; nothing was created."""
    right, values = WRONG[name]
    arguments: dict[str, Any] = {"write_key": KEY, "api_url": "https://host", name: values[number]}
    with pytest.raises((TypeError, ValueError), match=f"^{name} must .*({right})") as caught:
        Telemetry(**arguments)
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value, TypeError | ValueError)
    assert [] == list(home.iterdir())


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({"flush_interval": -1}, "-1"),
        ({"flush_at": 0}, "0"),
        ({"max_queue_size": 10**5000}, "this int"),
        ({"project_slug": "a/b"}, "'a/b'"),
        ({"on_exit": "never"}, "'never'"),
        ({"overflow": "x" * 1000}, "'" + "x" * 99 + "…"),
        ({"api_url": "ftp://host"}, "'ftp://host'"),
        ({"disabled": "no"}, "str"),
        ({"transport": 5}, "int"),
    ],
)
def test_a_wrong_value_is_shown(arguments: dict[str, Any], shown: str) -> None:
    """The message ends with the value that was given, or its type, however long or unprintable it is."""
    with pytest.raises((TypeError, ValueError), match=f"not {re.escape(shown)}$"):
        Telemetry("key", **arguments)


def test_key_and_url_that_were_swapped_do_not_show_the_key() -> None:
    """The likeliest mistake with two texts does not put the key into a traceback."""
    with pytest.raises(ValueError, match=r"^write_key must be a key, and the one given is a URL$") as caught:
        Telemetry("https://host", KEY)
    assert KEY not in f"{caught.value!r}"


def test_unknown_arguments_are_refused() -> None:
    """A misspelt argument is an error, and not ignored."""
    arguments: dict[str, Any] = {"flush_intervall": 1}
    with pytest.raises(TypeError, match="flush_intervall"):
        Telemetry("key", **arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"flush_interval": 1, "flush_timeout": 0.001, "flush_at": 1, "max_queue_size": 1},
        {"flush_interval": 10**9, "flush_timeout": 1e9, "flush_at": 10**9, "max_queue_size": 10**9},
        {"on_exit": _Exit.KEEP, "overflow": "drop_newest", "fsync": True},
        {"project_slug": "A-b_9", "before_send": dict, "default_properties": UserDict({"a": 1})},
        {"transport": httpx.MockTransport(lambda _: httpx.Response(200)), "default_properties": {}},
    ],
    ids=range(5),
)
def test_right_arguments_are_taken(arguments: dict[str, Any], telemetry: Callable[..., Telemetry]) -> None:
    """The bounds themselves, whole numbers for seconds, any callable and any mapping are right."""
    client = telemetry(**arguments)
    client.track("test.event")
    assert client.enabled
    assert 1 == client.stats().pending


def test_the_signature() -> None:
    """Names, order, kinds and defaults of the constructor's arguments are the documented ones."""
    found = inspect.signature(Telemetry).parameters.values()
    positional = {each.name: each.default for each in found if each.kind is each.POSITIONAL_OR_KEYWORD}
    keyword = {each.name: each.default for each in found if each.kind is each.KEYWORD_ONLY}
    expected = {"write_key": None, "api_url": None, "disabled": False, "flush_interval": 30.0, "flush_at": 10}
    assert [*{**expected, "max_queue_size": 1000, "project_slug": "default"}.items()] == [*positional.items()]
    expected_keywords = {"on_exit": "auto", "flush_timeout": 5.0, "overflow": "drop_oldest", "before_send": None}
    assert {**expected_keywords, "default_properties": None, "fsync": False, "transport": None} == keyword


def test_defaults_of_the_destination(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key and URL come from the arguments, else the variables, else there is no key and the URL of the service."""
    arguments = {each.name: each.default for each in inspect.signature(Telemetry).parameters.values()}

    def destination(**given: Any) -> tuple[str | None, str, str | None]:
        return _options.check({**arguments, **given}, _config.environment())[:3]

    assert (None, "https://api.producttelemetry.com/api", None) == destination()
    monkeypatch.setenv("OPS_WRITE_KEY", "theirs")
    monkeypatch.setenv("OPS_API_URL", "https://theirs/")
    assert ("theirs", "https://theirs/api", None) == destination()
    assert ("mine", "https://mine/api", None) == destination(write_key="mine", api_url="https://mine")


def test_default_properties_are_copied(telemetry: Callable[..., Telemetry]) -> None:
    """What the host does to its mapping later does not change the events."""
    mine: dict[Any, Any] = {"a": [1], 2: {"b"}}
    client = telemetry(default_properties=mine)
    mine["a"].append(2)
    mine["c"] = 3
    client.track("test.event", {"d": 4})
    expected = {"a": [1], "2": ["b"], "d": 4}
    assert [expected] == [event["properties"] for event in harness.events(harness.spool(client))]


def test_the_key_is_in_no_text(telemetry: Callable[..., Telemetry], home: Path) -> None:
    """Neither the texts of the client and its options nor any file or its name hold the write key."""
    client = telemetry(write_key=KEY)
    client.track("test.event")
    texts = [repr(client), str(client), repr(client._options), f"{client._options}", repr(_config.environment())]
    assert not [text for text in texts if "hunter2" in text]
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if "hunter2" in path.name or b"hunter2" in path.read_bytes()]


# --- variables ----------------------------------------------------------------------------------------------------

VARIABLES = [
    *(("OPS_WRITE_KEY", value) for value in ("hunter2 key", "hunter2\u00e9", "hunter2\t", "https://me:hunter2@host")),
    *(
        ("OPS_API_URL", value)
        for value in ("host", "ftp://me:hunter2@host", "https://host?hunter2@", "https://me:hunter2@:1")
    ),
    *(("OPS_TELEMETRY", value) for value in ("maybe", "\u00e4")),
]


@pytest.mark.parametrize(("name", "value"), VARIABLES)
def test_a_wrong_variable_disables(
    name: str, value: str, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It raises nothing, ever; one WARNING names the variable and no secret; nothing is stored."""
    monkeypatch.setenv("OPS_WRITE_KEY", "key")
    monkeypatch.setenv(name, value)
    client = Telemetry()
    for _ in range(3):
        client.track("test.event", {"a": object()})
        client.error(ValueError("x"))
        client.identify("me")
        client.flush()
        assert not client.enabled
        assert 0 == client.stats().pending
    client.shutdown()
    assert [("producttelemetry", logging.WARNING)] == [record[:2] for record in caplog.record_tuples]
    assert caplog.messages[0].startswith(f"telemetry is disabled: {name} must be")
    assert "hunter2" not in caplog.text
    assert [] == list(home.iterdir())


def test_without_a_key_the_client_is_disabled(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No key anywhere: one WARNING, nothing else."""
    client = Telemetry()
    client.track("test.event")
    assert not client.enabled
    assert ["telemetry is disabled: no write_key and no OPS_WRITE_KEY"] == caplog.messages
    assert [] == list(home.iterdir())


def test_arguments_make_variables_irrelevant(
    telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong variable that nobody uses disables nothing and is not mentioned."""
    monkeypatch.setenv("OPS_WRITE_KEY", "hunter2 key")
    monkeypatch.setenv("OPS_API_URL", "nonsense")
    assert telemetry().enabled
    assert [] == caplog.messages
