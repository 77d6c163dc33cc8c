"""The commands as people run them: output, exit status, and no traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from producttelemetry import cli
from tests import harness

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "producttelemetry"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_the_demo_shows_that_nothing_is_lost(home: Path) -> None:
    """Three processes, one killed: the table, the verdict, status 0, and nothing left in the user's home."""
    ended = run("demo")
    assert (0, "") == (ended.returncode, ended.stderr)
    rows = [[int(field) for field in row.split()[:6]] for row in ended.stdout.splitlines() if re.match(r"\s+\d", row)]
    assert [0, 1, 2] == [row[0] for row in rows]
    assert [300, 300] == [rows[0][1], rows[2][1]]
    assert 150 <= rows[1][1] < 300
    for _, accepted, delivered, *wrong in rows:
        assert delivered in {accepted, accepted + 1}
        assert [0, 0, 0] == wrong
    assert ended.stdout.endswith("Nothing was lost, doubled or invented.\n")
    assert [] == list(home.iterdir())


def test_the_demo_fails_if_an_event_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verdict is a comparison and not a sentence: with one event fewer it is another one."""
    from producttelemetry import _demo  # noqa: PLC0415  # imports httpx, which the command does only for the demo

    compare = _demo._compare

    def one_more(url: str, accepted: list[int]) -> list[_demo.Row]:
        return compare(url, [accepted[0] + 1, *accepted[1:]])

    monkeypatch.setattr(_demo, "_compare", one_more)
    assert 1 == cli.main(["demo"])
    assert "FAILED" in capsys.readouterr().out


def test_the_collector_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """It says where it is, serves, keeps events in a file, and ends with status 0 on Ctrl-C and on SIGTERM."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        arguments = [*COMMAND, "collector", "--port", "0", "--store", str(tmp_path / "events.db")]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stderr is not None
            url = server.stdout.readline().split()[2]
            assert "ok" == httpx.get(f"{url}/health", verify=False).json()["status"]
            server.send_signal(ending)
            assert ("", "") == (server.stdout.read(), server.stderr.read())
        assert 0 == server.returncode
    assert (tmp_path / "events.db").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "required: COMMAND"),
        (["nonsense"], 2, "nonsense"),
        (["collector", "--port", "x"], 2, "--port"),
        (["collector", "--port", "99999"], 1, "65535"),
        (["collector", "--port", "0", "--store", "/nowhere/events.db"], 1, "/nowhere"),
    ],
)
def test_wrong_usage_is_one_readable_message(arguments: list[str], status: int, said: str) -> None:
    """No traceback, the status of its kind, and the name of what is wrong."""
    ended = run(*arguments)
    assert (status, "") == (ended.returncode, ended.stdout)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_version_and_help() -> None:
    """Both print to stdout and end well."""
    assert "producttelemetry 0.1.0\n" == run("--version").stdout
    helped = run("--help")
    assert 0 == helped.returncode
    assert all(command in helped.stdout for command in ("collector", "demo"))


def test_a_closed_pipe_is_no_error() -> None:
    """`producttelemetry demo | head -1`: the reader has had enough, and nobody complains."""
    with subprocess.Popen([*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        demo.stdout.close()
        assert "" == demo.stderr.read()
    assert 1 == demo.returncode


def test_a_host_mounts_the_commands_under_its_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    """`main(argv, prog=…)` returns the status and shows the host's name."""
    assert 2 == cli.main([], prog="mytool telemetry")
    assert "mytool telemetry: the following arguments are required: COMMAND" in capsys.readouterr().err


def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    """The collector's libraries are missing: one line that names the extra."""
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('starlette', name='starlette')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in ("collector", "demo"):
        ended = subprocess.run(
            [*COMMAND, command],
            env=environment,
            cwd=harness.ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (1, "") == (ended.returncode, ended.stdout)
        assert 'pip install "producttelemetry[collector]"' in ended.stderr
        assert 1 == ended.stderr.count("\n")
