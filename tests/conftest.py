"""What every test stands on: a home of its own, no trace of the machine's settings, a real collector when asked for."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import Telemetry
from producttelemetry.collector import RunningCollector
from tests import harness
from tests.oracle import Oracle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

_FOREIGN = ("OPS_", "XDG_", "CI", "DO_NOT_TRACK", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TEAMCITY_VERSION")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


_start_new_thread = _thread.start_new_thread


def _start_measured_thread(function: Callable[..., object], arguments: tuple[object, ...]) -> int:
    """Start a thread that coverage sees; on its own it sees those of `threading` only (before `sys.monitoring`)."""

    def run(*given: object) -> None:
        sys.settrace(threading.gettrace())
        function(*given)

    return _start_new_thread(run, arguments)


# A shell that starts us in the background has Ctrl-C ignored, and children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

if threading.gettrace() is not None:
    _thread.start_new_thread = _start_measured_thread  # type: ignore[assignment]  # of two signatures we need one


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point every path of the package into the test's own directory, here and in children."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name in _PROXIES or name in {"TF_BUILD", "JENKINS_URL"}:
            monkeypatch.delenv(name)
    place = tmp_path / "home"
    place.mkdir()
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(place))
    return place


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a report go from a worker to the terminal: both ends of that pipe insist on UTF-8, and some logs are odd."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def no_defects(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which a public method caught a defect of ours: hosts never see one, and nor would the tests.

    The marker `defects` is for tests that cause some on purpose.
    """
    yield
    if request.node.get_closest_marker("defects") is None:
        told = [record.getMessage() for phase in ("setup", "call") for record in caplog.get_records(phase)]
        assert [] == [message for message in told if "a defect of this package" in message]


@pytest.fixture
def collector() -> Iterator[RunningCollector]:
    """A real collector on a free loopback port."""
    with RunningCollector() as running:
        yield running


@pytest.fixture
def oracle(tmp_path: Path, collector: RunningCollector, telemetry: Callable[..., Telemetry]) -> Oracle:
    """Find out what became of every event that clients with `collector.url` track."""
    return Oracle(tmp_path / "journals", collector, telemetry)


@pytest.fixture
def telemetry() -> Iterator[Callable[..., Telemetry]]:
    """Make clients that leave no thread, handler or descriptor behind; without a server they are offline."""
    made: list[Telemetry] = []

    def make(api_url: str = harness.NO_SERVER, write_key: str = "key", **arguments: Any) -> Telemetry:
        options: dict[str, Any] = {"on_exit": "keep", **arguments}
        made.append(Telemetry(write_key, api_url, **options))
        return made[-1]

    yield make
    for client in made:
        harness.discard(client)
