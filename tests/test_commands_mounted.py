"""The commands inside a host's tool, the first-run notice, and what a shell does to a command."""

from __future__ import annotations

import argparse
import json
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

import pytest

from producttelemetry import _config, cli
from producttelemetry import _files as files
from producttelemetry._commands import _notice
from tests import harness
from tests.commands_support import COMMAND, config_dir, json_of, queue, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector

CHILDREN = "tests.children_commands"
COMMANDS = ("status", "show", "check", "flush", "on", "off", "forget")
NOTICE = "This tool reports its use.\r\n"


def tool() -> tuple[argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]]:
    """Return a host's parser, with an option of its own, and where its commands go."""
    parser = argparse.ArgumentParser(prog="mytool")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--project")
    return parser, parser.add_subparsers(required=True)


@pytest.fixture(autouse=True)
def _buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children buffer their output, as they do for users: what is wrong with it shows only when they end."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


# --- in a host's tool -------------------------------------------------------------------------------------------------


def test_a_host_adds_the_commands_to_its_own_parser(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They act on the host's project, have its name in hints, and leave its own options alone."""
    parser, subparsers = tool()
    cli.add_to(subparsers, project_slug="mytool")
    arguments = parser.parse_args(["--project", "p", "telemetry", "off", "--json"])
    assert ("p", False) == (arguments.project, arguments.json)
    assert 0 == arguments.run(arguments)
    assert str(config_dir(home, "mytool") / "config.json") == json.loads(capsys.readouterr().out)["config"]
    arguments = parser.parse_args(["telemetry", "flush"])
    assert 2 == arguments.run(arguments)
    assert capsys.readouterr().err.startswith("mytool telemetry flush: set OPS_WRITE_KEY")
    with pytest.raises(SystemExit):
        parser.parse_args(["telemetry", "status", "--project", "other"])


def test_a_host_with_another_idiom(collector: RunningCollector) -> None:
    """`set_defaults(func=...)` fits tools that call `func`; key and server are the host's, not the environment's."""
    parser, subparsers = tool()
    added = cli.add_to(subparsers, project_slug="mytool", write_key="key", api_url=collector.url, name="usage")

    def run_it(arguments: argparse.Namespace) -> int:
        status: int = arguments.run(arguments)
        return status

    added.set_defaults(func=run_it)
    arguments = parser.parse_args(["usage", "flush"])
    assert 0 == arguments.func(arguments)


def test_main_with_a_slug_offers_no_other_project(capsys: pytest.CaptureFixture[str]) -> None:
    """Nor the commands for developers; with the host's name everywhere."""
    assert 0 == cli.main(["--help"], project_slug="mytool", prog="mytool telemetry")
    said = capsys.readouterr().out
    assert "usage: mytool telemetry" in said
    assert all(command in said for command in COMMANDS)
    assert "demo" not in said
    assert "collector" not in said
    assert 2 == cli.main(["status", "--project", "x"], project_slug="mytool", prog="mytool telemetry")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"project_slug": "a/b"}, "project_slug"),
        ({"project_slug": "a", "write_key": "a b"}, "write_key"),
        ({"project_slug": "a", "api_url": "x"}, "api_url"),
    ],
)
def test_a_wrong_value_of_the_hosts_raises(arguments: dict[str, str], said: str) -> None:
    """As in the constructor: it is the author's mistake, and not the user's."""
    with pytest.raises(ValueError, match=said):
        cli.main(["status"], **arguments)
    with pytest.raises(ValueError, match=said):
        cli.add_to(tool()[1], **arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_refuses_a_wrong_slug(command: str, home: Path) -> None:
    """Help says what it does; a slug that is none is one line, status 2, and no file."""
    helped = run(command, "--help")
    assert (0, "") == (helped.returncode, helped.stderr)
    assert "--json" in helped.stdout
    assert "--project SLUG" in helped.stdout
    ended = run(command, "--project", "../x")
    assert (2, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
    assert "'../x'" in ended.stderr
    assert [] == list(home.iterdir())


def test_projects_are_apart(telemetry: Callable[..., Telemetry], home: Path) -> None:
    """`--project` says whose consent and whose queue it is."""
    queue(telemetry, 1, project_slug="one")
    queue(telemetry, 2, project_slug="two")
    assert 1 == json_of("off", "--project", "one")["deleted"]
    assert [False, True] == [json_of("status", "--project", slug)["consent"]["enabled"] for slug in ("one", "two")]
    assert 2 == len(run("show", "--project", "two").stdout.splitlines())
    assert not config_dir(home).exists()


# --- in a shell -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["show"], ["status"], ["status", "--json"], ["check"], ["--help"], ["off"]])
def test_a_reader_that_has_had_enough(command: list[str], telemetry: Callable[..., Telemetry]) -> None:
    """`show | head -1`: nobody complains."""
    queue(telemetry, 600)
    with subprocess.Popen([*COMMAND, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert b"" == program.stderr.read()
    assert 1 == program.returncode


@pytest.mark.parametrize("command", ["status", "show", "check", "off", "--help"])
def test_closed_and_full_outputs(command: str, telemetry: Callable[..., Telemetry]) -> None:
    """Without standard streams, and where nothing can be written, a command does its work and says one line at most."""
    queue(telemetry, 1)
    shell = f"{sys.executable} -m producttelemetry {command} <&- >&- 2>&-"
    assert 0 == subprocess.run(["sh", "-c", shell], check=False, cwd=harness.ROOT, timeout=60).returncode
    if os.path.exists("/dev/full"):
        full = f"{sys.executable} -m producttelemetry {command} >/dev/full"
        ended = subprocess.run(["sh", "-c", full], check=False, cwd=harness.ROOT, timeout=60, capture_output=True)
        assert (1, 1) == (ended.returncode, ended.stderr.count(b"\n"))
        assert b"No space left" in ended.stderr


def test_an_output_that_lacks_characters(telemetry: Callable[..., Telemetry]) -> None:
    """A terminal with another encoding gets escapes, and no error."""
    directory = queue(telemetry, 1)
    (directory / "destination.json").write_text(json.dumps({"api_url": "http://d\u00e4mon/api"}))
    ended = run("status", PYTHONIOENCODING="ascii")
    assert (0, "") == (ended.returncode, ended.stderr)
    assert "http://d\\xe4mon/api" in ended.stdout


def test_ctrl_c_while_it_starts() -> None:
    """Whenever it comes, also while modules are imported: no traceback."""
    code = (
        "import signal, sys; from producttelemetry import cli, _config;"
        "_config.paths = lambda *_: signal.raise_signal(signal.SIGINT);"
        "sys.argv = ['producttelemetry', 'status']; cli.entry_point()"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, cwd=harness.ROOT, timeout=60, capture_output=True)
    assert (130, b"", b"") == (ended.returncode, ended.stdout, ended.stderr)


def test_ctrl_c_in_a_hosts_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host gets a status, and no exception."""

    def interrupted(_: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(_config, "paths", interrupted)
    try:
        status = cli.main(["status"], project_slug="mytool", prog="mytool telemetry")
    except KeyboardInterrupt:  # it would end the test run
        pytest.fail("the interrupt reached the host")
    assert 130 == status


@pytest.mark.parametrize("plain", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_on_a_terminal_only(plain: dict[str, str]) -> None:
    """And not with NO_COLOR or on a terminal without them."""
    assert "\x1b" not in run("status").stdout
    assert ("\x1b[" in on_terminal([*COMMAND, "status"], **plain)) == (not plain)


# --- the notice -------------------------------------------------------------------------------------------------------


def on_terminal(command: list[str], **variables: str) -> str:
    """Run a program whose stdout and stderr are a terminal of 80 columns; return what it shows."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", **variables}
    with subprocess.Popen(command, env=environment, cwd=harness.ROOT, stdout=follower, stderr=follower) as program:
        os.close(follower)
        shown = b""
        while part := read_terminal(leader):
            shown += part
    os.close(leader)
    assert 0 == program.returncode
    return shown.decode()


def read_terminal(leader: int) -> bytes:
    """Return what a terminal shows next; nothing when its last program has ended."""
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux says so with EIO
        return b""


def notice(slug: str = "mytool", **variables: str) -> str:
    """Run a program with a notice on a terminal; return what it shows."""
    settings = json.dumps({"project_slug": slug})
    return on_terminal([sys.executable, "-m", CHILDREN, "notice", settings], **variables)


def test_the_notice_is_shown_once_per_project(home: Path) -> None:
    """On a terminal; remembered in a private file of its own; nothing of it in the second run."""
    assert f"{NOTICE}True False\r\n" == notice()
    (remembered,) = config_dir(home, "mytool").iterdir()
    assert (0o600, 0o700) == (remembered.stat().st_mode & 0o777, remembered.parent.stat().st_mode & 0o777)
    assert "False False\r\n" == notice()
    assert f"{NOTICE}True False\r\n" == notice("other")


@pytest.mark.parametrize(
    "variables", [{"CI": "true"}, {"GITHUB_ACTIONS": "true"}, {"DO_NOT_TRACK": "1"}, {"OPS_TELEMETRY": "0"}]
)
def test_no_notice_where_nobody_reads_or_nothing_is_reported(variables: dict[str, str], home: Path) -> None:
    """And nothing is remembered: it is shown when there is somebody to read it."""
    assert "False False\r\n" == notice(**variables)
    assert "False False\r\n" == notice(OPS_TELEMETRY="log")
    assert [] == list(home.iterdir())
    assert f"{NOTICE}True False\r\n" == notice()


def test_no_notice_after_off() -> None:
    """Who has turned it off is not told how to."""
    assert 0 == run("off", "--project", "mytool").returncode
    assert "False False\r\n" == notice()


def test_no_notice_without_a_terminal(home: Path) -> None:
    """A pipe, a log or no stderr at all gets nothing, and no file comes into being."""
    ended = harness.run("notice", json.dumps({"project_slug": "mytool"}), module=CHILDREN)
    assert (0, "False False\n", "") == (ended.returncode, ended.stdout, ended.stderr)
    shell = f"""{sys.executable} -m {CHILDREN} notice '{{"project_slug": "mytool"}}' 2>&-"""
    closed = subprocess.run(["sh", "-c", shell], cwd=harness.ROOT, capture_output=True, check=False, timeout=60)
    assert (0, b"False False\n") == (closed.returncode, closed.stdout)
    assert [] == list(home.iterdir())


@pytest.mark.parametrize("slug", ["../x", ""])
def test_a_notice_that_cannot_be_remembered_is_not_shown(slug: str, home: Path) -> None:
    """Nor raises: a slug that is none, a file where the directory should be."""
    assert "False False\r\n" == notice(slug)
    (home / ".config").write_text("in the way")
    assert "False False\r\n" == notice()
    assert [".config"] == [each.name for each in home.iterdir()]


def test_of_many_programs_at_once_one_shows_the_notice() -> None:
    """They start together, as a script's do."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", CHILDREN, "notice", '{"project_slug": "mytool"}']
    programs = [
        subprocess.Popen(command, cwd=harness.ROOT, stdout=subprocess.PIPE, stderr=follower, text=True)
        for _ in range(6)
    ]
    os.close(follower)
    said = [program.communicate(timeout=60)[0] for program in programs]
    assert NOTICE.encode() == os.read(leader, 65536)
    os.close(leader)
    assert ["False False\n"] * 5 + ["True False\n"] == sorted(said)


def test_a_notice_that_another_program_has_just_shown_is_not_shown_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one comes between our look and our turn."""
    assert _notice.show_once("shown", "mytool")
    monkeypatch.setattr(files, "exists", {}.get)  # nothing exists
    assert not _notice.show_once("shown", "mytool")
    assert "shown\n" == capsys.readouterr().err


def test_sigterm_ends_a_command() -> None:
    """The commands install no handler of their own: a signal ends them as it ends every program."""
    before = signal.getsignal(signal.SIGTERM)
    assert 0 == cli.main(["--version"])
    assert before == signal.getsignal(signal.SIGTERM)
