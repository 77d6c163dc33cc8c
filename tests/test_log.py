"""`_log`: silent unless the host listens, never chatty, and never the reason why a call of the host's fails."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from producttelemetry import _log
from producttelemetry._log import Log
from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producttelemetry import Telemetry


class _Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class _Handler(logging.Handler):
    """A handler of the host's that does something of its own."""

    def __init__(self, action: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self.action = action

    def emit(self, record: logging.LogRecord) -> None:
        self.action(record)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """The clock of the module."""
    made = _Clock()
    monkeypatch.setattr(_log, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@pytest.fixture
def handlers() -> Iterator[list[logging.Handler]]:
    """The handlers of our logger, and its level, as they were before when the test is over."""
    logger = logging.getLogger("producttelemetry")
    before, level = list(logger.handlers), logger.level
    yield logger.handlers
    logger.handlers[:] = before
    logger.setLevel(level)


def test_losses_are_told_once_a_minute_and_kind(clock: _Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Of each kind the first message of a minute appears, as WARNING; other kinds do not wait for it."""
    log = Log()
    for moment in (0.0, 1.0, 59.9, 60.0, 61.0, 119.9, 120.0):
        clock.now = moment
        log.loss("too_large", f"large {moment}")
        log.loss("invalid", f"invalid {moment}")
    expected = [f"{kind} {moment}" for moment in (0.0, 60.0, 120.0) for kind in ("large", "invalid")]
    assert expected == caplog.messages
    assert {"WARNING"} == {record.levelname for record in caplog.records}


@pytest.mark.parametrize("level", ["warning", "error"])
def test_what_a_person_must_mend_is_told_once(
    level: _log.Level, clock: _Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """However much time passes; every client object tells it once."""
    for log in (Log(), Log()):
        for clock.now in (0.0, 1e6, 2e6):
            log.once(level, "kind", "the message")
    assert [("producttelemetry", getattr(logging, level.upper()), "the message")] * 2 == caplog.record_tuples


def test_what_is_normal_is_told_as_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Being offline is no news: DEBUG, which a host does not see unless it asks."""
    Log().debug("unheard")
    with caplog.at_level(logging.DEBUG, logger="producttelemetry"):
        Log().debug("heard")
    found = [record for record in caplog.record_tuples if "heard" in record[2]]
    assert [("producttelemetry", logging.DEBUG, "heard")] == found


@pytest.mark.parametrize("message", ["100 %", "%s %d", "{} {0}", "a\nb", "\ud800", ""])
def test_messages_are_not_patterns(message: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a message holds is shown as it is."""
    Log().loss("kind", message)
    assert [message] == caplog.messages


def test_a_handler_that_raises_is_the_hosts_own(handlers: list[logging.Handler]) -> None:
    """What a handler of the host's raises does not get out; the next message is tried again."""
    seen: list[str] = []

    def fail(record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        raise RuntimeError("a handler's own defect")

    handlers.append(_Handler(fail))
    log = Log()
    log.loss("one", "first")
    log.loss("two", "second")
    log.once("error", "three", "third")
    assert ["first", "second", "third"] == seen


def test_a_handler_that_tracks_is_no_loop(telemetry: Callable[..., Telemetry], handlers: list[logging.Handler]) -> None:
    """A host that routes log records into `track()`, here even one that fails in the same way, gets no recursion."""
    client = telemetry()
    seen: list[str] = []

    def track(record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        client.track("", {"message": record.getMessage()})

    handlers.append(_Handler(track))
    client.track("")
    client.track("")
    assert 1 == len(seen)
    assert 3 == client.stats().dropped["invalid"]


def test_our_logger_gets_one_null_handler(handlers: list[logging.Handler]) -> None:
    """The null handler is added with the first message, once, and the host's handlers stay."""
    theirs = _Handler(lambda _: None)
    handlers[:] = [theirs]
    for number in range(3):
        Log().loss(f"kind{number}", "message")
    assert [theirs, logging.NullHandler] == [handlers[0], *map(type, handlers[1:])]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import producttelemetry, sys; print('logging' in sys.modules)", "False\n"),
        ("from producttelemetry._log import Log; Log().loss('a', 'b'); Log().once('error', 'a', 'b')", ""),
        (
            "from producttelemetry._log import Log; Log().loss('a', 'b'); import logging; print(logging.root.handlers)",
            "[]\n",
        ),
    ],
    ids=["import", "silent", "root"],
)
def test_a_host_without_logging_notices_nothing(program: str, expected: str) -> None:
    """Importing does not import `logging`; errors do not reach stderr by its last resort; nothing is configured."""
    done = subprocess.run([sys.executable, "-c", program], cwd=harness.ROOT, text=True, capture_output=True, check=True)
    assert (expected, "") == (done.stdout, done.stderr)
