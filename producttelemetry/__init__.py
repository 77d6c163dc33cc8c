"""Durable, offline-first product telemetry.

```python
from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="mytool")
telemetry.track("command.executed", {"command": "build", "duration_ms": 412})
```

An event is in a spool on disk, shared by all processes of the machine, before `track()` returns; a sender delivers it
later, from this process or another. `Telemetry` is all that a program needs; `producttelemetry.cli` has the commands
for its users, `producttelemetry.testing` the helpers for its tests, `producttelemetry.collector` a server to try it
with.

`EventType` is the type of what an event is about: `"lifecycle"` (of the program or the installation), `"usage"` or
`"error"`. `__version__` is the version of the package, `"1.2.3"` for example.

# Inside

The way of one event, module by module:

    track() - _consent? - _event -> bytes - _spool.append (one write)  || durable: track() returns ||
            _sender: _spool.claim -> _batch -> _transport.post -> outcome -> _retry.decide -> acknowledge | release

`_client` holds the public class, `_flushing` what one flush does, `_worker` the thread for it, `_process` exit and
fork hooks, `_detach` and `_detached` the sender that outlives its host; `_erasure`, `_notes` and `_queues` what one
project must forget, `_migration` what it takes over from the SDK before this one; `_config`, `_options` and `_identity`
know what the package is told and who it is; `_files` is the only one that touches the disk. `cli` and `_commands` have
the commands, `collector` a server for development and tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._client import Telemetry
from ._event import EventType
from ._version import __version__

if TYPE_CHECKING:
    from ._stats import Stats

__all__ = ["EventType", "Stats", "Telemetry", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Stats` when it is asked for, and not at start-up."""
    if name == "Stats":
        from ._stats import Stats  # noqa: PLC0415  # dataclasses costs 18 ms

        return Stats
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
