"""The pytest plugin of `producttelemetry`: the fixtures `telemetry_events` and `collector`.

pytest imports the plugins of all installed packages at the start of each run, before it measures coverage. So this
module lies outside of the package and imports nothing of it until a test asks for a fixture: a run that does not pays
for one small file, and what the package's own tests measure is complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from producttelemetry.testing import Collector, Events, Isolation


@pytest.fixture
def _telemetry_isolation(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Isolation]:
    # The variables go the way of `monkeypatch`, because the test may set some of them with it, too: then all of them
    # are taken back in the reverse order, whichever fixture came first.
    from producttelemetry.testing import Isolation  # see above

    isolation = Isolation(tmp_path_factory.mktemp("telemetry"))
    set_variables(monkeypatch, isolation.variables())
    with isolation:
        yield isolation


@pytest.fixture
def telemetry_events(_telemetry_isolation: Isolation) -> Events:
    """Everything that is tracked in this test, here and in child processes: a sequence of plain dicts.

    Nothing is sent, and nothing of the machine's user is read or written; see `producttelemetry.testing`.
    """
    return _telemetry_isolation.events


@pytest.fixture
def collector(_telemetry_isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> Generator[Collector]:
    """A real server on a free port, to which this test and its child processes send whatever they track.

    It has `url`, `events` and `faults`; see `producttelemetry.testing`. Needs the extra `collector`.
    """
    from producttelemetry.testing import Collector  # see above

    with Collector() as running:
        set_variables(monkeypatch, _telemetry_isolation.collecting(running.url))
        yield running
        monkeypatch.delenv("OPS_TEST_URL", raising=False)  # what is left is not sent any more


def set_variables(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str | None]) -> None:
    """Set variables for the rest of a test, in their order; None takes one away."""
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
