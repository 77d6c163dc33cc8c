"""Test what a program of yours tracks: without a network, without a key, and without a trace on the machine.

```python
from producttelemetry.testing import capture

with capture() as events:
    main(["build"])
assert ["command.executed"] == events.names
assert "build" == events[0]["properties"]["command"]
```

With pytest there is nothing to import; the fixtures `telemetry_events` and `collector` come with this package:

```python
def test_build(telemetry_events):
    main(["build"])
    assert ["command.executed"] == telemetry_events.names


def test_offline(collector):
    collector.faults.set(Fault(status=503))  # from producttelemetry.collector
    main(["build"])
    assert [] == collector.events
```

To have no test of yours send anything, write `usefixtures = telemetry_events` into pytest's configuration. That holds
for tests and their fixtures; what runs before them (`setup_module`, `setUpClass`, fixtures of a wider scope, imports)
is outside, unless you start pytest with `OPS_TELEMETRY=0`, which each such test lifts for itself.

| | `capture()`, `telemetry_events` | `collect()`, `collector` |
|---|---|---|
| what it is | everything that is tracked, in order: `Events` | a real server on a free port: `Collector` |
| what is sent | nothing, whatever is called | to that server alone, whatever URL the program has |
| needs | | the extra `collector` |

In both, and in both together:

- Client id, choice (`config.json`) and queue are in a new directory; those of the machine's user are neither read nor
  changed. `DO_NOT_TRACK` and all `OPS_` variables of the machine are away; there is a write key. A test that sets them
  itself finds them honoured.
- It holds for this process and for those it forks or starts, if they inherit its environment. No process is left
  behind to send: one that ends waits for the server, at most `flush_timeout`.
- A client that was made before, when a module was imported, say, works as one that is made at that moment, with the
  arguments it was given. One that is made within works until the end, and does nothing afterwards.

An `Event` is a plain dict as the server would get it: `event_name`, `event_type`, `client_id`, `session_id`, `event_id`
and `timestamp` (ISO 8601, UTC) are texts, `properties` is a dict of what JSON has.

What does not work: a program started with another environment (`env={}`) or on another machine, and a process that was
forked before, find their own settings. A client that was made within notices variables that the test sets later as
late as it would outside: at its next flush. A `transport` of the program's own, and proxies, are not used.

Other test runners, and programs in other languages that start yours, can set the same up with variables:
`OPS_TEST_DIR`, an absolute path of a directory; `OPS_WRITE_KEY`, of any value; and to have something sent,
`OPS_TEST_URL`, a server at `http://127.0.0.1:…`. Create an empty file `tracked.jsonl` in the directory: what is tracked
will be there, one JSON object per line as the server would get it, with empty lines in between. Without that file the
test is over, and nothing is stored.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, Final

from ._events import Event, Events
from ._isolation import Isolation

if TYPE_CHECKING:
    from collections.abc import Generator

    from ._collector import Collector

__all__ = ["Collector", "Event", "Events", "Isolation", "capture", "collect"]


#: How often a directory is deleted: a thread of the program may be in the middle of storing an event there.
_ATTEMPTS: Final = 10


def __getattr__(name: str) -> Any:
    """Import `Collector` when it is asked for: it is a server, and an extra that need not be installed."""
    if name == "Collector":
        from ._collector import Collector  # noqa: PLC0415  # see above

        return Collector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@contextlib.contextmanager
def capture() -> Generator[Events]:
    """See what the block tracks, and send nothing.

    Returns:
        A context manager that gives the `Events`. They can still be read after the block.
    """
    with _temporary() as (isolation, _):
        events = isolation.events
        try:
            yield events
        finally:
            events.freeze()


@contextlib.contextmanager
def collect() -> Generator[Collector]:
    """Run a real server for the block; whatever this process and its children track is sent there.

    Returns:
        A context manager that gives the `Collector`.

    Raises:
        ImportError: the extra `collector` is not installed; the message says how.
    """
    from ._collector import Collector  # noqa: PLC0415  # a server, for those who ask for one

    with _temporary() as (isolation, stack):
        collector = stack.enter_context(Collector())
        stack.enter_context(_variables(isolation.collecting(collector.url)))
        yield collector


@contextlib.contextmanager
def _temporary() -> Generator[tuple[Isolation, contextlib.ExitStack]]:
    directory, pid = tempfile.mkdtemp(prefix="producttelemetry-"), os.getpid()
    try:
        isolation = Isolation(directory)
        with _variables(isolation.variables()), isolation, contextlib.ExitStack() as stack:
            yield isolation, stack
    finally:
        if os.getpid() == pid:  # else it is a forked child that leaves the block
            for _ in range(_ATTEMPTS):
                if os.path.exists(directory):
                    shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _variables(wanted: dict[str, str | None]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    _put(wanted)
    try:
        yield
    finally:
        _put(dict(reversed(before.items())))


def _put(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
