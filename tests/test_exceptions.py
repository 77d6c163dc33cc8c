"""`_exceptions`: an exception becomes properties that help, fit into an event, and do not say who the user is."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producttelemetry import _exceptions
from producttelemetry._event import Encoder
from producttelemetry._exceptions import MESSAGE_BYTES, STACK_BYTES, describe, describe_message, error_event, scrub
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry

HOME = "/home/alice"


class _NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _OddTextError(Exception):
    def __str__(self) -> Any:
        return 5  # noqa: PLE0307  # that is what is odd


class _NoReprError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _fail(_: object) -> NoReturn:
    raise RuntimeError("no cause")


NoCause: type[Exception] = type("NoCause", (Exception,), {"__cause__": property(_fail)})
E = TypeVar("E", bound=BaseException)


def raised(error: E, cause: BaseException | None = None) -> E:
    """Return an exception as it looks after it was raised."""
    if cause is not None:
        error.__cause__ = cause
    with contextlib.suppress(BaseException):
        raise error
    return error


def described(error: BaseException) -> dict[str, str]:
    """Return the properties of an error event."""
    return describe(error, HOME, ("alice",))


def test_an_exception_says_what_and_where() -> None:
    """Class, message and stack trace are those that Python would print."""
    found = described(raised(KeyError("a\nb")))
    assert ("KeyError", "'a\\nb'") == (found["error_type"], found["error_message"])
    assert found["stack_trace"].startswith("Traceback (most recent call last):\n")
    assert found["stack_trace"].endswith("KeyError: 'a\\nb'\n")
    assert "in raised" in found["stack_trace"]


def test_an_exception_that_was_never_raised_has_no_trace() -> None:
    """Without a traceback the trace is the last line alone."""
    expected = {"error_type": "ValueError", "error_message": "no", "stack_trace": "ValueError: no\n"}
    assert expected == described(ValueError("no"))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit("x")], ids=harness.case_id)
def test_what_is_no_error_can_be_described(error: BaseException) -> None:
    """Whatever can be raised can be reported."""
    assert type(error).__name__ == described(raised(error))["error_type"]


def test_chains_are_in_the_trace() -> None:
    """`__cause__`, `__context__` and notes are told; a context that was suppressed is not."""
    second = raised(ValueError("second"), raised(OSError("first")))
    third = KeyError("third")
    third.__context__ = second
    third.add_note("by the way")
    trace = described(raised(third))["stack_trace"]
    order = [
        "OSError: first",
        "direct cause",
        "ValueError: second",
        "During handling",
        "KeyError: 'third'",
        "by the way",
    ]
    places = [trace.index(words) for words in order]
    assert sorted(places) == places
    third.__suppress_context__ = True
    assert "second" not in described(third)["stack_trace"]


def test_groups_are_in_the_trace() -> None:
    """Each exception of a group is told, also of a group within, with its own chain."""
    inner = ExceptionGroup("inner", [raised(OSError("deep"), ValueError("because")), KeyError("beside")])
    found = described(raised(ExceptionGroup("outer", [inner, raised(TypeError("flat"))])))
    assert ("ExceptionGroup", "outer (2 sub-exceptions)") == (found["error_type"], found["error_message"])
    for words in ("inner", "OSError: deep", "ValueError: because", "KeyError: 'beside'", "TypeError: flat"):
        assert words in found["stack_trace"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (_NoTextError("x"), "<unprintable _NoTextError>"),
        (_OddTextError("x"), "<unprintable _OddTextError>"),
        (_NoReprError("x"), "x"),
        (NoCause("x"), "x"),
        (ValueError(_NoTextError("x")), "<unprintable ValueError>"),
        (SyntaxError("bad", ("f", "one", [], 5)), "bad (f)"),  # type: ignore[arg-type]  # of the wrong types
        (ExceptionGroup("outer", [_NoTextError("x")]), "outer (1 sub-exception)"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad\ud800"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exceptions_whose_own_code_fails(error: BaseException, message: str | None) -> None:
    """What cannot be printed is replaced by a marker; the frames are told all the same."""
    found = described(raised(error))
    assert type(error).__name__ == found["error_type"]
    assert message is None or message == found["error_message"]
    assert "in raised" in found["stack_trace"]


# --- size ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "ä", "€", "😀"])
def test_a_long_message_keeps_its_head(letter: str) -> None:
    """4 KiB in UTF-8 are kept as they are; of more, the head, a sign, and no half character."""
    fits = letter * (MESSAGE_BYTES // len(letter.encode()))
    assert fits == described(ValueError(fits))["error_message"] == describe_message(fits, HOME, ("alice",))
    found = described(ValueError(fits + letter))["error_message"]
    assert fits.startswith(found.removesuffix("…"))
    assert found.endswith("…")
    assert MESSAGE_BYTES - 4 <= len(found.encode()) <= MESSAGE_BYTES


@pytest.mark.parametrize("letter", ["a", "ä", "€", "😀"])
def test_a_long_trace_keeps_head_and_tail(letter: str) -> None:
    """16 KiB in UTF-8 are kept as they are; of more, where it began and how it ended, and no half character."""
    rest = STACK_BYTES - len("ValueError: \n")
    fits = letter * (rest // len(letter.encode())) + "." * (rest % len(letter.encode()))
    assert f"ValueError: {fits}\n" == described(ValueError(fits))["stack_trace"]
    whole = f"ValueError: a{fits}\n"
    head, cut, tail = described(ValueError("a" + fits))["stack_trace"].partition("\n… cut …\n")
    assert whole.startswith(head)
    assert whole.endswith(tail)
    assert cut
    assert STACK_BYTES - 8 <= len((head + cut + tail).encode()) <= STACK_BYTES
    assert abs(len(head.encode()) - len(tail.encode())) <= 4


def test_lone_surrogates_do_not_make_it_longer() -> None:
    """Messages with bytes of another encoding fit into the bounds as they are sent, with U+FFFD for each."""
    found = described(ValueError("\udcff" * 50_000))
    assert len(found["error_message"].encode()) <= MESSAGE_BYTES
    assert len(found["stack_trace"].encode()) <= STACK_BYTES
    line = Encoder("c", "s", {}).event("error.ValueError", found, "error", None)
    assert found == json.loads(line)["properties"]


def test_a_deep_recursion_can_be_described() -> None:
    """A traceback of a thousand frames becomes one that fits."""

    def sink(depth: int) -> int:
        return sink(depth + 1) + 1

    with pytest.raises(RecursionError) as caught:
        sink(0)
    found = described(caught.value)
    assert "in sink" in found["stack_trace"]
    assert len(found["stack_trace"].encode()) <= STACK_BYTES


# --- who the user is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/alice", "~"),
        ("/home/alice/", "~/"),
        ("/home/alice/a/home/alice/b", "~/a~/b"),
        ("'/home/alice': no", "'~': no"),
        ("open /home/alice.", "open ~."),
        ("open /home/alice, then", "open ~, then"),
        ("/home/alice...", "~..."),
        ("/home/alice2/a", "/home/alice2/a"),
        ("/home/alice-old/a", "/home/alice-old/a"),
        ("/home/alice.bak", "/home/alice.bak"),
        ("/home/alice_x", "/home/alice_x"),
        ("/home/aliceä", "/home/aliceä"),
        ("/srv/alice/a", "/srv/~/a"),
        ("/srv/alice.", "/srv/~."),
        ("/srv/alicea", "/srv/alicea"),
        ("/srv/malice", "/srv/malice"),
        ("C:\\Users\\alice\\a", "C:\\Users\\~\\a"),
        ("'C:\\\\Users\\\\alice\\\\a'", "'C:\\\\Users\\\\~\\\\a'"),
        ("C:/Users/alice", "C:/Users/~"),
        ("file:///home/alice/a", "file://~/a"),
        ("alice said hello", "alice said hello"),
        ("", ""),
    ],
)
def test_scrubbing(text: str, expected: str) -> None:
    """Home and user become `~` in paths of every kind; other names that begin alike stay, and so do other words."""
    assert expected == scrub(text, HOME, ("alice",))


@pytest.mark.parametrize(
    ("home", "user", "text", "expected"),
    [
        ("", "", "/home/alice/a", "/home/alice/a"),
        ("/", "", "/a/b", "/a/b"),
        ("/home/alice/", "", "/home/alice/a", "~/a"),
        ("C:\\Users\\al.x", "al.x", "C:\\Users\\al.x\\a C:/Users/al.x/a \\alxx\\a", "~\\a ~/a \\alxx\\a"),
        ("/h/a+b(c", "a+b(c", "/h/a+b(c/x /y/a+b(c/z", "~/x /y/~/z"),
        ("/data/asmith", "alice", "/data/asmith/a /srv/alice/b", "~/a /srv/~/b"),
    ],
)
def test_scrubbing_other_homes(home: str, user: str, text: str, expected: str) -> None:
    """An unknown or odd home changes nothing by mistake; names are taken as they are, not as patterns."""
    assert expected == scrub(text, home, (user,))


def test_nothing_of_the_path_survives_at_the_cut() -> None:
    """Paths are scrubbed before texts are cut, so that no half of a name is left at the edge."""
    for length in range(MESSAGE_BYTES - 20, MESSAGE_BYTES):
        found = described(ValueError("x" * length + "/home/alice/" + "y" * STACK_BYTES))
        assert not [text for text in found.values() if "/ho" in text or "alic" in text]


@settings(deadline=None)
@given(st.text(), st.text(), st.text())
def test_any_text_can_be_scrubbed(before: str, home: str, user: str) -> None:
    """No home, name or message raises, and a home that stands there as a path is gone."""
    scrub(before, home, (user,))
    assert f"{HOME}/" not in scrub(f"{before}{HOME}/x", HOME, (user,))


# --- through the client -------------------------------------------------------------------------------------------


def events(client: Telemetry) -> list[tuple[str, str, dict[str, Any]]]:
    """Return name, type and properties of what a client has stored."""
    found = harness.events(harness.spool(client))
    return [(event["event_name"], event["event_type"], event["properties"]) for event in found]


def test_error_events(telemetry: Callable[..., Telemetry], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`error()` names the class, has the host's properties under its own, and no path of the user's."""
    monkeypatch.setenv("USER", "alice")
    client = telemetry()
    try:
        exec(compile("open('/srv/alice/none')", f"{home}/tool.py", "exec"))  # a file in the user's home
    except OSError as error:
        client.error(error, "ignored", {"a": 1, "error_type": "theirs"})
    client.error(message=f"in {home}", properties={"b": 2})
    (name, kind, found), second = events(client)
    assert ("error.FileNotFoundError", "error", 1, "FileNotFoundError") == (name, kind, found["a"], found["error_type"])
    assert "'/srv/~/none'" in found["error_message"]
    assert 'File "~/tool.py", line 1' in found["stack_trace"]
    assert str(home) not in json.dumps(found)
    assert ("error.unknown", "error", {"b": 2, "error_message": "in ~"}) == second


@pytest.mark.parametrize(
    "arguments",
    [{}, {"message": 5}, {"exception": "text"}, {"exception": ValueError}, {"exception": _NoTextError}],
    ids=harness.case_id,
)
def test_error_without_an_error_is_counted(arguments: dict[str, Any], telemetry: Callable[..., Telemetry]) -> None:
    """Neither an exception nor a message: nothing is raised, and the drop is counted as `invalid`."""
    client = telemetry()
    client.error(**arguments)
    assert (0, 1) == (client.stats().pending, client.stats().dropped["invalid"])


@pytest.mark.parametrize("properties", [[1], "text", 5])
def test_error_with_wrong_properties_is_counted(properties: Any, telemetry: Callable[..., Telemetry]) -> None:
    """Properties of the wrong type are `invalid` like those of `track()`."""
    client = telemetry()
    client.error(ValueError("x"), properties=properties)
    assert (0, 1) == (client.stats().pending, client.stats().dropped["invalid"])


def test_the_exception_is_left_alone() -> None:
    """Describing changes nothing about the exception."""
    error = raised(ValueError("x"), KeyError("y"))
    before = (error.__traceback__, error.__cause__, error.__context__, error.args, {**error.__dict__})
    described(error)
    assert before == (error.__traceback__, error.__cause__, error.__context__, error.args, error.__dict__)


def test_the_write_key_is_in_no_error_event() -> None:
    """A source line or a message may hold it, also where the message is cut: not even a part of it is sent."""
    key = "wk_0123456789abcdef"
    for length in range(MESSAGE_BYTES - 2 * len(key), MESSAGE_BYTES):
        _, properties = error_event(ValueError("x" * length + key), None, {"mine": 1}, HOME, ("alice",), key)
        assert "wk_0" not in properties["error_message"]
        assert key not in properties["stack_trace"]


def test_a_text_of_megabytes_costs_no_more_than_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ends are looked at, and nothing at a cut edge: half of a name there would be no name that can be found."""
    lengths: list[int] = []

    def measured(text: str, *secrets: Any) -> str:
        lengths.append(len(text))
        return scrub(text, *secrets)

    monkeypatch.setattr(_exceptions, "scrub", measured)
    text = f"{HOME}/x " * 1_000_000
    kept = describe_message(text, HOME, ("alice",))
    whole = describe(ValueError(text), HOME, ("alice",))
    assert max(lengths) <= 128 * 1024
    for told in (kept, *whole.values()):
        assert "alice" not in told
    assert kept.startswith("~/x ~/x ")
