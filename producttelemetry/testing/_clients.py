"""Clients of this process that belong to no test, or to another: what they are asked, one of this test's does.

Most programs make their client when a module is imported, which is before any test, and perhaps without a key or opted
out by the machine's user. While a test runs, the methods of `Telemetry` therefore look first whose client it is; for
one that was made elsewhere another is made here, with the same arguments and this test's environment.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import _config, _process
from .._client import Lifecycle, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._config import Environment

_METHODS: Final = ("track", "error", "identify", "request_deletion", "flush", "shutdown", "stats")
_shutdown: Final = Telemetry.shutdown


class _Twin(NamedTuple):
    """A client that was made in place of another, and the environment in which it was made."""

    original: Telemetry
    client: Telemetry
    environment: Environment


class _Test(NamedTuple):
    """A test that runs now, and the twins made for it."""

    directory: str
    twins: dict[int, _Twin]  # by `id` of the original: a subclass may have no hash


#: The tests that run now, the innermost last. A wrapper may outlive them all, where somebody has kept a bound method or
#: put one back; it does nothing then.
_tests: Final[list[_Test]] = []
#: Takes back what `redirect` has changed.
_changes: Final = contextlib.ExitStack()


def redirect(directory: str) -> None:
    """Have every client of this process work as one of the test with this directory."""
    _tests.append(_Test(directory, {}))
    if len(_tests) == 1:
        for name in _METHODS:
            _change(Telemetry, name, _redirected(getattr(Telemetry, name)))
        _change(Telemetry, "enabled", property(_redirected(vars(Telemetry)["enabled"].fget)))
        # A test may clear the whole environment for a while, and is a test all the same.
        given = _config.test_dir
        _change(_config, "test_dir", lambda: given() or ((test := _innermost()) and test.directory))


def restore(directory: str) -> None:
    """End a test: let go of the clients that were made in it, and of those in place of others."""
    try:
        _close_all(directory)
    finally:
        left = [test for test in _tests if test.directory != directory]
        if not left:
            _changes.close()
        _tests[:] = left
        _close_all(directory)  # what other threads have made meanwhile


def _change(owner: Any, name: str, value: object) -> None:
    _changes.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


def clients(directory: str) -> list[Telemetry]:
    """Return the clients of a test that may have something to send."""
    found = [each for each in _process.inhabitants() if isinstance(each, Telemetry)]
    return [client for client in found if client._options.test_dir == directory]


def _redirected(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(client: Telemetry, *arguments: Any, **named: Any) -> Any:
        return original(_of_this_test(client), *arguments, **named)

    return method


def _of_this_test(client: Telemetry) -> Telemetry:
    """Return the client, or its twin if it was made elsewhere."""
    environment, test = _config.environment(), _innermost()
    if test is None or not hasattr(client, "_options") or _belongs(client, environment):
        return client
    return _twin(client, environment, test.twins)


def _innermost() -> _Test | None:
    """Return the test that runs now. One look: another thread may end it meanwhile."""
    return next(iter(_tests[-1:]), None)


def _twin(client: Telemetry, environment: Environment, twins: dict[int, _Twin]) -> Telemetry:
    twin = twins.get(id(client))
    if twin is None or twin.environment != environment:  # a test that sets variables means this client
        if twin is not None:
            _close(twin.client)
        twins[id(client)] = twin = _Twin(client, Telemetry(**client._options.given), environment)
    return twin.client


def _belongs(client: Telemetry, environment: Environment) -> bool:
    """Whether a client was made in this test, for the server that it has by now."""
    options = client._options
    return options.test_dir == environment.test_dir and environment.test_base in {None, options.api_base}


def _close_all(directory: str) -> None:
    for client in clients(directory):
        _close(client)


def _close(client: Telemetry) -> None:
    """Give back what a client holds. Nothing is sent: the test's server, if there was one, is no longer named."""
    _shutdown(client)
    client._state = Lifecycle.DISABLED
    _process.move_out(client)
