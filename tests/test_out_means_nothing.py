"""Opted out, by whichever source: nothing is created, started, connected or imported; the interpreter tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from producttelemetry import _config
from producttelemetry._detach import _BOOT, Task
from tests import harness

if TYPE_CHECKING:
    from pathlib import Path

    from producttelemetry.collector import RunningCollector

CONFIG = ".config/producttelemetry"
OUT = '{"telemetry": false}'
#: Reads of the choice itself, for both slugs that the host uses.
READS = {f"read /{CONFIG}/{slug}/config.json" for slug in ("default", "tool")}


def watch(url: str, variables: dict[str, str], **arguments: Any) -> tuple[set[str], str]:
    """Run a host that is watched; return what it did that somebody could notice, and what it printed."""
    reader, writer = os.pipe()
    settings = json.dumps({"url": url, "report": writer, "arguments": arguments})
    command = [sys.executable, "-B", "-m", "tests.children_out", settings]
    environment = {**harness.unmeasured(), **variables}  # what coverage writes is not ours
    with os.fdopen(reader, "rb") as reports:
        ended = subprocess.run(
            command, cwd=harness.ROOT, env=environment, pass_fds=[writer], capture_output=True, text=True, check=False
        )
        os.close(writer)
        done = {line.decode().rstrip() for line in reports}
    assert (0, "") == (ended.returncode, ended.stdout)
    return done, ended.stderr


def names(home: Path) -> list[str]:
    """Return everything that is in the home."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ({}, {"disabled": True}),
        ({"DO_NOT_TRACK": "1"}, {}),
        ({"OPS_TELEMETRY": "0"}, {}),
        ({"DO_NOT_TRACK": "1", "OPS_TELEMETRY": "log"}, {}),
    ],
    ids=["disabled", "DO_NOT_TRACK", "OPS_TELEMETRY", "beats log"],
)
def test_out_without_a_look_at_the_disk(
    variables: dict[str, str], arguments: dict[str, Any], home: Path, collector: RunningCollector
) -> None:
    """The argument and the variables need no file: not even the paths are looked up."""
    assert (set(), "") == watch(collector.url, variables, **arguments)
    assert ([], 0) == (names(home), collector.journal.total)


@pytest.mark.parametrize("place", ["platform", "literal"])
@pytest.mark.parametrize("content", [OUT, "malformed"])
def test_out_by_file(
    place: str, content: str, home: Path, collector: RunningCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read, and `platformdirs` says where it is; nothing else happens, and one line tells of a bad file."""
    if place == "literal":
        monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    for slug in ("default", "tool"):
        (home / CONFIG / slug).mkdir(parents=True)
        (home / CONFIG / slug / "config.json").write_text(content)
    before = names(home)
    done, stderr = watch(collector.url, {})
    assert READS | {"import platformdirs"} == {each for each in done if not each.startswith("read /xdg/")}
    assert (before, 0) == (names(home), collector.journal.total)
    assert "" == stderr, "the logger of a library has no handler"


def test_log_prints_and_neither_stores_nor_sends(home: Path, collector: RunningCollector) -> None:
    """`OPS_TELEMETRY=log`: a line for each event on stderr; no file, thread or connection, no import for sending."""
    done, stderr = watch(collector.url, {"OPS_TELEMETRY": "log"})
    looks = READS | {f"read /{CONFIG}/{slug}/client_id" for slug in ("default", "tool")}
    assert {"import platformdirs"} == done - looks
    assert 6 == len(stderr.splitlines()) == stderr.count("[telemetry] {")
    assert ([], 0) == (names(home), collector.journal.total)


def test_the_watch_sees_a_client_that_is_in(home: Path, collector: RunningCollector) -> None:
    """What the tests above rest on: without an opt-out, all of it is seen."""
    done, _ = watch(collector.url, {}, on_exit="wait")
    for each in ("socket.connect", "thread", "os.mkdir", "import httpx", "import platformdirs"):
        assert each in done
    assert any(each.startswith("write ") and "spool" in each for each in done)
    assert collector.journal.total > 0
    assert [] != names(home)


@pytest.mark.parametrize("how", ["file", "variable", "log", "in"])
def test_a_detached_sender_that_is_opted_out_does_nothing(how: str, home: Path, collector: RunningCollector) -> None:
    """It was started before: it reads consent, and neither locks, nor sends, nor loads what that would need."""
    environment = {**os.environ, "OPS_WRITE_KEY": "key", "OPS_API_URL": collector.url}
    program = "from producttelemetry import Telemetry as T; t = T(on_exit='keep'); t.track('a'); t._seal(last=True)"
    subprocess.run([sys.executable, "-c", program], cwd=harness.ROOT, env=environment, check=True)
    project = _config.paths("default")
    base = f"{collector.url}/api"
    task = Task("key", base, *project, project.destination(base, "key"))
    if how == "file":
        (home / CONFIG / "default" / "config.json").write_text(OUT)
    environment |= {"variable": {"DO_NOT_TRACK": "1"}, "log": {"OPS_TELEMETRY": "log"}}.get(how, {})
    before = names(home)
    message = json.dumps([[*sys.path, str(harness.ROOT)], task._asdict()])
    boot = f"{_BOOT};print(*sorted({{'httpx', 'filelock'}} & set(sys.modules)))"
    command = [sys.executable, "-B", "-c", boot]
    ended = subprocess.run(command, input=message, env=environment, capture_output=True, text=True, check=False)
    assert (0, "") == (ended.returncode, ended.stderr)
    if how == "in":
        assert "filelock httpx" == ended.stdout.strip()
        assert 1 == collector.store.counts().stored
    else:
        assert "" == ended.stdout.strip()
        assert (before, 0) == (names(home), collector.journal.total)
