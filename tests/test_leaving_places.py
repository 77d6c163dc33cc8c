"""A detached sender finds the package wherever the host found it, with an interpreter that has none of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipapp
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests import harness
from tests.leaving_support import no_sender_stays

if TYPE_CHECKING:
    from producttelemetry.collector import RunningCollector

pytestmark = pytest.mark.usefixtures(no_sender_stays.__name__)
#: What the package and its dependencies consist of, where they are installed; of all Python versions.
PARTS = (
    "httpx",
    "httpcore",
    "h11",
    "anyio",
    "idna",
    "certifi",
    "platformdirs",
    "filelock",
    "sniffio",
    "typing_extensions.py",
)
INSTALLED = Path(httpx.__file__).parent.parent
#: An interpreter without any of it: what `.venv` was made from, if it is one.
INTERPRETER = getattr(sys, "_base_executable", sys.executable)
#: Fails if this process has sent, or has found the package in another place.
HOST = """
import os, sys
from producttelemetry import Telemetry, __file__ as found
assert found.startswith(sys.argv[2]), found
assert sys.argv[2] not in os.environ.get("PYTHONPATH", "")
Telemetry("key", sys.argv[1], on_exit="detach").track("test.event", {"number": 0})
import atexit
atexit._run_exitfuncs()
assert "httpx" not in sys.modules, "there was no other process to send it"
"""


def run_host(collector: RunningCollector, place: Path, *command: str | Path, cwd: Path | None = None) -> None:
    """Run a host that has to find the package in one place, and wait for what its sender delivers."""
    # Coverage has no business in an interpreter that does not have it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHON"))}
    arguments = [*command, collector.url, str(place)]
    ended = subprocess.run(arguments, cwd=cwd, env=environment, text=True, capture_output=True, check=False, timeout=60)
    assert (0, "", "") == (ended.returncode, ended.stdout, ended.stderr)
    harness.wait_until(lambda: len(harness.stored(collector)) == 1)


def copy_package(place: Path, needed: Path) -> None:
    """Put the package into one directory and all that it needs into another, or the same."""
    ignored = shutil.ignore_patterns("__pycache__", "collector")
    shutil.copytree(harness.ROOT / "producttelemetry", place / "producttelemetry", ignore=ignored)
    needed.mkdir(exist_ok=True)
    for name in PARTS:
        source = INSTALLED / name
        if source.is_dir():
            shutil.copytree(source, needed / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, needed)


def test_in_a_zipapp(collector: RunningCollector, tmp_path: Path) -> None:
    """An application in one file, called by a relative name from a directory that it leaves."""
    copy_package(tmp_path / "source", tmp_path / "source")
    (tmp_path / "source" / "__main__.py").write_text("import os; os.chdir('/')\n" + HOST)
    zipapp.create_archive(tmp_path / "source", tmp_path / "tool.pyz")
    run_host(collector, tmp_path / "tool.pyz", INTERPRETER, "-I", "-S", "tool.pyz", cwd=tmp_path)


def test_on_a_path_that_was_changed_at_run_time(collector: RunningCollector, tmp_path: Path) -> None:
    """A host with libraries of its own, as those of vendored tools and plug-ins are."""
    places = [str(tmp_path / "vendored"), str(tmp_path / "libraries")]
    copy_package(tmp_path / "vendored", tmp_path / "libraries")
    program = f"import sys; sys.path[:0] = {places!r}\n{HOST}"
    run_host(collector, tmp_path / "vendored", INTERPRETER, "-I", "-S", "-c", program)


@pytest.mark.parametrize("relative", [False, True])
def test_in_a_virtual_environment(relative: bool, collector: RunningCollector, tmp_path: Path) -> None:
    """The interpreter of the environment; also by a relative name, from a directory that the host leaves."""
    venv.create(tmp_path / "venv", symlinks=os.name == "posix", with_pip=False)
    (libraries,) = (tmp_path / "venv").rglob("site-packages")
    copy_package(tmp_path / "elsewhere", tmp_path / "elsewhere")
    (libraries / "elsewhere.pth").write_text(f"{tmp_path / 'elsewhere'}\n")
    (tmp_path / "host.py").write_text("import os; os.chdir('/')\n" + HOST)
    python = Path("bin") / "python"
    program = python if relative else tmp_path / "venv" / python
    run_host(
        collector,
        tmp_path / "elsewhere",
        f"./{program}" if relative else program,
        tmp_path / "host.py",
        cwd=tmp_path / "venv",
    )
