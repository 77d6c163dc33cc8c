"""The machine and the versions that figures belong to: nothing that names the machine, its user or a path."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Packages whose version matters to a figure.
_PACKAGES: Final = (
    "producttelemetry",
    "httpx",
    "platformdirs",
    "filelock",
    "uvicorn",
    "starlette",
    "ptelemetry",
    "posthog",
    "segment-analytics-python",
    "sentry-sdk",
    "amplitude-analytics",
    "persist-queue",
    "litequeue",
    "diskcache",
    "queuelib",
)


def describe(workspace: str) -> dict[str, Any]:
    """Return what a reader needs to compare figures with those of another machine.

    Args:
        workspace: directory that the benchmarks write to.
    """
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "file_system": file_system(workspace),
        "load_before": round(os.getloadavg()[0], 2),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "packages": dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield package, importlib.metadata.version(package)


def _cpu() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def file_system(place: str) -> str:
    """Return type and options of the file system that a directory is on: `ext4 (rw,relatime)`."""
    device = os.stat(place).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            fields = before.split()
            if fields[2] == number:
                return f"{after.split()[0]} ({fields[5]})"
    return "unknown"
