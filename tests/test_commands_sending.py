"""`flush` and `forget`: everything is sent, or one line says why not; erasure by the code of `request_deletion()`."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producttelemetry import _files as files
from producttelemetry.collector.faults import Fault
from tests import harness
from tests.commands_support import COMMAND, config_dir, json_of, queue, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector


def server(collector: RunningCollector) -> dict[str, str]:
    """Return the variables of the server and key that the queues of these tests have."""
    return {"OPS_WRITE_KEY": "key", "OPS_API_URL": collector.url}


@pytest.mark.parametrize("command", ["flush", "forget"])
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "OPS_WRITE_KEY"),
        ({"OPS_WRITE_KEY": "a b"}, "OPS_WRITE_KEY"),
        ({"OPS_WRITE_KEY": "key", "OPS_API_URL": "ftp://x"}, "OPS_API_URL"),
    ],
)
def test_without_a_usable_key_or_server_it_is_wrong_usage(
    command: str, variables: dict[str, str], said: str, telemetry: Callable[..., Telemetry], home: Path
) -> None:
    """One line that names the variable, status 2, nothing changed; the key itself is not shown."""
    queue(telemetry, 1)
    before = harness.tree(home)
    ended = run(command, **variables)
    assert (2, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
    assert said in ended.stderr
    assert "a b" not in ended.stderr
    assert before == harness.tree(home)


def test_flush_sends_everything_and_tells_how_far_it_is(
    telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """Without a terminal the progress is plain lines on stderr, the result is on stdout, and nothing is left."""
    directory = queue(telemetry, 1700, api_url=collector.url, max_queue_size=5000)
    collector.faults.set(Fault(latency_seconds=0.3))
    ended = run("flush", **server(collector))
    assert (0, "1,700 events delivered.\n") == (ended.returncode, ended.stdout)
    lines = re.findall(r"^([\d,]+) of 1,700 events$", ended.stderr, re.MULTILINE)
    assert lines
    assert len(lines) == ended.stderr.count("\n")
    assert 1700 == len(harness.stored(collector))
    harness.assert_sound(directory)


def test_flush_for_programs(telemetry: Callable[..., Telemetry], collector: RunningCollector) -> None:
    """`--json` says what was delivered, nothing else is printed; an empty queue is a success."""
    expected = {"api_url": f"{collector.url}/api", "delivered": 0, "dropped": {}, "pending": 0, "error": None}
    assert expected == json_of("flush", **server(collector))
    queue(telemetry, 3, api_url=collector.url)
    found = json_of("flush", **server(collector))
    assert {"delivered": 3, "pending": 0, "error": None} == {
        name: found[name] for name in ("delivered", "pending", "error")
    }
    queue(telemetry, 2, write_key="other")
    ended = run("flush", OPS_WRITE_KEY="third", OPS_API_URL=collector.url)
    assert 0 == ended.returncode
    assert "2 events waiting for another server or key" in ended.stdout


def test_flush_shows_a_bar_on_a_terminal(telemetry: Callable[..., Telemetry], collector: RunningCollector) -> None:
    """With the extra installed; stdout has the result alone."""
    queue(telemetry, 20, api_url=collector.url)
    leader, follower = pty.openpty()
    variables = {**os.environ, **server(collector), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen([*COMMAND, "flush"], env=variables, stdout=subprocess.PIPE, stderr=follower) as command:
        os.close(follower)
        assert command.stdout is not None
        assert b"20 events delivered.\n" == command.stdout.read()
    assert 0 == command.returncode
    seen = os.read(leader, 65536).decode()
    os.close(leader)
    assert "Sending" in seen
    assert "20/20" in seen


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=503), "503"),
        (Fault(status=401), "401"),
        (Fault(portal=True), "captive portal"),
        (Fault(status=429, retry_after=3325), "429"),
    ],
)
def test_flush_says_why_it_could_not(
    fault: Fault, said: str, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """One line with the server's reason, status 1, and every event still there; a pause it asked for is respected."""
    queue(telemetry, 3, api_url=collector.url)
    collector.faults.set(fault)
    for ended in [run("flush", **server(collector)) for _ in range(2)]:
        assert (1, "0 events delivered.\n", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
        assert "3 events still waiting" in ended.stderr
        assert said in ended.stderr
    as_json = run("flush", "--json", **server(collector))
    assert said in json.loads(as_json.stdout)["error"]
    assert ("in 55 min" in as_json.stderr) == (fault.retry_after is not None)


@pytest.mark.parametrize("variables", [{"DO_NOT_TRACK": "1"}, {"OPS_TELEMETRY": "log"}, {}])
def test_flush_sends_nothing_when_telemetry_is_off(
    variables: dict[str, str], telemetry: Callable[..., Telemetry], collector: RunningCollector, home: Path
) -> None:
    """It says so, status 1, and keeps the queue."""
    queue(telemetry, 3, api_url=collector.url)
    if not variables:
        (config_dir(home) / "config.json").write_text('{"telemetry": false}')
    ended = run("flush", **server(collector), **variables)
    assert (1, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
    assert "nothing was sent" in ended.stderr
    assert [] == harness.stored(collector)
    assert 3 == len(run("show").stdout.splitlines())


def test_flush_takes_what_killed_programs_left_and_leaves_what_living_ones_hold(
    telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """An orphan is sent; the open segment of a running program is that program's."""
    living = telemetry(api_url=collector.url)
    living.track("test.event", {"number": 9})
    settings = {"url": collector.url, "events": 2, "leave": "_exit"}
    assert 0 == harness.run("track", json.dumps(settings)).returncode
    ended = run("flush", **server(collector))
    assert (0, "2 events delivered.") == (ended.returncode, ended.stdout.splitlines()[0])
    assert "1 event still in the hands of running programs" in ended.stdout
    assert [0, 1] == harness.numbers(harness.stored(collector))
    harness.assert_sound(harness.spool(living))


def test_flush_waits_for_another_sender_with_what_killed_programs_left(collector: RunningCollector) -> None:
    """A detached sender that lingers has looked for orphans before: they are not left behind."""
    settings = {"url": collector.url, "events": 2, "leave": "_exit", "arguments": {"flush_at": 99}}
    assert 0 == harness.run("track", json.dumps(settings)).returncode
    directory = Path(json_of("status")["destinations"][0]["spool_dir"])
    lock = files.Lock(str(directory / "sender.lock"))
    assert lock.acquire(0.0)
    variables = {**os.environ, **server(collector)}
    with subprocess.Popen([*COMMAND, "flush"], env=variables, stdout=subprocess.PIPE, text=True) as command:
        harness.wait_until(lambda: command.poll() is not None or harness.segments(directory)[0].endswith(".ready"))
        lock.close()
        assert command.stdout is not None
        assert "2 events delivered.\n" == command.stdout.read()
    assert 0 == command.returncode


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_flush_loses_nothing(
    ending: signal.Signals, telemetry: Callable[..., Telemetry], collector: RunningCollector
) -> None:
    """Ctrl-C in the middle of a request: no traceback; what was not acknowledged is sent the next time."""
    directory = queue(telemetry, 3, api_url=collector.url)
    collector.faults.set(Fault(latency_seconds=30))
    variables = {**os.environ, **server(collector)}
    with subprocess.Popen(
        [*COMMAND, "flush"], env=variables, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    ) as command:
        harness.wait_until(lambda: collector.store.counts().accepted == 3)
        command.send_signal(ending)
        assert command.stderr is not None
        assert b"" == command.stderr.read()
    assert (130 if ending == signal.SIGINT else -ending) == command.returncode
    collector.faults.clear()
    assert 3 == json_of("flush", **server(collector))["delivered"]
    assert (3, 3) == (collector.store.counts().accepted, collector.store.counts().duplicates)
    harness.assert_sound(directory)


@pytest.mark.parametrize("variables", [{}, {"DO_NOT_TRACK": "1"}])
def test_forget_erases_here_and_there(
    variables: dict[str, str], telemetry: Callable[..., Telemetry], collector: RunningCollector, home: Path
) -> None:
    """The server is asked, queue and id go, in every destination; also when telemetry is off."""
    directories = [queue(telemetry, 2, api_url=collector.url), queue(telemetry, 1, write_key="other")]
    client_id = (config_dir(home) / "client_id").read_text().strip()
    ended = run("forget", **server(collector), **variables)
    assert (0, "") == (ended.returncode, ended.stderr)
    assert client_id in ended.stdout
    assert [[], []] == [harness.segments(directory) for directory in directories]
    assert not (config_dir(home) / "client_id").exists()
    assert client_id in (config_dir(home) / "erased").read_text()
    assert 1 == collector.store.counts().deletions
    assert "Nothing to forget" in run("forget", **server(collector)).stdout
    found = json_of("forget", **server(collector))
    assert {"api_url": f"{collector.url}/api", "erased": True, "client_ids": [], "error": None} == found


def test_forget_changes_nothing_if_the_server_does_not_agree(
    telemetry: Callable[..., Telemetry], collector: RunningCollector, home: Path
) -> None:
    """One line with its reason, status 1; a second try names the same client."""
    queue(telemetry, 2, api_url=collector.url)
    collector.faults.set(Fault(status=503, remaining=2))
    before = harness.tree(home, locks=False)
    ended = run("forget", **server(collector))
    assert (1, "", 1) == (ended.returncode, ended.stdout, ended.stderr.count("\n"))
    assert "503" in ended.stderr
    value = json.loads(run("forget", "--json", **server(collector)).stdout)
    assert value["erased"] is False
    assert before == harness.tree(home, locks=False)
    assert value["client_ids"] == json_of("forget", **server(collector))["client_ids"]
