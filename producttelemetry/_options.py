"""The constructor's arguments, checked: a wrong one is named before anything is created."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from . import _config
from ._errors import ConfigurationError, EventRejected
from ._event import plain
from ._spool import Writer

if TYPE_CHECKING:
    import httpx

    from ._spool import Directory, Overflow

OnExit: TypeAlias = Literal["auto", "detach", "wait", "keep"]
BeforeSend: TypeAlias = Callable[[dict[str, Any]], dict[str, Any] | None]

ON_EXIT: Final = ("auto", "detach", "wait", "keep")
OVERFLOW: Final = ("drop_oldest", "drop_newest")


class Options(NamedTuple):
    """What the host asked for, each value usable as it is.

    Attributes:
        write_key: None if there is none anywhere.
        api_base: base of all requests, ending in `/api`.
        problem: why an environment variable cannot be used, else None; the client is disabled then.
        test_dir: where a test looks at what is tracked, else None.
        given: the constructor's arguments as they were given.

    The others are the constructor's arguments; see `Telemetry`.
    """

    write_key: str | None
    api_base: str
    problem: str | None
    disabled: bool
    flush_interval: float
    flush_at: int
    max_queue_size: int
    project_slug: str
    on_exit: OnExit
    flush_timeout: float
    overflow: Overflow
    before_send: BeforeSend | None
    default_properties: Mapping[str, Any]
    fsync: bool
    transport: httpx.BaseTransport | None
    test_dir: str | None
    given: Mapping[str, Any]

    def __repr__(self) -> str:
        """Leave out what must not appear in a log or a crash report."""
        return f"Options(project_slug={self.project_slug!r}, disabled={self.disabled!r})"

    def make_writer(self, directory: Directory, description: Mapping[str, Any]) -> Writer:
        """Return what appends a client's events to a spool; in a test, it also tells the test of them."""
        arguments = (directory, description, self.max_queue_size, self.overflow)
        if self.test_dir is None:
            return Writer(*arguments)
        from ._capture import CapturingWriter  # noqa: PLC0415  # hosts have no use for it

        return CapturingWriter(*arguments, test_dir=self.test_dir)


def check(arguments: Mapping[str, Any], environment: _config.Environment) -> Options:
    """Return the options for the constructor's arguments.

    Raises:
        TypeError: an argument is of the wrong type; the message names it and says what would be right.
        ConfigurationError: a `ValueError` for an argument of the right type and a wrong value.
    """
    for name in ("disabled", "fsync"):
        if not isinstance(arguments[name], bool):
            raise TypeError(f"{name} must be a bool, not {type(arguments[name]).__name__}")
    for name in ("flush_interval", "flush_timeout"):
        _config.check_number(arguments[name], name, least=0.001)
    for name in ("flush_at", "max_queue_size"):
        _config.check_number(arguments[name], name, least=1, whole=True)
    _config.check_choice(arguments["on_exit"], "on_exit", ON_EXIT)
    _config.check_choice(arguments["overflow"], "overflow", OVERFLOW)
    _config.check_slug(arguments["project_slug"])
    write_key, api_base, problem = destination(arguments, environment)
    checked: dict[str, Any] = {
        **arguments,
        "write_key": write_key,
        "api_base": api_base,
        "problem": problem,
        "before_send": _check_before_send(arguments["before_send"]),
        "default_properties": _check_properties(arguments["default_properties"]),
        "transport": _check_transport(arguments["transport"]),
        "test_dir": environment.test_dir,
        "given": arguments,
    }
    del checked["api_url"]
    return Options(**checked)


def destination(arguments: Mapping[str, Any], environment: _config.Environment) -> tuple[str | None, str, str | None]:
    """Return (write key, base URL, problem): an argument that is wrong raises, a variable that is wrong disables.

    In a test its own server takes the place of any other.
    """
    write_key, api_url = arguments["write_key"], arguments["api_url"]
    if write_key is not None:
        _config.check_key(write_key, "write_key")
    base = None if api_url is None else _config.check_url(api_url, "api_url")
    problem = None
    try:
        if write_key is None and environment.write_key is not None:
            write_key = _config.check_key(environment.write_key, "OPS_WRITE_KEY")
        if environment.test_dir is not None and environment.test_base is not None:
            base = environment.test_base
        elif base is None and environment.api_url is not None:
            base = _config.check_url(environment.api_url, "OPS_API_URL")
    except ConfigurationError as error:
        problem = str(error)
    return write_key, base or _config.DEFAULT_API_BASE, problem


def _check_before_send(value: object) -> object:
    if value is not None and not callable(value):
        raise TypeError(f"before_send must be a function of an event, not {type(value).__name__}")
    return value


def _check_properties(value: object) -> dict[str, Any]:
    kind = type(value).__name__
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"default_properties must be a mapping, not {kind}")
    try:
        properties: Any = {} if value is None else plain(value)
    except EventRejected as error:
        raise ConfigurationError("default_properties must leave room for an event's own; those given do not") from error
    if type(properties) is not dict:
        raise ConfigurationError(f"default_properties must be a mapping that can be read; this {kind} cannot")
    return properties


def _check_transport(value: object) -> object:
    if value is not None:
        httpx = sys.modules.get("httpx")  # who has one of its objects has imported it
        if httpx is None or not isinstance(value, httpx.BaseTransport):
            raise TypeError(f"transport must be an httpx.BaseTransport, not {type(value).__name__}")
    return value
