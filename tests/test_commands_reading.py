"""`status`, `show`, `check`: what is there, exactly, and nothing changed by looking."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producttelemetry import __version__
from producttelemetry._commands import _screen as screen
from tests import harness
from tests.commands_support import COMMAND, config_dir, json_of, queue, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producttelemetry import Telemetry

CHILDREN = "tests.children_commands"
REASONS = {"overflow", "too_large", "invalid", "before_send", "rejected", "corrupt", "purged", "memory"}


def test_status_of_a_machine_that_never_saw_the_package(home: Path) -> None:
    """Everything is there, empty, and no file comes into being."""
    assert json_of("status") == {
        "consent": {"enabled": True, "source": None},
        "client_id": None,
        "config_dir": str(config_dir(home)),
        "destinations": [],
        "version": __version__,
    }
    assert "Telemetry is on." in run("status").stdout
    assert "" == run("show").stdout
    assert {"sound": True, "destinations": []} == json_of("check")
    assert [] == list(home.iterdir())


def test_status_covers_every_destination(telemetry: Callable[..., Telemetry], home: Path) -> None:
    """The shape is the documented one; each queue has its own numbers, as `stats()` gives them."""
    first = telemetry(max_queue_size=2)
    for number in range(3):
        first.track("test.event", {"number": number})
    first.flush()
    harness.discard(first)  # or it would try again
    stats = first.stats()
    second = queue(telemetry, 1, api_url="http://name:secret@127.0.0.1:7", write_key="other")
    facts = json_of("status")
    assert ["consent", "client_id", "config_dir", "destinations", "version"] == list(facts)
    assert (config_dir(home) / "client_id").read_text().strip() == facts["client_id"]
    found = {each["spool_dir"]: each for each in facts["destinations"]}
    assert {str(stats.spool_dir), str(second)} == set(found)
    offline = found[str(stats.spool_dir)]
    assert stats.oldest_pending is not None
    assert stats.retry_at is not None
    assert stats.oldest_pending == datetime.fromisoformat(offline["oldest_pending"])
    assert stats.retry_at == datetime.fromisoformat(offline["retry_at"] or stats.retry_at.isoformat())
    assert offline == {
        "api_url": f"{harness.NO_SERVER}/api",
        "spool_dir": str(stats.spool_dir),
        "pending": 2,
        "pending_bytes": stats.pending_bytes,
        "oldest_pending": offline["oldest_pending"],
        "delivered": 0,
        "dropped": {**dict.fromkeys(REASONS, 0), "overflow": 1},
        "retry_at": offline["retry_at"],
        "last_error": stats.last_error,
    }
    other = found[str(second)]
    assert ("http://127.0.0.1:7/api", 1, None, None) == (
        *(other["api_url"], other["pending"], other["retry_at"], other["last_error"]),
    )
    said = run("status").stdout
    assert all(part in said for part in ("2 events", "1 overflow", "1 event,", "http://127.0.0.1:7/api", "refused"))
    assert "secret" not in said
    assert max(len(line) for line in said.splitlines() if "Queue" not in line and "Directory" not in line) <= 80


@pytest.mark.parametrize(
    ("variables", "config", "source"),
    [
        ({"DO_NOT_TRACK": "1"}, "", "DO_NOT_TRACK"),
        ({"OPS_TELEMETRY": "off"}, "", "OPS_TELEMETRY"),
        ({}, '{"telemetry": false}', "config.json"),
        ({}, "{", "config.json"),
        ({"DO_NOT_TRACK": "1", "OPS_TELEMETRY": "0"}, "{", "DO_NOT_TRACK"),
    ],
)
def test_status_names_the_source_that_decided(variables: dict[str, str], config: str, source: str, home: Path) -> None:
    """In JSON and for people; the exit status is 0 all the same."""
    if config:
        config_dir(home).mkdir(parents=True)
        (config_dir(home) / "config.json").write_text(config)
    assert {"enabled": False, "source": source} == json_of("status", **variables)["consent"]
    said = run("status", **variables).stdout
    assert "Telemetry is off." in said
    assert source in said
    assert (config == "{" and source == "config.json") == ("cannot be understood" in " ".join(said.split()))


def test_show_prints_the_bytes_that_would_be_sent(telemetry: Callable[..., Telemetry], home: Path) -> None:
    """Line for line, of every destination, with and without --json; not what is damaged or erased."""
    directory = queue(telemetry, 3)
    queue(telemetry, 1, write_key="other")
    lines = [(directory / name).read_bytes() for name in harness.segments(directory)]
    shown = subprocess.run([*COMMAND, "show"], capture_output=True, check=True, timeout=60).stdout
    assert b"".join(lines) in shown
    assert 4 == shown.count(b"\n")
    assert shown.decode() == run("show", "--json").stdout
    with (directory / harness.segments(directory)[0]).open("ab") as segment:
        segment.write(b"{damaged\n")
    assert shown.decode() == run("show").stdout
    (config_dir(home) / "erased").write_text((config_dir(home) / "client_id").read_text())
    assert "" == run("show").stdout


def test_show_sees_what_a_living_program_holds(telemetry: Callable[..., Telemetry]) -> None:
    """Events of an open segment are pending, too."""
    client = telemetry()
    client.track("test.event", {"number": 7})
    assert [7] == harness.numbers([json.loads(run("show").stdout)])


def test_looking_changes_nothing(telemetry: Callable[..., Telemetry], home: Path) -> None:
    """Not a byte, on a sound queue and on a broken one; and `check` says what is broken."""
    directory = queue(telemetry, 3)
    before = harness.tree(home)
    assert {"sound": True} == {name: value for name, value in json_of("check").items() if name == "sound"}
    (name,) = harness.segments(directory)
    (directory / name).write_bytes(before[str(directory / name)] + b"{damaged\n")
    (directory / "strange").write_text("x")
    before = harness.tree(home)
    broken = run("check", "--json")
    assert (1, "") == (broken.returncode, broken.stderr)
    value = json.loads(broken.stdout)
    assert (False, [f"{harness.NO_SERVER}/api"]) == (
        value["sound"],
        [each["api_url"] for each in value["destinations"]],
    )
    problems = value["destinations"][0]["problems"]
    assert 3 == len(problems)
    said = run("check")
    assert (1, "") == (said.returncode, said.stderr)
    assert "3 problems" in said.stdout
    assert all(
        part in " ".join(said.stdout.split())
        for part in ("strange: not a name", "1 line is not valid", "the others are sent")
    )
    assert "report this" not in said.stdout
    for command in ("status", "show", "check"):
        run(command)
    assert before == harness.tree(home)


def test_looking_imports_no_network(telemetry: Callable[..., Telemetry]) -> None:
    """`status` starts fast: neither httpx nor filelock nor rich is imported for it."""
    queue(telemetry, 1)
    code = (
        "import sys; from producttelemetry.cli import main; main(['status']); main(['show']); main(['check']);"
        "print([name for name in ('httpx', 'filelock', 'rich') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "[]" == ended.stdout.splitlines()[-1]


def test_a_value_from_outside_cannot_steer_a_terminal(telemetry: Callable[..., Telemetry]) -> None:
    """An error of a server and an address on disk with escape sequences in them come out without."""
    directory = queue(telemetry, 1)
    (directory / "destination.json").write_text(json.dumps({"api_url": "http://x/\x1b[2J\x9b31m\u202e"}))
    state = {"failures": 1, "not_before": 0.0, "by_server": False, "last_error": "503 \x1b]0;title\x07\nsecond line"}
    (directory / "retry.json").write_text(json.dumps(state))
    for command in ("status", "check"):
        said = run(command).stdout
        assert [] == re.findall(r"[^\x20-\x7e\n\N{REPLACEMENT CHARACTER}]", said)
    assert "second line" in run("status").stdout


@pytest.fixture
def open_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that other users can look into; pytest closes its own whenever somebody else starts it."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        monkeypatch.setenv("HOME", place)
        yield Path(place)


def test_no_permission_is_one_line_and_changes_nothing(
    telemetry: Callable[..., Telemetry], open_home: Path, tmp_path: Path
) -> None:
    """Another user's directory: `status` still ends well, the others fail, and none of them touches anything."""
    home = open_home
    queue(telemetry, 1)
    for place in (home / ".config", home / ".config" / "producttelemetry", config_dir(home)):
        place.chmod(0o755)
    before = harness.tree(home)
    settings = {"elsewhere": str(tmp_path / "elsewhere")}
    status = harness.run("as_nobody", json.dumps({**settings, "argv": ["status", "--json"]}), module=CHILDREN)
    facts = json.loads(status.stdout)
    assert (0, []) == (status.returncode, facts["destinations"])
    assert "Permission denied" in status.stderr
    for command in (["show"], ["check"], ["off"], ["on"], ["flush"], ["forget"]):
        ended = harness.run("as_nobody", json.dumps({**settings, "argv": command}), module=CHILDREN)
        assert (1, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
        assert "Permission denied" in ended.stderr
    assert before == harness.tree(home)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "just now"),
        (4, "just now"),
        (-0.3, "now"),
        (5, "5 seconds ago"),
        (60, "1 minute ago"),
        (200, "3 minutes ago"),
        (7200, "2 hours ago"),
        (86400 * 1500, "1,500 days ago"),
        (-12, "in 12 s"),
        (-90, "in 1 min"),
        (-86400, "in 1 d"),
    ],
)
def test_relative_times(seconds: float, expected: str) -> None:
    """A time reads as people say it."""
    now = datetime.now(UTC)
    assert expected == screen.relative(now - timedelta(seconds=seconds), now)


def test_sizes_and_lines() -> None:
    """Sizes have the unit that fits; a row breaks at spaces and goes on below its value, never beyond 80 columns."""
    assert ["0 B", "1,023 B".replace(",", ""), "1.0 KiB", "12.3 KiB", "2.0 MiB"] == [
        screen.size(number) for number in (0, 1023, 1024, 12595, 2 << 20)
    ]
    laid_out = list(screen.rows([("Last error", "word " * 30, None)]))
    assert 3 == len(laid_out)
    assert all(len(line) <= 80 and line[14] == "w" for line in laid_out)
    assert ["a" * 100, "b"] == screen.wrap(f"{'a' * 100} b")
