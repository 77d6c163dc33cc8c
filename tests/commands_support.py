"""What the tests of the commands share: running one, and a queue to run it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests import harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from producttelemetry import Telemetry

COMMAND = [sys.executable, "-m", "producttelemetry"]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with variables in its environment."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, **variables},
        cwd=harness.ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def json_of(*arguments: str, **variables: str) -> Any:
    """Run a command that ends well and says nothing but JSON."""
    ended = run(*arguments, "--json", **variables)
    assert (0, "", 1) == (ended.returncode, ended.stderr, ended.stdout.count("\n"))
    return json.loads(ended.stdout)


def config_dir(home: Path, slug: str = "default") -> Path:
    """Return the directory of a project."""
    return (home / harness.CONFIG).with_name(slug)


def queue(telemetry: Callable[..., Telemetry], number: int, **arguments: Any) -> Path:
    """Leave events in a queue, as a program that has ended does; return the directory of the destination."""
    client = telemetry(**{"flush_at": 10**6, "flush_interval": 1000.0, **arguments})  # nothing is sent meanwhile
    for each in range(number):
        client.track("test.event", {"number": each})
    harness.discard(client)
    return harness.spool(client)
