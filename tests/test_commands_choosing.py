"""`on` and `off`: the choice is written at once, and nothing from before `off` ever leaves the machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from producttelemetry import _config
from producttelemetry._detach import Task
from producttelemetry._detached import sender
from producttelemetry._queues import is_sending
from producttelemetry.collector.faults import Fault
from tests import harness
from tests.commands_support import config_dir, json_of, queue, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector

CHILDREN = "tests.children_commands"


def choice(home: Path, content: str | None = None) -> Path:
    """Return the project's `config.json`, with a content if one is given."""
    path = config_dir(home) / "config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_text(content)
    return path


def test_off_deletes_every_queue_and_on_does_not_bring_it_back(
    telemetry: Callable[..., Telemetry], collector: RunningCollector, home: Path
) -> None:
    """Both destinations are empty, the ledger counts it, other keys of the file stay, and nothing arrives later."""
    path = choice(home, '{"theme": "d\u00e4rk", "telemetry": true}')
    directories = [queue(telemetry, 3, api_url=collector.url), queue(telemetry, 2, write_key="other")]
    assert {"telemetry": False, "config": str(path), "deleted": 5, "sending": False} == {
        name: value for name, value in json_of("off").items() if name != "consent"
    }
    assert {"theme": "d\u00e4rk", "telemetry": False} == json.loads(path.read_text())
    assert 0o600 == path.stat().st_mode & 0o777
    assert [[], []] == [harness.segments(directory) for directory in directories]
    assert [3, 2] == [json.loads((each / "ledger.json").read_text())["dropped"]["purged"] for each in directories]
    assert "Nothing was waiting" in run("off").stdout
    assert {"enabled": True, "source": None} == json_of("on")["consent"]
    assert {"theme": "d\u00e4rk", "telemetry": True} == json.loads(path.read_text())
    assert 0 == run("flush", OPS_WRITE_KEY="key", OPS_API_URL=collector.url).returncode
    assert [] == harness.stored(collector)


@pytest.mark.parametrize("content", [None, "{", "[]", "", '{"telemetry": "no"}', '{"telemetry": 0, "telemetry": 1}'])
@pytest.mark.parametrize("command", ["on", "off"])
def test_a_choice_replaces_what_nobody_understands(content: str | None, command: str, home: Path) -> None:
    """A malformed file, or none, is no obstacle; people are told that it was replaced."""
    path = choice(home, content)
    ended = run(command)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert {"telemetry": command == "on"} == json.loads(path.read_text())
    assert (content is not None) == ("replaced" in ended.stdout)
    assert [] == [each for each in path.parent.iterdir() if each.name not in {"config.json", "client_id.lock"}]


@pytest.mark.parametrize(
    ("variables", "said"),
    [({"DO_NOT_TRACK": "1"}, "DO_NOT_TRACK is set"), ({"OPS_TELEMETRY": "0"}, "OPS_TELEMETRY is set")],
)
def test_on_says_which_variable_still_wins(variables: dict[str, str], said: str, home: Path) -> None:
    """The choice is stored, and does not pretend to work here."""
    ended = run("on", **variables)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert said in ended.stdout
    assert "Telemetry is on" not in ended.stdout
    assert {"telemetry": True} == json.loads(choice(home).read_text())
    assert {"enabled": False, "source": next(iter(variables))} == json_of("on", **variables)["consent"]


def test_on_says_that_events_are_only_printed() -> None:
    """`OPS_TELEMETRY=log` is no opt-out, but nothing is sent either."""
    assert "events are printed, and neither stored nor sent" in " ".join(run("on", OPS_TELEMETRY="log").stdout.split())


@pytest.mark.parametrize("content", ['{"telemetry": false, "a": 1}', "{"])
def test_on_also_turns_the_second_file_around(content: str, home: Path, tmp_path: Path) -> None:
    """The literal ~/.config counts beside the platform's path; one that does not say no is left as it is."""
    second = choice(home, content)
    assert {"enabled": True, "source": None} == json_of("on", XDG_CONFIG_HOME=str(tmp_path / "xdg"))["consent"]
    assert json.loads(second.read_text())["telemetry"] is True
    second.write_text('{"a": 1}')
    json_of("on", XDG_CONFIG_HOME=str(tmp_path / "xdg"))
    assert '{"a": 1}' == second.read_text()
    first = tmp_path / "xdg" / "producttelemetry" / "default" / "config.json"
    assert {"telemetry": True} == json.loads(first.read_text())


def test_a_link_to_a_file_of_the_users_stays_a_link(home: Path, tmp_path: Path) -> None:
    """Who keeps such files elsewhere finds the choice there."""
    elsewhere = tmp_path / "dotfiles.json"
    elsewhere.write_text('{"a": 1}')
    choice(home).symlink_to(elsewhere)
    assert 0 == run("off").returncode
    assert choice(home).is_symlink()
    assert {"a": 1, "telemetry": False} == json.loads(elsewhere.read_text())


def test_no_home_is_one_line(home: Path) -> None:
    """A choice that can be stored nowhere fails, and says what works instead; `status` says that there is no place."""
    settings = {"argv": ["off"]}
    ended = harness.run("without_home", json.dumps(settings), module=CHILDREN)
    assert (1, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
    assert "DO_NOT_TRACK=1" in ended.stderr
    status = harness.run("without_home", json.dumps({"argv": ["status", "--json"]}), module=CHILDREN)
    assert (0, None) == (status.returncode, json.loads(status.stdout)["config_dir"])
    assert [] == list(home.iterdir())


def ask(program: subprocess.Popen[str], what: str) -> str:
    """Have a program do something; return what it says when it has."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(f"{what}\n")
    program.stdin.flush()
    return program.stdout.readline().strip()


@pytest.mark.parametrize("command", ["off", "off then on"])
def test_off_reaches_a_program_that_is_running(
    command: str, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """What it has tracked before is never sent; after `off` it collects nothing, after `on` again what is new."""
    settings = {"url": collector.url, "name": "running", "arguments": {"flush_at": 1000, "flush_interval": 1000}}
    with harness.start("on_request", json.dumps(settings), module=CHILDREN, stdin=subprocess.PIPE) as program:
        assert ["True"] * 3 == [ask(program, "track") for _ in range(3)]
        assert 3 == json_of("off")["deleted"]
        if command == "off":
            assert "False" == ask(program, "flush")
            ask(program, "track")
        else:
            json_of("on")
            assert ["True"] * 2 == [ask(program, "track"), ask(program, "flush")]
        assert program.stdin is not None
        program.stdin.close()
    telemetry(api_url=collector.url).flush()
    before = {f"running.{number}" for number in range(3)}
    assert not before & {event["event_name"] for event in harness.stored(collector)}


def test_off_stops_a_detached_sender(
    telemetry: Callable[..., Telemetry], collector: RunningCollector, home: Path
) -> None:
    """Once `off` has said so no further request leaves, although the sender had everything; nor after `on`."""
    collector.faults.set(Fault(latency_seconds=3))
    settings = {
        "url": collector.url,
        "events": 1500,
        "arguments": {"on_exit": "detach", "max_queue_size": 5000, "flush_at": 9999},
    }
    ended = harness.run("left_behind", json.dumps(settings), module=CHILDREN)
    assert (0, "1500") == (ended.returncode, ended.stdout.strip())
    harness.wait_until(lambda: collector.store.counts().accepted > 0)
    assert json_of("off")["sending"] is False
    (directory,) = (config_dir(home) / "spool" / "v1").iterdir()
    assert not is_sending(str(directory))
    arrived = len(harness.stored(collector))
    assert arrived < 1500
    json_of("on")
    collector.faults.clear()
    telemetry(api_url=collector.url).flush()
    assert arrived == len(harness.stored(collector))


def test_off_does_not_wait_for_a_sender_that_lingers(telemetry: Callable[..., Telemetry]) -> None:
    """A detached sender with nothing to do gives the lock back when it finds that telemetry is off."""
    directory = queue(telemetry, 1)
    for name in harness.segments(directory):
        (directory / name).unlink()
    project = _config.paths("default")
    task = Task("key", f"{harness.NO_SERVER}/api", *project, str(directory))
    ended: list[str] = []
    lingering = threading.Thread(target=lambda: ended.append(sender(task).drain(linger=100.0)))
    lingering.start()
    harness.wait_until(lambda: is_sending(str(directory)))
    assert json_of("off")["sending"] is False
    lingering.join(30)
    assert ["stopped"] == ended


def test_off_and_on_forget_what_waits_in_memory(
    telemetry: Callable[..., Telemetry], collector: RunningCollector, home: Path
) -> None:
    """The disk has never worked, so that `off` finds nothing to delete, and nobody has looked between the two."""
    spool = config_dir(home) / "spool"
    spool.parent.mkdir(parents=True)
    spool.write_text("no directory")
    client = telemetry(collector.url, flush_at=10**6, flush_interval=1000.0)
    client.track("before.off")
    assert 1 == client.stats().volatile
    assert [0, 0] == [run(command).returncode for command in ("off", "on")]
    client.flush()
    client.track("after.on")
    client.flush()
    assert ["after.on"] == [event["event_name"] for event in harness.stored(collector)]


def test_two_choices_at_once_leave_one_whole_file(home: Path) -> None:
    """Commands that write at the same moment do not write into each other's file."""
    code = "import sys; from producttelemetry.cli import main; sys.exit(max(main([sys.argv[1]]) for _ in range(40)))"
    programs = [
        subprocess.Popen([sys.executable, "-c", code, command], stdout=subprocess.DEVNULL) for command in ("on", "off")
    ]
    assert 1 >= programs[0].wait(), "somebody may have turned it off again, and then `on` has not succeeded"
    assert 0 == programs[1].wait()
    assert json.loads(choice(home).read_text()) in ({"telemetry": True}, {"telemetry": False})
