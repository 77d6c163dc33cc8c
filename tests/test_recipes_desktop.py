"""The recipe of a desktop program, with a real window on a virtual screen: offline, online, closed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from producttelemetry.collector import Fault
from tests import harness, recipes_support

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.oracle import Oracle


@contextlib.contextmanager
def screen() -> Generator[str]:
    """Run an X server on a free display; give its name."""
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb (Debian: xvfb)")
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as told, server:
        try:
            yield f":{told.readline().strip()}"
        finally:
            server.terminate()


def use(oracle: Oracle, program: subprocess.Popen[str]) -> None:
    """Be the user: save while offline, read the status line, go online, save, and close the window."""
    keys, line = program.stdin, program.stdout
    assert keys is not None
    assert line is not None

    def status() -> str:
        keys.write("status\n")
        return line.readline()

    keys.write("save\n" * 3)
    harness.wait_until(lambda: "4 events waiting, next try " in status())
    oracle.collector.faults.clear()
    harness.wait_until(lambda: status() == "all sent\n")
    keys.write("save\n")
    harness.wait_until(lambda: status().startswith("1 events waiting"))
    keys.write("close\n")
    began = time.monotonic()
    assert 0 == program.wait(30)
    assert time.monotonic() - began < 4.0, "the limit is 5 s; the server answers at once"


def test_tk(oracle: Oracle) -> None:
    """Offline the window says what waits; online it catches up by itself; closed, it is gone at once."""
    pytest.importorskip("tkinter")
    oracle.collector.faults.set(Fault(status=503))
    with screen() as display:
        environment = recipes_support.environment(oracle, DISPLAY=display)
        program = recipes_support.start(
            oracle,
            "-m",
            "tests.children_desktop",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=1,
        )
        with program:
            try:
                use(oracle, program)
            finally:
                program.kill()
    verdict = recipes_support.settle(oracle, "notes")
    names = Counter(event["event_name"] for event in verdict.stored)
    assert {"app.started": 1, "note.saved": 4, "oracle.fresh": 1} == names
