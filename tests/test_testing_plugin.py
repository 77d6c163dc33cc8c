"""The pytest plugin, in runs of their own: a tool's tests, on a machine where everything could go wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests import harness

if TYPE_CHECKING:
    import pytest

    from producttelemetry.collector import RunningCollector

pytest_plugins = ["pytester"]

TOOL = Path(__file__).parent / "plugin"
PLUGIN = "pytest_producttelemetry"


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> pytest.RunResult:
    """Run tests with this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(harness.ROOT))
    return pytester.runpytest_subprocess("-p", PLUGIN, "-W", "error", *arguments)


def test_a_tools_own_tests(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, home: Path, collector: RunningCollector
) -> None:
    """They pass on a machine whose user has opted out, and neither the real server nor the user's files see them."""
    for name in ("mytool.py", "check_mytool.py"):
        shutil.copy(TOOL / name, pytester.path)
    config = home / ".config" / "producttelemetry" / "mytool"
    config.mkdir(parents=True)
    (config / "config.json").write_text('{"telemetry": false}')
    (config / "pending_events.json").write_text('{"events": []}')  # which a real client would take over and delete
    before = harness.tree(home)
    real = {"MYTOOL_SERVER": collector.url, "OPS_API_URL": collector.url}
    for name, value in {**real, "DO_NOT_TRACK": "1", "OPS_TELEMETRY": "0", "CI": "1"}.items():
        monkeypatch.setenv(name, value)
    run(pytester, monkeypatch, "check_mytool.py").assert_outcomes(passed=16)
    assert 0 == collector.journal.total
    assert before == harness.tree(home)


def test_a_run_that_does_not_use_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told what fixtures there are; nothing of the package is imported, and no variable is set."""
    pytester.makepyfile(
        """
        import os, sys

        def test_nothing():
            assert [] == [name for name in sys.modules if name.startswith("producttelemetry") or name == "httpx"]
            assert [] == [name for name in os.environ if name.startswith("OPS_")]
        """
    )
    run(pytester, monkeypatch).assert_outcomes(passed=1)
    listed = run(pytester, monkeypatch, "--fixtures")
    listed.stdout.fnmatch_lines(["telemetry_events*", "*plain dicts*", "collector*", "*real server*"])
