"""A tool whose client is made when it is imported: before any test, and as the machine's user has set it up."""

from __future__ import annotations

import os
import sys

from producttelemetry import Telemetry

#: Where the tool sends its events in production.
SERVER = os.environ["MYTOOL_SERVER"]
telemetry = Telemetry(api_url=SERVER, project_slug="mytool", default_properties={"version": "1.2.0"})


def build(target: str) -> None:
    """Do what the tool is for."""
    telemetry.track("command.executed", {"command": "build", "target": target})


if __name__ == "__main__":
    build(sys.argv[1])
