"""Tools that several tests share: children, looks at a spool, waiting for a condition."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producttelemetry import _process
from producttelemetry._record import parse_name
from producttelemetry._spool._check import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from producttelemetry import Telemetry
    from producttelemetry.collector import RunningCollector

#: Nothing listens on the discard port of this machine: connecting is refused at once.
NO_SERVER = "http://127.0.0.1:9"
ROOT = Path(__file__).resolve().parent.parent
#: The project's directory, from the home that `conftest.home` makes.
CONFIG = ".config/producttelemetry/default"
#: Who may do nothing where root may do everything.
NOBODY = 65534


def case_id(value: object) -> str:
    """Name a parameter by its `repr`, without what is another one in each run."""
    return re.sub(r" (?:at 0x|id=')[0-9a-f]+'?", "", repr(value))


def discard(client: Telemetry) -> None:
    """Let go of a client without sending: what the end of a process would do."""
    _process.move_out(client)
    if hasattr(client, "_flusher"):
        client._flusher.worker.stop()
        client._seal(last=True)
        client._writer._segment._directory.lock.close()
        if not client._sender.sending:  # else its thread holds them, and gives them back when the request is over
            client._sender._reader.directory.lock.close()
            client._sender._lock.close()


def spool(client: Telemetry) -> Path:
    """Return the directory of a client's destination."""
    return Path(client._spool_dir)


def segments(directory: Path) -> list[str]:
    """Return the names of all segments."""
    return sorted(name for name in os.listdir(directory) if parse_name(name))


def events(directory: Path) -> list[dict[str, Any]]:
    """Return every line of a spool that is still to be delivered, in order."""
    found: list[dict[str, Any]] = []
    for name in segments(directory):
        segment = parse_name(name)
        assert segment is not None
        data = (directory / name).read_bytes()[segment.offset :]
        found += [json.loads(line) for line in data.splitlines()]
    return found


def numbers(found: Iterable[dict[str, Any]]) -> list[int]:
    """Return the property `number` of events."""
    return [event["properties"]["number"] for event in found]


def stored(collector: RunningCollector) -> list[dict[str, Any]]:
    """Return every event that a collector has stored, in order of arrival."""
    from producttelemetry.collector import Query  # noqa: PLC0415  # only tests with a server

    found: list[dict[str, Any]] = []
    after = 0
    while rows := collector.store.events(Query(after=after, limit=1000)):
        found += [row.value for row in rows]
        after = rows[-1].rowid
    return found


def arrived(collector: RunningCollector) -> list[int]:
    """Return the property `number` of every event that a collector has stored, in order of arrival."""
    return numbers(stored(collector))


def unmeasured() -> dict[str, str]:
    """Return an environment without coverage.

    It wants to write a file at the end, where some may or can not, and it takes a lock in its trace function, which an
    interrupt would keep.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def assert_sound(directory: Path, cap: int | None = None, problems: Iterable[str] = ()) -> None:
    """Assert that a spool keeps its invariants, but for problems that a test made itself; each is a part of a line."""
    expected = list(problems)
    found = check(str(directory), cap)
    unexpected = [line for line in found if not any(part in line for part in expected)]
    assert [] == unexpected, unexpected  # said here, for pytest explains the asserts of test modules only
    assert [] == [part for part in expected if not any(part in line for line in found)]


def tree(place: Path, *, locks: bool = True) -> dict[str, bytes]:
    """Return every file below a place, but for the token in lock files; without those files, if they may come."""
    return {
        str(path): b"" if path.name.endswith("lock") else path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file() and (locks or not path.name.endswith("lock"))
    }


def wait_until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for something that another process does; fail if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.005)


def start(program: str, settings: str = "{}", module: str = "tests.children", **options: Any) -> subprocess.Popen[str]:
    """Start one of the programs in `tests/children.py` or a module like it."""
    command = [sys.executable, "-m", module, program, settings]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, **options)


def run(
    program: str, settings: str = "{}", module: str = "tests.children", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run one of the programs in `tests/children.py`, or a module like it, to its end."""
    command = [sys.executable, "-m", module, program, settings]
    options = {"timeout": 60, **options}
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, **options)


def fork(home: Path, action: Callable[[], None]) -> int:
    """Run something in a forked child that has a home of its own and ends without handlers; return its wait status."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            os.environ["HOME"] = str(home)
            action()
        except BaseException:  # noqa: BLE001  # whatever it is, the test has to hear of it
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def main(*programs: Callable[[dict[str, Any]], None]) -> None:
    """Run the program that the command line names with the settings that it gives."""
    by_name = {program.__name__: program for program in programs}
    by_name[sys.argv[1]](json.loads(sys.argv[2]))
